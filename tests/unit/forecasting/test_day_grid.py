"""The grid of local days and times of day, its gaps, and what stands in it at a gate closure."""

from __future__ import annotations

from datetime import date, time, timedelta

import numpy as np
import pandas as pd
import pytest

from data.schema import DEMAND_MW, TEMPERATURE_C, TIMESTAMP, Utility
from forecasting.day_grid import (
    DayGrid,
    bridged,
    filled_from_the_day_before,
    filled_from_the_week_before,
    gate_slot,
    known_at_gates,
    known_until_gate,
    window_days,
)

HOUR = pd.Timedelta(hours=1)
UTC = Utility("UTC", HOUR, gate_closure=time(9))
BERLIN = Utility("Europe/Berlin", HOUR, gate_closure=time(9))
NAN = np.nan
INDEX = pd.date_range("2013-04-01", periods=24 * 60, freq="h", tz="UTC", name=TIMESTAMP)
FRAME = pd.DataFrame({DEMAND_MW: np.arange(24.0 * 60), TEMPERATURE_C: 1.0}, index=INDEX)


def three_days(utility: Utility, middle: date) -> pd.DatetimeIndex:
    days = [utility.day_index(middle + timedelta(days=offset)) for offset in (-1, 0, 1)]
    return days[0].append(days[1]).append(days[2])


def test_each_interval_stands_at_its_local_day_and_time_of_day():
    grid = DayGrid.of(three_days(BERLIN, date(2013, 6, 2)), BERLIN)
    assert grid.days == (date(2013, 6, 1), date(2013, 6, 2), date(2013, 6, 3))
    assert grid.day_of_row.tolist() == np.repeat([0, 1, 2], 24).tolist()
    assert grid.slot_of_row.tolist() == np.tile(np.arange(24), 3).tolist()


@pytest.mark.parametrize(("day", "hours", "expected"), [(date(2013, 10, 27), 25, 2.5), (date(2013, 3, 31), 23, 1.5)])
def test_an_hour_that_comes_twice_is_averaged_and_a_skipped_one_taken_from_its_neighbours(
    day: date, hours: int, expected: float
):
    grid = DayGrid.of(three_days(BERLIN, day), BERLIN)
    folded = grid.fold(np.concatenate([np.zeros(24), np.arange(float(hours)), np.zeros(24)]))
    assert folded.shape == (3, 24)
    assert folded[1, 2] == expected
    assert folded[1, -1] == hours - 1
    assert folded[[0, 2]].sum() == 0


def test_what_is_missing_stays_missing_but_for_the_hour_that_is_skipped():
    day = date(2013, 3, 31)
    values = np.arange(71.0)
    values[24 + 10] = NAN  # 11 h on the wall
    folded = DayGrid.of(three_days(BERLIN, day), BERLIN).fold(values)
    assert np.argwhere(np.isnan(folded)).tolist() == [[1, 11]]


@pytest.mark.parametrize(
    ("closure", "delay_minutes", "slot"),
    [
        (time(9), 0, 9),
        (time(9), 30, 8),
        (time(9), 60, 8),
        (time(9), 61, 7),
        (time(9, 59), 0, 9),
        (time(0), 0, 0),
        (time(0, 30), 60, 0),
    ],
)
def test_the_first_unknown_slot_counts_how_long_readings_take(closure: time, delay_minutes: int, slot: int):
    utility = Utility("UTC", HOUR, gate_closure=closure, demand_delay=pd.Timedelta(minutes=delay_minutes))
    assert gate_slot(utility) == slot


@pytest.mark.parametrize("lead_days", [0, 1, 5])
def test_each_days_own_gate_closure_lets_its_morning_through_whatever_the_lead(lead_days: int):
    utility = Utility("UTC", HOUR, gate_closure=time(9), lead_days=lead_days)
    index = INDEX[: 24 * 3]
    today, tomorrow, later = known_at_gates(index, DayGrid.of(index, utility), utility)
    assert today.reshape(3, 24).sum(axis=1).tolist() == [9, 9, 9]
    assert tomorrow.all()
    assert later.all()


