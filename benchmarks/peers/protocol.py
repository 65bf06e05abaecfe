"""What the peers share: their inputs, the exogenous columns, the trees, the year's round and what it costs.

Runs in the peers' environment, so it imports numpy, pandas and the standard library only. Inputs and answers are files in
one folder, which benchmarks/peers_table.py writes and reads: `series.csv`, `ahead.csv`, `calendar.json` in;
`predictions.csv`, `report.json` out. Timestamps mark the START of a half hour: UTC with its offset in files, UTC without it
in memory. Demand [MW], temperature [°C].
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

WEATHERS = ("A", "B")
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
COLUMNS = ["forecast_mw", *(f"q{round(level * 100)}" for level in LEVELS)]
RECENT = 30 * 48

# Settings, the same for both peers; chosen on 2013, where shorter lags and rolling means were worse in a recursion.
LAGS = [48, 96, 144, 336, 672]
CALIBRATION_DAYS = 60
TEMPERATURE_LAGS_HOURS = (1, 2, 3, 6, 12, 24, 48)
TEMPERATURE_HALFLIVES_HOURS = (4, 17, 50)
HOLIDAY_OFFSETS_DAYS = {"holiday": 0, "after_holiday": -1, "before_holiday": 1, "holiday_2d_ago": -2, "holiday_7d_ago": -7}
BOOSTING: dict[str, Any] = {
    "n_estimators": 300,
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_child_samples": 100,
    "colsample_bytree": 0.6,
    "subsample": 0.8,
    "subsample_freq": 1,
    "linear_tree": True,
    "linear_lambda": 10.0,
    "random_state": 1,
    "n_jobs": 1,
    "verbosity": -1,
}


class Peer(Protocol):
    """A forecaster of others behind the two verbs of the yardstick."""

    package: str
    intervals: str

    def fit(self, demand_mw: pd.Series, exogenous: pd.DataFrame) -> None:
        """Learn from everything known at a gate closure."""

    def predict(self, demand_mw: pd.Series, ahead: pd.DataFrame) -> pd.DataFrame:
        """`COLUMNS` for every row of `ahead`, which begins where the known `demand_mw` (the last 30 days) ends."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The yardstick's inputs: `series` (demand_mw, temperature_c) and, for each local day, what lies ahead of its gate.

    ahead: rows from the gate closure to the end of the day; columns A, B (temperature in either weather), in_day.
    """

    series: pd.DataFrame
    ahead: dict[date, pd.DataFrame]
    timezone: str
    holidays: frozenset[date]

    @staticmethod
    def read(folder: Path) -> Inputs:
        """From the three files in `folder`."""
        calendar = json.loads((folder / "calendar.json").read_text())
        ahead = _table(folder / "ahead.csv")
        return Inputs(
            series=_table(folder / "series.csv").asfreq("30min"),
            ahead={date.fromisoformat(str(day)): rows.drop(columns="day") for day, rows in ahead.groupby("day")},
            timezone=calendar["timezone"],
            holidays=frozenset(date.fromisoformat(day) for day in calendar["holidays"]),
        )

    def known(self, day: date) -> pd.DataFrame:
        """The rows of `series` that have ended at the gate closure of `day`."""
        known: pd.DataFrame = self.series.loc[self.series.index < self.ahead[day].index[0]]
        return known

    def exogenous(self, temperature_c: pd.Series) -> pd.DataFrame:
        """Temperature now, lagged and smoothed; calendar, holidays and season on the utility's clock. No row looks ahead.

        The first 48 hours lack their lags and are filled: no peer trains on them, its own longest lag is 14 days.
        """
        columns = {"temperature": temperature_c}
        for hours in TEMPERATURE_LAGS_HOURS:
            columns[f"temperature_{hours}h_ago"] = temperature_c.shift(2 * hours).bfill()
        for hours in TEMPERATURE_HALFLIVES_HOURS:
            columns[f"temperature_memory_{hours}h"] = temperature_c.ewm(halflife=2 * hours).mean()
        past_day = temperature_c.rolling(48, min_periods=1)
        columns |= {"temperature_day_max": past_day.max(), "temperature_day_min": past_day.min()}
        return pd.DataFrame(columns).join(_calendar(pd.DatetimeIndex(temperature_c.index), self.timezone, self.holidays))


@dataclass
class Costs:
    """CPU seconds of every refit and of every day's forecast in one weather."""

    refit_s: list[float] = field(default_factory=list)
    day_s: list[float] = field(default_factory=list)


