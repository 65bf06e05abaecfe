"""What a certified model sees of a day: temperature and calendar, and nothing that any history has taught.

Every centre, unit and bend stands in the code, so that no two models share anything that was learned. Demand is no feature:
there are no lags, and so none that could cross the edge of a block. Temperatures before a block are not read either: what
remembers begins with the block's first hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from enum import IntEnum

import numpy as np
from scipy.signal import lfilter

from data.schema import Array, Utility
from forecasting.day_grid import filled_from_the_day_before

NEUTRAL_C = 18.0
UNIT_C = 10.0
# What a thermometer on Earth can read.
PLAUSIBLE_C = (-60.0, 60.0)
# Where people begin to heat and to cool, and where it gets worse. Chosen on 2013 (python -m benchmarks.certified_settings).
KNOTS_C = (12.0, 16.0, 20.0, 25.0, 30.0)
MEMORY_HOURS = (3, 12, 30, 72)
BENT_MEMORY_HOURS = (12, 30)
RUN_IN_DAYS = 3
# How much of a free day's drop in demand these days have.
BRIDGE, YEAR_END = 0.3, 0.4
YEAR_END_DAYS = (1222, 105)
CALENDAR_COLUMNS = 4
# A one; temperature now, smoothed, highest, lowest; the bends of now, highest and some of the smoothed; the calendar.
FEATURES = 1 + (3 + len(MEMORY_HOURS)) + (2 + len(BENT_MEMORY_HOURS)) * len(KNOTS_C) + CALENDAR_COLUMNS


class Kind(IntEnum):
    """Days that are alike by the calendar."""

    WORKDAY = 0
    SATURDAY = 1
    FREE = 2


def kind_of(day: date, utility: Utility) -> Kind:
    """A holiday is as free as a Sunday."""
    if day in utility.holidays or day.weekday() == 6:
        return Kind.FREE
    return Kind.SATURDAY if day.weekday() == 5 else Kind.WORKDAY


def temperature_without_gaps(grid_c: Array) -> Array:
    """Temperature of consecutive days, shape (days, slots) [°C]: gaps from the day before, then neutral."""
    lowest, highest = PLAUSIBLE_C
    filled = filled_from_the_day_before(np.where((grid_c >= lowest) & (grid_c <= highest), grid_c, np.nan))
    return np.where(np.isfinite(filled), filled, NEUTRAL_C)


def design(temperature_c: Array, days: Sequence[date], utility: Utility) -> Array:
    """Features of consecutive days, shape (days, slots, features): a one, the weather, the calendar.

    temperature_c: without gaps, shape (days, slots).
    """
    calendar = np.array([_calendar(day, utility) for day in days])
    by_day = [np.broadcast_to(column[:, None], temperature_c.shape) for column in calendar.T]
    return np.stack([np.ones_like(temperature_c), *_weather(temperature_c), *by_day], axis=2)


def _weather(temperature_c: Array) -> Iterator[Array]:
    """Temperature now, smoothed, and the day's extremes; some of them bent where people heat and cool."""
    for values, bent in _felt(temperature_c):
        yield (values - NEUTRAL_C) / UNIT_C
        if bent:
            yield from (np.maximum(0.0, values - knot) / UNIT_C for knot in KNOTS_C)


def _felt(temperature_c: Array) -> Iterator[tuple[Array, bool]]:
    days, slots = temperature_c.shape
    yield temperature_c, True
    for hours in MEMORY_HOURS:
        yield _memory(temperature_c, 0.7 * hours * slots / 24), hours in BENT_MEMORY_HOURS
    yield np.broadcast_to(temperature_c.max(axis=1)[:, None], (days, slots)), True
    yield np.broadcast_to(temperature_c.min(axis=1)[:, None], (days, slots)), False


def _memory(temperature_c: Array, half_life: float) -> Array:
    """Exponential smoothing from the first value on."""
    flat = temperature_c.ravel()
    weight = 1 - 0.5 ** (1 / half_life)
    smoothed: Array = lfilter([weight], [1.0, weight - 1.0], flat - flat[0]) + flat[0]
    return smoothed.reshape(temperature_c.shape)


def _calendar(day: date, utility: Utility) -> tuple[float, float, float, float]:
    """How much Saturday, free day, first workday after free ones and Friday a day is."""
    kind = kind_of(day, utility)
    if kind is not Kind.WORKDAY:
        return float(kind is Kind.SATURDAY), float(kind is Kind.FREE), 0.0, 0.0
    after_holiday, before_holiday = (day + timedelta(days=step) in utility.holidays for step in (-1, 1))
    monday, friday = day.weekday() == 0, day.weekday() == 4
    month_day = day.month * 100 + day.day
    free = 0.0
    if month_day >= YEAR_END_DAYS[0] or month_day <= YEAR_END_DAYS[1]:
        free = YEAR_END
    elif (monday and before_holiday) or (friday and after_holiday):
        free = BRIDGE
    return 0.0, free, float(monday or after_holiday), float(friday)
