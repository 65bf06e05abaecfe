"""Local days and gate closures, in every time zone there is."""

from __future__ import annotations

from datetime import date, time, timedelta
from itertools import pairwise
from zoneinfo import available_timezones

import pandas as pd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.schema import Utility, days_between

ZONES = sorted(available_timezones() - {"Factory", "localtime"})
# Samoa skipped a whole day in 2011; no zone has since. Half an hour of daylight saving does not fit into steps of an hour.
FITS_EVERY_CHANGE = pd.Timedelta(minutes=15)

zones = st.sampled_from(ZONES)
days = st.dates(date(2012, 1, 1), date(2040, 12, 31))
clocks = st.builds(time, st.integers(0, 23), st.integers(0, 59))


@settings(deadline=None, max_examples=15)
@given(zone=zones, year=st.integers(2012, 2035))
@example(zone="Australia/Lord_Howe", year=2013)
@example(zone="America/Havana", year=2013)
@example(zone="Africa/Casablanca", year=2019)
@example(zone="Europe/Dublin", year=2013)
@example(zone="Asia/Beirut", year=2013)
def test_the_days_of_a_year_tile_it_without_gap_or_overlap(zone: str, year: int):
    utility = Utility(zone, FITS_EVERY_CHANGE)
    around = [date(year, 1, 1) + timedelta(days=number) for number in range(366)]
    edges = [utility.day_index(day) for day in around]
    for today, tomorrow in pairwise(edges):
        assert today[-1] + utility.step == tomorrow[0]
    assert {len(index) for index in edges} <= {88, 90, 92, 94, 96, 98, 100, 102, 104}


@settings(deadline=None, max_examples=60)
@given(zone=zones, day=days)
def test_every_interval_of_a_day_has_that_local_date(zone: str, day: date):
    utility = Utility(zone, FITS_EVERY_CHANGE)
    assert set(utility.local(utility.day_index(day)).date) <= {day}


@settings(deadline=None, max_examples=150)
@given(zone=zones, day=days, clock=clocks)
@example(zone="America/Havana", day=date(2013, 11, 3), clock=time(23, 45))
@example(zone="America/Sao_Paulo", day=date(2013, 2, 17), clock=time(23, 45))
@example(zone="Europe/Berlin", day=date(2013, 4, 1), clock=time(2, 30))
def test_a_gate_closes_before_its_day_begins_and_on_the_day_before(zone: str, day: date, clock: time):
    utility = Utility(zone, FITS_EVERY_CHANGE, gate_closure=clock)
    index = utility.day_index(day)
    closure = utility.gate_closure_of(day)
    assert closure < index[0]
    assert index[0] - closure <= pd.Timedelta(hours=26)
    assert str(closure.tz) == "UTC"


@settings(deadline=None, max_examples=50)
@given(zone=zones, first=days, count=st.integers(0, 40), clock=clocks)
def test_gates_close_in_the_order_of_their_days(zone: str, first: date, count: int, clock: time):
    utility = Utility(zone, FITS_EVERY_CHANGE, gate_closure=clock)
    closures = [utility.gate_closure_of(day) for day in days_between(first, first + timedelta(days=count))]
    assert closures == sorted(closures)
    assert len(closures) == count + 1
