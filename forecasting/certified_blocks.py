"""How a history is dealt to models that must not share a week: by the calendar alone.

A block is a local week, Monday to Sunday, and goes whole to one model, or to as many as are asked for. Which follows from
its date, never from what is in the history: weeks that are altered, emptied or left out move no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

DAYS_IN_BLOCK = 7
WEEKS_IN_YEAR = 52
# From year to year the order is turned by the golden section: a model's weeks spread over the seasons, few years or many.
TURN = 0.618
_A_MONDAY = date(1970, 1, 5).toordinal()


def block_of(day: date) -> int:
    """Number of the local week a day lies in."""
    return (day.toordinal() - _A_MONDAY) // DAYS_IN_BLOCK


def models_of(block: int, models: int, copies: int) -> tuple[int, ...]:
    """Which of so many models learn from a block: `copies` different ones."""
    years, week = divmod(block, WEEKS_IN_YEAR)
    first = week + years * round(TURN * models)
    return tuple((first + copy * models // copies) % models for copy in range(copies))


def blocks_of(days: Sequence[date]) -> list[slice]:
    """The blocks of consecutive days, in order."""
    numbers = [block_of(day) for day in days]
    starts = [row for row, number in enumerate(numbers) if row == 0 or number != numbers[row - 1]]
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(days)], strict=True)]
