from __future__ import annotations

import numpy as np
import pytest

from data.schema import Array, Flags
from pipeline.redteam.membership import RIDGES, advantage, best_threshold, joint_scores, likelihood_scores, trace_scores

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


def test_traces_that_hide_each_other_are_told_apart_when_all_are_looked_for_at_once():
    rng = np.random.default_rng(4)
    models = 4 * MODELS
    seen = np.stack([rng.permutation(RECORDS) < RECORDS // 2 for _ in range(models)])
    # All traces lie for the most part along the same three directions, and little else is in the answers.
    left_by = rng.standard_normal((RECORDS, 200)) + 10 * rng.standard_normal((RECORDS, 3)) @ rng.standard_normal((3, 200))
    answers = seen @ left_by + rng.standard_normal((models, 200))

    alone = np.stack([trace_scores(answers, seen, target) for target in range(models)])

    assert advantage(alone, seen, seed=1).value < 0.2
    assert advantage(joint_scores(answers, seen), seen, seed=1).low > 0.5


def test_looking_for_all_at_once_finds_nothing_where_nothing_was_left(member: Flags):
    answers = np.random.default_rng(5).standard_normal((MODELS, 200))

    gained = advantage(joint_scores(answers, member), member, seed=1)

    assert gained.low < 0.05


def test_what_is_told_of_a_model_does_not_hang_on_what_it_saw(member: Flags):
    answers = np.random.default_rng(6).standard_normal((MODELS, 200))
    other = member.copy()
    other[0] = ~other[0]

    scores, others = joint_scores(answers, member), joint_scores(answers, other)

    assert np.allclose(scores[0], others[0])
    assert not np.allclose(scores[1], others[1])


def test_a_model_is_told_as_by_a_fit_to_the_others_alone(member: Flags):
    rng = np.random.default_rng(7)
    answers = member @ rng.standard_normal((RECORDS, 200)) + rng.standard_normal((MODELS, 200))
    away, sought = answers - answers.mean(axis=0), member - 0.5
    alike = away @ away.T
    fitted = [
        alike[:1, 1:] @ np.linalg.solve(alike[1:, 1:] + ridge * np.trace(alike) / MODELS * np.eye(MODELS - 1), sought[1:])
        for ridge in RIDGES
    ]

    scores = joint_scores(answers, member)

    assert min(np.abs(scores[0] - one[0]).max() for one in fitted) < 1e-9


def test_the_threshold_parts_members_from_others_where_they_part():
    scores = np.concatenate([np.linspace(0, 1, 50), np.linspace(2, 3, 50)])

    assert 1.0 <= best_threshold(scores, scores > 1.5) < 2.0
