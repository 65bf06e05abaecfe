"""How far the last days departed from ordinary demand: which days are read, and which are not yet known."""

from __future__ import annotations

import numpy as np
import pytest

from data.schema import Array
from forecasting.departures import LEVEL, days_read, departure_columns

DAYS, SLOTS, KNOWN = 40, 24, 9
DAY_NUMBER, HOUR = np.arange(DAYS, dtype=np.float64)[:, None], np.arange(SLOTS, dtype=np.float64)
# Squares: no mean over several days or hours is that of others.
DEPARTED = 1000 * DAY_NUMBER**2 + HOUR**2
MORNINGS = -DEPARTED[:, :KNOWN]
ROWS = np.array([30, 33])
DAY = 30
SPOILT = (np.nan, -1e9, 1e9)


def columns(
    departed: Array = DEPARTED, before_gate: Array = MORNINGS, lead_days: int = 1, day: int = DAY
) -> dict[str, Array]:
    return departure_columns(departed, before_gate, np.array([day]), lead_days)


def with_value(values: Array, row: int | slice, value: float | Array, slot: int | slice = slice(None)) -> Array:
    changed = values.copy()
    changed[row, slot] = value
    return changed


def assert_same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def changed(found: dict[str, Array], lead_days: int = 1) -> set[str]:
    expected = columns(lead_days=lead_days)
    return {name for name, values in expected.items() if not np.allclose(found[name], values)}


@pytest.mark.parametrize(
    ("lead_days", "latest", "same_weekday", "last_week"),
    [
        (0, 1, 7, (1, 2, 3, 4, 5, 6, 7)),
        (1, 2, 7, (2, 3, 4, 5, 6, 7, 8)),
        (6, 7, 7, (7, 8, 9, 10, 11, 12, 13)),
        (7, 8, 14, (8, 9, 10, 11, 12, 13, 14)),
    ],
)
def test_each_feature_is_of_the_days_and_hours_it_names(
    lead_days: int, latest: int, same_weekday: int, last_week: tuple[int, ...]
):
    def whole(*days_ago: int) -> Array:
        return np.mean([1000 * (ROWS[:, None] - ago) ** 2 + HOUR**2 for ago in days_ago], axis=0)

    def mean(days: Array, *hours: int) -> Array:
        return np.repeat(days[:, hours].mean(axis=1)[:, None], SLOTS, axis=1)

    level = mean(whole(*last_week), *range(24))
    expected = {
        LEVEL: level,
        "departure_slot_latest_day": whole(latest) - level,
        "departure_slot_same_weekday": whole(same_weekday) - level,
        "departure_slot_week_mean": whole(*last_week) - level,
        "departure_day_latest": mean(whole(latest), *range(24)) - level,
        "departure_day_before": mean(whole(latest + 1), *range(24)) - level,
        "departure_day_evening": mean(whole(latest), 18, 19, 20, 21, 22, 23) - level,
        "departure_day_morning_1": -mean(whole(lead_days), 0, 1, 2) - level,
        "departure_day_morning_2": -mean(whole(lead_days), 3, 4, 5) - level,
        "departure_day_morning_3": -mean(whole(lead_days), 6, 7, 8) - level,
        "departure_day_last_known": -mean(whole(lead_days), 8) - level,
    }
    found = departure_columns(DEPARTED, MORNINGS, ROWS, lead_days)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("lead_days", [0, 1, 7])
def test_a_shift_of_all_that_is_known_moves_the_level_alone(lead_days: int):
    expected = columns(lead_days=lead_days)
    found = columns(DEPARTED + 500, MORNINGS + 500, lead_days)
    np.testing.assert_allclose(found[LEVEL], expected[LEVEL] + 500)
    assert changed(found, lead_days) == {LEVEL}


@pytest.mark.parametrize("value", SPOILT)
@pytest.mark.parametrize("lead_days", [0, 1, 7])
def test_nothing_after_the_gate_closure_is_read(lead_days: int, value: float):
    gate = DAY - lead_days
    departed = with_value(DEPARTED, slice(gate, None), value)
    before_gate = with_value(MORNINGS, slice(gate + 1, None), value)
    assert_same(columns(departed, before_gate, lead_days), columns(lead_days=lead_days))


@pytest.mark.parametrize("lead_days", [0, 1, 7])
def test_what_became_known_just_before_the_gate_closure_is_read(lead_days: int):
    gate, expected = DAY - lead_days, columns(lead_days=lead_days)
    day = columns(with_value(DEPARTED, gate - 1, 1e9, SLOTS - 1), lead_days=lead_days)
    assert (day["departure_day_evening"] > expected["departure_day_evening"] + 1e8).all()
    morning = columns(before_gate=with_value(MORNINGS, gate, 1e9, KNOWN - 1), lead_days=lead_days)
    assert (morning["departure_day_last_known"] + morning[LEVEL] == 1e9).all()
    assert changed(morning, lead_days) == {"departure_day_morning_3", "departure_day_last_known"}


