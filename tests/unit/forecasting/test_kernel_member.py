"""Days like this one: honest about folds, its slope right, its explanations whole."""

from __future__ import annotations

import dataclasses
from itertools import permutations

import numpy as np
import pytest

from data.schema import Array
from forecasting import kernel_member
from forecasting.day_table import DayTable, Driver
from forecasting.kernel_features import DEPARTURES, GROUPS, HALVES, PLAIN, THIRDS, Block, block_features
from forecasting.kernel_learning import _Block, _to_vector, learn_kernel, starting_kernel
from forecasting.kernel_member import KernelMember
from forecasting.member import Lesson

START = starting_kernel(PLAIN)


@pytest.fixture(scope="module")
def fitted(lesson: Lesson) -> KernelMember:
    member = KernelMember()
    member.fit(lesson)
    return member


@pytest.fixture
def told_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_member, "learn_kernel", lambda *_: START)


def dense(member: KernelMember, lesson: Lesson, kept: Array, asked: DayTable) -> Array:
    """The textbook's Gaussian process on the kept days alone, in the units and around the mean of all days."""
    answer = np.empty((len(asked.days), asked.slots))
    for block, model in zip(member.blocks, member.models_, strict=True):
        slots = block.slots(asked.slots)
        learned, question = model.standard[kept], model.standardised(asked, block)
        weight = np.repeat(list(START.line.values()), model.widths)
        length = np.repeat(list(START.length.values()), model.widths)

        def covariance(first: Array, second: Array, weight: Array = weight, length: Array = length) -> Array:
            apart = (first[:, None] - second[None]) / length
            return np.exp(-0.5 * (apart**2).sum(axis=2)) + np.einsum("ip,jp,p->ij", first, second, weight)

        noisy = covariance(learned, learned) + np.diag(START.noise / lesson.trust[kept])
        relative = lesson.target[kept][:, slots] - model.usual
        answer[:, slots] = covariance(question, learned) @ np.linalg.solve(noisy, relative) + model.usual
    return answer


@pytest.mark.usefixtures("told_the_kernel")
@pytest.mark.parametrize("fold", [0, 2, 5])
def test_what_it_says_of_a_fold_is_what_a_fit_without_it_says(lesson: Lesson, fold: int):
    member = KernelMember()
    honest = member.fit(lesson)
    out, kept = np.flatnonzero(lesson.fold == fold), np.flatnonzero(lesson.fold != fold)
    assert lesson.served is not None
    np.testing.assert_allclose(honest.seen[out], dense(member, lesson, kept, lesson.table.at(out)), atol=1e-5)
    np.testing.assert_allclose(honest.served[out], dense(member, lesson, kept, lesson.served.at(out)), atol=1e-5)
    assert not np.allclose(honest.seen[out], member.predict(lesson.table.at(out)), atol=1e-2)


@pytest.mark.usefixtures("told_the_kernel")
def test_a_forecast_is_the_textbooks(lesson: Lesson):
    member = KernelMember()
    member.fit(lesson)
    asked = lesson.table.at(np.arange(5))
    np.testing.assert_allclose(member.predict(asked), dense(member, lesson, np.arange(len(lesson.target)), asked), atol=1e-8)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_likelihoods_slope_is_its_slope(lesson: Lesson, seed: int):
    features = block_features(lesson.table, THIRDS[0], PLAIN)
    block = _Block.of(features, lesson.target[:, THIRDS[0].slots(lesson.table.slots)])
    point = _to_vector(START) + np.random.default_rng(seed).normal(0, 0.3, 2 * len(PLAIN) + 1)
    _, slope = block.cost(point)
    step = 1e-5
    numerical = [
        (block.cost(point + step * unit)[0] - block.cost(point - step * unit)[0]) / (2 * step) for unit in np.eye(len(point))
    ]
    np.testing.assert_allclose(slope, numerical, rtol=1e-4, atol=1e-4)


def test_a_kernel_is_learned_from_the_utilitys_own_days(lesson: Lesson):
    learned = learn_kernel(lesson.table, lesson.target, PLAIN, THIRDS)
    noise = np.random.default_rng(1).normal(0, 1, lesson.target.shape)
    assert learned != START
    assert learn_kernel(lesson.table, noise, PLAIN, THIRDS).noise > 5 * learned.noise


def test_an_explanation_adds_up_to_the_forecast(lesson: Lesson, fitted: KernelMember):
    explained = fitted.explain(lesson.table)
    total = explained.base + sum(explained.drivers.values(), np.zeros_like(explained.base))
    np.testing.assert_allclose(total, fitted.predict(lesson.table), atol=1e-9)


def test_each_drivers_part_is_what_it_adds_on_average_over_all_orders_of_arrival():
    random = np.random.default_rng(1)
    worth = {present: random.normal(0, 1, (2, 3)) for present in kernel_member.SUBSETS}
    for driver in Driver:
        added = [
            worth[frozenset(order[: order.index(driver) + 1])] - worth[frozenset(order[: order.index(driver)])]
            for order in permutations(Driver)
        ]
        np.testing.assert_allclose(kernel_member._shapley(worth, driver), np.mean(added, axis=0))


def test_a_driver_that_is_as_usual_moves_nothing(lesson: Lesson, fitted: KernelMember):
    unknown = {
        name: np.full_like(values, np.nan) if lesson.table.drivers[name] is Driver.WEATHER else values
        for name, values in lesson.table.columns.items()
    }
    explained = fitted.explain(dataclasses.replace(lesson.table, columns=unknown))
    np.testing.assert_allclose(explained.drivers[Driver.WEATHER], 0.0, atol=1e-12)
    assert np.abs(explained.drivers[Driver.CALENDAR]).max() > 0.01


def test_a_day_unlike_any_before_is_answered_near_the_usual(lesson: Lesson, fitted: KernelMember):
    odd = {name: values + 1e3 for name, values in lesson.table.columns.items()}
    strange = _without_line(fitted).predict(dataclasses.replace(lesson.table, columns=odd))
    usual = _without_line(fitted).predict(lesson.table).mean(axis=0)
    assert np.abs(strange - usual).max() < 1.0


def _without_line(member: KernelMember) -> KernelMember:
    plain = KernelMember()
    plain.models_ = tuple(
        dataclasses.replace(model, kernel=dataclasses.replace(model.kernel, line=dict.fromkeys(PLAIN, 0.0)))
        for model in member.models_
    )
    return plain


@pytest.mark.parametrize("blocks", [THIRDS, HALVES])
def test_every_hour_is_in_one_block(blocks: tuple[Block, ...]):
    hours = np.concatenate([np.arange(24)[block.slots(24)] for block in blocks])
    assert (np.bincount(hours) == 1).all()


def test_every_feature_of_a_group_is_of_its_driver(lesson: Lesson):
    features = block_features(lesson.table, THIRDS[0], PLAIN)
    assert list(features) == [name for name in GROUPS if name not in DEPARTURES]
    assert all(values.shape[1] > 0 for values in features.values())
    for group in (GROUPS[name] for name in PLAIN):
        assert {lesson.table.drivers[name] for name in (*group.through, *group.once)} <= {group.driver}
