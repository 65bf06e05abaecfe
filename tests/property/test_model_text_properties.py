"""Whatever stands in a model text, it is read or it is refused; whatever we train is read, and forecasts as before."""

from __future__ import annotations

import contextlib
import random

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.model_text_mutants import MUTATIONS, mutant, with_true_sizes
from forecasting import lightgbm_member, quantile_trees
from forecasting.errors import ModelFileRefused
from forecasting.lightgbm_text import open_booster, validate_model_text
from tests.unit.forecasting.small_model_text import FEATURES, model_text, written

Edit = tuple[float, int, bytes]
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=4)


def edited(text: bytes, edits: list[Edit]) -> bytes:
    """At each place, so many bytes replaced by others."""
    for place, length, new in edits:
        at = int(place * len(text))
        text = text[:at] + new + text[at + length :]
    return text


def read(text: bytes) -> None:
    with contextlib.suppress(ModelFileRefused):
        validate_model_text(text, features=FEATURES)


@given(objective=st.sampled_from(["regression", "quantile"]), edits=EDITS, true_sizes=st.booleans())
@settings(deadline=None, max_examples=150)
def test_no_edit_of_bytes_raises_anything_but_a_refusal(objective: str, edits: list[Edit], true_sizes: bool):
    text = edited(model_text(objective), edits)
    read(with_true_sizes(text) if true_sizes else text)


@given(text=st.binary(max_size=400))
@settings(deadline=None)
def test_no_bytes_at_all_raise_anything_but_a_refusal(text: bytes):
    read(text)


@pytest.mark.parametrize("kind", MUTATIONS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_no_mutation_raises_anything_but_a_refusal(kind: str, seed: int):
    read(mutant(model_text(), kind, random.Random(seed)))  # noqa: S311 (mutations, no secrets)


@st.composite
def any_children(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    nodes = draw(st.integers(1, 6))
    child = st.integers(-nodes - 2, nodes + 1)
    both = draw(st.lists(child, min_size=2 * nodes, max_size=2 * nodes))
    return both[:nodes], both[nodes:]


def is_tree(left: list[int], right: list[int]) -> bool:
    """Walked from the root as a forecast would: every node and leaf is met, none twice, no child before its parent."""
    met, ahead = [], [0]
    while ahead and len(met) <= 2 * len(left) + 1:
        node = ahead.pop()
        met.append(node)
        if 0 <= node < len(left):
            ahead += [left[node], right[node]]
            if any(0 <= child <= node for child in (left[node], right[node])):
                return False
    return sorted(met) == list(range(-len(left) - 1, len(left)))


@given(children=any_children())
@settings(deadline=None, max_examples=300)
def test_children_are_read_exactly_where_a_walk_from_the_root_meets_everything_once(children: tuple[list[int], list[int]]):
    try:
        validate_model_text(written(children), features=FEATURES)
    except ModelFileRefused:
        assert not is_tree(*children)
    else:
        assert is_tree(*children)


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(50, 1500),
    features=st.integers(1, 6),
    lost=st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    size=st.sampled_from([0.0, 1e-12, 1.0, 1e6]),
    level=st.sampled_from([None, 0.1, 0.5, 0.9]),
)
@settings(deadline=None, max_examples=40)
def test_whatever_is_trained_on_is_read_and_forecasts_as_before(
    seed: int, count: int, features: int, lost: float, size: float, level: float | None
):
    chance = np.random.default_rng(seed)
    rows = (chance.normal(0, 1 + size, (count, features)) * chance.integers(0, 2, features)).astype(np.float32)
    target = size * (np.nan_to_num(rows[:, 0]) + chance.normal(0, 1, count))
    rows[chance.random(rows.shape) < lost] = np.nan
    plain = lightgbm_member.BOOSTING if level is None else {**quantile_trees.BOOSTING, "alpha": level}
    options = {**plain, "min_data_in_leaf": 5, "seed": 1}
    booster = lgb.train(options, lgb.Dataset(rows, target, params=options), 8)
    opened = open_booster(booster.model_to_string().encode(), features=features)
    np.testing.assert_array_equal(opened.predict(rows), booster.predict(rows))
