"""Forecasts one to seven days ahead, drawn as they are served: `python -m benchmarks.forecast_horizons [--learn]`.

Victoria, refitted monthly; every few days (`--every`) a whole week is forecast from what was known at one gate closure, each
further day from the medians of those before it. Weather: the yardstick's B, whose error goes on from the end of the first
day by 0.3 °C a day; that growth is assumed, not measured. `--learn` prints what forecasting/horizons.py holds, from 2013
(models fitted on 2012 and what came since); without it 2014 is measured, on which nothing was chosen.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from benchmarks.yardstick import AT_GATE_C, MEMORY, PER_HOUR_C, Maker, alone, months, realised, with_archive
from data.datasets import EmbeddedDataset, load_victoria
from data.schema import AVAILABLE_AT, DEMAND_MW, ISSUED_AT, PROVIDER, TEMPERATURE_C, VALID_AT, Array
from data.training_set import LONGEST_TRAINING
from data.weather_fusion import Profiles
from forecasting.any_quantile import at_levels
from forecasting.day_grid import window_days
from forecasting.ensemble import EnsembleForecaster
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS
from forecasting.horizons import LONGEST_DAYS_AHEAD, widening
from forecasting.prophet_forecaster import ProphetForecaster
from pipeline.ingest import Readings
from pipeline.predict import draw
from pipeline.publish import OpenedModel
from pipeline.weather_policy import WeatherContract, WeatherPolicy

FORECASTERS: dict[str, Maker] = {"ensemble": EnsembleForecaster, "weather-free fallback": ProphetForecaster}
FIRST_DAY_HOURS, A_DAY_FURTHER_C = 39.0, 0.3
TOLD_BY = "yardstick"
LEVELS = (0.01, 0.05, 0.1, 0.9, 0.95, 0.99)
HEADER = """\
| forecaster | days ahead | MAPE % | cover 80 % | cover 90 % | cover 98 % | width MW |
|---|---|---|---|---|---|---|"""


def weeks_ahead(make: Maker, dataset: EmbeddedDataset, year: int, every: int) -> pd.DataFrame:
    """Every forecast interval: `days_ahead`, `actual_mw`, `forecast_mw` and the deciles [MW]."""
    utility = dataset.utility
    answers = []
    for days in months(year):
        gate = utility.gate_closure_of(days[0])
        learned = with_archive(dataset) if make().needs_weather else realised(dataset)
        history = learned[(learned.index < gate) & (learned.index >= gate - LONGEST_TRAINING)]
        contract = WeatherContract(WeatherPolicy(TOLD_BY), Profiles({}), {})
        model = OpenedModel("bench", "bench", make().fit(history, utility), contract, history.index[-1])  # type: ignore[arg-type]
        for first in days[::every]:
            answers += list(_week(model, dataset, first))
    return pd.concat(answers)


def _week(model: OpenedModel, dataset: EmbeddedDataset, first: date) -> Iterator[pd.DataFrame]:
    readings = readings_of(dataset, first, weather=model.forecaster.needs_weather)
    # Without weather the fallback answers, as it does in a station.
    answers = partial(draw, readings, model, model, {}, first=first)
    before = [answers(first - timedelta(days=1)).forecast]
    for ahead in range(1, LONGEST_DAYS_AHEAD + 1):
        made = answers(first + timedelta(days=ahead - 1), before=before if ahead > 1 else ()).forecast
        before.append(made)
        actual = dataset.demand_mw.reindex(made.frame.index)
        if actual.notna().all():
            yield made.frame.assign(actual_mw=actual, days_ahead=ahead)


def readings_of(dataset: EmbeddedDataset, first: date, *, weather: bool) -> Readings:
    """What a station holds that forecasts the week from `first` on: nothing was issued after the gate closure."""
    utility = dataset.utility
    gate, last = utility.gate_closure_of(first), utility.day_index(first + timedelta(days=LONGEST_DAYS_AHEAD - 1))[-1]
    start = utility.day_index(first - timedelta(days=window_days(utility) + 1))[0]
    known_mw = dataset.demand_mw.loc[:last]
    index = pd.DatetimeIndex(known_mw.index)
    demand = pd.DataFrame({DEMAND_MW: known_mw, AVAILABLE_AT: index + utility.step}, index=index)
    told = dataset.temperature_c.loc[start:last] if weather else dataset.temperature_c.iloc[:0]
    moments = pd.DatetimeIndex(told.index)
    later = np.asarray(moments > gate - utility.step)
    said = told.to_numpy(dtype=np.float64).copy()
    said[later] += week_error_c(int(later.sum()), utility.step, first)
    measured_at = moments + utility.step
    rows = pd.DataFrame({PROVIDER: TOLD_BY, ISSUED_AT: measured_at, VALID_AT: moments, TEMPERATURE_C: said})
    rows.loc[later, ISSUED_AT] = gate
    return Readings(utility, demand, rows)


def week_error_c(intervals: int, step: pd.Timedelta, first: date) -> Array:
    """The yardstick's error of a forecast [°C], carried on to the end of the week."""
    random = np.random.default_rng(first.year * 10_000 + first.timetuple().tm_yday)
    shocks = random.standard_normal(intervals)
    shocks[1:] *= np.sqrt(1 - MEMORY**2)
    hours = np.arange(intervals) * (step / pd.Timedelta(hours=1))
    size = AT_GATE_C + PER_HOUR_C * np.minimum(hours, FIRST_DAY_HOURS)
    size += A_DAY_FURTHER_C * np.maximum(hours - FIRST_DAY_HOURS, 0) / 24
    error: Array = size * lfilter([1.0], [1.0, -MEMORY], shocks)
    return error


