"""How wrong the weather forecasts have been: learned from what was forecast and what came, replayed on the training days.

A forecaster that learned from realised temperatures alone leans on them too hard once it is given forecasts. The error
grows with lead time and lasts for hours: a first-order autoregression with a standard deviation that is a line in the lead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Self

import numpy as np
import pandas as pd

from data.schema import FORECAST_TEMPERATURE_C, TEMPERATURE_C, Array, Utility
from forecasting.day_grid import DayGrid, closure_slot

NEEDED_DAYS = 14
# An error this small is the rounding of a file, not a forecast's.
NEGLIGIBLE_C = 0.05


@dataclass(frozen=True)
class WeatherError:
    """at_gate_c, per_hour_c: standard deviation at the gate closure and its growth [°C, °C/h]; memory: autocorrelation of
    neighbouring intervals.
    """

    at_gate_c: float
    per_hour_c: float
    memory: float

    @classmethod
    def learn(cls, history: pd.DataFrame, utility: Utility) -> Self | None:
        """From `temperature_c` and `forecast_temperature_c` of `history`; None when forecasts are missing or perfect.

        `forecast_temperature_c` is what had been forecast of an interval by the gate closure of its own local day; fewer
        than 14 days of it teach nothing.
        """
        if FORECAST_TEMPERATURE_C not in history.columns:
            return None
        grid = DayGrid.of(pd.DatetimeIndex(history.index), utility)
        missed = history[FORECAST_TEMPERATURE_C] - history[TEMPERATURE_C]
        error = grid.fold(missed.to_numpy(dtype=np.float64, na_value=np.nan))
        error = error[np.isfinite(error).all(axis=1)]
        if len(error) < NEEDED_DAYS or error.std() < NEGLIGIBLE_C:
            return None
        centred = error - error.mean(axis=0)
        deviation = np.maximum(centred.std(axis=0), NEGLIGIBLE_C)
        lead_hours = _lead_hours(utility)[-error.shape[1] :]
        per_hour, at_gate = np.polyfit(lead_hours, deviation, 1)
        standard = centred / deviation
        memory = float((standard[:, 1:] * standard[:, :-1]).mean())
        return cls(max(float(at_gate), 0.0), max(float(per_hour), 0.0), float(np.clip(memory, 0.0, 0.999)))

    def replay(self, days: tuple[date, ...], utility: Utility, seed: int) -> Array:
        """An error for each day from its gate closure on, shape (days, (lead_days + 1) · slots), zero before it [°C].

        Every day's is its own, whatever other days are asked for.
        """
        lead_hours = _lead_hours(utility)
        ahead = np.flatnonzero(lead_hours >= 0)
        shocks = np.stack([np.random.default_rng([seed, day.toordinal()]).standard_normal(len(ahead)) for day in days])
        path: Array = shocks.copy()
        for number in range(1, len(ahead)):
            path[:, number] = self.memory * path[:, number - 1] + np.sqrt(1 - self.memory**2) * shocks[:, number]
        error = np.zeros((len(days), len(lead_hours)))
        error[:, ahead] = (self.at_gate_c + self.per_hour_c * lead_hours[ahead]) * path
        return error


def _lead_hours(utility: Utility) -> Array:
    """Hours since the gate closure of each slot of the closure's own day up to the day that is forecast."""
    per_day = utility.steps_per_day
    slot = np.arange((utility.lead_days + 1) * per_day, dtype=np.float64)
    hours: Array = (slot - closure_slot(utility)) * (24 / per_day)
    return hours
