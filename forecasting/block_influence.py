"""What each week of a history does to a demand model: how badly the others foretell it, and how far it pulls the model.

The model explains demand by weather and calendar alone: lagged demand would let a week explain itself. A ridge regression
for each time of day that leans on its neighbouring times, as in certified_model; a week is left out exactly, by taking its
share off the normal equations. Weeks that are foretold worst are left out of all (least trimmed squares, Rousseeuw 1984;
against poison, Jagielski et al. 2018), so that planted weeks cannot vouch for one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, MILD_C, TEMPERATURE_C, Array, Flags, Integers, Utility
from forecasting.calendar_features import calendar_columns
from forecasting.certified_blocks import DAYS_IN_BLOCK, block_of
from forecasting.certified_features import Kind, design, kind_of, temperature_without_gaps
from forecasting.certified_model import leaning
from forecasting.day_grid import DayGrid
from forecasting.errors import TooLittleHistory

FEWEST_WEEKS = 20
# Chosen on 2012–2013 (docs/poison-audit.md).
PENALTY = 0.02
TRIMMED_SHARE = 0.1
ROUNDS = 5
# Demand of these days follows no rule that a few years could teach: December 16 to January 26.
YEAR_END = (1216, 126)
# Of the usual demand.
LEAST_EXPECTED = 0.05


@dataclass(frozen=True)
class WeekGrid:
    """Local weeks, Monday to Sunday. mondays: first day of each; days: the days that the history reaches."""

    mondays: tuple[date, ...]
    days: DayGrid

    @staticmethod
    def of(index: pd.DatetimeIndex, utility: Utility) -> WeekGrid:
        """The weeks that `index` touches."""
        days = DayGrid.of(index, utility)
        first = days.days[0] - timedelta(days=days.days[0].weekday())
        count = block_of(days.days[-1]) - block_of(days.days[0]) + 1
        return WeekGrid(tuple(first + timedelta(days=DAYS_IN_BLOCK * number) for number in range(count)), days)

    def fold(self, values: Array) -> Array:
        """Values by week and slot of the week, NaN where there is none, shape (weeks, 7 × slots of a day)."""
        return self.by_week(self.days.fold(values))

    def by_week(self, by_day: Array) -> Array:
        """The same of values that are by day already, shape (days, slots)."""
        before = self.days.days[0].weekday()
        after = DAYS_IN_BLOCK * len(self.mondays) - before - len(by_day)
        whole = np.pad(by_day, ((before, after), (0, 0)), constant_values=np.nan)
        return whole.reshape(len(self.mondays), -1)

    @property
    def week_of_day(self) -> Integers:
        """Number of the week of each day of the grid of days."""
        first = block_of(self.days.days[0])
        return np.array([block_of(day) - first for day in self.days.days], dtype=np.int64)


@dataclass(frozen=True)
class Influence:
    """What the weeks of one history do to the model of it.

    By slot of the week, each foretold by the model without that week, NaN where nothing is known, shape (weeks, 7 × slots):
    expected_mw; departed: demand beyond it, as a share of it, NaN on holidays, which follow no rule; per_degree: what one
    degree more on every day would add, as a share. By week, of the forecasts of all days: pull_percent, mild_pull_percent:
    how much higher they are, all and in mild hours, because the week was learned from. unusual: weeks at the turn of the
    year. trimmed: weeks that the model does without.
    """

    expected_mw: Array
    departed: Array
    per_degree: Array
    pull_percent: Array
    mild_pull_percent: Array
    unusual: Flags
    trimmed: Flags


def influence(training: pd.DataFrame, grid: WeekGrid, utility: Utility) -> Influence:
    """The influence of every week. training: as forecaster.Forecaster is fitted on; grid: of its index.

    Raises TooLittleHistory with less than 20 weeks.
    """
    days = list(grid.days.days)
    if len(days) < FEWEST_WEEKS * DAYS_IN_BLOCK:
        raise TooLittleHistory(found_days=len(days), needed_days=FEWEST_WEEKS * DAYS_IN_BLOCK)
    demand = grid.days.fold(training[DEMAND_MW].to_numpy(dtype=np.float64))
    temperature = temperature_without_gaps(grid.days.fold(training[TEMPERATURE_C].to_numpy(dtype=np.float64)))
    features = _features(temperature, days, utility)
    whole: Flags = np.asarray(np.isfinite(demand).all(axis=1))
    level = float(np.abs(demand[whole]).mean())
    usual = demand[whole].mean(axis=0) / level
    target = np.where(whole[:, None], demand / level - usual, 0.0)
    weeks = grid.week_of_day
    unusual = _unusual(days, weeks)
    shares = _shares(features, target, whole, weeks)
    left_out, everything, kept = _trimmed(shares, features, np.where(whole[:, None], target, np.nan), weeks, unusual)
    said = usual + _said(features, left_out[weeks])
    warmer = _features(temperature + 1.0, days, utility) - features
    pull, mild_pull = _pulls(shares, kept, features, usual, everything, _mild(temperature))
    # Where next to nothing is expected, a share of it says nothing.
    expected = np.where(said > LEAST_EXPECTED, said, np.nan)
    departed = np.where(_holidays(days, utility)[:, None], np.nan, demand / level / expected - 1)
    return Influence(
        expected_mw=grid.by_week(level * said),
        departed=grid.by_week(departed),
        per_degree=grid.by_week(_said(warmer, left_out[weeks]) / expected),
        pull_percent=pull,
        mild_pull_percent=mild_pull,
        unusual=unusual,
        trimmed=~kept,
    )


def _features(temperature_c: Array, days: Sequence[date], utility: Utility) -> Array:
    """As the certified models see a day, and the whole calendar; shape (days, slots, features)."""
    calendar = calendar_columns(list(days), utility, temperature_c.shape[1]).values()
    years = (np.arange(len(days)) - len(days) / 2) / 365.25
    trend = np.broadcast_to(years[:, None], temperature_c.shape)
    columns = np.stack([trend, *calendar], axis=2)
    return np.concatenate([design(temperature_c, days, utility), columns], axis=2)


def _shares(features: Array, target: Array, whole: Flags, weeks: Integers) -> Array:
    """X'X and X'y of each week side by side, shape (weeks, slots, features, features + 1)."""
    both = np.concatenate([features, target[:, :, None]], axis=2).transpose(1, 0, 2)
    slots, _, columns = both.shape
    shares = np.empty((int(weeks[-1]) + 1, slots, columns - 1, columns))
    lean = leaning(slots)
    for week in range(len(shares)):
        rows = both[:, (weeks == week) & whole]
        normal = np.matmul(rows[:, :, :-1].transpose(0, 2, 1), rows)
        shares[week] = np.tensordot(lean, normal, axes=1)
    return shares


def _trimmed(shares: Array, features: Array, target: Array, weeks: Integers, unusual: Flags) -> tuple[Array, Array, Flags]:
    """Coefficients without each week, shape (weeks, slots, features), those of all kept weeks, and which these are."""
    kept = np.ones(len(shares), dtype=np.bool_)
    for _ in range(ROUNDS):
        everything, left_out = _left_out(shares, kept)
        missed = _losses(target - _said(features, left_out[weeks]), weeks)
        losses = _against_their_kind(missed, unusual)
        again = losses <= np.quantile(losses, 1 - TRIMMED_SHARE)
        if (again == kept).all():
            break
        kept = again
    everything, left_out = _left_out(shares, kept)
    return left_out, everything, kept


def _left_out(shares: Array, kept: Flags) -> tuple[Array, Array]:
    whole = shares[kept].sum(axis=0)
    everything = solved(whole)
    without = [solved(whole - own) if keep else everything for own, keep in zip(shares, kept, strict=True)]
    return everything, np.stack(without)


def solved(normal: Array) -> Array:
    """Coefficients of each slot, shape (slots, features); normal: as one week's share."""
    penalty = PENALTY * np.eye(normal.shape[1])
    return np.asarray(np.linalg.solve(normal[:, :, :-1] + penalty, normal[:, :, -1:])[:, :, 0], dtype=np.float64)


