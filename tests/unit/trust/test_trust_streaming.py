"""Readings one by one, in chunks of any size and all at once: the same answers, in memory that does not grow."""

from __future__ import annotations

import copy
import tracemalloc
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pytest

from data.schema import Array
from data.trust.readings import Flag
from data.trust.watch import Progress, WeatherWatch
from tests.unit.trust.trust_town import (
    DAY,
    SHORT,
    Town,
    after_baseline,
    judge,
    lied,
    town,
)

DAYS = 60


def troubled() -> tuple[Town, Array]:
    """A hundred days: a lie, gaps, a frozen stretch, a replay, spikes, an hour in which all are silent."""
    place = town(3, days=100, seed=4)
    readings = place.readings.copy()
    random = np.random.default_rng(1)
    readings[random.random(readings.shape) < 0.02] = np.nan
    readings[30 * DAY : 30 * DAY + 9, 0] = np.nan
    readings[random.random(readings.shape) < 0.002] += 12.0
    readings[66 * DAY : 68 * DAY, 0] = np.nan
    readings[70 * DAY + 3] = np.nan
    readings[72 * DAY + 5 :, 1] += 3.0
    readings[84 * DAY + 7 : 86 * DAY, 2] = 11.1
    return place, readings


def joined(parts: Sequence[Progress]) -> Progress:
    def all_of(name: str) -> Array:
        return np.concatenate([getattr(part, name) for part in parts])

    return Progress(
        index=parts[0].index.append([part.index for part in parts[1:]]),
        temperature_c=all_of("temperature_c"),
        uncertainty_c=all_of("uncertainty_c"),
        sources=all_of("sources"),
        flags=all_of("flags"),
        events=tuple(event for part in parts for event in part.events),
        days=tuple(day for part in parts for day in part.days),
    )


def in_chunks(place: Town, readings: Array, cuts: Iterable[int]) -> Progress:
    watch = WeatherWatch(place.names, place.timezone, place.step, SHORT)
    edges = [0, *cuts, len(readings)]
    return joined(
        [
            watch.advance(place.index[start:stop], readings[start:stop], place.demand_mw[start:stop])
            for start, stop in pairwise(edges)
        ]
    )


def one_by_one(place: Town, readings: Array) -> Progress:
    watch = WeatherWatch(place.names, place.timezone, place.step, SHORT)
    rows = zip(place.index, readings, place.demand_mw, strict=True)
    return joined([watch.take(at, dict(zip(place.names, row, strict=True)), demand) for at, row, demand in rows])


@pytest.fixture(scope="module")
def at_once() -> Progress:
    return in_chunks(*troubled(), [])


def same(one: Progress, other: Progress) -> None:
    assert (one.index == other.index).all()
    np.testing.assert_array_equal(one.flags, other.flags)
    np.testing.assert_array_equal(one.sources, other.sources)
    np.testing.assert_allclose(one.temperature_c, other.temperature_c, atol=1e-9, rtol=0)
    np.testing.assert_allclose(one.uncertainty_c, other.uncertainty_c, atol=1e-9, rtol=0)

    def told(progress: Progress) -> list[tuple[object, ...]]:
        return [
            (*(getattr(event, name) for name in EXACT), pytest.approx(event.statistic, abs=0.011))
            for event in progress.events
        ]

    assert told(one) == told(other)
    assert [day.day for day in one.days] == [day.day for day in other.days]
    for first, second in zip(one.days, other.days, strict=True):
        np.testing.assert_allclose(first.scores, second.scores, atol=1e-6)
        np.testing.assert_allclose(first.residual_c, second.residual_c, atol=1e-9)
        assert first.level_c == pytest.approx(second.level_c, abs=1e-9)


EXACT = ("provider", "at", "from_state", "to_state", "level", "reason", "onset")


def test_the_history_has_a_quarantine_by_drift_one_by_freezing_and_rows_without_anybody(at_once: Progress):
    quarantined = [(event.provider, event.level) for event in at_once.events if event.to_state == "quarantined"]
    assert ("c", 2) in quarantined
    assert quarantined[0][0] == "b"
    assert (at_once.sources == 0).any()
    assert (at_once.flags & Flag.SPIKE).any()


def test_readings_one_by_one_give_the_same_answers_as_the_whole_history(at_once: Progress):
    same(one_by_one(*troubled()), at_once)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rows_in_chunks_of_any_size_give_the_same_answers(at_once: Progress, seed: int):
    place, readings = troubled()
    cuts = np.random.default_rng(seed).choice(np.arange(1, len(readings)), 40, replace=False)
    same(in_chunks(place, readings, sorted(cuts.tolist())), at_once)


def test_a_name_that_is_not_given_is_missing_in_that_row():
    place = town(3)
    watch = after_baseline(place)
    at = place.index[place.start]
    progress = watch.take(at, {"a": 14.0, "c": 14.5})
    assert progress.flags[0, 1] == Flag.MISSING
    assert progress.sources[0] == 2


def test_memory_does_not_grow_while_readings_keep_coming():
    place = town(3)
    watch = after_baseline(place)
    judge(watch, place, place.readings, rows=slice(0, 5 * DAY))
    taken = []
    tracemalloc.start()
    try:
        for day in range(5, DAYS, 5):
            judge(watch, place, place.readings, rows=slice(day * DAY, (day + 5) * DAY))
            taken.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert taken[-1] - taken[3] < 100_000


def test_a_copy_of_a_watch_goes_its_own_way():
    place = town(3)
    one = after_baseline(place)
    other = copy.deepcopy(one)
    judge(one, place, lied(place, 1, lambda said: said + 5.0, 0), rows=slice(0, 20 * DAY))
    assert one.standings[1] == "quarantined"
    assert judge(other, place, place.readings, rows=slice(0, 20 * DAY)).events == ()
