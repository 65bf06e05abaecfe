"""Nine sets of trees, one a quantile: a line per time of day, and on what it leaves over boosted trees that learn each
quantile by itself (pinball loss).

    fit      days → features → the line, with honest forecasts of the days it was not shown → trees on what those missed
             → offsets: by how much trees that had not seen a day lay beside its quantile
    predict  the line's forecast of the day + each quantile's trees and offset, put in order

The line answers hotter than anything seen; the trees say how far off it is and how wide to be, in which weather, on which
day. What the last days teach is in the features alone. Sources: Koenker & Bassett (1978), "Regression quantiles"; Romano,
Patterson, Candès (2019), "Conformalized quantile regression", for the offsets; Chernozhukov, Fernández-Val, Galichon (2010),
"Quantile and probability curves without crossing", for the sorting.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Self

import lightgbm as lgb
import numpy as np
import pandas as pd

from data.schema import QUANTILES, Array, Integers, Single, Utility
from forecasting import day_table
from forecasting.day_grid import window_days
from forecasting.ensemble import LONGEST_HISTORY, as_served, folds, training_days
from forecasting.forecaster import forecast_frame
from forecasting.lightgbm_member import rows_of
from forecasting.linear_member import LinearMember
from forecasting.member import Lesson

QUANTILE_TREES = "quantile-trees"
TREES = 600
# Chosen on 2013 (python -m benchmarks.accuracy --year 2013 --only quantile-trees); 2014 was never looked at for them.
BOOSTING = {
    "objective": "quantile",
    "learning_rate": 0.03,
    "num_leaves": 12,
    "max_depth": 4,
    "min_data_in_leaf": 200,
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


class QuantileTreesForecaster:
    """Day-ahead quantiles from weather, calendar and recent demand.

    trees: of each quantile; seed: makes a fit reproducible.
    Learned: utility_; scale_mw_ and usual_mw_, deviation and mean of demand; line_; boosters_ and offsets_ (relative units),
    one for each of `data.schema.QUANTILES`; correction_, what to make of forecast temperatures.
    """

    name = QUANTILE_TREES
    needs_weather = True

    def __init__(self, trees: int = TREES, seed: int = 1) -> None:
        self.trees = trees
        self.seed = seed

    def fit(self, history: pd.DataFrame, utility: Utility) -> Self:
        """Learn from the last three years of `history`. Raises TooLittleHistory below 49 days with demand and features."""
        history = history.loc[history.index[-1] - LONGEST_HISTORY :]
        table, demand_mw = training_days(history, utility)
        self.utility_ = utility
        self.scale_mw_ = float(np.std(demand_mw)) or 1.0
        self.usual_mw_ = float(np.mean(demand_mw))
        table = table.in_units_of(self.scale_mw_)
        drawn = (demand_mw - table.level_mw[:, None]) / self.scale_mw_
        served, self.correction_ = as_served(history, table, utility, self.seed)
        lesson = Lesson(table, served, drawn, folds(table.days), self.seed)
        self.line_ = LinearMember()
        left_over = (drawn - self.line_.fit(lesson).served).ravel()
        rows = rows_of(table if served is None else served)
        half = np.repeat(lesson.fold % 2, table.slots)
        self.boosters_, self.offsets_ = self._learn_quantiles(rows, left_over, half)
        return self

    def _learn_quantiles(self, rows: Single, left_over: Array, half: Integers) -> tuple[tuple[lgb.Booster, ...], Array]:
        """Each quantile's trees, and by how much those of one half of the folds missed the quantile of the other half."""
        settings: dict[str, Any] = {**BOOSTING, "seed": self.seed}
        # Bins are made once for all fits: which bin a value falls in tells nothing of the quantile.
        binned = lgb.Dataset(rows, left_over, params=settings, free_raw_data=False).construct()
        boosters, offsets = [], []
        for level in QUANTILES:
            of_level = {**settings, "alpha": level}
            boosters.append(lgb.train(of_level, binned, self.trees))
            missed = left_over.copy()
            for side in np.unique(half):
                out = half == side
                booster = lgb.train(of_level, binned.subset(np.flatnonzero(~out).tolist()), self.trees)
                missed[out] -= booster.predict(rows[out], num_threads=1)
            offsets.append(float(np.quantile(missed, level)))
        return tuple(boosters), np.array(offsets)

    def predict(self, known: pd.DataFrame, day: date) -> pd.DataFrame:
        """Forecast local day `day`; `known` as in forecasting.forecaster, 36 days back at least. Raises TooLittleHistory."""
        first = self.utility_.day_index(day - timedelta(days=window_days(self.utility_)))[0]
        known = known.loc[first : self.utility_.day_index(day)[-1]]
        if self.correction_ is not None:
            known = self.correction_.corrected(known, day, self.utility_)
        table = day_table.build(known, self.utility_, [day]).in_units_of(self.scale_mw_)
        rows = rows_of(table)
        left_over = np.stack([booster.predict(rows, num_threads=1) for booster in self.boosters_], axis=1)
        relative: Array = np.sort(self.line_.predict(table)[0][:, None] + left_over + self.offsets_, axis=1)
        level_mw = float(table.level_mw[0])
        level_mw = level_mw if np.isfinite(level_mw) else self.usual_mw_
        return forecast_frame(day, relative * self.scale_mw_ + level_mw, self.utility_)
