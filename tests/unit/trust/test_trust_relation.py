"""What a source should have measured, given the others: nothing of the future, little of any single liar."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.schema import Array
from data.trust.calendar import YEARLY, clock_of, harmonics_of
from data.trust.relation import (
    CONTEXT_HOURS,
    LEVERAGE_C,
    Relation,
    design,
    learn_profiles,
    learn_relation,
    middle_of,
    residual_of,
)
from tests.unit.trust.trust_town import DAY, town

PLACE = town(4)
FIRST_DAY = pd.Timestamp("2020-05-01")
CLOCK = clock_of(PLACE.index[: PLACE.start], PLACE.timezone, FIRST_DAY)
LATER = clock_of(PLACE.index[PLACE.start :], PLACE.timezone, FIRST_DAY)
BASELINE, JUDGED = PLACE.readings[: PLACE.start], PLACE.readings[PLACE.start :]
OTHERS = [1, 2, 3]


@pytest.fixture(scope="module")
def relation() -> Relation:
    return learn_relation(BASELINE, BASELINE[:, 0], CLOCK, 0, OTHERS)[0]


def residual(relation: Relation, values: Array) -> Array:
    return residual_of(relation, values, values[:, 0], LATER)[0]


def test_the_profile_is_the_usual_bias_by_hour_and_season():
    local = PLACE.index[: PLACE.start].tz_convert(PLACE.timezone)
    hour, season = 2 * np.pi * local.hour.to_numpy() / 24, 2 * np.pi * local.day_of_year.to_numpy() / 365.25
    bias = 0.8 + 0.5 * np.cos(hour) - 0.4 * np.sin(season)
    biased = BASELINE.copy()
    biased[:, 3] = BASELINE[:, 1] + bias
    honest = np.column_stack([BASELINE[:, 1]] * 3 + [biased[:, 3]])
    usual = CLOCK.harmonics @ learn_profiles(honest, CLOCK)
    np.testing.assert_allclose(usual[:, 3], bias, atol=0.05)
    np.testing.assert_allclose(usual[:, :3], 0.0, atol=1e-9)


def test_a_profile_is_learned_from_the_hours_that_are_known():
    gappy = BASELINE.copy()
    gappy[np.random.default_rng(1).random(len(gappy)) < 0.3, 0] = np.nan
    whole, part = (learn_profiles(values, CLOCK)[:, 0] for values in (BASELINE, gappy))
    np.testing.assert_allclose(part, whole, atol=0.05)


def test_a_source_without_a_word_has_no_profile():
    silent = BASELINE.copy()
    silent[:, 2] = np.nan
    assert (learn_profiles(silent, CLOCK)[:, 2] == 0).all()


def test_the_middle_is_the_median_of_what_is_known():
    rows = np.array([[3.0, 1.0, 2.0, 9.0], [np.nan, 5.0, 1.0, 2.0], [np.nan, np.nan, 4.0, 8.0], [np.nan] * 4])
    np.testing.assert_array_equal(middle_of(rows), [2.5, 2.0, 6.0, np.nan])


def test_the_middle_of_nobody_is_unknown():
    assert np.isnan(middle_of(np.empty((3, 0)))).all()


def test_changing_the_future_changes_nothing_in_the_past(relation: Relation):
    cut = 20 * DAY + 5
    changed = JUDGED.copy()
    changed[cut:] += np.random.default_rng(1).normal(0, 9, changed[cut:].shape)
    np.testing.assert_array_equal(residual(relation, changed)[:cut], residual(relation, JUDGED)[:cut])
    assert (residual(relation, changed)[cut:] != residual(relation, JUDGED)[cut:]).all()


def test_a_row_rests_on_two_days_before_it_and_on_nothing_older():
    row = 20 * DAY + 5
    changed = JUDGED.copy()
    changed[: row - CONTEXT_HOURS] = 40.0
    for values, places in ((JUDGED, slice(row, None)), (JUDGED[row - CONTEXT_HOURS :], slice(CONTEXT_HOURS, None))):
        clock = LATER.part(len(LATER) - len(values), len(LATER))
        np.testing.assert_allclose(design(values, clock, 0, OTHERS)[0][places], design(changed, LATER, 0, OTHERS)[0][row:])


def test_hours_of_the_baseline_get_the_residual_of_a_relation_that_did_not_see_their_fortnight():
    """Otherwise a lie in the baseline would explain itself away, and the noise of later years be underestimated."""
    odd = BASELINE[:, 0].copy()
    fortnight = (CLOCK.day >= 140) & (CLOCK.day < 154)
    odd[fortnight] += 5.0
    clean = learn_relation(BASELINE, BASELINE[:, 0], CLOCK, 0, OTHERS)[1]
    left_out = learn_relation(BASELINE, odd, CLOCK, 0, OTHERS)[1]
    assert (left_out - clean)[fortnight].mean() == pytest.approx(5.0, abs=0.5)


def test_what_the_others_let_expect_is_taken_off():
    """A station in a hollow follows its neighbours' clear nights more than they do themselves."""
    hollow = PLACE.readings.copy()
    mean = PLACE.readings[:, 1:].mean(axis=1)
    daily_range = pd.Series(mean).rolling(24, min_periods=1).agg(np.ptp).to_numpy()
    hollow[:, 0] = mean - 0.4 * daily_range
    learned, _ = learn_relation(hollow[: PLACE.start], hollow[: PLACE.start, 0], CLOCK, 0, OTHERS)
    rest = residual(learned, hollow[PLACE.start :])[CONTEXT_HOURS:]
    assert rest.std() < 0.25 * (hollow[:, 0] - mean)[PLACE.start :].std()
    assert abs(rest.mean()) < 0.2


