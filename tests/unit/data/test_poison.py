"""The single tests of the poison audit, on weeks made up for them."""

from __future__ import annotations

import numpy as np
import pytest

from data.poison.duplicates import copies_only, likenesses
from data.poison.evidence import Evidence, quieter, standardised, strongest, two_sided, upper
from data.poison.lags import best_lags
from data.poison.offsets import HOURS_A_WEEK, amplitudes, bridged, stepwise_amplitudes, swelling
from data.schema import Array

WEEKS = 60
ALIKE = np.zeros(WEEKS, dtype=np.bool_)


def wandering(seed: int = 1) -> Array:
    """Departures that are alike for hours, of one in a hundred."""
    random = np.random.default_rng(seed)
    flat = np.zeros(WEEKS * HOURS_A_WEEK)
    for row in range(1, len(flat)):
        flat[row] = 0.95 * flat[row - 1] + random.normal(0, 0.003)
    return flat.reshape(WEEKS, HOURS_A_WEEK)


def daily(seed: int = 1) -> Array:
    """A day's course with chance of its own in every hour."""
    hours = np.arange(WEEKS * HOURS_A_WEEK)
    course = 10 + 5 * np.sin(2 * np.pi * hours / 24)
    return (course + np.random.default_rng(seed).normal(0, 0.5, len(hours))).reshape(WEEKS, HOURS_A_WEEK)


def test_a_raised_week_is_measured_and_its_neighbours_are_not_accused():
    departures = wandering()
    departures[30] += 0.04

    amplitude, sureness = stepwise_amplitudes(departures, np.ones(departures.shape))
    score = two_sided("offset", sureness, ALIKE).score

    assert amplitude[30] == pytest.approx(0.04, abs=0.01)
    assert score.argmax() == 30
    assert score[[29, 31]].max() < score[30] / 2


def test_two_raised_weeks_side_by_side_are_both_found():
    departures = wandering()
    departures[30:32] += 0.05

    _, sureness = stepwise_amplitudes(departures, np.ones(departures.shape))

    assert set(np.argsort(-np.abs(sureness))[:2]) == {30, 31}


def test_a_raise_without_edges_is_found_by_its_own_pattern():
    departures = wandering()
    departures[30] += 0.06 * swelling(1, HOURS_A_WEEK)[0]

    _, sureness = amplitudes(departures, swelling(WEEKS, HOURS_A_WEEK))

    assert np.abs(sureness).argmax() == 30


def test_a_pattern_that_a_week_hardly_shows_is_not_judged():
    pattern = np.zeros((WEEKS, HOURS_A_WEEK))
    pattern[:, :5] = 1.0

    amplitude, sureness = amplitudes(wandering(), pattern)

    assert np.isnan(amplitude).all()
    assert np.isnan(sureness).all()


def test_short_gaps_are_bridged_and_long_ones_stay():
    values = np.array([1.0, np.nan, 3.0, np.nan, np.nan, np.nan, 7.0])

    assert bridged(values, 2)[:3].tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(bridged(values, 2)[3:6]).all()


@pytest.mark.parametrize("hours", [-5, 3])
def test_a_week_that_stands_late_fits_best_where_it_came_from(hours: int):
    expected = daily()
    values = expected + np.random.default_rng(2).normal(0, 0.2, expected.shape)
    flat = values.ravel().copy()
    week = slice(20 * HOURS_A_WEEK, 21 * HOURS_A_WEEK)
    flat[week] = np.roll(values.ravel(), hours)[week]

    gain, late = best_lags(flat.reshape(values.shape), expected)

    assert late[20] == hours
    assert upper("shifted", gain, ALIKE).score.argmax() == 20


def test_of_two_twins_the_one_that_fits_its_own_time_is_no_copy():
    score = np.array([9.0, 9.0, 0.5])
    twin = np.array([1, 0, 1])

    assert copies_only(score, twin, np.array([0.5, 6.0, 0.0])).tolist() == [0.0, 9.0, 0.5]
    assert copies_only(score, twin, np.array([3.0, 3.5, 0.0])).tolist() == [9.0, 9.0, 0.5]


@pytest.mark.parametrize("common", [0, 10])
def test_a_scaled_copy_finds_its_original(common: int):
    values = daily()
    values[40] = 1.1 * values[7] + 3

    likeness, twin = likenesses(values, common)

    assert (twin[40], twin[7]) == (7, 40)
    assert set(np.argsort(-likeness)[:2]) == {7, 40}


def test_weeks_that_do_not_move_or_are_unknown_have_no_twin():
    values = daily()
    values[3] = 5.0
    values[4] = np.nan

    likeness, twin = likenesses(values, 0)

    assert twin[[3, 4]].tolist() == [-1, -1]
    assert np.isnan(likeness[[3, 4]]).all()


def test_each_kind_of_week_is_held_against_its_own():
    random = np.random.default_rng(1)
    values = random.normal(0, 1, WEEKS)
    rare = np.arange(WEEKS) < 20
    values[rare] *= 10

    together, apart = standardised(values, ALIKE), standardised(values, rare)

    assert np.abs(together[rare]).max() > 1.5 * np.abs(apart[rare]).max()


def test_weeks_without_any_difference_are_not_accused():
    assert standardised(np.full(WEEKS, 3.0), ALIKE).tolist() == [0.0] * WEEKS


def test_the_strongest_test_names_the_kind():
    loud = Evidence("a", np.array([1.0, 5.0]), np.array([0.1, 0.5]))
    other = Evidence("b", np.array([2.0, 7.0]), np.array([0.2, 0.7]))

    scores, kinds, statistics = strongest([loud, quieter(other)])

    assert kinds == ("b", "a")
    assert scores == pytest.approx([1.2, 5.0])
    assert statistics.tolist() == [0.2, 0.5]
