"""Gradient-boosted trees over every interval, on what a line per time of day leaves over: the member that finds what nobody
thought of. Alone, trees cannot answer hotter than they have seen; the line does that for them.
"""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np

from data.schema import Array, Single
from forecasting.day_table import DayTable, Driver
from forecasting.linear_member import LinearMember
from forecasting.member import Explained, Honest, Lesson

# Chosen on 2013 (python -m benchmarks.settings); 2014 was never looked at for them.
TREES = 60
BOOSTING = {
    "objective": "regression",
    "learning_rate": 0.12,
    "num_leaves": 12,
    # Shallow: the cost of an explanation grows with the square of the depth.
    "max_depth": 4,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


class LightGBMMember:
    """Learned: line_, booster_."""

    def fit(self, lesson: Lesson) -> Honest:
        """See Member. Two fits on half of the folds each say what the other half would have been told."""
        self.line_ = LinearMember()
        line = self.line_.fit(lesson)
        left_over = lesson.target - line.served
        rows = rows_of(lesson.table)
        rows_served = rows if lesson.served is None else rows_of(lesson.served)
        settings: dict[str, Any] = {**BOOSTING, "seed": lesson.seed}
        # Bins are made once for all three fits: which bin a value falls in tells nothing of the target.
        binned = lgb.Dataset(rows_served, left_over.ravel(), params=settings, free_raw_data=False).construct()
        self.booster_ = lgb.train(settings, binned, num_boost_round=TREES)
        shape = lesson.target.shape
        seen, served = np.empty(shape), np.empty(shape)
        half = np.repeat(lesson.fold % 2, shape[1]).reshape(shape)
        for side in np.unique(half):
            out = half == side
            booster = lgb.train(settings, binned.subset(np.flatnonzero(~out.ravel()).tolist()), num_boost_round=TREES)
            seen[out] = booster.predict(rows[out.ravel()], num_threads=1)
            served[out] = seen[out] if lesson.served is None else booster.predict(rows_served[out.ravel()], num_threads=1)
        return Honest(line.seen + seen, line.served + served)

    def prepared(self, table: DayTable) -> DayTable:
        """See Member: it needs nothing more."""
        return table

    def predict(self, table: DayTable) -> Array:
        """See Member."""
        answer = np.asarray(self.booster_.predict(rows_of(table), num_threads=1), dtype=np.float64)
        return self.line_.predict(table) + answer.reshape(len(table.days), table.slots)

    def explain(self, table: DayTable) -> Explained:
        """See Member: TreeSHAP (Lundberg et al. 2020), as LightGBM computes it."""
        parts = np.asarray(self.booster_.predict(rows_of(table), pred_contrib=True, num_threads=1), dtype=np.float64)
        shape = (len(table.days), table.slots)
        line = self.line_.explain(table)
        of_column = [*table.drivers.values(), Driver.CALENDAR]
        drivers = {driver: line.drivers[driver] + _of_driver(parts, of_column, driver).reshape(shape) for driver in Driver}
        return Explained(line.base + parts[:, -1].reshape(shape), drivers)


def _of_driver(parts: Array, of_column: list[Driver], driver: Driver) -> Array:
    total: Array = parts[:, [number for number, found in enumerate(of_column) if found is driver]].sum(axis=1)
    return total


def rows_of(table: DayTable) -> Single:
    """One row an interval: every feature, then the time of day; single precision halves the memory."""
    time_of_day = np.tile(np.arange(table.slots, dtype=np.float64), len(table.days))
    rows = np.empty((len(time_of_day), len(table.columns) + 1), dtype=np.float32)
    for number, values in enumerate([*table.columns.values(), time_of_day]):
        rows[:, number] = values.ravel()
    return rows
