"""The recent past in hours: what the watch needs to judge a day, and to judge the last months anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from data.schema import Array, Integers
from data.trust.calendar import HourlyClock, clock_of
from data.trust.panel import Days
from data.trust.relation import CONTEXT_HOURS, middle_of

LEAST_SHARE = 0.75
# Cosine and sine of the year among a clock's harmonics.
YEAR = (5, 6)


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of raw readings, shape (rows, sources) [°C], and demand [MW]."""

    index: pd.DatetimeIndex
    readings: Array
    demand_mw: Array

    @classmethod
    def of(cls, parts: Sequence[Rows], step: pd.Timedelta) -> Rows:
        """Rows of `step` that follow one another as one; at least one part."""
        if len(parts) == 1:
            return parts[0]
        first, readings = parts[0].index, np.concatenate([part.readings for part in parts])
        return cls(
            pd.date_range(first[0], periods=len(readings), freq=step, unit=first.unit),
            readings,
            np.concatenate([part.demand_mw for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.index)

    def part(self, start: int, stop: int) -> Rows:
        """Rows [start, stop)."""
        return Rows(pd.DatetimeIndex(self.index[start:stop]), self.readings[start:stop], self.demand_mw[start:stop])


@dataclass(frozen=True)
class DailyMeans:
    """Local days: mean demand [MW] and middle temperature [°C], weekday 0–6, angle of the year; each of shape (days,)."""

    demand_mw: Array
    temperature_c: Array
    weekday: Array
    season: Array


@dataclass(frozen=True)
class Hours:
    """Consecutive hours: profiles taken off, NaN where nothing usable [°C]; `carried`: the last known middle [°C]."""

    known: Array
    carried: Array
    clock: HourlyClock
    demand_mw: Array
    weekday: Array

    def __len__(self) -> int:
        return len(self.carried)

    def days(self, first: int, last: int) -> Days:
        """Local days `first` to `last` with the 48 hours before them. The hours must hold them."""
        start = int(np.searchsorted(self.clock.day, first))
        stop = int(np.searchsorted(self.clock.day, last, side="right"))
        cut = slice(start - CONTEXT_HOURS, stop)
        known = self.known[cut]
        count = last - first + 1
        day = self.clock.day[start:stop] - first
        cosine, sine = (_daily(self.clock.harmonics[start:stop, column], day, count) for column in YEAR)
        return Days(
            values=np.where(np.isfinite(known), known, self.carried[cut, None]),
            known=known,
            clock=self.clock.part(start - CONTEXT_HOURS, stop),
            demand_mw=_daily(self.demand_mw[start:stop], day, count),
            weekday=_daily(self.weekday[start:stop], day, count),
            season=np.arctan2(sine, cosine),
            first=first,
        )

    def joined(self, other: Hours) -> Hours:
        """These hours and the ones that follow them."""
        return Hours(
            known=np.concatenate([self.known, other.known]),
            carried=np.concatenate([self.carried, other.carried]),
            clock=HourlyClock(
                self.clock.first_day,
                np.concatenate([self.clock.day, other.clock.day]),
                np.concatenate([self.clock.hour, other.clock.hour]),
                np.concatenate([self.clock.month, other.clock.month]),
                np.concatenate([self.clock.harmonics, other.clock.harmonics]),
                self.clock.yearly,
            ),
            demand_mw=np.concatenate([self.demand_mw, other.demand_mw]),
            weekday=np.concatenate([self.weekday, other.weekday]),
        )

    def part(self, start: int, stop: int) -> Hours:
        """Hours [start, stop)."""
        cut = slice(start, stop)
        clock = self.clock.part(start, stop)
        return Hours(self.known[cut], self.carried[cut], clock, self.demand_mw[cut], self.weekday[cut])

    def daily(self) -> DailyMeans:
        """Means of all whole days."""
        day = self.clock.day - self.clock.day[0]
        count = int(day[-1]) + 1
        cosine, sine = (_daily(self.clock.harmonics[:, column], day, count) for column in YEAR)
        return DailyMeans(
            demand_mw=_daily(self.demand_mw, day, count),
            temperature_c=_daily(self.carried, day, count),
            weekday=_daily(self.weekday, day, count),
            season=np.arctan2(sine, cosine),
        )

    def latest_days(self, days: int) -> Hours:
        """The last `days` local days and the 48 hours before them."""
        first = self.clock.day[-1] - days + 1
        start = max(int(np.searchsorted(self.clock.day, first)) - CONTEXT_HOURS, 0)
        return self.part(start, len(self))

    def mean_since(self, day: int) -> Array:
        """Mean of what each source said from local day `day` on [°C], NaN where it said nothing; shape (sources,)."""
        said = self.known[self.clock.day >= day]
        count = np.isfinite(said).sum(axis=0)
        return np.asarray(np.divide(np.nansum(said, axis=0), count, out=np.full(count.shape, np.nan), where=count > 0))

    def without_past_of(self, source: int) -> Hours:
        """The same as if `source` had never said anything."""
        known = self.known.copy()
        known[:, source] = np.nan
        return replace(self, known=known)

    def less(self, profiles: Array, heard: list[int], before: float) -> Hours:
        """The same with usual biases taken off raw hours, and the middle of the heard carried from hour to hour."""
        known = self.known - self.clock.harmonics @ profiles
        return replace(self, known=known, carried=carried_middle(known, heard, before))


def hours_of(rows: Rows, per_hour: int, timezone: str, first_day: pd.Timestamp, *, yearly: bool) -> Hours:
    """Means of consecutive usable rows by hour, from a local midnight on. `carried` is not known yet: NaN.

    An hour counts when three quarters of its rows are known: half of an hour in which a front passes tells another
    temperature than the whole.
    """
    starts = rows.index[::per_hour]
    clock = clock_of(starts, timezone, first_day, yearly=yearly)
    lacking = len(starts) * per_hour - len(rows)  # a day of 23.5 hours ends in half an hour
    usable = np.pad(_bridged(rows, timezone), ((0, lacking), (0, 0)), constant_values=np.nan)
    demand = np.pad(rows.demand_mw, (0, lacking), constant_values=np.nan)
    return Hours(
        known=_mean(usable.reshape(len(starts), per_hour, -1)),
        carried=np.full(len(starts), np.nan),
        clock=clock,
        demand_mw=_mean(demand.reshape(len(starts), per_hour, 1))[:, 0],
        weekday=((first_day.weekday() + clock.day) % 7).astype(np.float64),
    )


def carried_middle(known: Array, heard: list[int], before: float) -> Array:
    """Middle of the heard sources at each hour, or of the last hour that had one; `before` ahead of the first [°C]."""
    middle = middle_of(known[:, heard]) if heard else np.full(len(known), np.nan)
    latest = np.maximum.accumulate(np.where(np.isfinite(middle), np.arange(len(middle)), -1))
    return np.where(latest >= 0, middle[np.maximum(latest, 0)], before)


def _bridged(rows: Rows, timezone: str) -> Array:
    """Readings with single missing rows as the mean of both neighbours, where all three are of one local day."""
    alone = np.isnan(rows.readings[1:-1])
    if not alone.any():
        return rows.readings
    day = rows.index.tz_convert(timezone).tz_localize(None).normalize()
    alone &= np.asarray(day[2:] == day[:-2])[:, None]
    bridged = rows.readings.copy()
    bridged[1:-1] = np.where(alone, (rows.readings[:-2] + rows.readings[2:]) / 2, rows.readings[1:-1])
    return bridged


def _mean(values: Array) -> Array:
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    enough = count >= LEAST_SHARE * values.shape[1]
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=enough))


def _daily(hourly: Array, day: Integers, days: int) -> Array:
    known = np.isfinite(hourly)
    count = np.bincount(day[known], minlength=days)
    total = np.bincount(day[known], hourly[known], days)
    return np.asarray(np.divide(total, count, out=np.full(days, np.nan), where=count >= 20))
