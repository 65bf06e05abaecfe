"""Could this be a day's weather? Temperatures that somebody made up, held against physics and against what came before.

    physics      finite, inside −60 … 60 °C, no faster change and no wider day than half as much again as ever measured
    climate      each hour against the lowest and highest that its season has had             (path_climate)
    the day      as a whole and in its course, against the days that were measured; roughness outside their directions;
                 unrest and the largest step from interval to interval, midnight's among them; a flat line; the day before

The measures are brought to one scale by days that were held out of what they are held against; their largest is the
distance. 1 is as far as 1 in 100 real days; beyond it a day is unusual, and its interval grows with the distance; beyond
`REFUSED_AT` nothing that was measured is near, and no forecast means anything. Source of the calibration: Vovk, Gammerman,
Shafer (2005), "Algorithmic Learning in a Random World" (conformal p-values). AML.T0043 (crafted data), AML.T0015 (evasion).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Self

import numpy as np
import pandas as pd

from data.schema import Array, Integers, Utility
from forecasting.day_grid import DayGrid
from forecasting.errors import TooLittleHistory
from forecasting.path_climate import EVENING_HOURS, HOURS, PathClimate

NEEDED_DAYS = 42
PHYSICS_C = (-60.0, 60.0)
# Faster than any change that was measured anywhere over an hour or so.
FASTEST_C_PER_HOUR = 30.0
BEYOND_MEASURED = 1.5
# A short or smooth history has not seen how fast weather turns.
LEAST_FASTEST_C_PER_HOUR, LEAST_RANGE_C = 6.0, 15.0
FOLDS, BLOCK_DAYS = 5, 28
ONE_IN = 100
# Chosen on 2013 (python -m benchmarks.weather_plausibility).
REFUSED_AT = 2.0
GROWTH = 1.0
# What the forecast of an evening may be off by, one standard deviation, where nobody tells.
EVENING_DOUBT_C = 1.0
FLAT_C = 0.5
# Another summer may always be a little hotter.
LEAST_BEYOND_C = 2.0

BEYOND_HOUR, WHOLE, COURSE, ROUGHNESS, UNREST, SPIKE, FLATNESS, STEP, DAY_BEFORE = range(9)


class Verdict(StrEnum):
    """What is made of a path."""

    USUAL = "usual"
    UNUSUAL = "unusual"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Judgement:
    """reasons: in plain words, none for a usual path; distance: 1 is the edge of what is usual; p_value: the share of real
    days at least as far out; widening: how many times wider than usual the interval of its forecast is, 1 or more.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    distance: float
    p_value: float
    widening: float


