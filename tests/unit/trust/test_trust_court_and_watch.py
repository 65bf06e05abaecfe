"""The watch over a whole history: the honest left in peace, liars named, dated and no longer heard."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.trust.readings import Flag
from data.trust.watch import WeatherWatch
from tests.unit.trust.trust_town import (
    DAY,
    RULES,
    SHORT,
    come_to,
    judged,
    lied,
    mean_error,
    row_of,
    town,
)

ONSET = 12


@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize("demand", [True, False])
def test_the_honest_are_left_in_peace(sources: int, demand: bool):
    watch, progress = judged(town(sources), town(sources).readings, demand=demand)
    assert come_to(progress, "quarantined") == []
    assert np.isfinite(progress.temperature_c).all()
    assert mean_error(town(sources), progress) < 0.45
    assert (progress.sources >= min(sources, 2)).mean() > 0.97
    assert len(watch.heard) == sources


def test_nobody_is_judged_before_the_baseline_has_ended():
    place = town(3)
    readings = place.readings.copy()
    readings[100 * DAY : 130 * DAY, 1] += 4.0
    watch = WeatherWatch(place.names, place.timezone, place.step, RULES)
    part = slice(0, place.start)
    progress = watch.advance(place.index[part], readings[part])
    assert progress.events == ()
    assert progress.days == ()
    assert watch.learned is not None
    assert np.isfinite(progress.temperature_c).all()


@pytest.mark.parametrize("begins_at", [0, 1, 7, 23])
def test_the_baseline_is_whole_local_days_wherever_the_history_begins(begins_at: int):
    place = town(2, days=70)
    watch = WeatherWatch(place.names, place.timezone, place.step, SHORT)
    learned_at = []
    for start in range(begins_at, len(place.index), 20):
        part = slice(start, start + 20)
        watch.advance(place.index[part], place.readings[part])
        learned_at += [part.stop] if watch.learned is not None and not learned_at else []
    first_midnight = -(-begins_at // DAY) * DAY
    ended = first_midnight + 60 * DAY
    assert ended <= learned_at[0] < ended + 20


def test_the_profiles_are_taken_off_and_each_source_weighs_by_its_past_accuracy():
    place = town(3)
    noisy = place.readings.copy()
    noisy[:, 2] += np.random.default_rng(1).normal(0, 1.5, len(noisy))
    watch = WeatherWatch(place.names, place.timezone, place.step, RULES)
    watch.advance(place.index, noisy)
    assert watch.learned is not None
    assert watch.learned.weight[2] < 0.5 * watch.learned.weight[:2].min()
    usual = watch.learned.hours.clock.harmonics @ watch.learned.profiles
    np.testing.assert_allclose(usual.mean(axis=0), [-0.5, 0.0, 0.5], atol=0.3)


def test_each_judged_day_leaves_a_record():
    place = town(3)
    readings = lied(place, 1, lambda said: said + 3.0, ONSET)
    _, progress = judged(place, readings)
    assert [record.day for record in progress.days] == list(place.index[place.start :: DAY])
    residual = np.array([record.residual_c for record in progress.days])
    scores = np.array([record.scores for record in progress.days])
    assert np.abs(residual[:ONSET]).max() < 2.0
    assert residual[ONSET + 1 : ONSET + 20, 1].mean() == pytest.approx(3.0, abs=1.0)
    assert scores[:ONSET].max() < 10.0
    assert scores[ONSET + 3 :, 1].min() > 10.0
    level = np.array([record.level_c for record in progress.days])
    np.testing.assert_allclose(level, place.judged_truth_c.reshape(-1, DAY).mean(axis=1), atol=1.0)


@pytest.mark.parametrize("sources", [3, 4])
@pytest.mark.parametrize("lie", [3.0, -3.0])
def test_a_liar_is_named_dated_and_no_longer_heard(sources: int, lie: float):
    place = town(sources)
    watch, progress = judged(place, lied(place, 1, lambda said: said + lie, ONSET))
    assert come_to(progress, "quarantined") == ["b"]
    event = next(event for event in progress.events if event.to_state == "quarantined")
    onset = place.index[row_of(place, ONSET)]
    assert onset < event.at <= onset + pd.Timedelta(days=4)
    assert abs(event.onset - onset) <= pd.Timedelta(days=3)
    assert event.level == 3
    assert event.statistic > 0
    assert ("warm" in event.reason) == (lie > 0)
    assert watch.standings[1] == "quarantined"
    after = place.index[place.start :] >= event.at
    assert (progress.flags[after, 1] & Flag.EXCLUDED).all()
    assert not (progress.flags[~after, 1] & Flag.EXCLUDED).any()
    assert (progress.sources[after] <= sources - 1).all()


def test_events_follow_from_one_another():
    place = town(3)
    _, progress = judged(place, lied(place, 0, lambda said: said + 1.2, ONSET))
    state = dict.fromkeys(place.names, "trusted")
    previous = place.index[place.start]
    for event in progress.events:
        assert event.from_state == state[event.provider] != event.to_state
        assert previous <= event.at
        assert event.onset <= event.at
        state[event.provider], previous = event.to_state, event.at


def test_what_the_quarantined_says_afterwards_moves_nobody():
    place = town(3)
    readings = lied(place, 1, lambda said: said + 3.0, ONSET)
    _, progress = judged(place, readings)
    later = ONSET + 10
    wilder = readings.copy()
    wilder[row_of(place, later) :, 1] = np.random.default_rng(1).uniform(-30, 45, len(wilder) - row_of(place, later))
    _, again = judged(place, wilder)
    np.testing.assert_array_equal(again.temperature_c, progress.temperature_c)
    np.testing.assert_array_equal(again.uncertainty_c, progress.uncertainty_c)
    assert again.events == progress.events


def test_a_second_liar_is_found_among_those_that_are_left():
    place = town(4)
    readings = lied(place, 1, lambda said: said + 3.0, ONSET)
    readings[row_of(place, 30) :, 3] -= 3.0
    _, progress = judged(place, readings)
    assert come_to(progress, "quarantined") == ["b", "d"]
    assert mean_error(place, progress) < 0.6


def test_two_of_five_that_tell_the_same_lie_are_found_and_nobody_is_framed():
    place = town(5)
    readings = lied(place, 1, lambda said: said + 2.0, ONSET)
    readings[row_of(place, ONSET) :, 3] += 2.0
    _, progress = judged(place, readings)
    assert sorted(come_to(progress, "quarantined")) == ["b", "d"]


def test_of_two_without_demand_both_stay_suspects_and_both_are_heard():
    place = town(2)
    watch, progress = judged(place, lied(place, 1, lambda said: said + 3.0, ONSET), demand=False)
    assert watch.standings == ["suspect", "suspect"]
    assert come_to(progress, "quarantined") == []
    part = progress.flags[(ONSET + 10) * DAY :]
    assert (part & Flag.SUSPECT).all()
    # Nobody knows which; the answer says so.
    assert progress.uncertainty_c[(ONSET + 10) * DAY :].mean() > 3 * progress.uncertainty_c[: ONSET * DAY].mean()


def test_a_suspect_left_alone_is_heard_and_the_answer_is_as_unsure_as_he_is_suspected():
    place = town(2)
    readings = lied(place, 1, lambda said: said + 3.0, ONSET)
    readings[row_of(place, 40) :, 0] = np.nan
    honest = place.readings.copy()
    honest[row_of(place, 40) :, 0] = np.nan
    _, doubted = judged(place, readings, demand=False)
    _, plain = judged(place, honest, demand=False)
    last = slice(41 * DAY, 44 * DAY)
    assert (doubted.sources[last] == 1).all()
    assert doubted.uncertainty_c[last].mean() > plain.uncertainty_c[last].mean() + 1.0


@pytest.mark.parametrize("liar", [0, 1])
def test_of_two_demand_tells_the_liar(liar: int):
    place = town(2)
    _, progress = judged(place, lied(place, liar, lambda said: said + 5.0, ONSET))
    assert come_to(progress, "quarantined") == [place.names[liar]]
    assert next(event for event in progress.events if event.to_state == "quarantined").level == 4


def test_a_single_source_is_accused_by_demand_and_without_demand_by_nobody():
    place = town(1)
    readings = lied(place, 0, lambda said: said - 6.0, ONSET)
    _, with_demand = judged(place, readings)
    assert come_to(with_demand, "quarantined") == ["a"]
    _, without = judged(place, readings, demand=False)
    assert without.events == ()
