from __future__ import annotations

import numpy as np
import pytest

from data.schema import Array, Flags
from pipeline.redteam.membership import advantage, best_threshold, likelihood_scores, trace_scores

MODELS, RECORDS = 24, 40


@pytest.fixture
def member() -> Flags:
    rng = np.random.default_rng(1)
    return np.stack([rng.permutation(RECORDS) < RECORDS // 2 for _ in range(MODELS)])


def of_all(values: Array, member: Flags) -> Array:
    return np.stack([likelihood_scores(values, member, target) for target in range(MODELS)])


@pytest.mark.parametrize(("leak", "low", "high"), [(0.0, -0.12, 0.12), (1.0, 0.2, 0.5), (4.0, 0.85, 1.0)])
def test_the_advantage_grows_with_what_a_model_gives_away(member: Flags, leak: float, low: float, high: float):
    rng = np.random.default_rng(2)
    values = rng.standard_normal((MODELS, RECORDS)) + 3 * rng.standard_normal(RECORDS) - leak * member

    found = advantage(of_all(values, member), member, seed=1)

    assert low <= found.value <= high
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("trace", "found"), [(0.0, False), (1.0, True)])
def test_a_trace_in_answers_about_other_things_is_found(member: Flags, trace: float, found: bool):
    rng = np.random.default_rng(3)
    left_by = rng.standard_normal((RECORDS, 200))
    answers = trace * member @ left_by + rng.standard_normal((MODELS, 200))
    scores = np.stack([trace_scores(answers, member, target) for target in range(MODELS)])

    gained = advantage(scores, member, seed=1)

    assert (gained.low > 0.05) == found


def test_the_threshold_parts_members_from_others_where_they_part():
    scores = np.concatenate([np.linspace(0, 1, 50), np.linspace(2, 3, 50)])

    assert 1.0 <= best_threshold(scores, scores > 1.5) < 2.0
