"""How far forecasts of such a day miss, by weather, time of day and kind of day, and the quantiles that follow."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from data.schema import QUANTILES, Array, Utility
from forecasting.day_table import DayTable
from forecasting.regimes import DAY_KINDS, WEATHER_REGIMES
from forecasting.spread import Spread

DAYS, SLOTS = 364, 24
UTILITY = Utility("UTC", pd.Timedelta(hours=1), holidays=frozenset({date(2013, 5, 1)}))
BOUNDS = (5.0, 15.0, 25.0)
MEANS = np.tile([0.0, 10.0, 20.0, 30.0], DAYS // 4)


def table(means: Array = MEANS) -> DayTable:
    days = tuple(date(2013, 1, 1) + timedelta(days=number) for number in range(len(means)))
    columns = {"temperature_day_mean": np.repeat(means[:, None], SLOTS, axis=1)}
    nothing = np.zeros((len(means), SLOTS))
    return DayTable(days, np.zeros(len(means)), nothing, nothing, columns, {}, lead_days=1)


def noise(size: Array | float = 1.0, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(0, 1, (DAYS, SLOTS)) * size


def learned(residual: Array) -> Spread:
    return Spread.learn(residual, table(), BOUNDS, UTILITY)


def test_a_regime_that_misses_more_has_a_wider_spread():
    size = np.where(MEANS > 25, 3.0, 1.0)[:, None]
    usual = learned(noise(size)).usual.mean(axis=1)
    assert usual[WEATHER_REGIMES.index("hot")] > 2 * usual[:3].max()


def test_a_time_of_day_that_misses_more_has_a_wider_spread():
    size = np.where(np.arange(SLOTS) >= 12, 3.0, 1.0)
    usual = learned(noise(size)).usual
    assert (usual[:, 16] > 2 * usual[:, 6]).all()


def test_weekends_that_miss_more_have_a_wider_spread():
    weekend = np.array([day.weekday() >= 5 for day in table().days])
    kind = learned(noise(np.where(weekend, 2.0, 1.0)[:, None])).kind
    assert kind[DAY_KINDS.index("weekend")] > 1.5 * kind[DAY_KINDS.index("weekday")]


def test_a_kind_of_day_that_was_seen_once_leans_on_the_others():
    holiday = np.array([day in UTILITY.holidays for day in table().days])
    kind = learned(noise(np.where(holiday, 5.0, 1.0)[:, None])).kind
    assert 1.0 < kind[DAY_KINDS.index("holiday")] < 2.0


def test_the_spread_of_a_day_is_that_of_its_weather_time_and_kind():
    spread = learned(noise())
    found = spread.of(table(), UTILITY)
    assert found.shape == (DAYS, SLOTS)
    saturday = table().days.index(date(2013, 1, 5))
    regime = int(saturday % 4)
    np.testing.assert_allclose(found[saturday], spread.usual[regime] * spread.kind[DAY_KINDS.index("weekend")])


def test_an_unknown_temperature_has_the_spread_of_a_mild_day():
    spread = learned(noise())
    unknown = spread.of(table(np.full(4, np.nan)), UTILITY)
    np.testing.assert_allclose(unknown, spread.of(table(np.full(4, 10.0)), UTILITY))


def test_without_recent_days_the_levels_are_those_of_training():
    residual = noise()
    spread = learned(residual)
    expected = norm.ppf(QUANTILES) / np.mean(np.abs(residual))
    np.testing.assert_allclose(spread.levels(np.empty((0, SLOTS))), expected, atol=0.1)
    np.testing.assert_allclose(spread.levels(np.full((5, SLOTS), np.nan)), expected, atol=0.1)


def test_recent_days_that_miss_more_widen_the_levels_the_more_of_them_there_are():
    spread = learned(noise())
    wide = noise(4.0, seed=2)
    widths = [np.ptp(spread.levels(wide[:days])) for days in (0, 2, 7, 14)]
    assert (np.diff(widths) > 0).all()
    assert widths[-1] > 1.15 * widths[0]


def test_levels_are_in_order_whatever_the_scores():
    spread = learned(noise())
    for seed in range(5):
        scores = np.random.default_rng(seed).standard_cauchy((14, SLOTS))
        assert (np.diff(spread.levels(scores)) >= 0).all()


@pytest.mark.parametrize("slots", [1, 24, 288])
def test_a_spread_is_never_nothing(slots: int):
    wide = dataclasses.replace(table(), columns={"temperature_day_mean": np.repeat(MEANS[:, None], slots, axis=1)})
    spread = Spread.learn(np.zeros((DAYS, slots)), wide, BOUNDS, UTILITY)
    assert (spread.of(wide, UTILITY) > 0).all()
    assert np.isfinite(spread.levels(np.zeros((3, slots)))).all()