@pytest.mark.parametrize("value", SPOILT)
def test_of_mornings_only_the_gate_closures_own_is_read(value: float):
    assert_same(columns(before_gate=with_value(MORNINGS, slice(None, DAY - 1), value)), columns())


@pytest.mark.parametrize("lead_days", [0, 1, 6, 7, 13])
def test_it_reads_as_far_back_as_it_says_and_no_further(lead_days: int):
    expected, oldest = columns(lead_days=lead_days), DAY - days_read(lead_days)
    for value in SPOILT:
        older = with_value(DEPARTED, slice(None, oldest), value)
        assert_same(columns(older, lead_days=lead_days), expected)
    other = columns(with_value(DEPARTED, oldest, 1e9), lead_days=lead_days)
    assert any((other[name] != values).any() for name, values in expected.items())


def test_a_missing_departure_counts_as_that_of_the_day_before():
    missing = with_value(DEPARTED, slice(DAY - 3, DAY - 1), np.nan, 20)
    counted = with_value(DEPARTED, slice(DAY - 3, DAY - 1), DEPARTED[DAY - 4, 20], 20)
    assert_same(columns(missing), columns(counted))
    assert changed(columns(missing)) >= {LEVEL, "departure_slot_latest_day", "departure_day_evening"}


def test_a_departure_with_none_known_before_it_counts_as_none():
    first = days_read(1)
    missing, counted = (with_value(DEPARTED, slice(None, 3), value) for value in (np.nan, 0.0))
    assert_same(columns(missing, day=first), columns(counted, day=first))


def test_with_nothing_known_nothing_departed():
    found = columns(np.full_like(DEPARTED, np.nan), np.full_like(MORNINGS, np.nan))
    for name, values in found.items():
        np.testing.assert_array_equal(values, np.zeros((1, SLOTS)), err_msg=name)


def test_a_morning_slot_that_is_not_known_counts_as_on_the_day_before():
    late = with_value(MORNINGS, DAY - 1, np.nan, 8)
    counted = with_value(MORNINGS, DAY - 1, DEPARTED[DAY - 2, 8], 8)
    assert_same(columns(before_gate=late), columns(before_gate=counted))
    assert changed(columns(before_gate=late)) == {"departure_day_morning_3", "departure_day_last_known"}


def test_a_morning_slot_unknown_on_the_day_before_too_counts_as_on_the_one_before_that():
    found = columns(with_value(DEPARTED, DAY - 2, np.nan, 8), with_value(MORNINGS, DAY - 1, np.nan, 8))
    np.testing.assert_allclose(found["departure_day_last_known"] + found[LEVEL], DEPARTED[DAY - 3, 8])


def test_a_gate_closure_at_midnight_leaves_no_morning_to_use():
    found = columns(before_gate=np.empty((DAYS, 0)))
    expected = {name: values for name, values in columns().items() if "morning" not in name and "last_known" not in name}
    assert_same(found, expected)


def test_a_morning_of_two_slots_has_two_parts():
    found = columns(before_gate=MORNINGS[:, :2])
    parts = {name: float((values + found[LEVEL])[0, 0]) for name, values in found.items() if "morning" in name}
    assert parts == pytest.approx(
        {"departure_day_morning_1": MORNINGS[DAY - 1, 0], "departure_day_morning_2": MORNINGS[DAY - 1, 1]}
    )


def test_what_is_given_stays_as_it_was():
    departed, before_gate = with_value(DEPARTED, 0, np.nan), with_value(MORNINGS, DAY - 1, np.nan)
    given = departed.copy(), before_gate.copy()
    columns(departed, before_gate)
    np.testing.assert_array_equal(departed, given[0])
    np.testing.assert_array_equal(before_gate, given[1])


@pytest.mark.parametrize("lead_days", [0, 1, 7])
def test_an_outage_counts_the_same_whatever_days_are_asked_with_it(lead_days: int):
    departed = DEPARTED.copy()
    departed[int(ROWS[0]) - days_read(lead_days)] = np.nan
    together = departure_columns(departed, MORNINGS, ROWS, lead_days)
    for number, row in enumerate(ROWS):
        begin = int(row) - days_read(lead_days)
        alone = departure_columns(departed[begin:], MORNINGS[begin:], np.array([row - begin]), lead_days)
        for name, values in alone.items():
            np.testing.assert_array_equal(values[0], together[name][number])
