"""The groups of features in which two days are alike or not, for each block of hours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from data.schema import Array
from forecasting.day_table import DayTable, Driver


@dataclass(frozen=True)
class Block:
    """Hours of the day that share a kernel. parts: into how many equal stretches their features are averaged."""

    first_hour: int
    last_hour: int
    parts: int

    def slots(self, per_day: int) -> slice:
        """Times of day inside."""
        return slice(self.first_hour * per_day // 24, self.last_hour * per_day // 24)


# Two members cut the day at different edges, so that their errors differ there.
THIRDS = (Block(0, 8, 8), Block(8, 16, 8), Block(16, 24, 8))
HALVES = (Block(0, 12, 12), Block(12, 24, 12))


@dataclass(frozen=True)
class Group:
    """Features measured together.

    length, line: where learning starts from, length scale and weight of the linear part (kernel_learning); through: those
    taken in every part of the block; once: in its middle; prefix: any whose name begins so; binary: yes or no.
    """

    driver: Driver
    length: float
    line: float
    through: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    binary: bool = False


# Lengths and lines were found on 2013 (python -m benchmarks.settings); each utility's own data move them from there.
GROUPS = {
    "weather_now": Group(Driver.WEATHER, length=2.2, line=0.008, through=("temperature",), once=("temperature_memory_6h",)),
    "weather_before": Group(
        Driver.WEATHER,
        length=2.6,
        line=0.005,
        once=(
            "temperature_6h_ago",
            "temperature_12h_ago",
            "temperature_24h_ago",
            "temperature_memory_24h",
            "temperature_memory_72h",
            "temperature_day_before_max",
            "temperature_day_before_min",
            "temperature_day_before_mean",
        ),
    ),
    "weather_day": Group(
        Driver.WEATHER, length=6.0, line=0.005, once=("temperature_day_max", "temperature_day_min", "temperature_day_mean")
    ),
    "demand_shape": Group(
        Driver.RECENT_DEMAND,
        length=5.0,
        line=0.02,
        through=(
            "same_slot_latest_day_mw",
            "same_slot_week_ago_mw",
            "same_slot_two_weeks_ago_mw",
            "same_slot_same_weekday_mw",
        ),
    ),
    "demand_recent": Group(Driver.RECENT_DEMAND, length=8.0, line=0.1, prefix=("latest_", "morning_", "last_known_")),
    "week": Group(Driver.CALENDAR, length=12.0, line=0.1, prefix=("weekday_",), binary=True),
    "holiday": Group(
        Driver.CALENDAR,
        length=6.0,
        line=0.02,
        once=(
            "holiday",
            "holiday_on_weekend",
            "after_holiday",
            "before_holiday",
            "bridge_day",
            "latest_known_day_was_holiday",
            "week_ago_was_holiday",
            "two_weeks_ago_was_holiday",
            "year_end_holiday",
        ),
        binary=True,
    ),
    "season": Group(
        Driver.CALENDAR,
        length=4.5,
        line=0.01,
        once=("season_sin_1", "season_cos_1", "season_sin_2", "season_cos_2", "summer_time"),
    ),
    "turn_of_year": Group(
        Driver.CALENDAR,
        length=6.0,
        line=0.005,
        once=("year_end", "year_end_workday", "before_year_end", "new_year_weeks", "end_of_january"),
        binary=True,
    ),
    "departure_shape": Group(
        Driver.RECENT_DEMAND,
        length=8.0,
        line=0.02,
        through=("departure_slot_latest_day", "departure_slot_same_weekday", "departure_slot_week_mean"),
    ),
    "departure_days": Group(Driver.RECENT_DEMAND, length=8.0, line=0.1, prefix=("departure_day_",)),
}
DEPARTURES = ("departure_shape", "departure_days")
PLAIN = tuple(name for name in GROUPS if name not in DEPARTURES)
ORDINARY = tuple(name for name in PLAIN if GROUPS[name].driver is not Driver.RECENT_DEMAND)


def block_features(table: DayTable, block: Block, groups: tuple[str, ...]) -> dict[str, Array]:
    """Features of each day for `block`: group, of those named, → shape (days, features)."""
    slots = block.slots(table.slots)
    middle = (slots.start + slots.stop) // 2
    answer = {}
    for name, once in zip(groups, _taken_once(groups, tuple(table.drivers.items())), strict=True):
        parts = [np.array([table.columns[column][:, middle] for column in once]).reshape(len(once), len(table.days)).T]
        through = GROUPS[name].through
        if through:
            inside = np.stack([table.columns[column][:, slots] for column in through], axis=1)
            by_part = inside.reshape(len(table.days), len(through) * block.parts, -1)
            parts.append(by_part.sum(axis=2) / by_part.shape[2])
        answer[name] = np.concatenate(parts, axis=1)
    return answer


@lru_cache(maxsize=16)
def _taken_once(groups: tuple[str, ...], columns: tuple[tuple[str, Driver], ...]) -> list[tuple[str, ...]]:
    """The columns of each group that are taken in the middle of a block."""
    # "latest_known_day_was_holiday" begins like a demand feature, and is none: the driver tells.
    return [
        (*group.once, *(name for name, driver in columns if driver is group.driver and name.startswith(group.prefix)))
        for group in (GROUPS[name] for name in groups)
    ]
