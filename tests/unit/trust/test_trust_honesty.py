"""The noise of an honest source: learned by moments, without its own accidents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from data.schema import Array
from data.trust.honesty import (
    FEWEST_DAYS,
    SMALLEST_LIE_C,
    SMALLEST_ROUGH,
    WANDER_C,
    Honesty,
    Noise,
    expected_taken_off,
    learn_honesty,
    learn_noise,
    slow_spread,
)
from data.trust.lies import KINDS, DailySizes

DAYS = 365


def first_order(memory: float, variance: float, days: int, random: np.random.Generator) -> Array:
    shocks = random.standard_normal(days) * np.sqrt(variance * (1 - memory**2))
    return np.asarray(lfilter([1.0], [1.0, -memory], shocks))


def sizes_of(offset: Array) -> DailySizes:
    """Days whose every kind has the sizes of `offset`."""
    days = len(offset)
    season = 2 * np.pi * np.arange(days) / 365.25
    return DailySizes(
        sizes=np.repeat(offset[:, None], len(KINDS), axis=1),
        weights=np.full((days, len(KINDS)), 24.0),
        level=10 - 8 * np.cos(season),
        change=np.zeros(days),
        span=np.full(days, 8.0),
        season=season,
    )


def honest(seed: int = 1, spread: float = 0.4) -> DailySizes:
    return sizes_of(spread * np.random.default_rng(seed).standard_normal(DAYS))


def noise_in(sizes: Array, weights: Array, least_variance: float = 1e-9) -> Noise:
    return learn_noise(sizes, weights, least_variance)


def learned(sizes: DailySizes) -> Honesty:
    return learn_honesty(sizes, np.ones(len(sizes.sizes)), sees_a_year=True)


def test_the_parts_of_the_noise_come_back_from_a_long_record():
    random = np.random.default_rng(1)
    record = 3.0 + first_order(0.6, 1.0, 8000, random) + random.normal(0, 0.6, 8000)
    noise = noise_in(record, np.full(8000, 20.0))
    assert noise.centre == pytest.approx(3.0, abs=0.1)
    assert noise.memory == pytest.approx(0.6, abs=0.1)
    assert noise.fast == pytest.approx(1.0, abs=0.25)
    assert noise.white == pytest.approx(0.36, abs=0.2)
    assert noise.fast + noise.white == pytest.approx(1.36, abs=0.15)
    assert noise.usual_weight == 20.0


def test_missing_days_do_not_change_what_is_learned():
    random = np.random.default_rng(2)
    record = first_order(0.6, 1.0, 8000, random) + random.normal(0, 0.6, 8000)
    gappy = np.where(random.random(8000) < 0.2, np.nan, record)
    whole, part = (noise_in(values, np.full(8000, 20.0)) for values in (record, gappy))
    assert part.fast == pytest.approx(whole.fast, rel=0.15)
    assert part.memory == pytest.approx(whole.memory, abs=0.1)


def test_a_few_wild_days_of_the_baseline_do_not_widen_what_is_honest():
    """A source that lies during some days of the baseline must not buy itself room (AML.T0020)."""
    record = np.random.default_rng(3).normal(0, 0.5, DAYS)
    wild = record.copy()
    wild[100:104] += 50.0
    calm, bought = (noise_in(values, np.full(DAYS, 24.0)) for values in (record, wild))
    assert bought.fast + bought.white < 2 * (calm.fast + calm.white)
    assert bought.centre == pytest.approx(calm.centre, abs=0.05)


@pytest.mark.parametrize("known", [0, FEWEST_DAYS - 1])
def test_too_few_days_teach_nothing(known: int):
    record = np.where(np.arange(DAYS) < known, 1.0, np.nan)
    noise = noise_in(record, np.ones(DAYS))
    assert np.isnan(noise.fast)
    assert np.isnan(noise.white)
    assert slow_spread(record, noise) == 0.0


def test_sizes_that_never_differ_have_a_small_noise_and_no_division_by_nothing():
    noise = noise_in(np.full(DAYS, 0.25), np.ones(DAYS))
    assert noise.centre == 0.25
    assert 0 < noise.fast < 1e-6
    assert 0 < noise.white < 1e-6


def test_no_source_is_quieter_than_thermometers_are():
    """Copies of one another would otherwise be accused of the last digit."""
    still = np.full(DAYS, 0.25)
    noise = noise_in(still, np.ones(DAYS), 0.04)
    assert noise.fast + noise.white == pytest.approx(0.04, rel=0.1)
    copies = learned(sizes_of(still)).noise[KINDS.index("offset")]
    assert copies.fast + copies.white > 1e-4


def test_days_that_are_known_here_and_there_only_get_a_usual_memory():
    record = np.full(8 * DAYS, np.nan)
    record[::8] = np.random.default_rng(4).normal(0, 1, DAYS)
    noise = noise_in(record, np.ones(8 * DAYS))
    assert 0.3 <= noise.memory <= 0.85
    assert noise.fast + noise.white == pytest.approx(1.0, rel=0.25)


def test_a_slow_wander_is_told_from_fast_noise():
    random = np.random.default_rng(5)
    fast = random.normal(0, 0.5, 20 * DAYS)
    slow = first_order(np.exp(-1 / 120), 0.36, 20 * DAYS, random)
    weights = np.ones(20 * DAYS)
    assert slow_spread(fast, noise_in(fast, weights)) < 0.1
    assert slow_spread(fast + slow, noise_in(fast, weights)) == pytest.approx(0.6, abs=0.2)


def test_a_short_record_knows_no_wander():
    record = np.random.default_rng(6).normal(0, 1, 60)
    assert slow_spread(record, noise_in(record, np.ones(60))) == 0.0


def test_every_source_may_wander_a_little_and_the_rough_one_more():
    quiet, rough = (learned(honest(spread=spread)) for spread in (0.01, 1.0))
    offset = KINDS.index("offset")
    assert quiet.noise[offset].wander == pytest.approx(WANDER_C[0] ** 2)
    assert quiet.noise[offset].wander < rough.noise[offset].wander <= WANDER_C[1] ** 2 * (1 + 1e-9)


def test_the_smallest_lie_that_is_accused_grows_with_the_spread_between_its_bounds():
    smallest = [learned(honest(spread=spread)).noise[0].smallest for spread in (0.001, 0.5, 0.6, 50.0)]
    assert smallest[0] == SMALLEST_LIE_C[0] < smallest[1] < smallest[2] < smallest[3] == SMALLEST_LIE_C[1]


def test_where_seasons_are_unknown_more_wander_is_honest():
    known, unknown = (learn_honesty(honest(), np.ones(DAYS), sees_a_year=year).noise[0] for year in (True, False))
    assert unknown.wander > known.wander
    assert unknown.smallest > known.smallest


def test_a_source_that_said_too_little_is_silent_in_every_kind():
    said_little = learned(sizes_of(np.where(np.arange(DAYS) < 5, 1.0, np.nan)))
    assert all(np.isnan(noise.fast) for noise in said_little.noise)


def test_restless_weather_is_not_held_against_a_source():
    """The noise is that of ordinary days, whichever days the baseline happened to have."""
    random = np.random.default_rng(7)
    unrest = np.where(random.random(DAYS) < 0.5, 6.0, 1.0)
    sizes = sizes_of(0.3 * np.sqrt(unrest) * random.standard_normal(DAYS))
    noise = learn_honesty(sizes, unrest, sees_a_year=True).noise[KINDS.index("offset")]
    assert np.sqrt(noise.fast + noise.white) == pytest.approx(0.3, rel=0.15)


def test_noise_counts_as_a_lie_from_a_third_more_on_whoever_it_is():
    for spread in (0.001, 50.0):
        assert learned(honest(spread=spread)).noise[KINDS.index("rough")].smallest == SMALLEST_ROUGH


def test_the_roughness_that_the_weather_brings_is_taken_off():
    """Neighbours move apart on days when everything moves: those days are no reason to call a source noisier."""
    random = np.random.default_rng(8)
    sizes = sizes_of(random.normal(0, 0.1, DAYS))
    span = random.uniform(2, 18, DAYS)
    weathered = replace(sizes, span=span, sizes=sizes.sizes + 0.4 * (span / 5)[:, None] * (np.array(KINDS) == "rough"))
    rough = KINDS.index("rough")
    left = expected_taken_off(learned(weathered).rough, weathered).sizes
    assert np.corrcoef(weathered.sizes[:, rough], span)[0, 1] > 0.9
    assert abs(np.corrcoef(left[:, rough], span)[0, 1]) < 0.3
    np.testing.assert_array_equal(np.delete(left, rough, axis=1), np.delete(weathered.sizes, rough, axis=1))
