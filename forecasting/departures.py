"""How far the last days departed from what weather and calendar alone make of demand: recent demand, weather-normalised.

Two hot days in a row differ little; a hot day after a mild one differs by the heat. What is left once weather and calendar
are taken off (an economy, a mood, the sun on the roofs, an unannounced day off) lasts, and is the better guide to tomorrow.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from data.schema import Array, Integers
from forecasting.demand_features import MORNING_PARTS

LEVEL = "departure_level"


def days_read(lead_days: int) -> int:
    """How many days before a day its departure features begin: with the last week that is known whole."""
    return lead_days + 7


def departure_columns(departed: Array, before_gate: Array, rows: Integers, lead_days: int) -> dict[str, Array]:
    """The mean departure of the last known week, named `LEVEL`, and the others against it, shape (rows, slots) each.

    departed: of each whole day, shape (days, slots); before_gate: of each day before its own gate closure, shape (days,
    known slots); both NaN where demand is not known; rows: the days to forecast.
    """
    ago = np.arange(days_read(lead_days), lead_days, -1)
    week = _carried_forward(departed[rows[:, None] - ago])
    slots = week.shape[2]
    level = week.mean(axis=(1, 2))
    latest = week[:, -1]
    by_slot = {
        "latest_day": latest,
        "same_weekday": week[:, int(np.flatnonzero(ago % 7 == 0)[0])],
        "week_mean": week.mean(axis=1),
    }
    by_day = {
        "latest": latest.mean(axis=1),
        "before": week[:, -2].mean(axis=1),
        "evening": latest[:, -slots // 4 :].mean(axis=1),
    }
    by_day |= _morning(before_gate[rows - lead_days], latest)
    shape = (len(rows), slots)
    columns = {f"departure_slot_{name}": values - level[:, None] for name, values in by_slot.items()}
    columns |= {
        f"departure_day_{name}": np.broadcast_to((values - level)[:, None], shape) for name, values in by_day.items()
    }
    return columns | {LEVEL: np.broadcast_to(level[:, None], shape)}


def _morning(before_gate: Array, day_before: Array) -> dict[str, Array]:
    """The gate closure's own day so far, in parts; what is not known of it counts as on the day before."""
    known = before_gate.shape[1]
    if not known:
        return {}
    morning = np.where(np.isfinite(before_gate), before_gate, day_before[:, :known])
    bounds = np.linspace(0, known, min(MORNING_PARTS, known) + 1).astype(np.int64)
    parts = {f"morning_{number}": morning[:, a:b].mean(axis=1) for number, (a, b) in enumerate(pairwise(bounds), start=1)}
    return parts | {"last_known": morning[:, -1]}


def _carried_forward(week: Array) -> Array:
    """Where a departure is not known, that of the day before; none at the week's start. week: shape (rows, days, slots)."""
    filled = np.where(np.isfinite(week), week, 0.0)
    for day in range(1, week.shape[1]):
        filled[:, day] = np.where(np.isfinite(week[:, day]), week[:, day], filled[:, day - 1])
    return filled
