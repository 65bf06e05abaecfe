"""A day's residuals projected on each kind of lie: a planted size comes back, and nothing is said where nothing can be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.schema import Array
from data.trust.calendar import clock_of
from data.trust.lies import BLOCKS, KINDS, LEAST_WEIGHT, DailySizes, block_means, daily_sizes, quiet_blocks
from data.trust.rules import TrustRules

RULES = TrustRules(regimes_c=(11.5, 17.0))
INDEX = pd.date_range("2021-03-19T23:00Z", periods=60 * 24 - 1, freq="h")  # whole days of Berlin, one of 23 hours
CLOCK = clock_of(INDEX, "Europe/Berlin", pd.Timestamp("2021-03-20"))
SKIP = 48
DAYS = 58
QUIET = np.ones(BLOCKS)
# Every day passes through all three regimes; each differs from the one before, so that a replay can be told.
SWING = np.random.default_rng(1).permuted(np.resize([6.0, 10.0], (30, 2)), axis=1).ravel()
LEVEL = 14 + np.resize([-1.5, 1.5], 60) + np.linspace(0, 1, 60)
OTHERS = LEVEL[CLOCK.day] + SWING[CLOCK.day] * np.sin(2 * np.pi * CLOCK.hour / 24)
BEFORE = np.concatenate([np.repeat(OTHERS[:1], 24), OTHERS[:-24]])
LOW, HIGH = RULES.regimes_c


def sizes(residual: Array, others: Array = OTHERS, quiet: Array = QUIET) -> DailySizes:
    return daily_sizes(residual, others, CLOCK, quiet, RULES, SKIP)


def of(kind: str, residual: Array, others: Array = OTHERS) -> Array:
    return sizes(residual, others).sizes[:, KINDS.index(kind)]


MARKS = {
    "offset": np.ones(len(INDEX)),
    "cold": np.where(OTHERS < LOW, 1.0, 0.0),
    "mild": np.where((OTHERS >= LOW) & (OTHERS <= HIGH), 1.0, 0.0),
    "warm": np.where(OTHERS > HIGH, 1.0, 0.0),
    "swing": OTHERS,
    "replay": BEFORE - OTHERS,
}


@pytest.mark.parametrize("size", [2.0, -0.7])
@pytest.mark.parametrize("kind", MARKS)
def test_a_planted_lie_of_each_kind_comes_back_with_its_size(kind: str, size: float):
    found = of(kind, size * MARKS[kind])
    assert len(found) == DAYS
    np.testing.assert_allclose(found, size, atol=1e-9)


@pytest.mark.parametrize("kind", MARKS)
def test_a_planted_lie_is_found_among_noise_and_gaps(kind: str):
    random = np.random.default_rng(2)
    residual = 1.5 * MARKS[kind] + random.normal(0, 0.3, len(INDEX))
    residual[random.random(len(INDEX)) < 0.15] = np.nan
    assert np.nanmedian(of(kind, residual)) == pytest.approx(1.5, abs=0.1)


def test_a_source_that_runs_behind_is_late_and_one_that_runs_ahead_is_early_the_more_the_further():
    def shifted(hours: int) -> float:
        return float(np.median(of("late", np.roll(OTHERS, hours) - OTHERS)))

    assert shifted(3) > 1.5 * shifted(1) > 0
    assert shifted(-3) < 1.5 * shifted(-1) < 0
    assert shifted(-1) == pytest.approx(-shifted(1), rel=0.25)


def test_yesterdays_readings_said_today_are_a_replay_of_all():
    np.testing.assert_allclose(of("replay", BEFORE - OTHERS), 1.0)


def test_a_wrong_scale_swings_by_what_it_is_wrong():
    np.testing.assert_allclose(of("swing", 1.1 * OTHERS - OTHERS), 0.1)


def test_doubled_noise_is_rough_by_the_logarithm_of_two():
    noise = np.random.default_rng(3).normal(0, 1.0, len(INDEX))
    assert np.median(of("rough", 2 * noise) - of("rough", noise)) == pytest.approx(np.log(2), abs=0.02)


def test_an_honest_source_that_never_moves_against_the_others_is_rough_by_a_number():
    assert np.isfinite(of("rough", np.zeros(len(INDEX)))).all()


def test_a_regime_that_the_day_did_not_meet_says_nothing():
    mild = np.full(len(INDEX), (LOW + HIGH) / 2)
    residual = np.ones(len(INDEX))
    assert np.isnan(of("cold", residual, mild)).all()
    assert np.isnan(of("warm", residual, mild)).all()
    np.testing.assert_allclose(of("mild", residual, mild), 1.0)
    # Nor does weather that stands still tell who swings, runs late or replays.
    for kind in ("swing", "late", "replay"):
        assert np.isnan(of(kind, residual, mild)).all()


def test_both_ends_of_the_mild_band_are_mild():
    for edge in RULES.regimes_c:
        others = np.full(len(INDEX), edge)
        assert np.isfinite(of("mild", np.ones(len(INDEX)), others)).all()


def test_a_day_of_few_hours_says_nothing():
    residual = np.ones(len(INDEX))
    third = CLOCK.day == 5
    residual[third & (CLOCK.hour >= LEAST_WEIGHT[0] - 1)] = np.nan
    found = of("offset", residual)
    day = 5 - CLOCK.day[SKIP]
    assert np.isnan(found[day])
    assert np.isfinite(np.delete(found, day)).all()


def test_a_silent_source_has_no_sizes_and_its_weather_is_known_all_the_same():
    silent = sizes(np.full(len(INDEX), np.nan))
    assert np.isnan(silent.sizes).all()
    for known in (silent.level, silent.change, silent.span, silent.season):
        assert known.shape == (DAYS,)
        assert np.isfinite(known).all()


def test_the_weather_of_a_day_is_told():
    others = OTHERS + 0.5 * CLOCK.day
    day = 10
    hours = CLOCK.day == day + CLOCK.day[SKIP]
    told = sizes(np.zeros(len(INDEX)), others)
    assert told.level[day] == pytest.approx(others[hours].mean())
    assert told.span[day] == pytest.approx(np.ptp(others[hours]))
    assert told.change[day] == pytest.approx((others[hours] - np.concatenate([others[:24], others[:-24]])[hours]).mean())


def test_hours_that_are_always_quiet_count_more():
    random = np.random.default_rng(4)
    block = CLOCK.hour * BLOCKS // 24
    spread = np.where(block < 4, 0.1, 2.0)
    quiet = quiet_blocks(spread * random.standard_normal(len(INDEX)), CLOCK)
    assert quiet.mean() == pytest.approx(1.0)
    assert (quiet >= 0).all()
    assert quiet[:4].min() > quiet[4:].max()
    # An offset counts there, whatever the loud hours say.
    loud = np.where(block < 4, 1.0, 2.0 * random.standard_normal(len(INDEX)))
    found = sizes(loud, quiet=quiet).sizes[:, 0]
    assert np.abs(found - 1.0).mean() < np.abs(of("offset", loud) - 1.0).mean()


def test_few_days_leave_all_hours_equal():
    short = CLOCK.part(0, 20 * 24)
    np.testing.assert_array_equal(quiet_blocks(np.random.default_rng(5).normal(size=len(short)), short), np.ones(BLOCKS))


def test_hours_without_any_noise_are_weighed_without_dividing_by_nothing():
    quiet = quiet_blocks(np.zeros(len(INDEX)), CLOCK)
    np.testing.assert_allclose(quiet, 1.0)


def test_block_means_skip_what_is_missing():
    residual = np.array([1.0, 3.0, np.nan, np.nan])
    means = block_means(residual, np.zeros(4, dtype=np.int64), np.array([0, 0, 0, 1]), 1)
    assert means[0, 0] == 2.0
    assert np.isnan(means[0, 1:]).all()
