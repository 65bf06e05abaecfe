"""The features of whole days: what is known at each day's gate closure, on a grid of days and times of day.

Everything about demand is read from whole local days before the gate closure's own, and from that day before the closure:
the code can reach no later value, whatever stands in the frame (tests/property/test_features_properties.py shifts the
future and sees no change). Temperature is read to the day's end: at serving time that is a forecast.

Units: columns ending in `_mw` scale with demand, all others do not, so a forecaster can make itself indifferent to the unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, TEMPERATURE_C, Array, Integers, Utility
from forecasting.calendar_features import calendar_columns
from forecasting.day_grid import (
    LOOKBACK_DAYS,
    DayGrid,
    filled_from_the_day_before,
    filled_from_the_week_before,
    gate_slot,
    known_at_gates,
)
from forecasting.demand_features import demand_columns
from forecasting.errors import TooLittleHistory
from forecasting.weather_features import paths, weather_columns


class Driver(StrEnum):
    """What moves a forecast."""

    WEATHER = "weather"
    CALENDAR = "calendar"
    RECENT_DEMAND = "recent_demand"


@dataclass(frozen=True)
class DayTable:
    """Features of `days`.

    level_mw: mean demand of the last known week, shape (days,); drawn_mw: the day's own demand as far as it is known at the
    gate closure of the day after, no feature, shape (days, slots); columns: name → shape (days, slots); drivers: name →
    driver.
    """

    days: tuple[date, ...]
    level_mw: Array
    drawn_mw: Array
    columns: dict[str, Array]
    drivers: dict[str, Driver]

    @property
    def slots(self) -> int:
        """Times of day."""
        return next(iter(self.columns.values())).shape[1]

    def in_units_of(self, scale_mw: float) -> DayTable:
        """The same with every column in MW divided by `scale_mw`."""
        scaled = {name: values / scale_mw if name.endswith("_mw") else values for name, values in self.columns.items()}
        return replace(self, columns=scaled)

    def at(self, rows: Integers) -> DayTable:
        """Some of the days."""
        days = tuple(self.days[int(row)] for row in np.arange(len(self.days))[rows])
        columns = {name: values[rows] for name, values in self.columns.items()}
        return DayTable(days, self.level_mw[rows], self.drawn_mw[rows], columns, self.drivers)


def build(
    frame: pd.DataFrame, utility: Utility, days: list[date] | None = None, disturbance_c: Array | None = None
) -> DayTable:
    """Features of `days` (default: every day with enough history before it).

    frame: columns `demand_mw`, `temperature_c`, index UTC and regular, from at least 36 days before the first day to the
    end of the last. Gaps are filled from a week (demand) or a day (temperature) before. disturbance_c: see
    weather_features.paths. Raises TooLittleHistory.
    """
    grid = DayGrid.of(pd.DatetimeIndex(frame.index), utility)
    wanted = list(grid.days[LOOKBACK_DAYS:]) if days is None else days
    if not wanted or len(grid.days) <= LOOKBACK_DAYS or wanted[0] < grid.days[LOOKBACK_DAYS]:
        raise TooLittleHistory(found_days=len(grid.days) - 1, needed_days=LOOKBACK_DAYS)
    rows = [(day - grid.days[0]).days for day in wanted]
    demand_mw = frame[DEMAND_MW].to_numpy(dtype=np.float64, na_value=np.nan)
    known_today, known_tomorrow, known_later = known_at_gates(pd.DatetimeIndex(frame.index), grid, utility)
    drawn = grid.fold(np.where(known_tomorrow, demand_mw, np.nan))
    later = filled_from_the_week_before(grid.fold(np.where(known_later, demand_mw, np.nan)))
    whole = filled_from_the_week_before(drawn, later)
    before_gate = _before_gates(grid.fold(np.where(known_today, demand_mw, np.nan)), whole, gate_slot(utility))
    level, demand = demand_columns(whole, before_gate, rows, utility.lead_days)
    temperature = filled_from_the_day_before(grid.fold(frame[TEMPERATURE_C].to_numpy(dtype=np.float64, na_value=np.nan)))
    weather = weather_columns(paths(temperature, rows, disturbance_c), grid.slots)
    calendar = calendar_columns(wanted, utility, grid.slots)
    drivers = dict.fromkeys(weather, Driver.WEATHER) | dict.fromkeys(calendar, Driver.CALENDAR)
    drivers |= dict.fromkeys(demand, Driver.RECENT_DEMAND)
    return DayTable(tuple(wanted), level, drawn[rows], weather | calendar | demand, drivers)


def fold_demand(frame: pd.DataFrame, utility: Utility, days: tuple[date, ...]) -> Array:
    """Demand of `days` on the grid [MW], shape (days, slots), NaN where not known."""
    grid = DayGrid.of(pd.DatetimeIndex(frame.index), utility)
    folded = grid.fold(frame[DEMAND_MW].to_numpy(dtype=np.float64, na_value=np.nan))
    return folded[[(day - grid.days[0]).days for day in days]]


def _before_gates(known: Array, whole: Array, slots_before: int) -> Array:
    """Each day's demand before its own gate closure, its gaps filled from earlier days only."""
    morning = known[:, :slots_before].copy()
    for row in np.flatnonzero(~np.isfinite(morning).all(axis=1)):
        if row < 8:
            continue
        past = np.vstack([whole[row - 8 : row], np.r_[morning[row], np.full(whole.shape[1] - slots_before, np.nan)]])
        morning[row] = filled_from_the_week_before(past)[-1, :slots_before]
    return morning
