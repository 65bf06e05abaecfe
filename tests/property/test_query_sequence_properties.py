from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from data.schema import Array
from security.query_guard import SIGNS
from security.query_sequence import KEPT, odd, packed

SIGNS_SHOWN = {"", "rough", "probing", "creeping"}
# Few intervals and few values: so paths meet, repeat, and differ by little.
PATHS = arrays.arrays(np.float64, st.integers(1, 6), elements=st.sampled_from([-400.0, -1.0, 0.0, 0.1, 1.0, 400.0]))
ASKED = st.lists(st.tuples(st.integers(1, 4), PATHS), min_size=1, max_size=KEPT + 1)


def kept(asked: list[tuple[int, Array]]) -> list[bytes]:
    return [packed(tag, path) for tag, path in asked]


@given(ASKED)
def test_every_sequence_is_judged_and_an_immediate_repeat_is_no_sign(asked: list[tuple[int, Array]]):
    newest, *before = kept(asked)

    assert odd(newest, before, SIGNS) in SIGNS_SHOWN
    assert odd(newest, [newest, *before[: KEPT - 1]], SIGNS) == ""


@given(ASKED, st.integers(10, 2**31))
def test_which_days_they_are_does_not_matter_only_which_are_the_same(asked: list[tuple[int, Array]], by: int):
    newest, *before = kept(asked)
    other, *others = kept([(tag + by, path) for tag, path in asked])

    assert odd(newest, before, SIGNS) == odd(other, others, SIGNS)


@given(st.integers(0, 10**6), st.lists(st.booleans(), min_size=KEPT + 1, max_size=KEPT + 1))
def test_no_order_of_two_days_probed_in_turn_hides_the_probing(seed: int, first: list[bool]):
    slots = np.random.default_rng(seed).permutation(48)
    paths = [np.eye(48)[slots[number]] for number in range(KEPT + 1)]

    newest, *before = kept([(1 + day, path) for day, path in zip(first, paths, strict=True)])

    assert odd(newest, before, SIGNS) == "probing"


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_fans_of_whole_degrees_are_no_sign_in_any_order_on_any_days(seed: int, days: int):
    rng = np.random.default_rng(seed)
    asked = [(1 + int(rng.integers(days)), np.full(48, float(rng.integers(-3, 4)))) for _ in range(KEPT + 1)]

    newest, *before = kept(asked)

    assert odd(newest, before, SIGNS) == ""
