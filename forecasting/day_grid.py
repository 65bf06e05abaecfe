"""The utility's local days as a grid: one row a day, one column a time of day (slot)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, Array, Flags, Integers, Utility

# Four same weekdays before the latest whole day that can be known, whatever the lead.
LOOKBACK_DAYS = 36


@dataclass(frozen=True)
class DayGrid:
    """Where each interval stands in the utility's local days.

    days: local dates, one a row of the grid; day_of_row, slot_of_row: grid coordinates of each interval. The hour that
    daylight saving repeats shares its slots; the hour it skips leaves them empty.
    """

    days: tuple[date, ...]
    day_of_row: Integers
    slot_of_row: Integers
    slots: int

    @staticmethod
    def of(index: pd.DatetimeIndex, utility: Utility) -> DayGrid:
        """The grid that covers `index`."""
        wall = utility.local(index).tz_localize(None).as_unit("us")
        microseconds = wall.asi8
        day_length = 86_400_000_000
        day = microseconds // day_length
        step = utility.step // pd.Timedelta(microseconds=1)
        first = date(1970, 1, 1) + timedelta(days=int(day[0]))
        count = int(day[-1] - day[0]) + 1
        return DayGrid(
            days=tuple(first + timedelta(days=number) for number in range(count)),
            day_of_row=(day - day[0]).astype(np.int64),
            slot_of_row=((microseconds % day_length) // step).astype(np.int64),
            slots=utility.steps_per_day,
        )

    def fold(self, values: Array) -> Array:
        """Values on the grid, shape (days, slots), NaN where there is none.

        Repeated slots are averaged, slots that daylight saving skips taken from their neighbours.
        """
        cell = self.day_of_row * self.slots + self.slot_of_row
        size = len(self.days) * self.slots
        good = np.isfinite(values)
        total = np.bincount(cell[good], weights=values[good], minlength=size)
        count = np.bincount(cell[good], minlength=size)
        folded = np.full(size, np.nan)
        np.divide(total, count, out=folded, where=count > 0)
        grid = folded.reshape(len(self.days), self.slots)
        skipped = np.bincount(cell, minlength=size) == 0
        skipped[: cell[0]] = skipped[cell[-1] :] = False
        skipped = skipped.reshape(grid.shape)
        for row in np.flatnonzero(skipped.any(axis=1)):
            grid[row] = np.where(skipped[row], bridged(grid[row], self.slots), grid[row])
        return grid


def known_at_gates(index: pd.DatetimeIndex, grid: DayGrid, utility: Utility) -> tuple[Flags, Flags, Flags]:
    """True where an interval's demand is known at the gate closure on its own local day, on the day after, and a week after.

    By the clock alone, an hour that daylight saving repeats or skips, or an interval that straddles the closure, would let
    later readings through.
    """
    ahead = timedelta(days=utility.lead_days)
    days = [*grid.days, *(grid.days[-1] + timedelta(days=later) for later in range(1, 8))]
    closures = pd.DatetimeIndex([utility.gate_closure_of(day + ahead) for day in days]).as_unit("us").asi8
    known_from = pd.DatetimeIndex(index + utility.step + utility.demand_delay).as_unit("us").asi8
    own, next_day, week_after = (known_from <= closures[grid.day_of_row + later] for later in (0, 1, 7))
    return own, next_day, week_after


def gate_slot(utility: Utility) -> int:
    """First slot of the gate closure's own day whose demand is not yet known then."""
    closure = pd.Timedelta(hours=utility.gate_closure.hour, minutes=utility.gate_closure.minute)
    return max(0, int((closure - utility.demand_delay) // utility.step))


def closure_slot(utility: Utility) -> int:
    """First slot of the gate closure's own day whose temperature is not yet measured then."""
    return int(pd.Timedelta(hours=utility.gate_closure.hour, minutes=utility.gate_closure.minute) // utility.step)


def window_days(utility: Utility) -> int:
    """How far back a forecast reads: what it needs, also for each of the last two known weeks, which it is held against."""
    return LOOKBACK_DAYS + 15 + utility.lead_days


def known_until_gate(frame: pd.DataFrame, utility: Utility, day: date) -> pd.DataFrame:
    """The days before `day` that its forecast reads and the day itself, demand blanked from the day's gate closure on."""
    end = utility.day_index(day)[-1]
    start = utility.day_index(day - timedelta(days=window_days(utility)))[0]
    window = frame.loc[start:end].copy()
    known_from = pd.DatetimeIndex(window.index) + utility.step + utility.demand_delay
    window.loc[known_from > utility.gate_closure_of(day), DEMAND_MW] = np.nan
    return window


def bridged(values: Array, longest: int) -> Array:
    """The same with gaps of up to `longest` values bridged in a straight line, level at the ends."""
    missing = ~np.isfinite(values)
    if not missing.any() or missing.all():
        return values.copy()
    where = np.arange(len(values))
    straight = np.interp(where, where[~missing], values[~missing])
    edges = np.flatnonzero(np.diff(np.r_[False, missing, False].astype(np.int8)))
    filled = values.copy()
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start <= longest:
            filled[start:end] = straight[start:end]
    return filled


def filled_from_the_week_before(grid: Array, as_known_later: Array | None = None) -> Array:
    """Gaps in demand filled with the same slots a week earlier, shifted by how the time before the gap differed.

    That time is as long as the gap has lasted, a day at least: not as long as it will last, which nobody knows at the gate.
    as_known_later: the same days as known a week later; readings may come so late that a slot is always missing at first.
    Only earlier values are read. What no earlier week covers stays NaN.
    """
    days, slots = grid.shape
    flat = grid.ravel().copy()
    earlier = flat if as_known_later is None else as_known_later.ravel()
    week = 7 * slots
    edges = np.flatnonzero(np.diff(np.r_[False, ~np.isfinite(flat), False].astype(np.int8)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        for head in range(max(start, week), end, week):
            since = max(week, head - slots - min(end - head, week))
            shift = flat[since:head] - earlier[since - week : head - week]
            for begin in range(head, min(head + week, end), slots):
                stop = min(begin + slots, head + week, end)
                recent = shift[max(0, len(shift) - (begin - head) - slots) :]
                known = recent[np.isfinite(recent)]
                flat[begin:stop] = earlier[begin - week : stop - week] + (known.mean() if len(known) else 0.0)
    return flat.reshape(days, slots)


def filled_from_the_day_before(grid: Array) -> Array:
    """Gaps in temperature filled with the same slots a day earlier; what no earlier day covers stays NaN."""
    filled = grid.copy()
    for row in np.flatnonzero(~np.isfinite(grid).all(axis=1)):
        if row:
            filled[row] = np.where(np.isfinite(filled[row]), filled[row], filled[row - 1])
    return filled