def forecasts(peer: Peer, inputs: Inputs, costs: Costs) -> Iterator[pd.DataFrame]:
    """Every day in either weather, refitted on each month's first day; `costs` grows. Columns: `COLUMNS`, weather."""
    for day, ahead in inputs.ahead.items():
        known = inputs.known(day)
        if day.day == 1:
            began = time.process_time()
            peer.fit(known["demand_mw"], inputs.exogenous(known["temperature_c"]))
            costs.refit_s.append(time.process_time() - began)
        recent = known.iloc[-RECENT:]
        for weather in WEATHERS:
            began = time.process_time()
            temperature_c = pd.concat([recent["temperature_c"], ahead[weather]])
            answer = peer.predict(recent["demand_mw"], inputs.exogenous(temperature_c).loc[ahead.index])
            costs.day_s.append(time.process_time() - began)
            yield answer.loc[ahead["in_day"], COLUMNS].assign(weather=weather)


def main(peer: Peer) -> None:
    """The year's round on the folder that the command line names."""
    folder = Path(sys.argv[1])
    costs = Costs()
    answers = pd.concat(forecasts(peer, Inputs.read(folder), costs))
    answers.index = pd.DatetimeIndex(answers.index, name="timestamp").tz_localize("UTC")
    answers.to_csv(folder / "predictions.csv")
    report = {
        "name": f"{peer.package} {version(peer.package)} + LightGBM {version('lightgbm')}",
        "settings": f"{_described()}; {peer.intervals}",
        "refit_s": float(np.mean(costs.refit_s)),
        "day_ms": float(np.mean(costs.day_s) * 1000),
        "memory_mb": _peak_memory_mb(),
    }
    (folder / "report.json").write_text(json.dumps(report))


def _described() -> str:
    trees = ", ".join(f"{name}={value}" for name, value in BOOSTING.items())
    weather = f"temperature now, {TEMPERATURE_LAGS_HOURS} h ago, halflives {TEMPERATURE_HALFLIVES_HOURS} h, extremes of 24 h"
    calendar = "half hour, weekday, holidays and the days around them, season"
    return f"recursive; LightGBM {trees}; demand lags {LAGS} half hours; {weather}; {calendar}"


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def _table(path: Path) -> pd.DataFrame:
    rows = pd.read_csv(path)
    moments = pd.to_datetime(rows.pop("timestamp"), utc=True).dt.tz_localize(None)
    return rows.set_index(pd.DatetimeIndex(moments, name="timestamp"))


def _calendar(index: pd.DatetimeIndex, timezone: str, holidays: frozenset[date]) -> pd.DataFrame:
    wall = index.tz_localize("UTC").tz_convert(timezone).tz_localize(None)
    midnight = wall.normalize()
    days_off = pd.DatetimeIndex([pd.Timestamp(day) for day in sorted(holidays)])
    weekday, month_day = wall.day_of_week.to_numpy(), (wall.month * 100 + wall.day).to_numpy()
    angle = 2 * np.pi * wall.day_of_year.to_numpy() / 365.25
    columns: dict[str, Any] = {
        name: midnight.isin(days_off - pd.Timedelta(days=offset)) for name, offset in HOLIDAY_OFFSETS_DAYS.items()
    }
    columns |= {
        "slot": wall.hour.to_numpy() * 2 + wall.minute.to_numpy() // 30,
        "weekday": weekday,
        "bridge_day": (weekday == 0) & columns["before_holiday"] | (weekday == 4) & columns["after_holiday"],
        "year_end": (month_day >= 1222) | (month_day <= 105),
        "season_sin": np.sin(angle),
        "season_cos": np.cos(angle),
    }
    return pd.DataFrame({name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}, index=index)
