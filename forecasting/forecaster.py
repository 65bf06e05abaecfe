"""What every forecaster offers, and what it answers.

A forecaster sees frames of one shape (`history` to fit, `known` to predict):

    index    `timestamp`, UTC starts of intervals, regular
    columns  `demand_mw`      NaN where not known (always NaN from the gate closure on)
             `temperature_c`  realised before the gate closure, forecast after it; NaN where nothing is known
"""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Protocol, Self

import pandas as pd

from data.schema import QUANTILES, Utility

FORECAST_MW = "forecast_mw"


def quantile_column(level: float) -> str:
    """Name of a quantile's column: 0.1 → `q10`, 0.975 → `q97.5`."""
    return f"q{level * 100:g}"


QUANTILE_COLUMNS: tuple[str, ...] = tuple(quantile_column(level) for level in QUANTILES)


class Forecaster(Protocol):
    """A day-ahead forecaster: fitted on history, asked for one local day at a time.

    `fit` returns self; learned attributes end in `_`; nothing given is changed. `predict` answers a frame indexed by the
    day's intervals with columns `forecast_mw` and `q10` … `q90` [MW], quantiles in order.
    """

    name: ClassVar[str]
    needs_weather: ClassVar[bool]

    def fit(self, history: pd.DataFrame, utility: Utility) -> Self:
        """Learn from everything in `history`. Raises TooLittleHistory."""

    def predict(self, known: pd.DataFrame, day: date) -> pd.DataFrame:
        """Forecast local day `day` from what was known at its gate closure."""
