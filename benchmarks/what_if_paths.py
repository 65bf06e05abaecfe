"""Temperature paths that no thermometer measured, made from real days: what a guard of what-if questions has to tell apart.

`python -m benchmarks.weather_plausibility` judges them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from data.schema import Array


# What a real day becomes: its path, another day's half a year away, hours since midnight, randomness.
@dataclass(frozen=True)
class RealDay:
    """path_c: by interval; other_c: the path of the day half a year away; hour: of each interval."""

    path_c: Array
    other_c: Array
    hour: Array


Made = Callable[[RealDay, np.random.Generator], Array]


def moved(celsius: float) -> Made:
    """An analyst's scenario: the whole day warmer or colder."""
    return lambda day, _random: day.path_c + celsius


def noise(celsius: float) -> Made:
    """White noise on top."""
    return lambda day, random: day.path_c + random.normal(0, celsius, len(day.path_c))


def spike(celsius: float) -> Made:
    """One interval off: a finite difference."""

    def made(day: RealDay, random: np.random.Generator) -> Array:
        where = np.arange(len(day.path_c)) == random.integers(1, len(day.path_c) - 1)
        return np.asarray(day.path_c + celsius * where)

    return made


def step(celsius: float) -> Made:
    """From noon on."""
    return lambda day, _random: day.path_c + celsius * (day.hour >= 12)


def sine(warmest: float) -> Made:
    """The day's mean and range, as a sine that is warmest at this hour."""

    def made(day: RealDay, _random: np.random.Generator) -> Array:
        swing = np.ptp(day.path_c) / 2
        return np.asarray(day.path_c.mean() + swing * np.cos(2 * np.pi * (day.hour - warmest) / 24))

    return made


def stretched(factor: float) -> Made:
    """The day's mean, its departures from it made larger or smaller."""
    return lambda day, _random: np.asarray(day.path_c.mean() + factor * (day.path_c - day.path_c.mean()))


def alternating(celsius: float) -> Made:
    """Up for an hour, down for an hour."""
    return lambda day, _random: day.path_c + celsius * np.where(day.hour.astype(int) % 2 == 0, 1.0, -1.0)


def signs(celsius: float) -> Made:
    """Each interval moved one way or the other, as gradient-sign attacks do."""
    return lambda day, random: np.asarray(day.path_c + celsius * random.choice([-1.0, 1.0], len(day.path_c)))


PATHS: Mapping[str, Made] = {
    **{f"analyst: {celsius:+g} °C all day": moved(celsius) for celsius in (1.0, 3.0, -3.0, 5.0, -5.0)},
    "analyst: afternoon 4 °C warmer": lambda day, _random: day.path_c + 4 * np.exp(-(((day.hour - 15) / 3) ** 2)),
    "moved: +10 °C all day": moved(10.0),
    "moved: −10 °C all day": moved(-10.0),
    **{f"white noise, {celsius:g} °C": noise(celsius) for celsius in (0.5, 1.0, 2.0)},
    **{f"gradient signs, ± {celsius:g} °C": signs(celsius) for celsius in (0.3, 1.0, 2.0)},
    **{f"one interval, {celsius:+g} °C": spike(celsius) for celsius in (1.0, 5.0, 10.0)},
    **{f"step at noon, {celsius:+g} °C": step(celsius) for celsius in (8.0, 15.0)},
    "up and down each hour, ± 1 °C": alternating(1.0),
    "up and down each hour, ± 3 °C": alternating(3.0),
    "constant at the day's mean": lambda day, _random: np.full(len(day.path_c), day.path_c.mean()),
    "constant at 20 °C": lambda day, _random: np.full(len(day.path_c), 20.0),
    "sine, warmest at 15:00": sine(15.0),
    "sine, warmest at 03:00": sine(3.0),
    "the day reversed": lambda day, _random: day.path_c[::-1].copy(),
    "the day half a day late": lambda day, _random: np.roll(day.path_c, len(day.path_c) // 2),
    "a day of the other half year": lambda day, _random: day.other_c,
    "departures × 2": stretched(2.0),
    "departures × 0.2": stretched(0.2),
    "straight up to 45 °C": lambda day, _random: np.linspace(day.path_c[0], 45.0, len(day.path_c)),
    "sawtooth over 40 °C": lambda day, _random: np.where(np.arange(len(day.path_c)) % 2 == 0, 0.0, 40.0),
}
