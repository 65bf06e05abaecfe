"""Up to which local day a model learned: of that day and those before it, what it says is no forecast.

It knows how they ended. Its answer is better than it will ever be again, which misleads whoever plans with it, and shows
that the day was learned from (AML.T0024.000).
"""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd

from data.meters import demand_as_of
from forecasting.ensemble import BRIDGED_HOURS
from pipeline.ingest import Readings


def learned_until(readings: Readings, as_of: pd.Timestamp) -> date:
    """The last local day whose demand was wholly known at `as_of` (UTC); `date.min` when none was known.

    A day that lacks no more at its end than forecasters bridge was learned from like a whole one.
    """
    known = demand_as_of(readings.demand, as_of)
    if known.empty:
        return date.min
    utility, last = readings.utility, pd.Timestamp(known.index.max())
    day = last.tz_convert(utility.zone).date()
    return day if last + pd.Timedelta(hours=BRIDGED_HOURS) >= utility.day_index(day)[-1] else day - timedelta(days=1)
