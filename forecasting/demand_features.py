"""Demand known at the gate closure, as differences from its level over the last known week.

For a forecast of day D closing on day G = D − lead_days, whole days are read up to G−1 and day G before the gate closure.
All differences: a utility that grows, or that nets its solar production, keeps its features centred.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from data.schema import Array, Integers

MORNING_PARTS = 3


def demand_columns(
    whole: Array, before_gate: Array, rows: Integers | list[int], lead_days: int
) -> tuple[Array, dict[str, Array]]:
    """The level [MW], shape (rows,), and every demand feature [MW], shape (rows, slots) each.

    whole: demand of each day as known at the gate closure of the day after, shape (days, slots); before_gate: of each day
    before its own gate closure, shape (days, known slots); rows: the days to forecast.
    """
    day = np.asarray(rows, dtype=np.int64)
    slots = whole.shape[1]
    latest = lead_days + 1
    week = 7 * (-(-latest // 7))
    daily = whole.mean(axis=1)
    level: Array = np.mean([daily[day - ago] for ago in range(latest, latest + 7)], axis=0)
    same_weekday = np.mean([whole[day - week - 7 * number] for number in range(4)], axis=0)
    by_slot = {
        "same_slot_latest_day_mw": whole[day - latest],
        "same_slot_day_before_mw": whole[day - latest - 1],
        "same_slot_week_ago_mw": whole[day - week],
        "same_slot_week_and_day_ago_mw": whole[day - week - 1],
        "same_slot_two_weeks_ago_mw": whole[day - week - 7],
        "same_slot_same_weekday_mw": same_weekday,
    }
    by_day = {
        "latest_day_mw": daily[day - latest] - level,
        "latest_evening_mw": whole[day - latest, -slots // 4 :].mean(axis=1) - level,
    }
    by_day |= _morning(before_gate, day - lead_days, level)
    columns = {name: values - level[:, None] for name, values in by_slot.items()}
    columns |= {name: np.broadcast_to(values[:, None], (len(day), slots)) for name, values in by_day.items()}
    return level, columns


def _morning(before_gate: Array, gate_day: Integers, level: Array) -> dict[str, Array]:
    """The gate closure's own day so far: its parts, and its last interval, against the level and the same time before."""
    known = before_gate.shape[1]
    columns: dict[str, Array] = {}
    if not known:
        return columns
    bounds = np.linspace(0, known, min(MORNING_PARTS, known) + 1).astype(np.int64)
    for number, (start, end) in enumerate(pairwise(bounds), start=1):
        part = before_gate[:, start:end].mean(axis=1)
        columns[f"morning_{number}_mw"] = part[gate_day] - level
        columns[f"morning_{number}_against_week_ago_mw"] = part[gate_day] - part[gate_day - 7]
        columns[f"morning_{number}_against_day_before_mw"] = part[gate_day] - part[gate_day - 1]
    last = before_gate[:, -1]
    columns["last_known_mw"] = last[gate_day] - level
    columns["last_known_against_day_before_mw"] = last[gate_day] - last[gate_day - 1]
    return columns
