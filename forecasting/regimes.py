"""Kinds of days that are forecast differently well: four weather regimes and three kinds of calendar day.

A weather regime is told by the local day's mean temperature against quantiles of a reference history's daily means, so
that no constant is fitted to one climate: a hot day in Oslo is one that is hot for Oslo.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd

from data.schema import Array, Integers, Utility

WEATHER_REGIMES = ("cold", "mild", "warm", "hot")
DAY_KINDS = ("weekday", "weekend", "holiday")
# Shares of a reference history's days that lie below mild, below warm, below hot.
REGIME_LEVELS = (0.25, 0.65, 0.92)

Bounds = tuple[float, float, float]

_MILD = WEATHER_REGIMES.index("mild")
_WEEKEND, _HOLIDAY = DAY_KINDS.index("weekend"), DAY_KINDS.index("holiday")
_SATURDAY = 5


def day_means(temperature_c: pd.Series, utility: Utility) -> pd.Series:
    """Mean temperature of each local day [°C]; index: naive local midnights. NaN where less than half a day is known.

    temperature_c: index UTC starts of intervals.
    """
    midnight = utility.local(pd.DatetimeIndex(temperature_c.index)).tz_localize(None).normalize()
    by_day = temperature_c.groupby(midnight)
    means: pd.Series = by_day.mean().where(by_day.count() >= utility.steps_per_day / 2)
    return means


def weather_bounds(temperature_c: pd.Series, utility: Utility) -> Bounds:
    """Daily means [°C] above which a day is mild, warm, hot: quantiles `REGIME_LEVELS` of this history's daily means.

    temperature_c: index UTC starts of intervals. All NaN when no day is known. Source: sample quantiles of type 7,
    Hyndman & Fan (1996).
    """
    known = day_means(temperature_c, utility).dropna().to_numpy(dtype=np.float64)
    if not len(known):
        return (float("nan"), float("nan"), float("nan"))
    mild, warm, hot = (float(bound) for bound in np.quantile(known, REGIME_LEVELS))
    return mild, warm, hot


def weather_regime(day_mean_c: Array, bounds: Bounds) -> Integers:
    """Position in `WEATHER_REGIMES` of each day's mean temperature; where the mean or the bounds are unknown, mild."""
    codes = (day_mean_c[:, None] > np.asarray(bounds)).sum(axis=1)
    unknown = np.isnan(day_mean_c) | np.isnan(bounds).any()
    return np.where(unknown, _MILD, codes).astype(np.int64)


def day_kind(days: Sequence[date], utility: Utility) -> Integers:
    """Position in `DAY_KINDS` of each local day; a holiday at a weekend is a holiday."""
    return np.array(
        [_HOLIDAY if day in utility.holidays else _WEEKEND * (day.weekday() >= _SATURDAY) for day in days], dtype=np.int64
    )