@dataclass(frozen=True)
class WeatherPlausibility:
    """What a station's own measured temperatures teach. climate: see there; scale: what each measure reaches on 1 of 100
    held-out days, shape (measures,); edge: the largest measure on that scale that 1 of 100 reaches; held_out: that of each
    held-out day over `edge`, sorted; fastest_c: the largest change from one interval to the next that is believed [°C];
    widest_c: the largest range of a day [°C].
    """

    utility: Utility
    climate: PathClimate
    scale: Array
    edge: float
    held_out: Array
    fastest_c: float
    widest_c: float

    @classmethod
    def learn(cls, temperature_c: pd.Series, utility: Utility) -> Self:
        """From measured temperatures [°C], index UTC, at the utility's step, gaps allowed, in any order.

        Raises TooLittleHistory below 42 days that are whole.
        """
        measured = temperature_c.sort_index()
        grid = DayGrid.of(pd.DatetimeIndex(measured.index), utility)
        paths = grid.fold(measured.to_numpy(dtype=np.float64, na_value=np.nan))
        whole = np.flatnonzero(np.isfinite(paths).all(axis=1))
        if len(whole) < NEEDED_DAYS:
            raise TooLittleHistory(found_days=len(whole), needed_days=NEEDED_DAYS)
        days = [grid.days[int(row)] for row in whole]
        before = np.where((whole > 0)[:, None], paths[whole - 1], np.nan)
        values = _held_out_measures(days, paths[whole], before)
        scale = np.maximum(np.array([_reached(column[np.isfinite(column)]) for column in values.T]), 1e-9)
        scale[BEYOND_HOUR] = max(scale[BEYOND_HOUR], LEAST_BEYOND_C)
        largest = np.nanmax(values / scale, axis=1)
        edge = _reached(largest)
        hours = utility.step / pd.Timedelta(hours=1)
        fastest_c = BEYOND_MEASURED * float(np.nanmax(np.abs(np.diff(paths.ravel()))))
        return cls(
            utility=utility,
            climate=PathClimate.learn(days, _hourly(paths[whole]), _evening(before)),
            scale=scale,
            edge=edge,
            held_out=np.sort(largest / edge),
            fastest_c=min(max(fastest_c, LEAST_FASTEST_C_PER_HOUR * hours), FASTEST_C_PER_HOUR),
            widest_c=max(BEYOND_MEASURED * float(np.ptp(paths[whole], axis=1).max()), LEAST_RANGE_C),
        )

    def judge(
        self, day: date, path_c: Array, day_before_c: Array | None = None, evening_doubt_c: float = np.nan
    ) -> Judgement:
        """Judge the temperatures of local day `day`, one for each of its intervals.

        day_before_c: those of the local day before, by interval, as they are known (NaN where they are not; None: not at
        all); evening_doubt_c: how far off these may be, one standard deviation, NaN where nobody tells.
        Raises ValueError for another number of intervals than the day has.
        """
        expected = len(self.utility.day_index(day))
        if path_c.shape != (expected,):
            raise ValueError(f"{path_c.shape} temperatures for the {expected} intervals of {day}")
        broken = self._broken_physics(path_c)
        if broken:
            return Judgement(Verdict.IMPOSSIBLE, broken, float("inf"), self._share_beyond(np.inf), float("inf"))
        path = _folded(day, path_c, self.utility)
        before: Array = np.full(len(path), np.nan)
        if day_before_c is not None:
            before = _folded(day - timedelta(days=1), day_before_c, self.utility)
        # What the day before may be off by is not held against the day.
        doubt_c = 2 * (EVENING_DOUBT_C if np.isnan(evening_doubt_c) else evening_doubt_c)
        kinder = before + np.clip(path[0] - before[-1], -doubt_c, doubt_c)
        values = np.fmin(*(_measures(self.climate, [day], path[None], known[None])[0] for known in (before, kinder)))
        ratio = values / (self.scale * self.edge)
        distance = float(np.nanmax(ratio))
        verdict = Verdict.USUAL
        if distance > 1:
            verdict = Verdict.UNUSUAL if distance <= REFUSED_AT else Verdict.IMPOSSIBLE
        reasons = tuple(
            self._reason(int(number), float(ratio[number]), day, path, before)
            for number in np.argsort(-np.nan_to_num(ratio), kind="stable")
            if ratio[number] > 1
        )
        return Judgement(verdict, reasons, distance, self._share_beyond(distance), widening_at(distance))

    def _share_beyond(self, distance: float) -> float:
        """The conformal p-value."""
        beyond = len(self.held_out) - int(np.searchsorted(self.held_out, distance, side="left"))
        return (beyond + 1) / (len(self.held_out) + 1)

    def _broken_physics(self, path_c: Array) -> tuple[str, ...]:
        """What no weather does."""
        if not np.isfinite(path_c).all():
            return ("a temperature is not a number",)
        reasons = []
        low, high = float(path_c.min()), float(path_c.max())
        if low < PHYSICS_C[0] or high > PHYSICS_C[1]:
            reasons.append(f"{low:.1f} to {high:.1f} °C leaves what air can be, {PHYSICS_C[0]:.0f} to {PHYSICS_C[1]:.0f} °C")
        if high - low > self.widest_c:
            reasons.append(f"{high - low:.1f} °C between the day's extremes, {self.widest_c:.1f} °C at most are believed")
        change: Array = np.abs(np.diff(path_c))
        minutes = self.utility.step / pd.Timedelta(minutes=1)
        if len(change) and change.max() > self.fastest_c:
            told = f"{change.max():.1f} °C within {minutes:.0f} minutes"
            reasons.append(f"{told}, {self.fastest_c:.1f} °C at most are believed")
        return tuple(reasons)

    def _reason(self, number: int, ratio: float, day: date, path: Array, before: Array) -> str:
        """Why a measure is beyond what is usual, in plain words."""
        hourly = _hourly(path[None, :])[0]
        if number == BEYOND_HOUR:
            hour = int(self.climate.beyond([day], hourly[None, :])[0].argmax())
            low, high = (float(bound[hour]) for bound in self.climate.seen_c(day))
            said = f"{hourly[hour]:.1f} °C at {hour:02d}:00, where this season has had {low:.1f} to {high:.1f} °C"
        elif number == WHOLE:
            said = "the day as a whole lies outside the days that were measured at this season"
        elif number == COURSE:
            said = "it warms and cools at other hours than the days that were measured"
        elif number == ROUGHNESS:
            said = "it goes up and down within hours as no measured day does"
        elif number == UNREST:
            said = f"{np.abs(np.diff(path, 2)).mean():.2f} °C of unrest from interval to interval"
        elif number == SPIKE:
            said = f"a spike of {np.abs(np.diff(path, 2)).max() / 2:.1f} °C in one interval"
        elif number == FLATNESS:
            said = f"only {np.ptp(path):.1f} °C between the day's extremes"
        elif number == STEP:
            said = f"it begins at {path[0]:.1f} °C, after {before[-1]:.1f} °C at the end of the day before"
            if not np.abs(path[0] - before[-1]) > np.abs(np.diff(path)).max():
                said = f"a step of {np.abs(np.diff(path)).max():.1f} °C from one interval to the next"
        else:
            change = float(path.mean() - before.mean())
            said = f"{abs(change):.1f} °C {'warmer' if change > 0 else 'colder'} than the day before"
        return f"{said}: {ratio:.1f} times as far as 99 of 100 days go"


