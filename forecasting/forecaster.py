"""What every forecaster offers, and what it answers.

A forecaster sees frames of one shape (`history` to fit, `known` to predict):

    index    `timestamp`, UTC starts of intervals, regular
    columns  `demand_mw`      NaN where not known (always NaN from the gate closure on)
             `temperature_c`  realised before the gate closure, forecast after it; NaN where nothing is known
             `forecast_temperature_c`  of `history`, perhaps: what had been forecast of the interval by the gate closure of
                              its own local day; it teaches how far forecasts can be trusted
             `temperature_uncertainty_c`  perhaps: how far off the temperature may be for what its sources are and say, one
                              standard deviation; of `history`, that of `forecast_temperature_c`; NaN where nobody tells
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Protocol, Self

import pandas as pd

from data.schema import QUANTILES, TIMESTAMP, Array, Integers, Utility
from forecasting.day_grid import DayGrid

FORECAST_MW = "forecast_mw"


def quantile_column(level: float) -> str:
    """Name of a quantile's column: 0.1 → `q10`, 0.975 → `q97.5`."""
    return f"q{level * 100:g}"


QUANTILE_COLUMNS: tuple[str, ...] = tuple(quantile_column(level) for level in QUANTILES)
MEDIAN = quantile_column(0.5)


class Forecaster(Protocol):
    """A forecaster: fitted on history, asked for one local day at a time, as many days ahead as its utility's `lead_days`.

    `fit` returns self; learned attributes end in `_`; nothing given is changed. `predict` answers a frame indexed by the
    day's intervals with columns `forecast_mw` and `q10` … `q90` [MW], quantiles in order.
    """

    name: str
    needs_weather: bool

    def fit(self, history: pd.DataFrame, utility: Utility) -> Self:
        """Learn from everything in `history`. Raises TooLittleHistory."""

    def predict(self, known: pd.DataFrame, day: date) -> pd.DataFrame:
        """Forecast local day `day` from what was known at its gate closure."""


def by_interval(day: date, by_slot: Array, columns: Sequence[str], utility: Utility) -> pd.DataFrame:
    """Values by time of day, shape (slots, columns), as a frame indexed by the intervals of local day `day`."""
    index, slots = _intervals(day, utility)
    return pd.DataFrame(by_slot[slots], index=index, columns=list(columns))


@lru_cache(maxsize=64)  # a forecast, its explanation and its fallback are laid out alike
def _intervals(day: date, utility: Utility) -> tuple[pd.DatetimeIndex, Integers]:
    """The intervals of a local day and the time of day of each."""
    index = utility.day_index(day).rename(TIMESTAMP)
    return index, DayGrid.of(index, utility).slot_of_row


def forecast_frame(day: date, quantiles_mw: Array, utility: Utility) -> pd.DataFrame:
    """The answer of `predict` from quantiles by time of day, shape (slots, levels): the forecast is their median."""
    answer = by_interval(day, quantiles_mw, QUANTILE_COLUMNS, utility)
    answer.insert(0, FORECAST_MW, answer[MEDIAN])
    return answer
