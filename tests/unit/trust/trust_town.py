"""A made-up town with honest thermometers, for the tests of the watch: seeded, a year of baseline and some weeks to judge.

Arrays that come from here are shared and read-only; `lied` makes a changed copy. A baseline is learned once and copied.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from data.schema import Array
from data.trust.rules import TrustRules
from data.trust.watch import Progress, WeatherWatch

HOUR = pd.Timedelta(hours=1)
DAY = 24
BASELINE_DAYS = 365
RULES = TrustRules(baseline_days=BASELINE_DAYS)
SHORT = TrustRules(baseline_days=60)


@dataclass(frozen=True, eq=False)
class Town:
    """index: UTC; truth_c, demand_mw: shape (rows,); readings: (rows, names) [°C] to a tenth; start: first judged row."""

    timezone: str
    step: pd.Timedelta
    names: tuple[str, ...]
    index: pd.DatetimeIndex
    truth_c: Array
    readings: Array
    demand_mw: Array
    start: int

    @property
    def judged_truth_c(self) -> Array:
        """The truth after the baseline [°C]."""
        return self.truth_c[self.start :]


@lru_cache
def town(
    sources: int = 3,
    days: int = 425,
    seed: int = 1,
    timezone: str = "Europe/Berlin",
    start: str = "2020-05-01",
    step: pd.Timedelta = HOUR,
) -> Town:
    """A town with `sources` honest thermometers: seasons, days, passing weather; each with a bias and noise of its own."""
    first, learned, end = (
        (pd.Timestamp(start) + pd.Timedelta(days=day)).tz_localize(timezone).tz_convert("UTC")
        for day in (0, BASELINE_DAYS, days)
    )
    index = pd.date_range(first, end, freq=step, inclusive="left", name="timestamp")
    random = np.random.default_rng(seed)

    def wandering(spread: float, hours: float) -> Array:
        memory = np.exp(-step / HOUR / hours)
        return np.asarray(lfilter([spread * np.sqrt(1 - memory**2)], [1, -memory], random.standard_normal(len(index))))

    local = index.tz_convert(timezone)
    hour = 2 * np.pi * (local.hour + local.minute / 60).to_numpy() / 24
    season = 2 * np.pi * (local.day_of_year.to_numpy() - 20) / 365.25
    truth = 13 - 6 * np.cos(season) - 4 * np.cos(hour - 0.6) + wandering(2.5, 60)
    biases = np.linspace(-0.5, 0.5, sources) if sources > 1 else np.zeros(1)
    readings = np.column_stack([truth + bias + wandering(0.3, 4) for bias in biases]).round(1)
    degrees = 14 * np.maximum(0, 17 - truth) + 12 * np.maximum(0, truth - 18)
    working = np.where(local.day_of_week < 5, 120, 0)
    demand = 900 + degrees + working - 150 * np.cos(hour) + random.normal(0, 8, len(index))
    for array in (truth, readings, demand):
        array.flags.writeable = False
    return Town(
        timezone, step, tuple("abcdefgh"[:sources]), index, truth, readings, demand, int(index.searchsorted(learned))
    )


def lied(place: Town, source: int, lie: Callable[[Array], Array], first_day: int, last_day: int | None = None) -> Array:
    """All readings, one source's from judged day `first_day` until `last_day` replaced by what `lie` makes of them."""
    readings = place.readings.copy()
    part = slice(place.start + first_day * DAY, None if last_day is None else place.start + last_day * DAY)
    readings[part, source] = lie(readings[part, source])
    return readings


def after_baseline(place: Town, *, demand: bool = True) -> WeatherWatch:
    """A watch of its own that has learned the baseline of the place."""
    return copy.deepcopy(_learned(place, demand))


@lru_cache
def _learned(place: Town, demand: bool) -> WeatherWatch:
    watch = WeatherWatch(place.names, place.timezone, place.step, RULES)
    part = slice(0, place.start)
    watch.advance(place.index[part], place.readings[part], place.demand_mw[part] if demand else None)
    return watch


def judge(watch: WeatherWatch, place: Town, readings: Array, *, demand: bool = True, rows: slice = slice(None)) -> Progress:
    """Let the watch go through `rows` of the judged part."""
    part = range(place.start, len(place.index))[rows]
    cut = slice(part.start, part.stop)
    return watch.advance(place.index[cut], readings[cut], place.demand_mw[cut] if demand else None)


def judged(place: Town, readings: Array, *, demand: bool = True) -> tuple[WeatherWatch, Progress]:
    """A watch after the whole judged part, and what it answered there."""
    watch = after_baseline(place, demand=demand)
    return watch, judge(watch, place, readings, demand=demand)


def come_to(progress: Progress, state: str) -> list[str]:
    """Who came to that standing, in order."""
    return [event.provider for event in progress.events if event.to_state == state]


def row_of(place: Town, day: int) -> int:
    """The first row of judged day `day`."""
    return place.start + day * DAY


def mean_error(place: Town, progress: Progress) -> float:
    """Mean absolute error of the fused temperature over the judged days [°C]."""
    return float(np.abs(progress.temperature_c - place.judged_truth_c).mean())
