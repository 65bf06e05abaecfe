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
from forecasting.departures import days_read
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
    gate closure of the day after, and before_gate_mw: as far as at the closure on the day itself, no features, with gaps,
    shape (days, slots) and (days, slots known by then); columns: name → shape (days, slots); drivers: name → driver;
    lead_days: from the gate closure's day to the day it is for; scale_mw: what 1 means in columns that scale with demand.
    run_up: weather and calendar of every day from the first whose departure is read (forecasting.departures) to the last.
    """

    days: tuple[date, ...]
    level_mw: Array
    drawn_mw: Array
    before_gate_mw: Array
    columns: dict[str, Array]
    drivers: dict[str, Driver]
    lead_days: int
    scale_mw: float = 1.0
    run_up: DayTable | None = None

    @property
    def slots(self) -> int:
        """Times of day."""
        return next(iter(self.columns.values())).shape[1]

    def in_units_of(self, scale_mw: float) -> DayTable:
        """The same with every column in MW divided by `scale_mw`."""
        scaled = {name: values / scale_mw if name.endswith("_mw") else values for name, values in self.columns.items()}
        return replace(self, columns=scaled, scale_mw=self.scale_mw * scale_mw)

    def at(self, rows: Integers) -> DayTable:
        """Some of the days."""
        days = tuple(self.days[int(row)] for row in np.arange(len(self.days))[rows])
        kept = _as_slice(rows)
        columns = {name: values[kept] for name, values in self.columns.items()}
        return replace(
            self,
            days=days,
            level_mw=self.level_mw[rows],
            drawn_mw=self.drawn_mw[rows],
            before_gate_mw=self.before_gate_mw[rows],
            columns=columns,
        )

    def without_demand(self) -> DayTable:
        """Weather and calendar only."""
        kept: dict[str, Driver] = {
            name: driver for name, driver in self.drivers.items() if driver is not Driver.RECENT_DEMAND
        }
        return replace(self, columns={name: self.columns[name] for name in kept}, drivers=kept)

    def with_recent_demand(self, columns: dict[str, Array]) -> DayTable:
        """The same and more columns about recent demand."""
        drivers = self.drivers | dict.fromkeys(columns, Driver.RECENT_DEMAND)
        return replace(self, columns=self.columns | columns, drivers=drivers)


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
    rows = np.array([(day - grid.days[0]).days for day in wanted])
    leading = np.arange(rows[0] - days_read(utility.lead_days), rows[-1] + 1)
    demand_mw = frame[DEMAND_MW].to_numpy(dtype=np.float64, na_value=np.nan)
    known_today, known_tomorrow, known_later = known_at_gates(pd.DatetimeIndex(frame.index), grid, utility)
    drawn = grid.fold(np.where(known_tomorrow, demand_mw, np.nan))
    later = filled_from_the_week_before(grid.fold(np.where(known_later, demand_mw, np.nan)))
    whole = filled_from_the_week_before(drawn, later)
    morning = grid.fold(np.where(known_today, demand_mw, np.nan))[:, : gate_slot(utility)]
    level, demand = demand_columns(whole, _before_gates(morning, whole), rows, utility.lead_days)
    temperature = filled_from_the_day_before(grid.fold(frame[TEMPERATURE_C].to_numpy(dtype=np.float64, na_value=np.nan)))
    calendar = calendar_columns([grid.days[row] for row in leading], utility, grid.slots)
    known = weather_columns(paths(temperature, leading), grid.slots) | calendar
    drivers = dict.fromkeys(known, Driver.WEATHER) | dict.fromkeys(calendar, Driver.CALENDAR)
    unknown_level = np.full(len(leading), np.nan)
    led_up_by = tuple(grid.days[row] for row in leading)
    run_up = DayTable(led_up_by, unknown_level, drawn[leading], morning[leading], known, drivers, utility.lead_days)
    own = rows - leading[0]
    table = replace(run_up.at(own), level_mw=level, run_up=run_up)
    if disturbance_c is not None:
        table = replace(table, columns=table.columns | weather_columns(paths(temperature, rows, disturbance_c), grid.slots))
    return table.with_recent_demand(demand)


def temperature_paths(frame: pd.DataFrame, utility: Utility, days: tuple[date, ...], error_c: Array) -> Array:
    """Temperatures that lead up to each day and through it, the last of them wrong by `error_c`: weather_features.paths."""
    grid = DayGrid.of(pd.DatetimeIndex(frame.index), utility)
    temperature = filled_from_the_day_before(grid.fold(frame[TEMPERATURE_C].to_numpy(dtype=np.float64, na_value=np.nan)))
    return paths(temperature, [(day - grid.days[0]).days for day in days], error_c)


def fold_demand(frame: pd.DataFrame, utility: Utility, days: tuple[date, ...]) -> Array:
    """Demand of `days` on the grid [MW], shape (days, slots), NaN where not known."""
    grid = DayGrid.of(pd.DatetimeIndex(frame.index), utility)
    folded = grid.fold(frame[DEMAND_MW].to_numpy(dtype=np.float64, na_value=np.nan))
    return folded[[(day - grid.days[0]).days for day in days]]


def _before_gates(known: Array, whole: Array) -> Array:
    """Each day's demand before its own gate closure, its gaps filled from earlier days only."""
    morning = known.copy()
    slots_before = known.shape[1]
    for row in np.flatnonzero(~np.isfinite(morning).all(axis=1)):
        if row < 8:
            continue
        past = np.vstack([whole[row - 8 : row], np.r_[morning[row], np.full(whole.shape[1] - slots_before, np.nan)]])
        morning[row] = filled_from_the_week_before(past)[-1, :slots_before]
    return morning


def _as_slice(rows: Integers) -> Integers | slice:
    """Rows that follow one another as a slice: it shares memory where a list of rows copies."""
    follow = len(rows) > 0 and bool((np.diff(rows) == 1).all())
    return slice(int(rows[0]), int(rows[-1]) + 1) if follow else rows
