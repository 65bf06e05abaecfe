"""The floor that every forecaster has to beat: the same time of day a week ago, with what it usually missed by."""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Self

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, TIMESTAMP, Utility
from forecasting import features as feature_room
from forecasting.calibration import quantiles_around, score_quantiles
from forecasting.errors import TooLittleHistory
from forecasting.features import LEVEL_MW
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS

NEEDED_DAYS = 28


class SeasonalNaive:
    """Demand of the same slot seven days before; intervals from its own past errors."""

    name: ClassVar[str] = "seasonal-naive"
    needs_weather: ClassVar[bool] = False

    def fit(self, history: pd.DataFrame, utility: Utility) -> Self:
        """Learn the usual miss. Raises TooLittleHistory below 28 days with demand."""
        table = feature_room.build(history, utility)
        error = history[DEMAND_MW].reindex(table.index) - _week_ago(table)
        miss = error.to_numpy(dtype=np.float64, na_value=np.nan)
        found_days = int(np.isfinite(miss).sum() // utility.steps_per_day)
        if found_days < NEEDED_DAYS:
            raise TooLittleHistory(found_days=found_days, needed_days=NEEDED_DAYS)
        self.utility_ = utility
        self.miss_mw_ = score_quantiles(miss, np.ones(len(miss)))
        return self

    def predict(self, known: pd.DataFrame, day: date) -> pd.DataFrame:
        """Forecast local day `day`."""
        centre = _week_ago(feature_room.build(known, self.utility_, [day]))
        spread = np.ones(len(centre))
        quantiles = quantiles_around(centre.to_numpy(), spread, self.miss_mw_)
        answer = pd.DataFrame(quantiles, index=centre.index, columns=QUANTILE_COLUMNS)
        answer.insert(0, FORECAST_MW, centre)
        return answer.rename_axis(TIMESTAMP)


def _week_ago(table: pd.DataFrame) -> pd.Series:
    return (table["demand_7d_ago_mw"] + table[LEVEL_MW]).fillna(table[LEVEL_MW])
