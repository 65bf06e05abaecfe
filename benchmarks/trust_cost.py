"""What the weather watch costs, and what a lie that it meets does to the forecast.

Five providers, three years of half hours, demand told. CPU time of one thread.
"""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

import numpy as np
import pandas as pd

from benchmarks.trust_runs import ROWS_AN_HOUR, advance, lie_of, new_watch, row_of, victoria
from benchmarks.yardstick import run_year
from data.rough_stations import STATIONS, simulate_stations
from data.schema import Array
from data.trust.watch import WeatherWatch
from forecasting.ensemble import EnsembleForecaster
from forecasting.metrics import score

SOURCES, SEED = 5, 0
STREAMED_DAYS, WARM_UP_DAYS = 20, 10
ROWS_A_DAY = 24 * ROWS_AN_HOUR
SECONDS_BAR, READING_BAR_US = 3.0, 1000.0

DAMAGED_YEAR, DAMAGED_SOURCES, LIAR = 2014, 3, 0
FIRST_MOMENT = pd.Timestamp(DAMAGED_YEAR, 1, 1, tz="UTC")
DAMAGING = ("offset+3", "mild+2", "ramp+0.02", "patient")
REVOKED = "no lie, one of three revoked"
DAMAGE_BARS = dict.fromkeys(DAMAGING, 0.05) | {"patient": 0.10}

COST_HEADER = "| cost | measured | bar | missed |\n|---|---|---|---|"
DAMAGE_HEADER = "| from 1 January 2014 | MAPE % | clean | points | bar | missed |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Cost:
    """history_s: all rows at once; row_us: CPU time of each row streamed [µs]; growth_kb: memory held after the last
    streamed days beyond what was held before them.
    """

    history_s: float
    row_us: Array
    growth_kb: float


def measured_cost() -> Cost:
    """Fuse the history at once; then stream its last days one row at a time, timed first, weighed in a second pass."""
    readings = simulate_stations(victoria().temperature_c, victoria().utility, SEED, SOURCES, STATIONS).to_numpy()
    began = time.process_time()
    advance(_watch(), readings, 0, len(readings), demand=True)
    history_s = time.process_time() - began
    first = len(readings) - STREAMED_DAYS * ROWS_A_DAY
    row_us = [_row_us(watch, readings, row) for watch in [_advanced(readings, first)] for row in range(first, len(readings))]
    return Cost(history_s, np.array(row_us), _growth_kb(readings, first))


def cost_rows(cost: Cost) -> list[str]:
    """Markdown rows under `COST_HEADER`."""
    reading_us = cost.row_us / SOURCES
    figures = [f"{name} {value:.0f} µs" for name, value in _spread(reading_us)]
    slow, late = cost.history_s > SECONDS_BAR, float(reading_us.max()) > READING_BAR_US
    row = ", ".join(f"{name} {value:.0f} µs" for name, value in _spread(cost.row_us))
    return [
        f"| five providers, three years, half hours | {cost.history_s:.2f} s | {SECONDS_BAR:.0f} s | {_missed(slow)} |",
        f"| one reading of five, streamed | {', '.join(figures)} | {READING_BAR_US:.0f} µs | {_missed(late)} |",
        f"| a row of five readings, streamed | {row} | – | |",
        f"| memory growth in {STREAMED_DAYS - WARM_UP_DAYS} streamed days | {cost.growth_kb:.0f} kB | flat | |",
    ]


def mape_percent(attack: str | None) -> float:
    """Day-ahead MAPE of the linear member in 2014, realised weather, when the fused temperature is all it ever sees.

    Of the first seed whose honest sources are all heard when the lie begins.
    """
    dataset = victoria()
    start = row_of(FIRST_MOMENT)
    for seed in count():
        stations = simulate_stations(dataset.temperature_c, dataset.utility, seed, DAMAGED_SOURCES, STATIONS)
        readings, watch = stations.to_numpy(copy=True), new_watch(list(stations.columns))
        before = advance(watch, readings, 0, start, demand=True)
        if len(watch.heard) == DAMAGED_SOURCES:
            break
    if attack == REVOKED:
        watch.set_standing(watch.names[LIAR], "revoked", FIRST_MOMENT, "left out to compare", FIRST_MOMENT)
    elif attack is not None:
        lie = lie_of(attack, watch, LIAR)
        readings[:, LIAR] = lie(readings[:, LIAR], start, ROWS_AN_HOUR, np.random.default_rng(SEED))
    after = advance(watch, readings, start, len(readings), demand=True)
    fused_c = np.concatenate([before.temperature_c, after.temperature_c])
    seen = replace(dataset, temperature_c=pd.Series(fused_c, index=dataset.temperature_c.index))
    ran = run_year(partial(EnsembleForecaster, "linear", ("linear",)), seen, DAMAGED_YEAR, "A")
    return score(dataset.demand_mw, ran.forecast)["mape_percent"]


def damage_row(attack: str, mape: float, clean: float) -> str:
    """A Markdown row under `DAMAGE_HEADER`; without a bar for what is no lie."""
    bar = DAMAGE_BARS.get(attack)
    judged = "– |" if bar is None else f"{bar:.2f} | {_missed(mape - clean > bar)}"
    return f"| {attack} | {mape:.3f} | {clean:.3f} | {mape - clean:+.3f} | {judged} |"


def _watch() -> WeatherWatch:
    return new_watch([f"station-{number + 1}" for number in range(SOURCES)])


def _advanced(readings: Array, stop: int) -> WeatherWatch:
    watch = _watch()
    advance(watch, readings, 0, stop, demand=True)
    return watch


def _take(watch: WeatherWatch, readings: Array, row: int) -> None:
    said = dict(zip(watch.names, readings[row].tolist(), strict=True))
    watch.take(victoria().temperature_c.index[row], said, float(victoria().demand_mw.iloc[row]))


def _row_us(watch: WeatherWatch, readings: Array, row: int) -> float:
    began = time.process_time_ns()
    _take(watch, readings, row)
    return (time.process_time_ns() - began) / 1000


def _growth_kb(readings: Array, first: int) -> float:
    watch, held = _advanced(readings, first), 0
    tracemalloc.start()
    for row in range(first, len(readings)):
        if row == first + WARM_UP_DAYS * ROWS_A_DAY:
            held = tracemalloc.get_traced_memory()[0]
        _take(watch, readings, row)
    growth = tracemalloc.get_traced_memory()[0] - held
    tracemalloc.stop()
    return growth / 1024


def _spread(values: Array) -> tuple[tuple[str, float], ...]:
    return ("median", float(np.median(values))), ("99 %", float(np.quantile(values, 0.99))), ("largest", float(values.max()))


def _missed(missed: bool) -> str:
    return "missed" if missed else "none"
