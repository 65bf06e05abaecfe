"""One's own demand and weather, from CSV or Parquet: the door where the data contract (docs/data-contract.md) is kept.

The order of the checks, each of which refuses the whole file with one `FileRefused` line (1 and 2 in `data.tables`):
    1. the file      a regular file of a known suffix and bounded size; lines bounded BEFORE anything parses them
    2. the columns   `timestamp`, one value column, for weather perhaps `issued_at`; no misspelling, no double
    3. the cells     a time with an offset, a finite number inside physical bounds, once converted to our units
    4. the grid      one regular step of 5 min to 1 h; no time twice
Rows are counted as an editor shows them: 1 is the header, data start at 2 (Parquet likewise).
Control: AML.T0059 (erode dataset integrity), OWASP ML01 (input manipulation).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from data.errors import FileRefused
from data.schema import (
    AVAILABLE_AT,
    DEMAND_MW,
    ISSUED_AT,
    LONGEST_STEP,
    PROVIDER,
    SHORTEST_STEP,
    TEMPERATURE_C,
    TIMESTAMP,
    VALID_AT,
)
from data.tables import Quantity, read_columns

FIRST_TIME = np.datetime64("1980-01-01", "us")
LAST_TIME = np.datetime64("2100-01-01", "us")
_NO_TIME = np.datetime64("NaT", "us")

Times = npt.NDArray[np.datetime64]
Numbers = npt.NDArray[np.float64]

_DEMAND = Quantity({DEMAND_MW: (1, 0), "demand_kw": (1e-3, 0), "demand_gw": (1e3, 0)}, -1e6, 1e6, "MW")
_FAHRENHEIT = (5 / 9, -160 / 9)
_KELVIN = (1, -273.15)
_TEMPERATURE = Quantity(
    {TEMPERATURE_C: (1, 0), "temperature_f": _FAHRENHEIT, "temperature_k": _KELVIN}, -90, 60, "°C", (ISSUED_AT,)
)
_HISTORY = replace(_TEMPERATURE, any_value=True)


@dataclass(frozen=True, eq=False)
class DemandFile:
    """A demand file taken in whole.

    frame: the demand frame of `data.schema` on the full grid from the first to the last row, `demand_mw` [MW] NaN in
    gaps, `available_at` = end of the interval. step: length of one interval. ignored_columns: columns not read.
    """

    frame: pd.DataFrame
    step: pd.Timedelta
    ignored_columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class WeatherFile:
    """A weather file taken in whole.

    frame: the weather frame of `data.schema`, `temperature_c` [°C], sorted by valid_at, issued_at, without gaps' rows.
    perfect_foresight: the file holds no forecast, so that only realised values can stand in for them.
    """

    frame: pd.DataFrame
    step: pd.Timedelta
    perfect_foresight: bool
    ignored_columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class WeatherHistory:
    """What a provider said of the past, lies included.

    temperature_c: [°C] on the full UTC grid from its first to its last row, NaN where it said nothing or no number; a
    number that no thermometer shows stands as it was given. unreadable: cells of text or NaN.
    """

    temperature_c: pd.Series
    step: pd.Timedelta
    unreadable: int
    ignored_columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Table:
    """The cells of a file as arrays, in file order: element i stands in row i + 2. NaN and NaT where empty.

    filled: whether a value stands there, be it NaN.
    """

    path: str
    times: Times
    values: Numbers
    filled: npt.NDArray[np.bool_]
    issued: Times
    ignored: tuple[str, ...]

    def refusal(self, problem: str, position: int | np.integer[Any], mend: str) -> FileRefused:
        return FileRefused(problem, path=self.path, row=int(position) + 2, mend=mend)

    def refuse_first(self, broken: npt.NDArray[np.bool_], problem: str, mend: str) -> None:
        if broken.any():
            raise self.refusal(problem, np.argmax(broken), mend)


def read_demand(path: Path) -> DemandFile:
    """Read a demand file: `timestamp` and one of `demand_mw`, `demand_kw`, `demand_gw`; power over the interval.

    Rows may come in any order; a missing row or empty value is a gap. Raises FileRefused, naming file, row and mend.
    """
    table = _read_table(path, _DEMAND)
    keys = pd.DataFrame({TIMESTAMP: table.times})
    _refuse_duplicates(keys, table, "keep one row a time")
    step = _regular_step(table)
    known = pd.Series(table.values, index=pd.DatetimeIndex(table.times, name=TIMESTAMP).tz_localize("UTC"))
    grid = pd.date_range(known.index.min(), known.index.max(), freq=step, unit="us", name=TIMESTAMP)
    frame = pd.DataFrame({DEMAND_MW: known.reindex(grid), AVAILABLE_AT: grid + step}, index=grid)
    return DemandFile(frame, step, table.ignored)


def read_weather(path: Path, provider: str) -> WeatherFile:
    """Read a weather file of `provider`: `timestamp`, one of `temperature_c`, `_f`, `_k`, and perhaps `issued_at`.

    A row without `issued_at` is a realised value, known at the end of its interval; a row with it became known then.
    (issued_at, timestamp) is unique; rows may come in any order; a missing row or empty value is a gap. Raises
    FileRefused, naming file, row and mend.
    """
    table = _read_table(path, _TEMPERATURE)
    step = _regular_step(table)
    keys = _issues(table, step)
    frame = pd.DataFrame(
        {
            PROVIDER: pd.Series(provider, index=keys.index, dtype="str"),
            ISSUED_AT: keys[ISSUED_AT].dt.tz_localize("UTC"),
            VALID_AT: keys[VALID_AT].dt.tz_localize("UTC"),
            TEMPERATURE_C: table.values,
        }
    )
    known = frame[~np.isnan(table.values)].sort_values([VALID_AT, ISSUED_AT], ignore_index=True)
    foresight = not bool((known[ISSUED_AT] < known[VALID_AT] + step).any())
    return WeatherFile(known, step, foresight, table.ignored)


def read_weather_history(path: Path) -> WeatherHistory:
    """Read what was measured from a weather file for judging it: no VALUE refuses the file, since it may be the attack.

    Everything else is as in `read_weather`. Forecasts do not count; of several issues of a measurement the first does, so
    that what is rewritten later hides nothing. Raises FileRefused, naming file, row and mend.
    """
    table = _read_table(path, _HISTORY)
    step = _regular_step(table)
    keys = _issues(table, step)
    realised = (keys[ISSUED_AT] >= keys[VALID_AT] + step).to_numpy()
    if not realised.any():
        mend = "give what was measured: rows without issued_at, or issued when their interval had ended"
        raise FileRefused("holds forecasts only", path=table.path, mend=mend)
    said = keys.assign(**{TEMPERATURE_C: table.values})[realised].sort_values([VALID_AT, ISSUED_AT])
    first = said.drop_duplicates(VALID_AT).set_index(VALID_AT)[TEMPERATURE_C].tz_localize("UTC")
    grid = pd.date_range(first.index[0], first.index[-1], freq=step, unit="us", name=TIMESTAMP)
    unreadable = int((realised & table.filled & np.isnan(table.values)).sum())
    return WeatherHistory(first.reindex(grid), step, unreadable, table.ignored)


def find_step(times: Times) -> pd.Timedelta:
    """The most common difference between neighbours, the shorter on a tie. `times`: sorted, distinct, at least two."""
    differences, counts = np.unique(np.diff(times), return_counts=True)
    return pd.Timedelta(differences[np.argmax(counts)])


def _read_table(path: Path, quantity: Quantity) -> _Table:
    columns, ignored = read_columns(path, quantity)
    (unit,) = columns.keys() & quantity.units.keys()
    factor, shift = quantity.units[unit]
    times = columns[TIMESTAMP].to_numpy()
    with np.errstate(over="ignore"):
        values = columns[unit].to_numpy() * factor + shift
    issued = columns[ISSUED_AT].to_numpy() if ISSUED_AT in columns else np.full(times.shape, _NO_TIME)
    table = _Table(str(path), times, values, ~columns[unit].is_null().to_numpy(), issued, ignored)
    _check_cells(table, unit, quantity)
    return table


def _check_cells(table: _Table, unit: str, quantity: Quantity) -> None:
    if not len(table.times):
        raise FileRefused("a header and no rows", path=table.path, row=1, mend="write at least two rows")
    for name, times in ((TIMESTAMP, table.times), (ISSUED_AT, table.issued)):
        outside = (times < FIRST_TIME) | (times >= LAST_TIME)
        table.refuse_first(outside, f"{name} is not between 1980 and 2099", "check the year")
    table.refuse_first(np.isnat(table.times), "no timestamp", "give every row its time")
    if not quantity.any_value:
        _check_values(table, unit, quantity)
    if not table.filled.any():
        raise FileRefused(f"column {unit} holds no value", path=table.path, mend="check the export")


def _check_values(table: _Table, unit: str, quantity: Quantity) -> None:
    endless = table.filled & ~np.isfinite(table.values)
    table.refuse_first(endless, f"{unit} is NaN or infinite", "leave it empty where unknown")
    absurd = (table.values < quantity.lowest) | (table.values > quantity.highest)
    bounds = f"{quantity.lowest:g} to {quantity.highest:g} {quantity.symbol}"
    table.refuse_first(absurd, f"{unit} is outside {bounds}", "check the unit, or leave it empty where unknown")


def _issues(table: _Table, step: pd.Timedelta) -> pd.DataFrame:
    """Columns issued_at and valid_at of each row, naive UTC; a row without issue time was issued when its interval ended."""
    issued = np.where(np.isnat(table.issued), table.times + step.to_timedelta64(), table.issued)
    keys = pd.DataFrame({ISSUED_AT: issued, VALID_AT: table.times})
    _refuse_duplicates(keys, table, "keep one row a time; forecasts need their own issue time in a column issued_at")
    return keys


def _regular_step(table: _Table) -> pd.Timedelta:
    """The file's step, or FileRefused with the first row, in order of time, that breaks it."""
    times, positions = np.unique(table.times, return_index=True)
    if len(times) < 2:
        raise table.refusal("a single time: no step can be found", 0, "give at least two intervals")
    step = find_step(times)
    gaps = np.diff(times)
    if not SHORTEST_STEP <= step <= LONGEST_STEP:
        first = positions[1 + np.argmax(gaps == step.to_timedelta64())]
        raise table.refusal(f"a step of {_minutes(step)}", first, "give steps of 5 min to 1 h")
    if pd.Timedelta(hours=1) % step:
        raise table.refusal(f"a step of {_minutes(step)}", positions[1], "give a step that divides an hour")
    broken = np.flatnonzero(gaps % step.to_timedelta64())
    if broken.size:
        gap = _minutes(pd.Timedelta(gaps[broken[0]]))
        problem = f"mixed steps: {gap} after the time before it, where the file's step is {_minutes(step)}"
        raise table.refusal(problem, positions[1 + broken[0]], "give the file one regular step")
    # Zones differ from UTC by quarter hours: an interval that starts at 00:07 is on nobody's grid.
    beat = gcd(int(step.total_seconds()), 15 * 60) * 1_000_000
    if times[0].astype(np.int64) % beat:
        raise table.refusal("timestamp off the grid", positions[0], f"start intervals on the {_minutes(step)} grid")
    return step


def _minutes(span: pd.Timedelta) -> str:
    return f"{span / pd.Timedelta(minutes=1):g} min"


def _refuse_duplicates(keys: pd.DataFrame, table: _Table, mend: str) -> None:
    repeated = keys.duplicated().to_numpy()
    if repeated.any():
        second = int(np.argmax(repeated))
        first = int(np.argmax((keys == keys.iloc[second]).all(axis=1)))
        raise table.refusal(f"the same time as row {first + 2}", second, mend)
