"""The floor that every forecaster has to beat: the same time of day a week ago, with what it usually missed by."""

from __future__ import annotations

from datetime import date
from typing import Self

import numpy as np
import pandas as pd

from data.schema import Array, Utility
from forecasting import day_table
from forecasting.calibration import quantiles_around, score_quantiles
from forecasting.day_table import DayTable
from forecasting.errors import TooLittleHistory
from forecasting.forecaster import forecast_frame

NEEDED_DAYS = 28
SAME_WEEKDAY = "same_slot_week_ago_mw"


class SeasonalNaive:
    """Demand of the same slot seven days before; intervals from its own past errors."""

    name = "seasonal-naive"
    needs_weather = False

    def fit(self, history: pd.DataFrame, utility: Utility) -> Self:
        """Learn the usual miss. Raises TooLittleHistory below 28 days with demand."""
        table = day_table.build(history, utility)
        miss = day_table.fold_demand(history, utility, table.days) - _week_ago(table)
        found_days = int(np.isfinite(miss).sum() // utility.steps_per_day)
        if found_days < NEEDED_DAYS:
            raise TooLittleHistory(found_days=found_days, needed_days=NEEDED_DAYS)
        self.utility_ = utility
        self.miss_mw_ = score_quantiles(miss.ravel(), np.ones(miss.size))
        return self

    def predict(self, known: pd.DataFrame, day: date) -> pd.DataFrame:
        """Forecast local day `day`."""
        centre = _week_ago(day_table.build(known, self.utility_, [day]))[0]
        return forecast_frame(day, quantiles_around(centre, np.ones(len(centre)), self.miss_mw_), self.utility_)


def _week_ago(table: DayTable) -> Array:
    """Demand of the same slots on the latest known day of the same weekday; where it is missing, the level [MW]."""
    level = table.level_mw[:, None]
    return np.where(np.isfinite(table.columns[SAME_WEEKDAY]), table.columns[SAME_WEEKDAY], 0.0) + level
