"""What the calendar alone tells: weekday, holidays and the days around them, season, turn of the year, daylight saving."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import numpy as np

from data.schema import Array, Utility

NOON = time(12)
# (name, first and last day as month·100 + day): demand sinks between the years and climbs back over January.
YEAR_WEEKS = (("before_year_end", 1215, 1221), ("new_year_weeks", 106, 120), ("end_of_january", 121, 131))


def calendar_columns(days: list[date], utility: Utility, slots: int) -> dict[str, Array]:
    """Every calendar feature of each day, shape (days, slots) each."""
    weekday = np.array([day.weekday() for day in days])

    def holiday(offset: int) -> Array:
        return np.array([float(day + timedelta(days=offset) in utility.holidays) for day in days])

    today = holiday(0)
    latest = utility.lead_days + 1
    columns = {f"weekday_{number}": (weekday == number) * (1.0 - today) for number in range(7)}
    columns |= {
        "holiday": today,
        "holiday_on_weekend": today * (weekday >= 5),
        "after_holiday": holiday(-1),
        "before_holiday": holiday(1),
        "bridge_day": np.maximum((weekday == 0) * holiday(1), (weekday == 4) * holiday(-1)) * (1.0 - today),
        "latest_known_day_was_holiday": holiday(-latest),
        "week_ago_was_holiday": holiday(-7 * (-(-latest // 7))),
        "two_weeks_ago_was_holiday": holiday(-7 * (-(-latest // 7)) - 7),
    }
    columns |= _turn_of_the_year(days, weekday, today)
    columns |= _season(days, utility)
    shape = (len(days), slots)
    return {name: np.broadcast_to(values.astype(np.float64)[:, None], shape) for name, values in columns.items()}


def _turn_of_the_year(days: list[date], weekday: Array, today: Array) -> dict[str, Array]:
    month_day = np.array([day.month * 100 + day.day for day in days])
    year_end = ((month_day >= 1222) | (month_day <= 105)).astype(np.float64)
    columns = {"year_end": year_end, "year_end_workday": year_end * (weekday < 5), "year_end_holiday": year_end * today}
    for name, first, last in YEAR_WEEKS:
        columns[name] = ((month_day >= first) & (month_day <= last)).astype(np.float64)
    return columns


def _season(days: list[date], utility: Utility) -> dict[str, Array]:
    angle = 2 * np.pi * np.array([day.timetuple().tm_yday for day in days]) / 365.25
    summer_time = np.array([bool(datetime.combine(day, NOON, tzinfo=utility.zone).dst()) for day in days], dtype=np.float64)
    columns = {"summer_time": summer_time}
    for order in (1, 2):
        columns[f"season_sin_{order}"] = np.sin(order * angle)
        columns[f"season_cos_{order}"] = np.cos(order * angle)
    # The sun keeps its own time: the same wall clock means another light once the clocks have moved.
    columns["summer_time_sin"] = summer_time * np.sin(angle)
    columns["summer_time_cos"] = summer_time * np.cos(angle)
    return columns
