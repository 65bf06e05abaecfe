"""What must hold of the poison audit whatever the numbers are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data.poison.duplicates import likenesses
from data.poison.evidence import standardised, two_sided, upper
from data.poison.offsets import amplitudes

WEEKS = 30
seeds = st.integers(0, 10_000)


def weeks_of(seed: int, slots: int = 168) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (WEEKS, slots)).cumsum(axis=1)


@given(seeds, st.integers(0, WEEKS - 1), st.integers(0, WEEKS - 1), st.floats(0.5, 2), st.floats(-5, 5))
def test_a_week_that_is_another_again_finds_it_scaled_or_raised(seed, copy, original, factor, offset):
    values = weeks_of(seed)
    if copy == original:
        return
    values[copy] = factor * values[original] + offset

    likeness, twin = likenesses(values, 0)

    assert twin[copy] == original
    assert twin[original] == copy
    assert likeness[copy] == np.nanmax(likeness)


@settings(max_examples=20)
@given(seeds, st.floats(-0.2, 0.2))
def test_what_is_added_to_a_week_is_measured_exactly(seed, added):
    departures = weeks_of(seed) / 100
    pattern = np.ones(departures.shape)
    raised = departures.copy()
    raised[7] += added

    before, after = amplitudes(departures, pattern)[0], amplitudes(raised, pattern)[0]

    assert abs(after[7] - before[7] - added) < 1e-9


@given(seeds, st.floats(0.1, 1000), st.floats(-1000, 1000))
def test_scores_know_no_units(seed, factor, offset):
    values = np.random.default_rng(seed).normal(0, 1, WEEKS)
    alike = np.arange(WEEKS) < 14

    for evidence in (two_sided, upper):
        there, here = (evidence("x", numbers, alike).score for numbers in (factor * values + offset, values))
        np.testing.assert_allclose(there, here, atol=1e-6)


@given(seeds)
def test_the_order_of_weeks_does_not_matter_to_their_standing(seed):
    random = np.random.default_rng(seed)
    values, alike, order = random.normal(0, 1, WEEKS), random.random(WEEKS) < 0.5, random.permutation(WEEKS)

    np.testing.assert_allclose(standardised(values[order], alike[order]), standardised(values, alike)[order])
