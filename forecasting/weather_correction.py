"""What a temperature forecast says of the temperature to come: less than it claims, the further ahead the less.

A forecast far from what is usual after such a day, at such a season, is more likely to be wrong in that direction than in
the other. A regression of the temperature that came on the one that was forecast draws it back by as much as its error
deserves, and uses what was measured up to the gate closure. Source: Glahn & Lowry (1972), "The use of Model Output
Statistics (MOS) in objective weather forecasting", J. Appl. Meteorol. 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Self

import numpy as np
import pandas as pd

from data.schema import TEMPERATURE_C, Array, Utility
from forecasting.day_grid import DayGrid, closure_slot, filled_from_the_day_before
from forecasting.weather_features import paths

# Chosen on 2013 (python -m benchmarks.settings).
PENALTY = 100.0
PARTS_PER_DAY = 8
NEEDED_DAYS = 60


@dataclass(frozen=True)
class WeatherCorrection:
    """centre, spread: of each feature of a path (see `_features`); coefficients: shape (1 + features, slots from the gate
    closure's day to the end of the day that is forecast) [°C].
    """

    centre: Array
    spread: Array
    coefficients: Array

    @classmethod
    def learn(cls, days: tuple[date, ...], forecast_c: Array, error_c: Array, utility: Utility) -> Self | None:
        """From days whose temperature was forecast and came; None below 60 of them: fewer teach their own weather.

        forecast_c: temperatures as known at the gate closure, see weather_features.paths; error_c: forecast − realised at
        the end of each path, shape (days, (lead_days + 1) · slots).
        """
        features = _features(days, forecast_c, utility)
        good = np.isfinite(features).all(axis=1) & np.isfinite(error_c).all(axis=1)
        if len({days[row] for row in np.flatnonzero(good)}) < NEEDED_DAYS:
            return None
        centre, spread = features[good].mean(axis=0), np.maximum(features[good].std(axis=0), 1e-9)
        design = np.column_stack([np.ones(int(good.sum())), (features[good] - centre) / spread])
        penalty = PENALTY * np.eye(design.shape[1])
        penalty[0, 0] = 0.0
        coefficients = np.linalg.solve(design.T @ design + penalty, design.T @ -error_c[good])
        # What is measured needs no correction.
        coefficients[:, : closure_slot(utility)] = 0.0
        return cls(centre, spread, coefficients)

    def of(self, days: tuple[date, ...], forecast_c: Array, utility: Utility) -> Array:
        """What to add to each path's end, shape (days, (lead_days + 1) · slots) [°C]."""
        standard = (_features(days, forecast_c, utility) - self.centre) / self.spread
        correction: Array = self.coefficients[0] + np.where(np.isfinite(standard), standard, 0.0) @ self.coefficients[1:]
        return correction

    def corrected(self, known: pd.DataFrame, day: date, utility: Utility) -> pd.DataFrame:
        """`known` with the temperatures corrected that were forecast at the gate closure of `day`."""
        grid = DayGrid.of(pd.DatetimeIndex(known.index), utility)
        temperature = grid.fold(known[TEMPERATURE_C].to_numpy(dtype=np.float64, na_value=np.nan))
        row = grid.days.index(day)
        path = paths(filled_from_the_day_before(temperature), [row])
        by_slot = self.of((day,), path, utility)[0].reshape(utility.lead_days + 1, grid.slots)
        ahead = grid.day_of_row - (row - utility.lead_days)
        inside = (ahead >= 0) & (ahead <= utility.lead_days)
        added = np.where(inside, by_slot[np.clip(ahead, 0, utility.lead_days), grid.slot_of_row], 0.0)
        return known.assign(**{TEMPERATURE_C: known[TEMPERATURE_C] + added})


def _features(days: tuple[date, ...], path_c: Array, utility: Utility) -> Array:
    """Three-hour means from the day before the gate closure's to the end, and the season, shape (days, features)."""
    parts = (utility.lead_days + 2) * PARTS_PER_DAY
    slots = utility.steps_per_day
    means = path_c[:, -(utility.lead_days + 2) * slots :].reshape(len(days), parts, -1).mean(axis=2)
    angle = 2 * np.pi * np.array([day.timetuple().tm_yday for day in days]) / 365.25
    return np.column_stack([means, np.sin(angle), np.cos(angle)])
