"""The words that every room shares: local days, gate closures, mild hours. Time zones: see the property tests."""

from __future__ import annotations

from datetime import date, time

import pandas as pd
import pytest

from data.schema import Utility, days_between, is_mild, providers_of

MELBOURNE = Utility("Australia/Melbourne", pd.Timedelta(minutes=30), gate_closure=time(9))


@pytest.mark.parametrize(
    ("day", "start", "intervals"),
    [
        (date(2014, 1, 1), "2013-12-31T13:00Z", 48),
        (date(2014, 4, 6), "2014-04-05T13:00Z", 50),
        (date(2014, 10, 5), "2014-10-04T14:00Z", 46),
    ],
)
def test_a_local_day_has_its_own_start_and_length(day: date, start: str, intervals: int):
    index = MELBOURNE.day_index(day)
    assert index[0] == pd.Timestamp(start)
    assert len(index) == intervals
    assert index.name == "timestamp"
    assert MELBOURNE.steps_per_day == 48


@pytest.mark.parametrize(
    ("day", "closure"),
    [
        (date(2014, 1, 1), "2013-12-30T22:00Z"),
        (date(2014, 4, 6), "2014-04-04T22:00Z"),
        (date(2014, 4, 7), "2014-04-05T23:00Z"),
    ],
)
def test_the_gate_closes_by_the_local_clock_of_the_day_before(day: date, closure: str):
    assert MELBOURNE.gate_closure_of(day) == pd.Timestamp(closure)


@pytest.mark.parametrize(
    ("clock", "closure"),
    [(time(2, 30), "2014-04-05T15:30Z"), (time(3, 0), "2014-04-05T17:00Z"), (time(1), "2014-04-05T14:00Z")],
)
def test_a_closure_in_the_hour_that_comes_twice_is_in_the_first_of_them(clock: time, closure: str):
    utility = Utility("Australia/Melbourne", MELBOURNE.step, gate_closure=clock)
    assert utility.gate_closure_of(date(2014, 4, 7)) == pd.Timestamp(closure)


def test_a_closure_in_the_hour_that_is_skipped_is_when_the_clocks_move():
    utility = Utility("Australia/Melbourne", MELBOURNE.step, gate_closure=time(2, 30))
    assert utility.gate_closure_of(date(2014, 10, 6)) == pd.Timestamp("2014-10-04T16:00Z")


def test_days_between_count_both_ends():
    assert days_between(date(2014, 2, 27), date(2014, 3, 1)) == [date(2014, 2, 27), date(2014, 2, 28), date(2014, 3, 1)]
    assert days_between(date(2014, 3, 2), date(2014, 3, 1)) == []


def test_fifteen_to_twenty_two_degrees_are_mild_both_included():
    temperature = pd.Series([14.9, 15.0, 18.5, 22.0, 22.1, float("nan")])
    assert is_mild(temperature).tolist() == [False, True, True, True, False, False]


def test_providers_are_named_once_and_in_order():
    assert providers_of(pd.DataFrame({"provider": ["b", "a", "b"]})) == ["a", "b"]
