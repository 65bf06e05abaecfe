"""The accuracy yardstick: Victoria day ahead, gate closure 09:00, refitted monthly, every forecaster treated alike.

Weather A is realised temperature. Weather B adds, from each day's gate closure on, an error that grows with lead time:
0.5 to 2.0 °C over 39 h, AR(1) of 0.97 a half hour, drawn anew for each day. In B a forecaster also learns from the archive
that a utility has: what had been forecast of each past interval by the gate closure of its own day.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from data.datasets import EmbeddedDataset
from data.schema import DEMAND_MW, FORECAST_TEMPERATURE_C, TEMPERATURE_C, Utility, days_between
from data.training_set import LONGEST_TRAINING
from forecasting.day_grid import known_until_gate
from forecasting.forecaster import Forecaster
from forecasting.metrics import cover_80_percent, score
from forecasting.regimes import DAY_KINDS, WEATHER_REGIMES, day_kind, day_means, weather_bounds, weather_regime

WEATHERS = ("A", "B")
KINDS = (*WEATHER_REGIMES, *DAY_KINDS)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
AT_GATE_C, PER_HOUR_C, MEMORY = 0.5, 1.5 / 39, 0.97

Maker = Callable[[], Forecaster]
Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Year:
    """One forecaster's year in one weather; CPU time.

    forecast: columns `forecast_mw`, `q10` … `q90` [MW]; day_ms: a forecast with nine quantiles, explained where the
    forecaster can; total_s: the whole backtest with its twelve refits.
    """

    forecast: pd.DataFrame
    refit_s: float
    day_ms: float
    total_s: float


def weather_error_c(utility: Utility, day: date) -> pd.Series:
    """The error of the forecast issued for `day` [°C], gate closure to day's end; seed: year · 10 000 + day of year."""
    gate = utility.gate_closure_of(day)
    index = pd.date_range(gate, utility.day_index(day)[-1], freq=utility.step)
    shocks = np.random.default_rng(day.year * 10_000 + day.timetuple().tm_yday).standard_normal(len(index))
    shocks[1:] *= np.sqrt(1 - MEMORY**2)
    path = lfilter([1.0], [1.0, -MEMORY], shocks)
    lead_hours = np.asarray((index - gate) / pd.Timedelta(hours=1))
    return pd.Series((AT_GATE_C + PER_HOUR_C * lead_hours) * path, index=index, name=TEMPERATURE_C)


def with_weather_error(known: pd.DataFrame, dataset: EmbeddedDataset, day: date) -> pd.DataFrame:
    """Weather B of `day`: realised temperature plus its error after the gate closure."""
    error = weather_error_c(dataset.utility, day)
    altered = known.copy()
    altered.loc[error.index, TEMPERATURE_C] += error
    return altered


def realised(dataset: EmbeddedDataset) -> pd.DataFrame:
    """Demand and realised temperature: what a forecaster learns from in A."""
    return pd.DataFrame({DEMAND_MW: dataset.demand_mw, TEMPERATURE_C: dataset.temperature_c})


def with_archive(dataset: EmbeddedDataset) -> pd.DataFrame:
    """The same with what had been forecast of each interval by the gate closure of its own day: what it learns from in B."""
    utility = dataset.utility
    local = utility.local(pd.DatetimeIndex(dataset.demand_mw.index))
    days = days_between(local[0].date(), local[-1].date())
    error = pd.concat([weather_error_c(utility, day).loc[utility.day_index(day)[0] :] for day in days])
    frame = realised(dataset)
    return frame.assign(**{FORECAST_TEMPERATURE_C: frame[TEMPERATURE_C] + error.reindex(frame.index)})


def months(year: int) -> Iterator[list[date]]:
    """The days of each month."""
    for month in range(1, 13):
        after = date(year + month // 12, month % 12 + 1, 1)
        yield days_between(date(year, month, 1), after - timedelta(days=1))


def run_year(make: Maker, dataset: EmbeddedDataset, year: int, weather: str) -> Year:
    """Every local day of `year`, refitted at the gate closure of each month's first day."""
    utility = dataset.utility
    frame = realised(dataset)
    learned = with_archive(dataset) if weather == "B" else frame
    answers: list[pd.DataFrame] = []
    fit_seconds: list[float] = []
    day_seconds: list[float] = []
    started = time.process_time()
    for days in months(year):
        gate = utility.gate_closure_of(days[0])
        history = learned[(learned.index < gate) & (learned.index >= gate - LONGEST_TRAINING)]
        began = time.process_time()
        forecaster = make().fit(history, utility)
        fit_seconds.append(time.process_time() - began)
        for day in days:
            known = known_until_gate(frame, utility, day)
            if weather == "B":
                known = with_weather_error(known, dataset, day)
            began = time.process_time()
            answers.append(_forecast(forecaster, known, day))
            day_seconds.append(time.process_time() - began)
    total_s = time.process_time() - started
    return Year(pd.concat(answers), float(np.mean(fit_seconds)), float(np.mean(day_seconds)) * 1000, total_s)


def evaluate(
    make: Maker, dataset: EmbeddedDataset, year: int, weathers: tuple[str, ...] = WEATHERS
) -> dict[str, dict[str, float]]:
    """Scores by weather, with `refit_s`, `day_ms`, `total_s`, `peak_mb` and the cover of each kind of day by its name.

    peak_mb: of this process so far. A forecaster that reads no weather has one answer, under A.
    """
    found = {}
    for weather in weathers if make().needs_weather else ("A",):
        ran = run_year(make, dataset, year, weather)
        cost = {"refit_s": ran.refit_s, "day_ms": ran.day_ms, "total_s": ran.total_s, "peak_mb": peak_mb()}
        found[weather] = score(dataset.demand_mw, ran.forecast) | cost | cover_by_kind(ran.forecast, dataset, year)
    return found


def cover_by_kind(forecast: pd.DataFrame, dataset: EmbeddedDataset, year: int) -> dict[str, float]:
    """Cover of [q10, q90] [%] by kind of day and weather regime: realised daily means against those of the years before."""
    utility = dataset.utility
    days = [day for month in months(year) for day in month]
    before = dataset.temperature_c.loc[: utility.gate_closure_of(days[0])]
    means = day_means(dataset.temperature_c, utility).reindex(pd.DatetimeIndex(days)).to_numpy(dtype=np.float64)
    regime = weather_regime(means, weather_bounds(before, utility))
    kind = day_kind(days, utility)
    named = pd.DataFrame({"regime": [WEATHER_REGIMES[code] for code in regime], "kind": [DAY_KINDS[code] for code in kind]})
    midnight = utility.local(pd.DatetimeIndex(forecast.index)).tz_localize(None).normalize()
    of_row = named.set_index(pd.DatetimeIndex(days)).loc[midnight]
    inside = {name: (of_row == name).any(axis=1).to_numpy() for name in KINDS}
    return {name: cover_80_percent(dataset.demand_mw, forecast[rows]) for name, rows in inside.items()}


def peak_mb() -> float:
    """Peak memory of this process [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(work: Callable[..., Found], *given: Any) -> Found:
    """What `work` answers in a process of its own, on one thread: its peak memory and its seconds are nobody else's."""
    os.environ.update(ONE_THREAD)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def _forecast(forecaster: Forecaster, known: pd.DataFrame, day: date) -> pd.DataFrame:
    explained = getattr(forecaster, "predict_explained", None)
    answer: pd.DataFrame = forecaster.predict(known, day) if explained is None else explained(known, day)[0]
    return answer