def learned(found: pd.DataFrame, *, weather: bool) -> tuple[float, ...]:
    """What each day's intervals, as they were learned, had to be multiplied by to hold 80 %, never falling."""
    wanted = []
    for ahead, rows in found.groupby("days_ahead"):
        median, off = rows[FORECAST_MW], rows["actual_mw"] - rows[FORECAST_MW]
        reach = np.where(off > 0, rows[QUANTILE_COLUMNS[-1]] - median, median - rows[QUANTILE_COLUMNS[0]])
        needed = float(np.quantile(off.abs() / reach, 0.8)) * widening(int(str(ahead)), weather=weather)
        wanted.append(max(1.0, needed))
    # The day ahead learned its own width.
    return tuple(round(float(by), 2) for by in np.maximum.accumulate([1.0, *wanted[1:]]))


def measured(name: str, ahead: int, rows: pd.DataFrame) -> str:
    """One Markdown row under `HEADER`."""
    actual = rows["actual_mw"].to_numpy()
    low1, low5, low10, high90, high95, high99 = at_levels(rows[list(QUANTILE_COLUMNS)].to_numpy(), LEVELS).T
    pairs = ((low10, high90), (low5, high95), (low1, high99))
    covers = [100 * float(((actual >= low) & (actual <= high)).mean()) for low, high in pairs]
    mape = 100 * float((np.abs(actual - rows[FORECAST_MW]) / actual).mean())
    told = " | ".join(f"{cover:.1f}" for cover in covers)
    return f"| {name} | {ahead} | {mape:.2f} | {told} | {float((high90 - low10).mean()):.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=3, help="days from one week's gate closure to the next one's")
    parser.add_argument("--learn", action="store_true", help="learn the widening from 2013 instead")
    parser.add_argument("--only", choices=tuple(FORECASTERS))
    given = parser.parse_args()
    if not given.learn:
        print(f"Victoria 2014, a week from a gate closure every {given.every} days, refitted monthly\n\n{HEADER}")
    for name in [given.only] if given.only else list(FORECASTERS):
        year = 2013 if given.learn else 2014
        found = alone(weeks_ahead, FORECASTERS[name], load_victoria(), year, given.every)
        if given.learn:
            print(f"{name}: {learned(found, weather=FORECASTERS[name]().needs_weather)}", flush=True)
            continue
        for ahead, rows in found.groupby("days_ahead"):
            print(measured(name, int(str(ahead)), rows), flush=True)


if __name__ == "__main__":
    main()