def test_a_lie_of_the_source_itself_is_in_its_residual_in_full(relation: Relation):
    lying = JUDGED.copy()
    lying[:, 0] += 2.0
    # The middle of all moves with the liar by what one of four can move it.
    assert (residual(relation, lying) - residual(relation, JUDGED)).mean() == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize("sign", [1, -1])
def test_one_liar_pulls_an_honest_residual_so_far_and_no_further(relation: Relation, sign: int):
    clean = residual(relation, JUDGED)
    pulls = []
    for lie in (30.0, 300.0):
        lying = JUDGED.copy()
        lying[:, 2] += sign * lie
        pulls.append(residual(relation, lying) - clean)
    np.testing.assert_allclose(pulls[0], pulls[1], atol=1e-9)
    assert np.abs(pulls[1]).mean() < LEVERAGE_C


def test_a_gap_of_the_source_is_a_gap_of_its_residual_only(relation: Relation):
    target = JUDGED[:, 0].copy()
    target[100:110] = np.nan
    rest, mean = residual_of(relation, JUDGED, target, LATER)
    assert np.isnan(rest).nonzero()[0].tolist() == list(range(100, 110))
    assert np.isfinite(mean).all()


def test_a_relation_is_learned_from_a_baseline_with_gaps():
    target = BASELINE[:, 0].copy()
    target[np.random.default_rng(2).random(len(target)) < 0.4] = np.nan
    learned, rest = learn_relation(BASELINE, target, CLOCK, 0, OTHERS)
    np.testing.assert_array_equal(np.isnan(rest), np.isnan(target))
    assert residual(learned, JUDGED).std() < 0.6


def test_sources_that_are_copies_of_one_another_leave_no_residual():
    copies = np.column_stack([BASELINE[:, 0]] * 3)
    learned, rest = learn_relation(copies, copies[:, 0], CLOCK, 0, [1, 2])
    np.testing.assert_allclose(rest, 0.0, atol=1e-9)
    assert np.isfinite(learned.weights).all()


def test_the_clock_counts_local_days_from_the_given_first_and_knows_the_local_hour():
    index = pd.date_range("2021-03-27T23:00Z", periods=48, freq="h")  # Berlin's clocks move on 28 March
    clock = clock_of(index, "Europe/Berlin", pd.Timestamp("2021-03-28"))
    assert np.bincount(clock.day).tolist() == [23, 24, 1]
    assert clock.hour[:4].tolist() == [0, 1, 3, 4]
    assert clock.month[0] == 3
    later = clock_of(index[23:], "Europe/Berlin", clock.first_day)
    np.testing.assert_array_equal(later.day, clock.day[23:])
    cut = clock.part(23, 48)
    np.testing.assert_array_equal(cut.harmonics, later.harmonics)
    assert len(cut) == 25


def test_harmonics_come_round_after_a_day_and_after_a_year():
    moments = pd.DatetimeIndex(["2021-03-01T07:30", "2021-03-01T19:30", "2025-03-01T07:30"])
    one, half_a_day, years = harmonics_of(moments)
    np.testing.assert_allclose(one, years, atol=0.02)
    np.testing.assert_allclose(one[1:3], -half_a_day[1:3], atol=1e-9)
    np.testing.assert_allclose(one[3:5], half_a_day[3:5], atol=1e-9)


def test_a_clock_without_seasons_has_the_hours_of_the_day_only():
    index = PLACE.index[:DAY]
    with_seasons, without = (clock_of(index, PLACE.timezone, FIRST_DAY, yearly=yearly).harmonics for yearly in (True, False))
    np.testing.assert_array_equal(without[:, : YEARLY.start], with_seasons[:, : YEARLY.start])
    assert (without[:, YEARLY] == 0).all()
    assert (with_seasons[:, YEARLY] != 0).any()


def test_a_relation_that_never_saw_a_season_says_no_more_in_it_than_before():
    """Ninety days of early summer: autumn must not be extrapolated from them into a lie."""
    place = town(3, days=250)
    clock = clock_of(place.index, place.timezone, FIRST_DAY, yearly=False)
    values = place.readings - clock.harmonics @ learn_profiles(place.readings[: 90 * DAY], clock.part(0, 90 * DAY))
    learned, rest = learn_relation(values[: 90 * DAY], values[: 90 * DAY, 0], clock.part(0, 90 * DAY), 0, [1, 2])
    later, _ = residual_of(learned, values, values[:, 0], clock)
    assert abs(later[200 * DAY :].mean()) < 0.3
    assert later[200 * DAY :].std() < 1.5 * np.nanstd(rest)
