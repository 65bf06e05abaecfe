"""Prepared days: made once for all who ask, bounded, and nothing kept of what failed."""

from __future__ import annotations

import threading
from datetime import date, timedelta
from typing import Any

import pytest

from pipeline.prepared_day import PreparedDay, PreparedDays

DAY = date(2023, 5, 1)


def a_day() -> PreparedDay:
    nothing: Any = None
    return PreparedDay(nothing, nothing, nothing, nothing, nothing, DAY)


def test_many_who_ask_for_a_cold_day_at_once_have_it_made_once() -> None:
    days, gate = PreparedDays(), threading.Event()
    made: list[int] = []
    answered: list[PreparedDay] = []

    def make() -> PreparedDay:
        made.append(1)
        assert gate.wait(timeout=60)
        return a_day()

    threads = [threading.Thread(target=lambda: answered.append(days.found_or((DAY, 1), make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(timeout=60)
    assert len(made) == 1
    assert len(answered) == 8
    assert {id(one) for one in answered} == {id(days.find((DAY, 1)))}


def test_what_failed_reaches_who_asked_and_is_tried_again() -> None:
    days = PreparedDays()

    def fails() -> PreparedDay:
        raise ValueError("no weather")

    with pytest.raises(ValueError, match="no weather"):
        days.found_or((DAY, 1), fails)
    assert days.find((DAY, 1)) is None
    kept = a_day()
    assert days.found_or((DAY, 1), lambda: kept) is kept


def test_the_days_that_nobody_asked_for_lately_are_given_up_first() -> None:
    days = PreparedDays(kept=2)
    first, second, third = ((DAY + timedelta(days=number), 1) for number in range(3))
    days.found_or(first, a_day)
    days.found_or(second, a_day)
    days.find(first)
    days.found_or(third, a_day)
    assert days.find(second) is None
    assert days.find(first) is not None
    assert days.find(third) is not None


def test_the_same_day_from_another_gate_closure_is_another_day() -> None:
    days = PreparedDays()
    days.found_or((DAY, 1), a_day)
    assert days.find((DAY, 2)) is None
