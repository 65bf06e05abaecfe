"""A line for each time of day: against scikit-learn, and where trees would fail."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from data.schema import Array
from forecasting.day_table import DayTable, Driver
from forecasting.linear_member import HINGED, KNOT_LEVELS, PENALTY, LinearMember
from forecasting.member import Lesson


def only_seen(lesson: Lesson) -> Lesson:
    return dataclasses.replace(lesson, served=None)


def without(lesson: Lesson, fold: int) -> Lesson:
    kept = np.flatnonzero(lesson.fold != fold)
    served = None if lesson.served is None else lesson.served.at(kept)
    return dataclasses.replace(
        lesson, table=lesson.table.at(kept), served=served, target=lesson.target[kept], fold=lesson.fold[kept]
    )


def with_columns(table: DayTable, **columns: Array) -> DayTable:
    return dataclasses.replace(table, columns=table.columns | columns)


def design(table: DayTable, learned: DayTable, slot: int) -> Array:
    """Every feature of one time of day, then the hinges, as scikit-learn gets them."""
    bends = [
        np.maximum(0, table.columns[name][:, slot] - np.quantile(learned.columns[name], level))
        for name in HINGED
        for level in KNOT_LEVELS
    ]
    return np.column_stack([*(values[:, slot] for values in table.columns.values()), *bends])


def test_each_slot_is_scikit_learns_ridge_on_standardised_columns(lesson: Lesson):
    asked, learned = lesson.table.at(np.arange(10)), lesson.table
    member = LinearMember()
    member.fit(only_seen(lesson))
    found = member.predict(asked)
    everything = np.stack([design(learned, learned, slot) for slot in range(learned.slots)])
    centre, spread = everything.mean(axis=(0, 1)), everything.std(axis=(0, 1))
    moving = spread > 1e-9
    for slot in (0, 9, 23):
        matrix, question = (
            (design(table, learned, slot) - centre)[:, moving] / spread[moving] for table in (learned, asked)
        )
        oracle = Ridge(alpha=PENALTY).fit(matrix, lesson.target[:, slot], sample_weight=lesson.trust)
        assert found[:, slot] == pytest.approx(oracle.predict(question), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("fold", [0, 3, 5])
def test_what_it_says_of_a_fold_is_what_a_fit_without_it_says(lesson: Lesson, fold: int):
    whole = LinearMember()
    honest = whole.fit(lesson)
    out = np.flatnonzero(lesson.fold == fold)
    refitted = refit_on_scales_of(whole, without(lesson, fold), lesson.trust[lesson.fold != fold])
    assert lesson.served is not None
    np.testing.assert_allclose(honest.seen[out], refitted.predict(lesson.table.at(out)), atol=1e-8)
    np.testing.assert_allclose(honest.served[out], refitted.predict(lesson.served.at(out)), atol=1e-8)


def refit_on_scales_of(whole: LinearMember, lesson: Lesson, trust: Array) -> LinearMember:
    """A fit told the scales of all days (they tell nothing of the target): least squares with penalty rows."""
    member = LinearMember()
    member.columns_, member.knots_ = whole.columns_, whole.knots_
    member.centre_, member.spread_ = whole.centre_, whole.spread_
    assert lesson.served is not None
    coefficients = []
    for slot in range(lesson.table.slots):
        rows = [scaled(design_with(whole, table, slot), whole) for table in (lesson.table, lesson.served)]
        width = rows[0].shape[1]
        penalty = np.sqrt(np.r_[1e-9, np.full(width - 1, 2 * PENALTY)]) * np.eye(width)
        root = np.sqrt(trust)
        matrix = np.vstack([*(root[:, None] * part for part in rows), penalty])
        target = np.r_[root * lesson.target[:, slot], root * lesson.target[:, slot], np.zeros(width)]
        coefficients.append(np.linalg.lstsq(matrix, target)[0])
    member.coefficients_ = np.stack(coefficients)
    return member


def design_with(member: LinearMember, table: DayTable, slot: int) -> Array:
    bends = [np.maximum(0, table.columns[name][:, slot] - knot) for name, knots in member.knots_.items() for knot in knots]
    return np.column_stack([*(table.columns[name][:, slot] for name in member.columns_), *bends])


def scaled(matrix: Array, member: LinearMember) -> Array:
    return np.column_stack([np.ones(len(matrix)), (matrix - member.centre_) / member.spread_])


def test_a_line_answers_hotter_than_it_has_seen(lesson: Lesson):
    temperature = lesson.table.columns["temperature"]
    member = LinearMember()
    member.fit(dataclasses.replace(only_seen(lesson), target=0.1 * temperature))
    hottest, hotter = (
        member.predict(with_columns(lesson.table, temperature=np.full_like(temperature, value)))
        for value in (temperature.max(), temperature.max() + 10)
    )
    assert (hotter > hottest).all()


def test_a_missing_feature_counts_as_its_mean(lesson: Lesson):
    member = LinearMember()
    member.fit(lesson)
    values = lesson.table.columns["last_known_mw"]
    unknown = member.predict(with_columns(lesson.table, last_known_mw=np.full_like(values, np.nan)))
    mean = member.predict(with_columns(lesson.table, last_known_mw=np.full_like(values, values.mean())))
    assert unknown == pytest.approx(mean)


def test_a_feature_that_never_moved_says_nothing(lesson: Lesson):
    member = LinearMember()
    constant = with_columns(lesson.table, last_known_mw=np.full_like(lesson.target, 0.3))
    member.fit(dataclasses.replace(only_seen(lesson), table=constant))
    elsewhere = with_columns(constant, last_known_mw=np.full_like(lesson.target, 1e6))
    assert member.predict(elsewhere) == pytest.approx(member.predict(constant))


def test_an_explanation_adds_up_and_gives_each_driver_its_own(lesson: Lesson):
    member = LinearMember()
    member.fit(lesson)
    explained = member.explain(lesson.table)
    total = explained.base + sum(explained.drivers.values(), np.zeros_like(explained.base))
    np.testing.assert_allclose(total, member.predict(lesson.table), atol=1e-9)
    warmer = with_columns(lesson.table, temperature=lesson.table.columns["temperature"] + 5)
    other = member.explain(warmer)
    assert not np.allclose(other.drivers[Driver.WEATHER], explained.drivers[Driver.WEATHER])
    for driver in (Driver.CALENDAR, Driver.RECENT_DEMAND):
        np.testing.assert_array_equal(other.drivers[driver], explained.drivers[driver])