def widening_at(distance: float) -> float:
    """How many times wider the interval of a forecast is at this distance: not at all up to 1, then growing with it."""
    return float(max(distance, 1.0) ** GROWTH)


def _held_out_measures(days: Sequence[date], paths: Array, before: Array) -> Array:
    """The measures of each day against what the other blocks of days teach, shape (days, measures)."""
    since = np.array([(day - days[0]).days for day in days], dtype=np.int64)
    fold = since // max(1, min(BLOCK_DAYS, (int(since[-1]) + 1) // FOLDS)) % FOLDS
    values = np.empty((len(days), DAY_BEFORE + 1))
    for number in range(FOLDS):
        out = np.flatnonzero(fold == number)
        others = np.flatnonzero(fold != number)
        learned = PathClimate.learn(_at(days, others), _hourly(paths[others]), _evening(before[others]))
        values[out] = _measures(learned, _at(days, out), paths[out], before[out])
    return values


def _measures(climate: PathClimate, days: Sequence[date], paths: Array, before: Array) -> Array:
    """Each grows in proportion to the size of what it measures, shape (days, measures); NaN where none is known before."""
    hourly = _hourly(paths)
    bent = np.abs(np.diff(paths, 2, axis=1))
    values = np.empty((len(days), DAY_BEFORE + 1))
    values[:, BEYOND_HOUR] = climate.beyond(days, hourly).max(axis=1)
    values[:, WHOLE], values[:, ROUGHNESS] = climate.distance(days, hourly)
    values[:, COURSE] = climate.course_distance(days, hourly, _evening(before))
    values[:, UNREST], values[:, SPIKE] = bent.mean(axis=1), bent.max(axis=1)
    values[:, FLATNESS] = 1 / (np.ptp(paths, axis=1) + FLAT_C)
    # Fronts come at any hour: midnight is one of them.
    at_midnight = np.nan_to_num(np.abs(paths[:, 0] - before[:, -1]))
    values[:, STEP] = np.maximum(np.abs(np.diff(paths, axis=1)).max(axis=1), at_midnight)
    values[:, DAY_BEFORE] = np.abs(paths.mean(axis=1) - before.mean(axis=1))
    return values


def _reached(values: Array) -> float:
    """What 1 in 100 of these reaches; of fewer than 100, the largest of them."""
    rank = min(len(values), int(np.ceil((len(values) + 1) * (1 - 1 / ONE_IN))))
    return float(np.sort(values)[rank - 1])


def _hourly(paths: Array) -> Array:
    hourly: Array = paths.reshape(len(paths), HOURS, -1).mean(axis=2)
    return hourly


def _evening(before: Array) -> Array:
    """Mean of the last three hours before each day [°C], shape (days,)."""
    mean: Array = before[:, -EVENING_HOURS * before.shape[1] // HOURS :].mean(axis=1)
    return mean


def _folded(day: date, by_interval: Array, utility: Utility) -> Array:
    """By time of day, as forecasters see it: the hour that daylight saving repeats averaged, the one it skips bridged."""
    path: Array = DayGrid.of(utility.day_index(day), utility).fold(by_interval)[0]
    return path


def _at(days: Sequence[date], rows: Integers) -> list[date]:
    return [days[int(row)] for row in rows]
