"""Days as points: freed of the season's mean, in units of the season's spread, along the main directions of their cloud.

The directions are learned with heavy tails in mind: a heat wave must not bend what is usual. Sources: Kent & Tyler (1991),
"Redescending M-estimates of multivariate location and scatter", Ann. Statist. 19; Jolliffe (2002), "Principal Component
Analysis".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self

import numpy as np

from data.schema import Array, Integers

# With little history a season that was not seen leans on those that were: worth so many days.
LEANING_DAYS = 10.0
SMALLEST_SPREAD_C = 0.2
# Student's t with so many degrees of freedom: the further out a day, the less it says of what is usual.
FREEDOM = 5.0
ROUNDS = 8
# A touch of the mean variance everywhere: no direction is ever without any.
SHRUNK = 1e-3


@dataclass(frozen=True)
class SeasonCloud:
    """mean_c, spread_c: coefficients of the seasons, shape (5, hours) [°C]; centre: shape (hours,); directions: shape
    (hours, kept); size: deviation along each; rest: deviation outside them. Spreads.
    """

    mean_c: Array
    spread_c: Array
    centre: Array
    directions: Array
    size: Array
    rest: float

    @classmethod
    def learn(cls, days: Sequence[date], hourly_c: Array, directions: int) -> Self:
        """From one row a day, shape (days, hours) [°C]."""
        seasons = seasons_of(days)
        mean_c = _regressed(seasons, hourly_c)
        spread_c = _regressed(seasons, np.abs(hourly_c - seasons @ mean_c))
        centre, covariance = _heavy_tailed((hourly_c - seasons @ mean_c) / _floored(seasons @ spread_c))
        variance, along = np.linalg.eigh(covariance)
        variance, along = variance[::-1], along[:, ::-1]
        return cls(
            mean_c=mean_c,
            spread_c=spread_c,
            centre=centre,
            directions=along[:, :directions],
            size=np.sqrt(variance[:directions]),
            rest=float(np.sqrt(variance[directions:].mean())),
        )

    def standard(self, days: Sequence[date], hourly_c: Array) -> Array:
        """Each hour freed of its season, in spreads; shape (days, hours)."""
        seasons = seasons_of(days)
        freed: Array = (hourly_c - seasons @ self.mean_c) / _floored(seasons @ self.spread_c)
        return freed

    def points(self, days: Sequence[date], hourly_c: Array) -> tuple[Array, Array]:
        """Where each day lies along the main directions, in deviations, shape (days, kept), and how much of it lies outside
        them, 1 is usual, shape (days,).
        """
        off = self.standard(days, hourly_c) - self.centre
        along = off @ self.directions
        outside = off - along @ self.directions.T
        free = off.shape[1] - along.shape[1]
        return along / self.size, np.sqrt((outside**2).sum(axis=1) / free) / self.rest


def day_of_year(days: Sequence[date]) -> Integers:
    """0 for the first of January, shape (days,)."""
    dates = np.array(days, dtype="datetime64[D]")
    return np.asarray((dates - dates.astype("datetime64[Y]")).astype(np.int64))


def seasons_of(days: Sequence[date]) -> Array:
    """One and two waves a year, shape (days, 5)."""
    angle = 2 * np.pi * day_of_year(days) / 365.25
    return np.column_stack([np.ones(len(days)), np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)])


def _regressed(seasons: Array, values: Array) -> Array:
    penalty = np.diag([0.0, *[LEANING_DAYS] * (seasons.shape[1] - 1)])
    return np.asarray(np.linalg.solve(seasons.T @ seasons + penalty, seasons.T @ values), dtype=np.float64)


def _floored(spread_c: Array) -> Array:
    """A season that was never seen could be told a spread of nothing, or less."""
    return np.maximum(spread_c, SMALLEST_SPREAD_C)


def _heavy_tailed(standard: Array) -> tuple[Array, Array]:
    """Centre and covariance of a cloud with heavy tails: days count the less, the further out they lie."""
    hours = standard.shape[1]
    squared: Array = np.zeros(len(standard))
    for _ in range(ROUNDS):
        weight: Array = (FREEDOM + hours) / (FREEDOM + squared)
        centre: Array = weight @ standard / weight.sum()
        off = standard - centre
        covariance: Array = (weight[:, None] * off).T @ off / weight.sum()
        covariance += SHRUNK * np.trace(covariance) / hours * np.eye(hours)
        squared = np.einsum("ij,ij->i", off, np.linalg.solve(covariance, off.T).T)
    return centre, covariance
