"""Trees on what a line leaves over."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from forecasting.day_table import Driver
from forecasting.lightgbm_member import LightGBMMember
from forecasting.linear_member import LinearMember
from forecasting.member import Honest, Lesson


@pytest.fixture(scope="module")
def fitted(lesson: Lesson) -> tuple[LightGBMMember, Honest]:
    member = LightGBMMember()
    return member, member.fit(lesson)


def test_what_it_says_unseen_is_worse_than_what_it_learned_by_heart(lesson: Lesson, fitted: tuple[LightGBMMember, Honest]):
    member, honest = fitted
    unseen = np.mean((honest.seen - lesson.target) ** 2)
    by_heart = np.mean((member.predict(lesson.table) - lesson.target) ** 2)
    assert by_heart < unseen < np.mean(lesson.target**2)


def test_what_it_says_unseen_knows_nothing_of_noise_that_it_has_learned_by_heart(lesson: Lesson):
    noise = np.random.default_rng(1).normal(0, 1, lesson.target.shape)
    member = LightGBMMember()
    honest = member.fit(dataclasses.replace(lesson, target=noise))
    by_heart, seen, served = (
        np.corrcoef(said.ravel(), noise.ravel())[0, 1] for said in (member.predict(lesson.table), honest.seen, honest.served)
    )
    assert by_heart > 0.3
    assert max(seen, served) < 0.05


def test_it_finds_what_a_line_cannot(lesson: Lesson):
    temperature = lesson.table.columns["temperature"]
    band = np.where(np.abs(temperature - np.median(temperature)) < temperature.std() / 2, 1.0, 0.0)
    banded = dataclasses.replace(lesson, target=band, served=None)
    line, trees = LinearMember().fit(banded).seen, LightGBMMember().fit(banded).seen
    assert np.mean((trees - band) ** 2) < 0.9 * np.mean((line - band) ** 2)


def test_an_explanation_adds_up_to_the_forecast(lesson: Lesson, fitted: tuple[LightGBMMember, Honest]):
    explained = fitted[0].explain(lesson.table)
    total = explained.base + sum((explained.drivers[driver] for driver in Driver), np.zeros_like(explained.base))
    np.testing.assert_allclose(total, fitted[0].predict(lesson.table), atol=1e-9)


def test_the_same_seed_gives_the_same_trees_and_another_others(lesson: Lesson, fitted: tuple[LightGBMMember, Honest]):
    again, other = LightGBMMember(), LightGBMMember()
    again.fit(lesson)
    other.fit(dataclasses.replace(lesson, seed=lesson.seed + 1))
    np.testing.assert_array_equal(again.predict(lesson.table), fitted[0].predict(lesson.table))
    assert not np.array_equal(other.predict(lesson.table), fitted[0].predict(lesson.table))
