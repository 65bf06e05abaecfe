"""One temperature from those that are believed, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest

from data.schema import Array
from data.trust.consensus import NO_WEIGHT_SPREADS, SHARED_SPREAD_C, accuracy_weights, fused_of, usual_spread

SPREAD = 0.4


def fused(values: list[float], weights: list[float] | None = None, doubt_c: list[float] | None = None) -> Array:
    """Temperature, uncertainty and sources of one row of sources alike."""
    row = np.array([values], dtype=np.float64)
    weight = np.ones(row.shape) if weights is None else np.array([weights])
    doubt = np.zeros(len(values)) if doubt_c is None else np.array(doubt_c)
    return np.array([part[0] for part in fused_of(row, weight, np.full(len(values), SPREAD), doubt)])


def test_sources_that_agree_are_averaged():
    temperature, uncertainty, sources = fused([10.0, 10.2, 10.4])
    assert temperature == pytest.approx(10.2)
    assert SHARED_SPREAD_C < uncertainty < SPREAD
    assert sources == 3


def test_weights_count():
    assert fused([10.0, 10.4], [3.0, 1.0])[0] == pytest.approx(10.1)


def test_one_far_off_counts_nothing():
    temperature, _, sources = fused([10.0, 10.2, 10.0 + 100.0])
    assert temperature == pytest.approx(10.1)
    assert sources == 2


def test_one_a_little_off_counts_less_but_counts():
    near, off = fused([10.0, 10.0, 10.4])[0] - 10.0, fused([10.0, 10.0, 10.0 + 3.5 * SPREAD])[0] - 10.0
    assert near == pytest.approx(0.4 / 3)
    assert 0 < off < 3.5 * SPREAD / 3


@pytest.mark.parametrize("wrong", [1e6, -1e6])
def test_what_fewer_than_half_of_the_weight_say_is_not_believed(wrong: float):
    assert fused([10.0, 10.1, 10.2, wrong, wrong])[0] == pytest.approx(10.1)
    # One heavy source outweighs two light ones.
    assert fused([10.0, wrong, wrong], [5.0, 2.0, 2.0])[0] == pytest.approx(10.0)


def test_missing_and_weightless_sources_are_not_heard():
    temperature, _, sources = fused([10.0, np.nan, 99.0], [1.0, 1.0, 0.0])
    assert temperature == 10.0
    assert sources == 1


def test_nobody_believed_is_no_temperature_and_no_sources():
    for values, weights in (([np.nan, np.nan], [1.0, 1.0]), ([10.0, 11.0], [0.0, 0.0])):
        temperature, uncertainty, sources = fused(values, weights)
        assert np.isnan([temperature, uncertainty]).all()
        assert sources == 0


@pytest.mark.parametrize("gap", [3.0, 30.0, 300.0])
def test_two_that_contradict_each_other_leave_a_temperature_that_is_not_sure(gap: float):
    """Nobody can say which is wrong; saying nothing would be worse for the forecast than saying how unsure it is."""
    temperature, uncertainty, sources = fused([10.0, 10.0 + gap])
    assert 10.0 <= temperature <= 10.0 + gap
    assert uncertainty >= gap / 2
    assert sources == 2


def test_two_against_two_are_not_silenced_either():
    temperature, uncertainty, sources = fused([10.0, 10.1, 20.0, 20.1])
    assert 10.0 <= temperature <= 20.1
    assert uncertainty > 2.0
    assert sources > 0


def test_it_is_less_sure_the_fewer_sources_are_left_and_the_more_they_differ():
    agreeing = [fused([10.0] * count)[1] for count in (1, 2, 3, 5)]
    assert agreeing == sorted(agreeing, reverse=True)
    assert fused([9.0, 10.0, 11.0])[1] > fused([9.9, 10.0, 10.1])[1]
    assert agreeing[-1] >= SHARED_SPREAD_C


def test_a_suspect_makes_it_less_sure_by_what_he_may_be_lying():
    plain = fused([10.0, 10.0, 10.0])[1]
    doubted = fused([10.0, 10.0, 10.0], doubt_c=[0.0, 2.0, 0.0])[1]
    assert doubted == pytest.approx(np.hypot(plain, 2.0 / 3))


def test_the_doubt_of_one_who_is_not_heard_does_not_count():
    assert fused([10.0, 10.0, 10.0], [1, 1, 0], [0.0, 0.0, 9.0])[1] == fused([10.0, 10.0], [1, 1])[1]


def test_rows_are_fused_each_on_its_own():
    random = np.random.default_rng(1)
    values = random.normal(10, 1, (50, 4))
    values[random.random(values.shape) < 0.3] = np.nan
    weights, spread, doubt = random.uniform(0, 2, values.shape), random.uniform(0.2, 1, 4), np.zeros(4)
    together = fused_of(values, weights, spread, doubt)
    for row in range(50):
        alone = fused_of(values[[row]], weights[[row]], spread, doubt)
        for whole, part in zip(together, alone, strict=True):
            np.testing.assert_array_equal(whole[row], part[0])


def test_exactly_half_of_the_weight_on_each_side_is_met_in_the_middle():
    near = NO_WEIGHT_SPREADS * SPREAD / 4
    assert fused([10.0, 10.0 + near])[0] == pytest.approx(10.0 + near / 2)


def test_where_the_middle_falls_between_two_far_apart_a_third_further_out_does_not_count():
    temperature, _, _ = fused([20.0, 20.3, 25.5, 60.0])
    assert 20.0 <= temperature <= 25.5


def test_the_more_accurate_weigh_more_but_never_more_than_all_the_others():
    weights = accuracy_weights(np.array([0.2, 1.0, 1.0]))
    assert weights[0] > weights[1] == weights[2]
    assert weights[0] < weights[1] + weights[2]
    # One alone, or the better of two, has nobody to outweigh.
    assert accuracy_weights(np.array([0.2, 1.0]))[0] > accuracy_weights(np.array([0.2, 1.0]))[1] * 5


def test_the_usual_spread_is_that_around_the_others_and_unknown_with_nobody_else():
    random = np.random.default_rng(2)
    values = random.normal(0, [0.3, 0.3, 2.0], (5000, 3))
    assert usual_spread(values, 2) == pytest.approx(2.0, rel=0.1)
    assert usual_spread(values[:, :1], 0) == 1.0
