"""Levels 1 and 2 as accusations: readings that stay impossible, frozen or repeated for hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.schema import Flags, Integers
from data.trust.readings import Flag, lasting
from data.trust.rules import TrustRules


@dataclass(frozen=True)
class Alarm:
    """A source that cannot be used any more: row of the decision, rows it began before, level, words, hours of evidence."""

    row: int
    source: int
    rows_before: int
    level: int
    reason: str
    hours: float


def first_alarm(
    flags: Integers, start: int, stop: int, heard: Sequence[int], rules: TrustRules, per_hour: int
) -> Alarm | None:
    """The first alarm against a heard source in rows [start, stop) of `flags`; the rows before serve as the past."""
    day = 24 * per_hour
    first = max(start - day, 0)
    part = flags[first:stop][:, list(heard)]
    if not part.any():
        return None
    impossible = int(Flag.INVALID | Flag.GROSS) | (0 if len(heard) >= 3 else int(Flag.UNUSUAL))
    found: list[Alarm] = []
    for mask, hours, level, reason in (
        (impossible, rules.gross_hours, 1, "its values are impossible for the place and season"),
        (int(Flag.FROZEN), rules.frozen_alarm_hours, 2, "frozen at one value"),
        (int(Flag.REPEATED), rules.repeat_alarm_hours, 2, "repeats the readings of the day before"),
    ):
        marked: Flags = (part & mask) != 0
        enough = lasting(marked, day) >= hours * per_hour
        rows, columns = np.nonzero(enough[start - first :])
        if len(rows):
            row, column = int(rows[0]) + start, int(columns[0])
            window = marked[max(row - first - day + 1, 0) : row - first + 1, column]
            found.append(Alarm(row, heard[column], len(window) - 1 - int(np.argmax(window)), level, reason, hours))
    return min(found, key=lambda alarm: alarm.row, default=None)
