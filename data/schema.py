"""The shapes, units and time convention that every room shares.

Time. Every timestamp is timezone-aware UTC and marks the START of its interval (decision 0002). `available_at` is the
moment a value became known: never before its interval ended for a measurement, before it began for a forecast.
Local time exists only in `Utility`, for days, gate closures and holidays.

Units. `demand_mw` mean power over the interval [MW]; `temperature_c` [°C]; `temperature_uncertainty_c` how far off that may
be for what its sources are and say, one standard deviation [°C], NaN where nobody tells; `energy_mwh` [MWh].

Frames.
    demand   index `timestamp`; columns `demand_mw` (NaN where unknown), `available_at`
    weather  columns `provider`, `issued_at`, `valid_at`, `temperature_c`: one row a value; an observation has
             issued_at >= valid_at + step, a forecast has issued_at < valid_at + step
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Single = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

TIMESTAMP = "timestamp"
DEMAND_MW = "demand_mw"
TEMPERATURE_C = "temperature_c"
FORECAST_TEMPERATURE_C = "forecast_temperature_c"
TEMPERATURE_UNCERTAINTY_C = "temperature_uncertainty_c"
AVAILABLE_AT = "available_at"
PROVIDER = "provider"
ISSUED_AT = "issued_at"
VALID_AT = "valid_at"

QUANTILES: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MILD_C = (15.0, 22.0)
SHORTEST_STEP = pd.Timedelta(minutes=5)
LONGEST_STEP = pd.Timedelta(hours=1)
NO_DELAY = pd.Timedelta(0)


@dataclass(frozen=True)
class Utility:
    """Whose demand is forecast: its clock, its calendar, its market's gate closure.

    step: length of one interval, 5 min to 1 h. gate_closure: local time after which nothing new may be used, `lead_days`
    before the day of delivery (0: the same day). holidays: local dates. demand_delay: how long after an interval's end its
    demand is known.
    """

    timezone: str
    step: pd.Timedelta
    gate_closure: time = time(9, 0)
    holidays: frozenset[date] = field(default_factory=frozenset)
    demand_delay: pd.Timedelta = NO_DELAY
    lead_days: int = 1

    @property
    def zone(self) -> ZoneInfo:
        """The utility's IANA zone."""
        return ZoneInfo(self.timezone)

    @property
    def steps_per_day(self) -> int:
        """Intervals in a day of 24 hours."""
        return int(pd.Timedelta(days=1) / self.step)

    def local(self, index: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """The same moments on the utility's clock."""
        return index.tz_convert(self.zone)

    def gate_closure_of(self, day: date) -> pd.Timestamp:
        """UTC moment at which the forecast for local day `day` closes: `gate_closure`, `lead_days` earlier.

        A wall time that daylight saving skips is read as the moment the clocks move; one that it repeats, as the first.
        """
        return _to_utc(day - timedelta(days=self.lead_days), self.gate_closure, self.timezone)

    def day_index(self, day: date) -> pd.DatetimeIndex:
        """UTC starts of every interval of local day `day`: 23, 24 or 25 hours of them."""
        return _day_index(day, self.timezone, self.step)


# The same days are asked for over and over while a window rolls.
@lru_cache(maxsize=8192)
def _to_utc(day: date, clock: time, timezone: str) -> pd.Timestamp:
    wall = pd.Timestamp(day) + pd.Timedelta(hours=clock.hour, minutes=clock.minute)
    return wall.tz_localize(ZoneInfo(timezone), ambiguous=True, nonexistent="shift_forward").tz_convert("UTC")


@lru_cache(maxsize=1024)
def _day_index(day: date, timezone: str, step: pd.Timedelta) -> pd.DatetimeIndex:
    start, end = _to_utc(day, time(0), timezone), _to_utc(day + timedelta(days=1), time(0), timezone)
    return pd.date_range(start, end, freq=step, inclusive="left", name=TIMESTAMP)


def days_between(first: date, last: date) -> list[date]:
    """Every date from `first` to `last`, both included."""
    return [moment.date() for moment in pd.date_range(first, last, freq="D")]


def is_mild(temperature_c: pd.Series) -> pd.Series:
    """True where 15 °C <= temperature <= 22 °C: the hours the incident is told in."""
    return temperature_c.between(*MILD_C)


def providers_of(weather: pd.DataFrame) -> list[str]:
    """Names of the sources in a weather frame, in alphabetical order."""
    names: Iterable[str] = weather[PROVIDER].unique()
    return sorted(names)
