"""Four hourly thermometers of one small utility for 120 days, one of which may be made to lie."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data.files import WeatherHistory
from data.schema import Array

START = pd.Timestamp("2013-01-01", tz="UTC")
DAYS, BASELINE_DAYS = 120, 60
LIE = START + pd.Timedelta(days=90)
NAMES = ("north", "east", "south", "west")
ZONE = "Europe/Berlin"
HOUR = pd.Timedelta(hours=1)


def index_of(days: int = DAYS, step: pd.Timedelta = HOUR) -> pd.DatetimeIndex:
    return pd.date_range(START, START + pd.Timedelta(days=days), freq=step, inclusive="left", unit="us", name="timestamp")


def truth(index: pd.DatetimeIndex, seed: int = 1) -> Array:
    """Seasons, days and nights, and weather that changes from day to day [°C]."""
    day = np.asarray((index - START) // pd.Timedelta(days=1))
    hour = np.asarray(index.hour + index.minute / 60)
    weather = np.random.default_rng(seed).normal(0, 3, int(day[-1]) + 1)[day]
    return np.asarray(12 - 8 * np.cos(2 * np.pi * day / 365) - 4 * np.cos(2 * np.pi * (hour - 3) / 24) + weather)


def histories(seed: int = 1) -> dict[str, WeatherHistory]:
    """Honest ones: within half a degree of the truth, with a bias of their own, to a tenth of a degree."""
    index, random = index_of(), np.random.default_rng(seed)
    values = truth(index, seed)
    return {
        name: history(pd.Series((values + bias + random.normal(0, 0.5, len(index))).round(1), index))
        for bias, name in enumerate(NAMES)
    }


def history(values: pd.Series, step: pd.Timedelta = HOUR, unreadable: int = 0) -> WeatherHistory:
    return WeatherHistory(values, step, unreadable, ())
