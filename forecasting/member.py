"""What an ensemble's members have in common: they learn demand relative to its level, a whole day at a time.

Relative demand is (demand − level of the last known week) / (standard deviation of demand): without unit, without scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from data.schema import Array, Integers
from forecasting.day_table import DayTable, Driver


@dataclass(frozen=True)
class Lesson:
    """What a member learns from, all in relative units.

    table: features with realised weather; served: the same with weather as it will be served, when that is known to
    differ; target: relative demand, shape (days, slots); fold: of each day, an hour's errors lean on those of the days
    around it, so whole runs of days are left out together; seed: of anything random.
    """

    table: DayTable
    served: DayTable | None
    target: Array
    fold: Integers
    seed: int

    @property
    def trust(self) -> Array:
        """How much each day counts, shape (days,): a day a year old half as much as the last, for behaviour changes."""
        last = self.table.days[-1]
        age_years = np.array([(last - day).days for day in self.table.days]) / 365.0
        trust: Array = 1.0 / (1.0 + age_years)
        return trust


@dataclass(frozen=True)
class Explained:
    """A relative forecast taken apart: `base` + the sum of `drivers` = the forecast, shape (days, slots) each."""

    base: Array
    drivers: dict[Driver, Array]


@dataclass(frozen=True)
class Honest:
    """Forecasts of the training days by fits that had not seen their fold, shape (days, slots) each.

    seen: from realised weather; served: from weather as it is served, the same where that is not known to differ.
    """

    seen: Array
    served: Array


class Member(Protocol):
    """One way to forecast relative demand."""

    def fit(self, lesson: Lesson) -> Honest:
        """Learn; answers what it would have said of every training day unseen."""

    def prepared(self, table: DayTable) -> DayTable:
        """The table with what else this member makes of it, for `predict` and `explain`."""

    def predict(self, table: DayTable) -> Array:
        """Relative demand of each day, shape (days, slots). table: a prepared one."""

    def explain(self, table: DayTable) -> Explained:
        """The same forecast by driver. table: a prepared one."""
