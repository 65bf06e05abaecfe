"""What the last known days teach: weights, level, share."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from data.schema import Array, Utility
from forecasting.recent import (
    CORRECTED_DAYS,
    DEALT_EVENLY,
    LARGEST_SHARE,
    RECENT_DAYS,
    WORTH_HAVING,
    Achieved,
    carried_over,
    faded_mean,
    recent_days,
    share_to_correct,
    usual_weights,
    weights_of,
    worth_having,
)

SLOTS = 24
FIRST = date(2013, 5, 1)
EVEN = np.full(2, 0.5)


def achieved(errors: list[float], days: int = 14) -> Achieved:
    """Each member off by its own constant."""
    said = np.repeat(np.array(errors), days * SLOTS).reshape(len(errors), days, SLOTS)
    dates = tuple(FIRST + timedelta(days=number) for number in range(days))
    return Achieved(dates, said, np.zeros((days, SLOTS)), np.ones((days, SLOTS)))


def test_days_follow_each_other_and_can_be_cut_to_a_stretch():
    early, late = achieved([1.0, 2.0], days=3), achieved([3.0, 4.0], days=2)
    both = early.followed_by(late)
    assert both.said[0, :, 0].tolist() == [1, 1, 1, 3, 3]
    assert both.drawn.shape == both.spread.shape == (5, SLOTS)
    inside = early.within(FIRST + timedelta(days=1), FIRST + timedelta(days=9))
    assert inside.days == early.days[1:]
    assert inside.said.shape == (2, 2, SLOTS)


def test_a_miss_is_positive_when_too_little_was_forecast():
    assert (achieved([-1.0, -2.0]).missed(EVEN) == 1.5).all()


def test_the_better_member_weighs_more_and_nobody_less_than_a_share_of_a_tenth():
    random = np.random.default_rng(1)
    missed = np.stack([random.normal(0, size, (50, SLOTS)) for size in (1.0, 2.0, 30.0)])
    weights = usual_weights(missed)
    assert weights.sum() == pytest.approx(1)
    # Independent errors weigh by their inverse variance: 4 to 1.
    assert weights[0] / weights[1] == pytest.approx(4, rel=0.2)
    assert weights[2] == pytest.approx(DEALT_EVENLY / 3, abs=0.01)


def test_members_whose_errors_cancel_are_mixed():
    error = np.random.default_rng(1).normal(0, 1, (50, SLOTS))
    assert usual_weights(np.stack([error, -error])) == pytest.approx(EVEN)


def test_one_member_alone_has_all_the_weight():
    assert usual_weights(np.ones((1, 5, SLOTS))) == pytest.approx([1.0])


def test_members_that_do_as_usual_weigh_as_usual():
    usual = np.array([0.7, 0.3])
    assert weights_of(usual, np.array([1.0, 4.0]), achieved([1.0, 2.0])) == pytest.approx(usual)


def test_a_member_that_breaks_loses_its_weight_in_days():
    weights = [weights_of(EVEN, np.ones(2), achieved([1.0, 5.0], days))[1] for days in (0, 1, 3, 14)]
    assert weights[0] == pytest.approx(0.5)
    assert (np.diff(weights) < 0).all()
    assert weights[-1] < 0.02


def test_days_that_are_not_known_do_not_count():
    broken = achieved([1.0, 5.0])
    unknown = Achieved(broken.days, broken.said, np.full_like(broken.drawn, np.nan), broken.spread)
    assert weights_of(EVEN, np.ones(2), unknown) == pytest.approx(EVEN)


def test_the_mean_miss_fades_with_age_and_leaves_out_what_is_unknown():
    assert faded_mean(np.full((14, SLOTS), 3.0)) == pytest.approx(np.full(SLOTS, 3.0))
    fresh, stale = np.zeros((14, SLOTS)), np.zeros((14, SLOTS))
    fresh[-1], stale[-CORRECTED_DAYS] = 1.0, 1.0
    assert faded_mean(fresh)[0] > 5 * faded_mean(stale)[0] > 0
    holed = np.full((14, SLOTS), 3.0)
    holed[-1, 3:] = np.nan
    assert faded_mean(holed) == pytest.approx(np.full(SLOTS, 3.0))
    assert faded_mean(np.full((14, SLOTS), np.nan)) == pytest.approx(np.zeros(SLOTS))
    assert faded_mean(np.empty((0, SLOTS))) == pytest.approx(np.zeros(SLOTS))


@pytest.mark.parametrize("lead_days", [0, 1, 5])
def test_only_misses_known_at_the_gate_closure_are_carried_over(lead_days: int):
    missed = np.zeros((20, SLOTS))
    missed[10] = 1.0
    carried = carried_over(missed, lead_days)[:, 0]
    first = 10 + lead_days + 1
    assert (carried[:first] == 0).all()
    assert (carried[first : first + CORRECTED_DAYS] > 0)[: 20 - first].all()


def test_the_share_to_correct_is_what_came_true_within_bounds():
    carried = np.random.default_rng(1).normal(0, 1, (50, SLOTS))
    assert share_to_correct(0.4 * carried, carried) == pytest.approx(0.4)
    assert share_to_correct(2.0 * carried, carried) == LARGEST_SHARE
    assert share_to_correct(-carried, carried) == 0.0
    assert share_to_correct(carried, np.zeros_like(carried)) == 0.0


@pytest.mark.parametrize("lead_days", [0, 1, 7])
def test_recent_days_end_with_the_last_that_can_be_known_whole(lead_days: int):
    day = date(2013, 5, 30)
    days = recent_days(day, Utility("UTC", pd.Timedelta(hours=1), lead_days=lead_days))
    assert len(days) == RECENT_DAYS
    assert days[-1] == day - timedelta(days=lead_days + 1)
    assert days == sorted(days)


def independent(*sizes: float) -> Array:
    """What members miss by whose errors have nothing to do with each other."""
    random = np.random.default_rng(1)
    return np.stack([random.normal(0, size, (100, SLOTS)) for size in sizes])


def test_the_core_stays_however_bad_it_is_and_the_answer_is_in_order():
    assert worth_having(independent(1.0, 9.0, 9.0), [2, 0]) == [0, 2]
    assert worth_having(independent(1.0, 9.0, 9.0), [2, 1]) == [0, 1, 2]


@pytest.mark.parametrize("core", [0, 1])
def test_a_member_that_halves_the_error_joins(core: int):
    assert worth_having(independent(1.0, 1.0), [core]) == [0, 1]


def test_a_member_that_adds_nothing_stays_out():
    noise = independent(1.0, 9.0)
    assert worth_having(noise, [0]) == [0]
    assert worth_having(noise[[0, 0]], [0]) == [0]


@pytest.mark.parametrize(("taken_off", "expected"), [(WORTH_HAVING - 0.005, [0]), (WORTH_HAVING + 0.005, [0, 1])])
def test_five_per_cent_of_the_squared_error_is_what_a_member_must_take_off(taken_off: float, expected: list[int]):
    error = independent(1.0)[0]
    # The core keeps half of what is dealt out evenly.
    better = (np.sqrt(1 - taken_off) - DEALT_EVENLY / 2) / (1 - DEALT_EVENLY / 2)
    assert worth_having(np.stack([error, better * error]), [0]) == expected


def test_without_a_core_it_begins_with_the_best():
    error = independent(1.0)[0]
    assert worth_having(np.stack([3 * error, error, 2 * error]), []) == [1]
    assert worth_having(independent(9.0, 1.0, 1.0), []) == [1, 2]


def test_a_second_one_joins_only_if_it_is_worth_it_after_the_first():
    core, first, other = independent(1.0, 0.8, 0.9)
    like_the_first = first + 0.1 * other
    assert worth_having(np.stack([core, like_the_first]), [0]) == [0, 1]
    assert worth_having(np.stack([core, like_the_first, first]), [0]) == [0, 2]
    assert worth_having(np.stack([core, other, first]), [0]) == [0, 1, 2]


def test_the_member_that_makes_up_for_the_core_is_worth_more_than_one_better_alone():
    core, better = independent(1.0, 0.9)
    assert worth_having(np.stack([core, better, 0.05 * better - core]), [0]) == [0, 2]