def _pulls(shares: Array, kept: Flags, features: Array, usual: Array, everything: Array, mild: Flags) -> tuple[Array, Array]:
    """See Influence. A week that was trimmed is put in: its pull is what it would do."""
    whole = shares[kept].sum(axis=0)
    # Sums over the days are all that is asked for, and far smaller than the days.
    all_days = features.sum(axis=0)
    mild_days = np.einsum("dsp,ds->sp", features, mild.astype(np.float64))
    said = usual + _said(features, everything)
    total, mild_total = float(said.sum()), float(said[mild].sum())
    pulls = np.zeros((len(shares), 2))
    for week, (own, keep) in enumerate(zip(shares, kept, strict=True)):
        change = everything - solved(whole - own) if keep else solved(whole + own) - everything
        pulls[week] = (change * all_days).sum() / total, (change * mild_days).sum() / mild_total if mild_total else 0.0
    return 100 * pulls[:, 0], 100 * pulls[:, 1]


def _said(features: Array, coefficients: Array) -> Array:
    """Shape (days, slots), of coefficients by day or of one set for all."""
    pattern = "dsp,dsp->ds" if coefficients.ndim == 3 else "dsp,sp->ds"
    said: Array = np.einsum(pattern, features, coefficients)
    return said


def _losses(departures: Array, weeks: Integers) -> Array:
    """Mean square of each week's departures; 0 where none is known."""
    square = np.nansum(departures**2, axis=1)
    known = np.isfinite(departures).sum(axis=1)
    total, count = np.bincount(weeks, weights=square), np.bincount(weeks, weights=known)
    return np.divide(total, count, out=np.zeros(len(total)), where=count > 0)


def _against_their_kind(losses: Array, unusual: Flags) -> Array:
    """Losses over the median of usual or unusual weeks."""
    against = np.zeros(len(losses))
    for kind in (True, False):
        own = (unusual == kind) & (losses > 0)
        if own.any():
            against[own] = losses[own] / np.median(losses[own])
    return against


def _unusual(days: Sequence[date], weeks: Integers) -> Flags:
    numbers = np.array([day.month * 100 + day.day for day in days])
    strange = (numbers >= YEAR_END[0]) | (numbers <= YEAR_END[1])
    return np.asarray(np.bincount(weeks, weights=strange) > 0)


def _holidays(days: Sequence[date], utility: Utility) -> Flags:
    """Holidays that are no Sundays, and workdays between one and a weekend."""
    free = [kind_of(day, utility) is Kind.FREE and day.weekday() < 6 for day in days]
    a_day = timedelta(days=1)
    bridge = [
        (day.weekday() == 0 and day + a_day in utility.holidays) or (day.weekday() == 4 and day - a_day in utility.holidays)
        for day in days
    ]
    return np.asarray(np.array(free) | np.array(bridge))


def _mild(temperature_c: Array) -> Flags:
    return np.asarray((temperature_c >= MILD_C[0]) & (temperature_c <= MILD_C[1]))
