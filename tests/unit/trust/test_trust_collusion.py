"""Two that tell the same lie among five: the set of liars that explains best how far apart all are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.trust.collusion import liar_sets, likeliest, margin

VARIANCE = np.full(5, 0.2**2)


@settings(deadline=None)
@given(
    liars=st.sets(st.integers(0, 4), min_size=1, max_size=2),
    lie_c=st.sampled_from([-4.0, -2.0, 2.0, 4.0]),
    level_c=st.floats(-20, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_whoever_tells_the_same_lie_is_the_likeliest_set_wherever_the_level_is(
    liars: set[int], lie_c: float, level_c: float, seed: int
):
    noise = np.clip(np.random.default_rng(seed).normal(0, 0.1, 5), -0.25, 0.25)
    said = level_c + noise + lie_c * np.isin(np.arange(5), sorted(liars))
    sets = liar_sets(said, VARIANCE)
    assert likeliest(sets) == tuple(sorted(liars))
    assert all(margin(sets, liar) > 2.0 for liar in liars)


def test_two_are_not_suspected_where_one_explains_it():
    sets = liar_sets(np.array([0.1, 0.0, 2.0, -0.1, 0.2]), VARIANCE)
    assert likeliest(sets) == (2,)


def test_where_two_stories_are_as_good_nobody_is_certain():
    """Two warm, two cold, one between: either pair may lie."""
    sets = liar_sets(np.array([1.0, 1.0, 0.0, -1.0, -1.0]), VARIANCE)
    assert sets[(0, 1)] == pytest.approx(sets[(3, 4)])
    assert margin(sets, 0) == pytest.approx(0.0)


def test_a_source_that_is_usually_far_off_is_not_taken_for_a_liar():
    said = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
    wild, tame = (liar_sets(said, np.array([*VARIANCE[:4], variance])) for variance in (4.0, 0.04))
    assert margin(wild, 4) < 1.0 < margin(tame, 4)