def test_readings_that_come_late_are_known_at_a_later_gate():
    utility = Utility("UTC", HOUR, gate_closure=time(0), demand_delay=pd.Timedelta(hours=30))
    index = INDEX[: 24 * 3]
    today, tomorrow, later = known_at_gates(index, DayGrid.of(index, utility), utility)
    assert not today.any()
    assert not tomorrow.any()
    assert later.all()


def test_what_is_known_until_the_gate_ends_with_the_day_and_hides_demand_after_the_closure():
    day = date(2013, 5, 28)
    window = known_until_gate(FRAME, UTC, day)
    assert window.index[-1] == UTC.day_index(day)[-1]
    assert len(window) == 24 * (window_days(UTC) + 1)
    assert window[DEMAND_MW].last_valid_index() == pd.Timestamp("2013-05-27T08:00Z")
    assert window[TEMPERATURE_C].notna().all()


def test_an_interval_that_straddles_the_gate_closure_is_not_known():
    utility = Utility("UTC", HOUR, gate_closure=time(9, 30))
    window = known_until_gate(FRAME, utility, date(2013, 5, 28))
    assert window[DEMAND_MW].last_valid_index() == pd.Timestamp("2013-05-27T08:00Z")


def test_known_until_gate_does_not_change_the_frame():
    before = FRAME.copy()
    known_until_gate(FRAME, UTC, date(2013, 5, 28))
    pd.testing.assert_frame_equal(FRAME, before)


def test_short_gaps_are_bridged_in_a_straight_line_and_long_ones_left():
    values = np.array([NAN, 1.0, NAN, 3.0, NAN, NAN, NAN, 7.0, NAN])
    np.testing.assert_array_equal(bridged(values, longest=2), [1, 1, 2, 3, NAN, NAN, NAN, 7, 7])
    np.testing.assert_array_equal(bridged(values, longest=3), [1, 1, 2, 3, 4, 5, 6, 7, 7])
    assert np.isnan(bridged(np.full(3, NAN), longest=3)).all()


def weeks(count: int) -> np.ndarray:
    """Demand by day and hour that rises by 10 a week."""
    return 10.0 * (np.arange(7 * count) // 7)[:, None] + np.arange(24.0) + 100 * (np.arange(7 * count) % 7)[:, None]


def test_a_gap_in_demand_is_filled_from_the_week_before_at_the_level_of_the_day_before():
    whole = weeks(4)
    holed = whole.copy()
    holed[16, 5:20] = NAN
    holed[24:27] = NAN
    np.testing.assert_allclose(filled_from_the_week_before(holed), whole)


def test_a_gap_longer_than_a_week_is_filled_from_what_was_filled_before():
    whole = weeks(5)
    holed = whole.copy()
    holed[20:34] = NAN
    filled = filled_from_the_week_before(holed)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[:20], whole[:20])
    assert np.abs(filled - whole).max() <= 20


def test_what_no_earlier_week_covers_stays_missing():
    holed = weeks(3)
    holed[:8, 3] = NAN
    filled = filled_from_the_week_before(holed)
    assert np.argwhere(np.isnan(filled)).tolist() == [[row, 3] for row in range(8)]


def test_a_slot_that_always_comes_too_late_is_filled_from_what_was_known_a_week_later():
    whole = weeks(4)
    late = whole.copy()
    late[:, -1] = NAN
    assert np.isnan(filled_from_the_week_before(late)[:, -1]).all()
    np.testing.assert_allclose(filled_from_the_week_before(late, whole)[7:], whole[7:], atol=10)


def test_a_gap_in_temperature_is_the_day_before_however_long():
    grid = np.arange(4.0)[:, None] + np.arange(24.0)
    holed = grid.copy()
    holed[1:3, 5] = NAN
    filled = filled_from_the_day_before(holed)
    assert filled[1:3, 5].tolist() == [5.0, 5.0]
    assert filled[3, 5] == 8.0
    holed[0, 7] = NAN
    assert np.isnan(filled_from_the_day_before(holed)[0, 7])
