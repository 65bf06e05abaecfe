from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.schema import Array
from forecasting.member_says import MemberSays
from pipeline.disguise import COARSE_FROM, COARSE_SHARE, MARK_SHARE, MOST_SHARE, RANDOM_SHARE, disguised, step_mw

BYTES = st.binary(min_size=32, max_size=32)
MEDIAN = 4


@st.composite
def says(draw: st.DrawFn) -> MemberSays:
    """Any ensemble's day: 46 to 50 intervals, one to five members, demand of any size."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    intervals, members = draw(st.sampled_from([23, 24, 25, 46, 48, 50, 288])), draw(st.integers(1, 5))
    level = 10.0 ** draw(st.integers(0, 5))
    median = level * (1 + random.random(intervals))
    members_mw = median + 0.05 * level * random.standard_normal((members, intervals))
    weights = random.dirichlet(np.ones(members))
    widths = np.sort(random.standard_normal(9)) * draw(st.floats(0.0, 0.1)) * level
    return MemberSays(median[:, None] + widths - widths[MEDIAN], members_mw, weights, median - weights @ members_mw)


def off(shown: Array, told: MemberSays) -> Array:
    return np.abs(shown - told.quantiles_mw).max(axis=1) / np.abs(told.quantiles_mw[:, MEDIAN])


@given(says(), BYTES, BYTES)
def test_no_genuine_answer_is_further_than_stated_from_what_the_model_says(told: MemberSays, seed: bytes, mark: bytes):
    assert off(disguised(told, 0, seed, mark), told).max() <= MOST_SHARE + 1e-12


@given(says(), st.integers(0, 4), BYTES, BYTES)
def test_quantiles_stay_in_order(told: MemberSays, level: int, seed: bytes, mark: bytes):
    assert (np.diff(disguised(told, level, seed, mark), axis=1) >= 0).all()


@given(says(), st.integers(0, 4), BYTES, BYTES)
def test_the_same_question_of_the_same_caller_has_the_same_answer(told: MemberSays, level: int, seed: bytes, mark: bytes):
    before = told.quantiles_mw.copy()

    first, second = (disguised(told, level, seed, mark) for _ in range(2))

    assert np.array_equal(first, second)
    assert np.array_equal(told.quantiles_mw, before)


@given(says(), BYTES, BYTES)
def test_a_coarse_answer_is_rounded_to_about_one_per_cent(told: MemberSays, seed: bytes, mark: bytes):
    shown = disguised(told, COARSE_FROM, seed, mark)
    step = step_mw(float(told.quantiles_mw[:, MEDIAN].min()), COARSE_SHARE)

    assert np.allclose(shown / step, np.rint(shown / step))
    median = np.abs(shown - told.quantiles_mw)[:, MEDIAN] / told.quantiles_mw[:, MEDIAN]
    assert median.max() <= RANDOM_SHARE + MARK_SHARE + COARSE_SHARE / 2 + 1e-12


@given(st.floats(1e-3, 1e9), st.floats(1e-4, 0.1))
def test_the_step_of_rounding_is_one_two_or_five_and_no_larger_than_asked(lowest: float, share: float):
    step = step_mw(lowest, share)

    assert share * lowest / 2.5 - 1e-12 <= step <= share * lowest
    assert round(step / 10 ** np.floor(np.log10(step * 1.0000001)), 9) in (1.0, 2.0, 5.0)


@given(says(), BYTES)
def test_a_forecaster_of_one_voice_is_marked_and_rounded_only(told: MemberSays, mark: bytes):
    alone = MemberSays(told.quantiles_mw, told.quantiles_mw[None, :, MEDIAN], np.ones(1), np.zeros(len(told.quantiles_mw)))

    assert np.array_equal(disguised(alone, 0, b"a" * 32, mark), disguised(alone, 0, b"b" * 32, mark))
