"""Neighbouring weather stations around a real temperature: seeded, and as rough as real ones.

Measured on 25 real stations of one utility, against their median: daily means differ with a spread of 0.6–2.2 °C (about
1.0) and a lag-1 autocorrelation of 0.26–0.57, constant biases run from −4.3 to +1.4 °C, and biases swing by 0.4–5.2 °C
through the day. A station here differs from the truth by

    regular bias   constant, by hour (stronger under a clear sky, changing with the season), by season, with advection
    unrest         heavy-tailed: turbulence of hours, episodes of one to three days, an episode that several stations share
    wander         drifts of weeks and of half a year: exposure, instruments, the neighbourhood
    delay          fronts reach it earlier or later
    delivery       coarse rounding (0.1, 0.5, 1 °C, 1 °F), gaps from one reading to two days, stuck readings of some hours
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from data.schema import Array, Utility

STATIONS, PROVIDERS = 1.0, 0.35
ROUNDINGS_C = (0.1, 0.1, 0.5, 1 / 1.8, 1.0)
HEAVY = 5.0
HOURS_A_YEAR = 8766
GAPS_A_YEAR, LONGEST_GAP_HOURS = 4, 48
STUCK_A_YEAR, LONGEST_STUCK_HOURS = 3, 5
MARGIN_HOURS = 60


@dataclass(frozen=True)
class _Weather:
    """What a station's bias depends on, each of shape (rows,): local hour, cosine and sine of the year, clearness 0–2.2 by
    the range of the last 24 hours, warming since the 24 hours before −2 to 2.
    """

    hour: Array
    winter: Array
    spring: Array
    clear: Array
    warming: Array


def simulate_stations(
    temperature_c: pd.Series, utility: Utility, seed: int, count: int, roughness: float = STATIONS
) -> pd.DataFrame:
    """Readings of `count` stations [°C], NaN where one said nothing; same index, columns their names.

    temperature_c: the truth, index UTC starts, regular with `utility.step`, three days or more. roughness scales all that
    differs from the truth except rounding, gaps and stuck readings: 1 for stations of one utility, 0.35 for providers that
    report one city.
    """
    random = np.random.default_rng([seed, 77])
    truth = temperature_c.to_numpy(dtype=np.float64)
    index = pd.DatetimeIndex(temperature_c.index)
    per_hour = int(pd.Timedelta(hours=1) / utility.step)
    weather = _weather(truth, utility.local(index), per_hour)
    shared = _autoregressive(random, len(truth), 30 * per_hour, tail=6.0)
    readings = {}
    for number in range(count):
        own = roughness * random.uniform(0.6, 1.5)
        difference = random.normal(0, 1.6) * roughness + random.normal(0, 0.55) * own * shared
        difference = difference + own * (_regular(random, weather) + _unrest(random, weather, per_hour))
        felt = truth * (1 + random.normal(0, 0.02) * roughness) + difference
        delay = round(random.normal(0, 25) * roughness / 60 * per_hour)
        readings[f"station-{number + 1}"] = _delivered(random, _delayed(felt, delay), per_hour)
    return pd.DataFrame(readings, index=index)


def _weather(truth: Array, local: pd.DatetimeIndex, per_hour: int) -> _Weather:
    day = pd.Series(truth).rolling(24 * per_hour, min_periods=1)
    mean = day.mean().to_numpy()
    year = 2 * np.pi * (local.day_of_year.to_numpy() - 15) / 365.25
    return _Weather(
        hour=(local.hour + local.minute / 60).to_numpy(dtype=np.float64),
        winter=np.cos(year),
        spring=np.sin(year),
        clear=((day.max() - day.min()) / 12).clip(0, 2.2).to_numpy(),
        warming=np.clip((mean - _delayed(mean, 24 * per_hour)) / 4, -2, 2),
    )


def _regular(random: np.random.Generator, weather: _Weather) -> Array:
    """Bias that returns with the hour, the season and the weather [°C at roughness 1]."""
    daily = np.cos(2 * np.pi * (weather.hour - random.uniform(0, 24)) / 24)
    daily *= random.uniform(0.2, 1.4) * (0.4 + 0.6 * weather.clear) * (1 + 0.4 * random.normal() * weather.winter)
    half_daily = 0.35 * random.normal() * np.cos(4 * np.pi * (weather.hour - random.uniform(0, 12)) / 24)
    seasonal = 0.5 * random.normal() * weather.winter + 0.35 * random.normal() * weather.spring
    return np.asarray(daily + half_daily + seasonal + 0.3 * random.normal() * weather.warming)


def _unrest(random: np.random.Generator, weather: _Weather, per_hour: int) -> Array:
    """What no calendar explains [°C at roughness 1]: turbulence, episodes, wander."""
    rows, day = len(weather.hour), 24 * per_hour
    half_year = np.where(weather.winter > 0, 1 + 0.3 * random.uniform(-1, 1), 1.0)
    return np.asarray(
        0.70 * _autoregressive(random, rows, 4 * per_hour, HEAVY)
        + 0.45 * _autoregressive(random, rows, 26 * per_hour, HEAVY) * half_year
        + 0.25 * _autoregressive(random, rows, 60 * per_hour, HEAVY)
        + 0.22 * _autoregressive(random, rows, 45 * day)
        + 0.15 * _autoregressive(random, rows, 200 * day)
    )


def _delivered(random: np.random.Generator, felt: Array, per_hour: int) -> Array:
    """What arrives of what was felt: rounded, with gaps and stuck readings."""
    step = random.choice(ROUNDINGS_C)
    readings: Array = np.round(np.round(felt / step) * step, 6)
    rows = len(readings)
    years, last_start = rows / per_hour / HOURS_A_YEAR, rows - MARGIN_HOURS * per_hour
    readings[random.random(rows) < random.uniform(0.0005, 0.01)] = np.nan
    for _ in range(random.poisson(GAPS_A_YEAR * years)):
        start, length = random.integers(last_start), random.integers(2, LONGEST_GAP_HOURS * per_hour)
        readings[start : start + length] = np.nan
    for _ in range(random.poisson(STUCK_A_YEAR * years)):
        start, length = random.integers(last_start), random.integers(2, LONGEST_STUCK_HOURS * per_hour)
        readings[start : start + length] = readings[start]
    return readings


def _autoregressive(random: np.random.Generator, rows: int, memory_rows: float, tail: float | None = None) -> Array:
    """AR(1) of unit variance whose memory fades by e in `memory_rows`; tail: degrees of freedom of Student's t shocks."""
    memory = np.exp(-1 / memory_rows)
    shocks = random.standard_normal(rows) if tail is None else random.standard_t(tail, rows) / np.sqrt(tail / (tail - 2))
    shocks[1:] *= np.sqrt(1 - memory**2)
    return np.asarray(lfilter([1.0], [1.0, -memory], shocks))


def _delayed(values: Array, rows: int) -> Array:
    """Values `rows` later, earlier where negative; the end values stand in for what is not known."""
    positions = np.clip(np.arange(len(values)) - rows, 0, len(values) - 1)
    return values[positions]
