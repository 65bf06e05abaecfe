"""Weather for many days of a backtest at once: each day's as it was known at its own gate closure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from data.schema import ISSUED_AT, PROVIDER, TEMPERATURE_C, TIMESTAMP, VALID_AT, Array, Flags, Integers, Utility
from data.weather_fusion import LONGEST_GAP, Profiles, fuse, known_at_gate_closures
from forecasting.day_grid import window_days

# A year tells how wrong forecasts are in every season.
FORECASTS_LEARNED = pd.Timedelta(days=365)


def temperatures_by_day(
    weather: pd.DataFrame, perfect_foresight: Sequence[str], profiles: Profiles, utility: Utility, days: Sequence[date]
) -> list[pd.Series]:
    """For each day, the temperature [°C] of its look-back and of itself, as it was known at its own gate closure.

    weather: the schema's weather frame. perfect_foresight: sources whose every value counts as issued in time.
    Every day gets a table of its own, filled with nothing but what had been issued by its gate closure; only then are
    the tables laid one below the other, so that all are fused in one go.
    """
    windows = [_window(utility, day) for day in days]
    if weather.empty:
        return [pd.Series(np.nan, index=window, name=TEMPERATURE_C) for window in windows]
    said = _Said.of(weather, perfect_foresight, utility.step, (windows[0][0], windows[-1][-1]))
    # Longer than any gap that is bridged: no day's values reach into the next one's table.
    apart = LONGEST_GAP // utility.step + 1
    tables = [
        pd.DataFrame(
            said.known_at(utility.gate_closure_of(day), window, blank_rows=apart),
            index=pd.date_range(window[0] - apart * utility.step, window[-1], freq=utility.step, name=TIMESTAMP),
            columns=list(said.names),
        )
        for day, window in zip(days, windows, strict=True)
    ]
    fused = fused_temperature(pd.concat(tables), profiles, utility)
    ends = np.cumsum([len(table) for table in tables])
    return [fused.iloc[end - len(window) : end] for end, window in zip(ends, windows, strict=True)]


@dataclass(frozen=True)
class _Said:
    """What the sources said of a stretch of time, one element a value, by source, interval and moment of issue.

    slot: intervals since `start`. foreseen: True for values that count as forecasts though they were measured.
    """

    names: tuple[str, ...]
    start: pd.Timestamp
    step: pd.Timedelta
    name_at: Integers
    slot: Integers
    issued_at: pd.DatetimeIndex
    foreseen: Flags
    temperature_c: Array

    @classmethod
    def of(
        cls,
        weather: pd.DataFrame,
        perfect_foresight: Sequence[str],
        step: pd.Timedelta,
        stretch: tuple[pd.Timestamp, pd.Timestamp],
    ) -> _Said:
        """Values from the first to the last moment of `stretch` that fall on intervals of `step`."""
        start, end = stretch
        rows = weather[(weather[VALID_AT] >= start) & (weather[VALID_AT] <= end)]
        rows = rows[(pd.DatetimeIndex(rows[VALID_AT]) - start) % step == pd.Timedelta(0)]
        rows = rows.sort_values([PROVIDER, VALID_AT, ISSUED_AT], kind="stable")
        codes, names = pd.factorize(rows[PROVIDER])
        return cls(
            names=tuple(map(str, names)),
            start=start,
            step=step,
            name_at=codes.astype(np.int64),
            slot=np.asarray((pd.DatetimeIndex(rows[VALID_AT]) - start) // step, dtype=np.int64),
            issued_at=pd.DatetimeIndex(rows[ISSUED_AT]),
            foreseen=rows[PROVIDER].isin(perfect_foresight).to_numpy(dtype=np.bool_),
            temperature_c=rows[TEMPERATURE_C].to_numpy(dtype=np.float64),
        )

    def known_at(self, moment: pd.Timestamp, window: pd.DatetimeIndex, blank_rows: int) -> Array:
        """Each source's latest word by `moment` on every interval of `window`, shape (blank rows + intervals, sources)."""
        first = int((window[0] - self.start) // self.step)
        inside = (self.slot >= first) & (self.slot < first + len(window))
        rows = np.flatnonzero(inside & (self.foreseen | np.asarray(self.issued_at <= moment)))
        # In order of issue: the last of each source and interval is the latest word.
        superseded = (self.slot[rows[1:]] == self.slot[rows[:-1]]) & (self.name_at[rows[1:]] == self.name_at[rows[:-1]])
        latest = rows[np.append(~superseded, np.ones(min(1, len(rows)), dtype=np.bool_))]
        table = np.full((blank_rows + len(window), len(self.names)), np.nan)
        table[blank_rows + self.slot[latest] - first, self.name_at[latest]] = self.temperature_c[latest]
        return table


def fused_temperature(wide: pd.DataFrame, profiles: Profiles, utility: Utility) -> pd.Series:
    """One temperature from every source in `wide`, as `fuse` makes it; NaN throughout when none said anything."""
    if not wide.notna().to_numpy().any():
        return pd.Series(np.nan, index=wide.index, name=TEMPERATURE_C)
    fused: pd.Series = fuse(wide, profiles, utility, [str(name) for name in wide.columns])[TEMPERATURE_C]
    return fused


def forecasts_as_issued(
    weather: pd.DataFrame, perfect_foresight: Sequence[str], profiles: Profiles, utility: Utility, gate: pd.Timestamp
) -> pd.Series | None:
    """What had been forecast of the year before `gate`, each interval by its own day's gate closure; None without any."""
    issued = weather[~weather[PROVIDER].isin(perfect_foresight) & (weather[ISSUED_AT] <= gate)]
    index = pd.date_range(gate - FORECASTS_LEARNED, gate - utility.step, freq=utility.step, name=TIMESTAMP)
    wide = known_at_gate_closures(issued, utility, index)
    return fused_temperature(wide, profiles, utility) if wide.notna().to_numpy().any() else None


def _window(utility: Utility, day: date) -> pd.DatetimeIndex:
    start = utility.day_index(day - timedelta(days=window_days(utility)))[0]
    return pd.date_range(start, utility.day_index(day)[-1], freq=utility.step, name=TIMESTAMP)
