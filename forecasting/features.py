"""Features of a day-ahead forecast: what is known at the gate closure, and the physics of demand.

Everything about demand is read from whole local days up to D−2 and from day D−1 before the gate closure: the code can
reach no later value, whatever stands in the frame (tests/property/test_features_properties.py shifts the future and sees
no change). Temperature is read up to the interval itself: at serving time that is a forecast.

Units: columns ending in `_mw` scale with demand, all others do not, so a forecaster can make itself indifferent to the unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, TEMPERATURE_C, TIMESTAMP, Array, Flags, Integers, Utility
from forecasting.errors import TooLittleHistory

LOOKBACK_DAYS = 29
TEMPERATURE_LAGS_HOURS = (1, 2, 3, 6, 12, 24, 48)
TEMPERATURE_MEMORY_HOURS = (6, 24, 72)
DEMAND_LAGS_DAYS = (2, 7, 14)
LEVEL_MW = "level_mw"
SLOT = "slot"


@dataclass(frozen=True)
class DayGrid:
    """Where each interval stands in the utility's local days.

    days: naive local dates, one a row of the grid; day_of_row, slot_of_row: grid coordinates of each interval. The hour
    that daylight saving repeats shares its slots; the hour it skips leaves them empty.
    """

    days: pd.DatetimeIndex
    day_of_row: Integers
    slot_of_row: Integers
    slots: int

    @staticmethod
    def of(index: pd.DatetimeIndex, utility: Utility) -> DayGrid:
        """The grid that covers `index`."""
        wall = utility.local(index).tz_localize(None)
        midnight = wall.normalize()
        days = pd.date_range(midnight[0], midnight[-1], freq="D")
        minutes = (wall - midnight) / utility.step
        return DayGrid(
            days=days,
            day_of_row=((midnight - days[0]) // pd.Timedelta(days=1)).to_numpy(dtype=np.int64),
            slot_of_row=np.floor(minutes.to_numpy(dtype=np.float64)).astype(np.int64),
            slots=utility.steps_per_day,
        )

    def fold(self, values: Array) -> Array:
        """Values on the grid, shape (days, slots); repeated slots averaged, skipped ones taken from their neighbours."""
        total = np.zeros((len(self.days), self.slots))
        count = np.zeros_like(total)
        good = np.isfinite(values)
        np.add.at(total, (self.day_of_row[good], self.slot_of_row[good]), values[good])
        np.add.at(count, (self.day_of_row[good], self.slot_of_row[good]), 1.0)
        folded = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        present = np.zeros_like(total, dtype=bool)
        present[self.day_of_row, self.slot_of_row] = True
        for row in np.flatnonzero(~present.all(axis=1) & present.any(axis=1)):
            if 0 < row < len(self.days) - 1:
                folded[row] = pd.Series(folded[row]).interpolate(limit_direction="both").to_numpy()
        return folded


def build(frame: pd.DataFrame, utility: Utility, days: list[date] | None = None) -> pd.DataFrame:
    """Features of every interval of `days` (default: every day with enough history before it).

    frame: columns `demand_mw`, `temperature_c`, index UTC and regular, from at least 29 days before the first day to the
    end of the last. Answers a frame indexed by interval; `level_mw` is the mean demand of days D−8 … D−2, and the demand
    features are differences from it. Raises TooLittleHistory.
    """
    index = pd.DatetimeIndex(frame.index)
    grid = DayGrid.of(index, utility)
    known_days = [moment.date() for moment in grid.days]
    wanted = known_days[LOOKBACK_DAYS:] if days is None else days
    if len(known_days) <= LOOKBACK_DAYS or not wanted or wanted[0] < known_days[LOOKBACK_DAYS]:
        raise TooLittleHistory(found_days=len(known_days) - 1, needed_days=LOOKBACK_DAYS)
    rows = np.flatnonzero(np.isin(grid.day_of_row, [(day - known_days[0]).days for day in wanted]))
    columns = _temperature_columns(frame[TEMPERATURE_C], utility, rows)
    demand_mw = frame[DEMAND_MW].to_numpy(dtype=np.float64, na_value=np.nan)
    known_today, known_tomorrow = _known_at_gates(index, grid, utility)
    whole = grid.fold(np.where(known_tomorrow, demand_mw, np.nan))
    before_gate = grid.fold(np.where(known_today, demand_mw, np.nan))
    by_day = _demand_columns(whole, before_gate[:, : gate_slot(utility)])
    by_day |= _calendar_columns(grid.days, utility, grid.slots)
    at = (grid.day_of_row[rows], grid.slot_of_row[rows])
    columns |= {name: values[at] for name, values in by_day.items()}
    return pd.DataFrame(columns, index=index[rows].rename(TIMESTAMP))


def _known_at_gates(index: pd.DatetimeIndex, grid: DayGrid, utility: Utility) -> tuple[Flags, Flags]:
    """True where an interval's demand is known at the gate closure on its own day, and at that on the day after.

    By the clock alone, an hour that daylight saving repeats or skips, or an interval that straddles the closure, would let
    later readings through.
    """
    days = [moment.date() + timedelta(days=1) for moment in grid.days]
    days.append(days[-1] + timedelta(days=1))
    closures = pd.DatetimeIndex([utility.gate_closure_of(day) for day in days])
    known_from = index + utility.step + utility.demand_delay
    today, tomorrow = (np.asarray(known_from <= closures[grid.day_of_row + later]) for later in (0, 1))
    return today, tomorrow


def gate_slot(utility: Utility) -> int:
    """First slot of day D−1 whose demand is not yet known at the gate closure."""
    closure = pd.Timedelta(hours=utility.gate_closure.hour, minutes=utility.gate_closure.minute)
    return max(0, int((closure - utility.demand_delay) // utility.step))


def known_until_gate(frame: pd.DataFrame, utility: Utility, day: date) -> pd.DataFrame:
    """The last 30 days before `day` and the day itself, demand blanked from the gate closure on."""
    end = utility.day_index(day)[-1]
    start = utility.day_index(day - timedelta(days=LOOKBACK_DAYS + 1))[0]
    window = frame.loc[start:end].copy()
    known_from = pd.DatetimeIndex(window.index) + utility.step + utility.demand_delay
    window.loc[known_from > utility.gate_closure_of(day), DEMAND_MW] = np.nan
    return window


def _temperature_columns(temperature_c: pd.Series, utility: Utility, rows: Integers) -> dict[str, Array]:
    per_hour = pd.Timedelta(hours=1) / utility.step

    def steps(hours: float) -> int:
        return max(1, round(hours * per_hour))

    columns = {"temperature": temperature_c}
    for hours in TEMPERATURE_LAGS_HOURS:
        columns[f"temperature_{hours}h_ago"] = temperature_c.shift(steps(hours))
    for hours in TEMPERATURE_MEMORY_HOURS:
        columns[f"temperature_memory_{hours}h"] = temperature_c.ewm(halflife=0.7 * steps(hours)).mean()
    past_day = temperature_c.rolling(steps(24), min_periods=steps(12))
    columns["temperature_day_max"] = past_day.max()
    columns["temperature_day_min"] = past_day.min()
    return {name: series.to_numpy(dtype=np.float64)[rows] for name, series in columns.items()}


def _demand_columns(demand: Array, before_gate: Array) -> dict[str, Array]:
    slots = demand.shape[1]

    def ago(values: Array, days: int) -> Array:
        shifted = np.full_like(values, np.nan)
        shifted[days:] = values[:-days]
        return shifted

    def every_slot(values: Array) -> Array:
        return np.repeat(values[:, None], slots, axis=1)

    daily = _row_means(demand)
    level = _row_means(np.stack([ago(daily, days) for days in range(2, 9)], axis=1))
    columns = {LEVEL_MW: every_slot(level), "yesterday_but_one_mw": every_slot(ago(daily, 2) - level)}
    for days in DEMAND_LAGS_DAYS:
        columns[f"demand_{days}d_ago_mw"] = ago(demand, days) - every_slot(level)
    same_weekday = np.stack([ago(demand, days).ravel() for days in (7, 14, 21, 28)], axis=1)
    columns["demand_same_weekday_mw"] = _row_means(same_weekday).reshape(demand.shape) - every_slot(level)
    if before_gate.shape[1]:
        morning, last = _row_means(before_gate), before_gate[:, -1]
        columns["morning_mw"] = every_slot(ago(morning, 1) - level)
        columns["morning_against_week_ago_mw"] = every_slot(ago(morning, 1) - ago(morning, 8))
        columns["last_known_mw"] = every_slot(ago(last, 1) - level)
        columns["last_known_against_day_before_mw"] = every_slot(ago(last, 1) - ago(last, 2))
    return columns


def _row_means(values: Array) -> Array:
    good = np.isfinite(values)
    total = np.where(good, values, 0.0).sum(axis=1)
    enough = good.sum(axis=1) >= max(1, values.shape[1] // 2)
    means: Array = np.divide(total, good.sum(axis=1), out=np.full(len(values), np.nan), where=enough)
    return means


def _calendar_columns(days: pd.DatetimeIndex, utility: Utility, slots: int) -> dict[str, Array]:
    dates = [moment.date() for moment in days]
    weekday = np.array([day.weekday() for day in dates])

    def holiday(offset: int) -> Array:
        return np.array([float(day + timedelta(days=offset) in utility.holidays) for day in dates])

    columns = {f"weekday_{number}": (weekday == number).astype(np.float64) for number in range(7)}
    for offset, name in (
        (0, "holiday"),
        (-1, "after_holiday"),
        (1, "before_holiday"),
        (-2, "holiday_2d_ago"),
        (-7, "holiday_7d_ago"),
    ):
        columns[name] = holiday(offset)
    columns["bridge_day"] = ((weekday == 0) & (holiday(1) > 0) | (weekday == 4) & (holiday(-1) > 0)).astype(np.float64)
    columns |= _season_columns(dates)
    spread = {name: np.repeat(values[:, None], slots, axis=1) for name, values in columns.items()}
    spread[SLOT] = np.tile(np.arange(slots, dtype=np.float64), (len(days), 1))
    spread["weekday"] = np.repeat(weekday.astype(np.float64)[:, None], slots, axis=1)
    return spread


def _season_columns(dates: list[date]) -> dict[str, Array]:
    angle = 2 * np.pi * np.array([day.timetuple().tm_yday for day in dates]) / 365.25
    month_day = np.array([day.month * 100 + day.day for day in dates])
    columns = {}
    for order in (1, 2):
        columns[f"season_sin_{order}"] = np.sin(order * angle)
        columns[f"season_cos_{order}"] = np.cos(order * angle)
    columns["year_end"] = ((month_day >= 1222) | (month_day <= 105)).astype(np.float64)
    columns["new_year_weeks"] = ((month_day >= 106) & (month_day <= 120)).astype(np.float64)
    columns["before_year_end"] = ((month_day >= 1215) & (month_day < 1222)).astype(np.float64)
    return columns
