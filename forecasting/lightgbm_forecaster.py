"""LightGBM on what a line per time of day leaves over, with cross-fitted intervals.

1. A ridge regression per time of day (`linear_base`) forecasts demand less its recent level.
2. Weeks are dealt in turn to two halves. For each half, a ridge and a LightGBM that never saw it give honest residuals.
3. The forecast is the ridge on all weeks plus the mean of the two LightGBM models.
4. A third, small LightGBM learns the size of the honest residuals; their standardised quantiles give the intervals.
"""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar, Self

import lightgbm as lgb
import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, TIMESTAMP, Array, Utility
from forecasting import features as feature_room
from forecasting.calibration import quantiles_around, score_quantiles
from forecasting.errors import TooLittleHistory
from forecasting.features import LEVEL_MW
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS
from forecasting.linear_base import LinearBase

# Chosen on 2013 (python -m benchmarks.settings); 2014 was never looked at for them.
TREES = 120
SPREAD_TREES = 40
NEEDED_DAYS = 56
SMALLEST_SPREAD = 0.02
BOOSTING = {
    "objective": "regression",
    "learning_rate": 0.08,
    "num_leaves": 15,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


class LightGBMForecaster:
    """Day-ahead demand from weather, calendar and recent demand. seed: makes a fit reproducible."""

    name: ClassVar[str] = "lightgbm"
    needs_weather: ClassVar[bool] = True

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed

    def fit(self, history: pd.DataFrame, utility: Utility) -> Self:
        """Learn from `history`. Raises TooLittleHistory below 56 days with demand and features."""
        table = feature_room.build(history, utility)
        demand = history[DEMAND_MW].reindex(table.index).to_numpy(dtype=np.float64, na_value=np.nan)
        usable = np.isfinite(demand) & np.isfinite(table[LEVEL_MW].to_numpy())
        found_days = int(usable.sum() // utility.steps_per_day)
        if found_days < NEEDED_DAYS:
            raise TooLittleHistory(found_days=found_days, needed_days=NEEDED_DAYS)
        table, demand = table[usable], demand[usable]
        self.utility_ = utility
        self.scale_mw_ = float(np.std(demand)) or 1.0
        scaled = _relative(table, self.scale_mw_)
        target = (demand - table[LEVEL_MW].to_numpy()) / self.scale_mw_
        half = _alternate_weeks(pd.DatetimeIndex(table.index))
        self.linear_ = LinearBase.fit(scaled, target, utility.steps_per_day)
        binned = self._binned(scaled)
        self.boosters_, honest_residual = self._cross_fit(scaled, binned, target, half, utility.steps_per_day)
        self.spread_ = self._boost(binned.set_label(np.abs(honest_residual)), SPREAD_TREES)
        self.scores_ = score_quantiles(honest_residual, self._predict_spread(scaled))
        return self

    def predict(self, known: pd.DataFrame, day: date) -> pd.DataFrame:
        """Forecast local day `day`; `known` as in forecasting.forecaster, 29 days back at least."""
        return self.predict_features(feature_room.build(known, self.utility_, [day]))

    def predict_features(self, table: pd.DataFrame) -> pd.DataFrame:
        """Forecast every row of a feature table: one call for many days."""
        scaled = _relative(table, self.scale_mw_)
        level = table[LEVEL_MW].to_numpy()
        boosted = np.mean([_boosted(booster, scaled) for booster in self.boosters_], axis=0)
        centre = self.linear_.predict(scaled) + boosted
        quantiles = quantiles_around(centre, self._predict_spread(scaled), self.scores_)
        answer = pd.DataFrame(quantiles * self.scale_mw_ + level[:, None], index=table.index, columns=QUANTILE_COLUMNS)
        answer.insert(0, FORECAST_MW, centre * self.scale_mw_ + level)
        return answer.rename_axis(TIMESTAMP)

    def _cross_fit(
        self, table: pd.DataFrame, binned: lgb.Dataset, target: Array, half: Array, slots: int
    ) -> tuple[tuple[lgb.Booster, ...], Array]:
        left_over = np.empty_like(target)
        for side in (0, 1):
            unseen = half == side
            left_over[unseen] = target[unseen] - LinearBase.fit(table[~unseen], target[~unseen], slots).predict(
                table[unseen]
            )
        binned.set_label(left_over)
        boosters = []
        honest_residual = np.empty_like(target)
        for side in (0, 1):
            unseen = half == side
            booster = self._boost(binned.subset(np.flatnonzero(~unseen).tolist()), TREES)
            honest_residual[unseen] = left_over[unseen] - _boosted(booster, table[unseen])
            boosters.append(booster)
        return tuple(boosters), honest_residual

    def _binned(self, table: pd.DataFrame) -> lgb.Dataset:
        """The features in bins, made once for all three models: which bin a value falls in tells nothing of the target."""
        data = lgb.Dataset(
            table.to_numpy(dtype=np.float64), np.zeros(len(table)), params=self._settings(), free_raw_data=False
        )
        return data.construct()

    def _boost(self, data: lgb.Dataset, trees: int) -> lgb.Booster:
        return lgb.train(self._settings(), data, num_boost_round=trees)

    def _settings(self) -> dict[str, Any]:
        return {**BOOSTING, "seed": self.seed}

    def _predict_spread(self, table: pd.DataFrame) -> Array:
        return np.maximum(_boosted(self.spread_, table), SMALLEST_SPREAD)


def _boosted(booster: lgb.Booster, table: pd.DataFrame) -> Array:
    values: Array = np.asarray(booster.predict(table.to_numpy(dtype=np.float64), num_threads=1), dtype=np.float64)
    return values


def _relative(table: pd.DataFrame, scale_mw: float) -> pd.DataFrame:
    """The table with demand in units of its own spread, so that MW or kW make no difference; the level is left out."""
    demand_columns = [name for name in table.columns if name.endswith("_mw") and name != LEVEL_MW]
    scaled = table.drop(columns=LEVEL_MW)
    scaled[demand_columns] = scaled[demand_columns] / scale_mw
    return scaled


def _alternate_weeks(index: pd.DatetimeIndex) -> Array:
    weeks = (index - index[0]) // pd.Timedelta(days=7)
    return np.asarray(weeks % 2, dtype=np.float64)
