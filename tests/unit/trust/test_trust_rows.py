"""Levels 1 and 2 decide in the row; sources that die, return, or were never known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.trust.readings import Flag
from data.trust.spikes import SpikeCount
from data.trust.watch import WeatherWatch
from tests.unit.trust.trust_town import (
    DAY,
    HOUR,
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
DAYS = 60


def test_a_frozen_source_is_quarantined_within_a_day_and_what_it_said_frozen_is_not_used():
    place = town(3)
    _, progress = judged(place, lied(place, 2, lambda said: np.full(len(said), said[0]), ONSET))
    event = next(event for event in progress.events if event.to_state == "quarantined")
    onset = place.index[row_of(place, ONSET)]
    assert (event.provider, event.level) == ("c", 2)
    assert onset < event.at <= onset + pd.Timedelta(days=2)
    assert onset - HOUR <= event.onset <= event.at
    assert come_to(progress, "quarantined") == ["c"]


def test_impossible_readings_are_never_used_and_soon_the_end():
    place = town(3)
    _, progress = judged(place, lied(place, 0, lambda said: said * 0 + 212.0, ONSET))
    event = progress.events[0]
    assert (event.provider, event.to_state, event.level) == ("a", "quarantined", 1)
    assert event.at <= place.index[row_of(place, ONSET)] + pd.Timedelta(hours=RULES.gross_hours)
    assert mean_error(place, progress) < 0.45


def test_a_source_alone_is_accused_by_the_season_where_nobody_else_can():
    """58 °C was measured on Earth, never here."""
    place = town(1)
    _, progress = judged(
        place, lied(place, 0, lambda said: said * 0 + 58.0 + np.arange(len(said)) % 7 / 10, ONSET), demand=False
    )
    assert (progress.events[0].to_state, progress.events[0].level) == ("quarantined", 1)
    assert np.isnan(progress.temperature_c[ONSET * DAY :]).all()


def test_a_few_impossible_readings_are_forgotten():
    place = town(3)
    readings = place.readings.copy()
    readings[row_of(place, ONSET) : row_of(place, ONSET) + int(RULES.gross_hours) - 2, 0] = 999.0
    _, progress = judged(place, readings)
    assert progress.events == ()
    assert mean_error(place, progress) < 0.45


def test_two_that_freeze_at_once_are_both_quarantined():
    place = town(4)
    readings = place.readings.copy()
    readings[row_of(place, ONSET) :, :2] = 15.0
    _, progress = judged(place, readings)
    assert sorted(come_to(progress, "quarantined")) == ["a", "b"]
    assert np.isfinite(progress.temperature_c).all()


def test_more_spikes_than_ever_are_an_accusation_and_one_is_none():
    place = town(3)
    once, often = place.readings.copy(), place.readings.copy()
    once[row_of(place, ONSET) + 5, 1] += 9.0
    often[row_of(place, ONSET) :: 17, 1] += 9.0
    _, progress = judged(place, once)
    assert progress.events == ()
    assert progress.flags[ONSET * DAY + 5, 1] == Flag.SPIKE
    _, progress = judged(place, often)
    assert come_to(progress, "quarantined") == ["b"]
    assert progress.events[0].level == 2
    assert mean_error(place, progress) < 0.45


def test_spikes_are_counted_against_each_sources_own_past():
    usual = np.array([0.03, 3.0])
    count = SpikeCount(usual)
    accused = [day for day in range(20) for _ in count.take(np.array([1.0, 3.0]), day, 10.0)]
    assert accused
    found = count.take(np.array([1.0, 3.0]), 20, 10.0)
    assert [source for source, _, _ in found] == [0]
    source, since, spikes = found[0]
    assert (since, spikes) == (0, 21)
    count.forget(source)
    assert count.take(np.array([1.0, 3.0]), 21, 10.0) == []


def test_a_source_that_dies_and_returns_is_missed_and_heard_again():
    place = town(3)
    readings = lied(place, 1, lambda said: said * np.nan, 10, 25)
    watch, progress = judged(place, readings)
    dead, alive = slice(10 * DAY, 25 * DAY), slice(25 * DAY, None)
    assert (progress.flags[dead, 1] & Flag.MISSING).all()
    assert (progress.sources[dead] <= 2).all()
    assert (progress.sources[alive] == 3).mean() > 0.95
    assert progress.uncertainty_c[dead].mean() > progress.uncertainty_c[: 10 * DAY].mean()
    assert come_to(progress, "quarantined") == []
    assert watch.standings[1] != "quarantined"


def test_a_source_that_returns_lying_is_found():
    place = town(3)
    readings = lied(place, 1, lambda said: said * np.nan, 10, 25)
    readings[row_of(place, 25) :, 1] += 3.0
    _, progress = judged(place, readings)
    assert come_to(progress, "quarantined") == ["b"]


@pytest.mark.parametrize("sources", [1, 3])
def test_all_dead_is_no_temperature_no_sources_and_no_crash(sources: int):
    place = town(sources)
    readings = place.readings.copy()
    readings[row_of(place, 10) : row_of(place, 20)] = np.nan
    _, progress = judged(place, readings)
    dead = slice(10 * DAY, 20 * DAY)
    assert np.isnan(progress.temperature_c[dead]).all()
    assert np.isnan(progress.uncertainty_c[dead]).all()
    assert (progress.sources[dead] == 0).all()
    assert np.isfinite(progress.temperature_c[20 * DAY :]).all()
    assert come_to(progress, "quarantined") == []


def test_the_last_source_quarantined_leaves_nothing_and_the_watch_goes_on():
    place = town(2)
    readings = place.readings.copy()
    readings[row_of(place, 10) :] = 14.0
    watch, progress = judged(place, readings)
    assert watch.heard == []
    rest = slice(13 * DAY, None)
    assert np.isnan(progress.temperature_c[rest]).all()
    assert (progress.sources[rest] == 0).all()
    assert len(progress.days) == DAYS


def test_a_source_that_said_nothing_in_the_baseline_is_unknown_and_not_heard():
    place = town(3)
    readings = place.readings.copy()
    readings[: row_of(place, 5), 1] = np.nan
    readings[:, 1] += 3.0
    watch = WeatherWatch(place.names, place.timezone, place.step, RULES)
    progress = watch.advance(place.index, readings)
    assert come_to(progress, "probation") == ["b"]
    assert come_to(progress, "quarantined") == []
    assert (progress.flags[place.start :, 1] & Flag.EXCLUDED).all()
    assert np.abs(progress.temperature_c - place.truth_c)[place.start :].mean() < 0.5


@pytest.mark.parametrize("value", [np.nan, 9.0])
def test_nobody_worth_learning_from_is_nobody_heard(value: float):
    place = town(2, days=70)
    watch = WeatherWatch(place.names, place.timezone, place.step, SHORT)
    progress = watch.advance(place.index, np.full(place.readings.shape, value), place.demand_mw)
    assert watch.heard == []
    assert np.isnan(progress.temperature_c[-DAY:]).all()
    assert (progress.sources[-DAY:] == 0).all()
