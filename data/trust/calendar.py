"""The local clock of a run of hours: time of day, season, which local day each hour belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from data.schema import Array, Integers

HARMONICS = 11
YEARLY = slice(5, HARMONICS)


@dataclass(frozen=True)
class HourlyClock:
    """Local calendar of consecutive UTC hours, element by element.

    day: local day counted from 0 at `first_day`; hour: local hour 0–23; month: 1–12; harmonics: shape (hours, 11), a
    constant, two of the day, one of the year, and their products; yearly: False where those of the year are left out.
    """

    first_day: pd.Timestamp
    day: Integers
    hour: Integers
    month: Integers
    harmonics: Array
    yearly: bool = True

    def __len__(self) -> int:
        return len(self.day)

    def part(self, start: int, stop: int) -> HourlyClock:
        """The clock of hours [start, stop)."""
        cut = slice(start, stop)
        return HourlyClock(self.first_day, self.day[cut], self.hour[cut], self.month[cut], self.harmonics[cut], self.yearly)


def clock_of(index: pd.DatetimeIndex, timezone: str, first_day: pd.Timestamp, *, yearly: bool = True) -> HourlyClock:
    """The clock of `index` (UTC, starts of hours) in an IANA zone; days count from `first_day` (naive local midnight)."""
    # In numpy: a day of a reading that comes alone must not wait for a dozen pandas indexes.
    local = index.tz_convert(timezone).tz_localize(None)
    moment = local.to_numpy()
    date = moment.astype("datetime64[D]")
    hour = ((moment - date) // np.timedelta64(1, "h")).astype(np.int64)
    day = (date - np.datetime64(first_day, "D")).astype(np.int64)
    month = date.astype("datetime64[M]").astype(np.int64) % 12 + 1
    harmonics = harmonics_of(local)
    if not yearly:
        harmonics[:, YEARLY] = 0.0
    return HourlyClock(first_day, day, hour, month, harmonics, yearly)


def harmonics_of(local: pd.DatetimeIndex) -> Array:
    """Diurnal and seasonal harmonics of naive local moments, shape (moments, 11)."""
    moment = local.to_numpy()
    day = moment.astype("datetime64[D]")
    hour = 2 * np.pi * ((moment - day) / np.timedelta64(1, "D"))
    season = 2 * np.pi * ((day - day.astype("datetime64[Y]")).astype(np.float64) + 1) / 365.25
    daily = (np.cos(hour), np.sin(hour), np.cos(2 * hour), np.sin(2 * hour))
    yearly = (np.cos(season), np.sin(season))
    crossed = [one * other for one in daily[:2] for other in yearly]
    return np.column_stack([np.ones(len(hour)), *daily, *yearly, *crossed])
