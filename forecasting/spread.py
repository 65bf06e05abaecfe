"""How far a forecast of such a day usually misses, and the quantiles that follow from it.

The spread of a day is learned by weather regime, time of day and kind of day from residuals of fits that had not seen it.
Residual over spread is a score; quantiles of scores times the spread are the forecast's quantiles, which cannot cross.
Scores of the last known weeks count more than those of the training days, so that the intervals follow when behaviour
changes. Sources: Lei, G'Sell, Rinaldo, Tibshirani, Wasserman (2018), section 5.2 (locally weighted conformal); Barber,
Candès, Ramdas, Tibshirani (2023), "Conformal prediction beyond exchangeability" (recent scores weigh more).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from data.schema import QUANTILES, Array, Integers, Utility
from forecasting.day_table import DayTable
from forecasting.regimes import DAY_KINDS, WEATHER_REGIMES, Bounds, day_kind, weather_regime

SMALLEST = 1e-6
# A regime or kind of day seen on fewer days than this leans more on all days than on itself.
REGIME_DAYS = 8.0
KIND_DAYS = 10.0
SMOOTHED_HOURS = 2
KEPT_LEVELS = np.linspace(0.0025, 0.9975, 200)
# The training scores weigh as much as this many recent days.
TRAINING_WORTH_DAYS = 56.0
# A day to come is further from the days learned from than a day left out among them: what 2013 asked for.
FURTHER = 1.05


@dataclass(frozen=True)
class Spread:
    """bounds: daily mean temperatures that part the regimes [°C]; usual: shape (regimes, slots); kind: factor of each kind
    of day; scores: quantiles of the training scores at `KEPT_LEVELS`. Relative units.
    """

    bounds: Bounds
    usual: Array
    kind: Array
    scores: Array

    @classmethod
    def learn(cls, residual: Array, table: DayTable, bounds: Bounds, utility: Utility) -> Self:
        """From honest residuals, shape (days, slots)."""
        regime, kind = _regimes(table, bounds), day_kind(table.days, utility)
        size = np.abs(residual)
        base = _smooth(size.mean(axis=0))
        usual = np.stack([_leaning(size[regime == code], base, REGIME_DAYS) for code in range(len(WEATHER_REGIMES))])
        ratio = (size / usual[regime]).mean(axis=1)
        factor = np.array(
            [(ratio[kind == code].sum() + KIND_DAYS) / ((kind == code).sum() + KIND_DAYS) for code in range(len(DAY_KINDS))]
        )
        spread = usual[regime] * factor[kind][:, None]
        return cls(bounds, usual, factor, np.quantile(residual / spread, KEPT_LEVELS))

    def of(self, table: DayTable, utility: Utility) -> Array:
        """The spread of each day, shape (days, slots)."""
        regime, kind = _regimes(table, self.bounds), day_kind(table.days, utility)
        spread: Array = self.usual[regime] * self.kind[kind][:, None]
        return spread

    def levels(self, recent_scores: Array) -> Array:
        """Scores at `data.schema.QUANTILES`, from the training scores and those of recent days, shape (days, slots)."""
        recent = recent_scores[np.isfinite(recent_scores)]
        if not len(recent):
            return np.interp(QUANTILES, KEPT_LEVELS, FURTHER * self.scores)
        days = len(recent) / recent_scores.shape[1]
        values = np.concatenate([FURTHER * self.scores, recent])
        weight = np.concatenate(
            [np.full(len(self.scores), TRAINING_WORTH_DAYS / len(self.scores)), np.full(len(recent), days / len(recent))]
        )
        order = np.argsort(values, kind="stable")
        below = np.cumsum(weight[order]) - 0.5 * weight[order]
        answer: Array = np.interp(QUANTILES, below / weight.sum(), values[order])
        return answer


def _regimes(table: DayTable, bounds: Bounds) -> Integers:
    return weather_regime(table.columns["temperature_day_mean"][:, 0], bounds)


def _leaning(size: Array, base: Array, strength: float) -> Array:
    """Mean size of one regime's residuals, leaning on that of all days while it was seen on few."""
    mean: Array = _smooth((size.sum(axis=0) + strength * base) / (len(size) + strength))
    return mean


def _smooth(by_slot: Array) -> Array:
    """A moving mean over the times of day, around the clock."""
    width = max(1, SMOOTHED_HOURS * len(by_slot) // 24) | 1
    around = np.concatenate([by_slot[-(width // 2) :], by_slot, by_slot[: width // 2]]) if width > 1 else by_slot
    return np.maximum(np.convolve(around, np.full(width, 1.0 / width), mode="valid"), SMALLEST)
