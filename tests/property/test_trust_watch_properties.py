"""The fusion's bounds for any readings; the watch for any mixture of gaps, lies and orders."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data.schema import Array
from data.trust.consensus import LEAST_SPREAD_C, NO_WEIGHT_SPREADS, fused_of
from data.trust.readings import Flag
from data.trust.rules import TrustRules
from data.trust.watch import Progress, WeatherWatch
from tests.unit.trust.trust_town import DAY, lied, town
from tests.unit.trust.trust_town import judged as judged_of

RULES = TrustRules(baseline_days=60)
SOURCES = 5

temperatures = st.floats(-60, 60)
spreads = arrays(np.float64, SOURCES, elements=st.floats(LEAST_SPREAD_C, 3))
weights = arrays(np.float64, (1, SOURCES), elements=st.floats(0.01, 20))
rows = arrays(np.float64, (1, SOURCES), elements=temperatures)
silent = arrays(np.bool_, (1, SOURCES))
CERTAIN = np.zeros(SOURCES)


def fused(values: Array, weight: Array, spread_c: Array, doubt_c: Array = CERTAIN) -> tuple[float, float, int]:
    temperature, uncertainty, sources = fused_of(values, weight, spread_c, doubt_c)
    return float(temperature[0]), float(uncertainty[0]), int(sources[0])


@given(values=rows, weight=weights, spread=spreads, missing=silent)
def test_the_fused_value_never_leaves_what_the_usable_say(values: Array, weight: Array, spread: Array, missing: Array):
    values = np.where(missing, np.nan, values)
    temperature, uncertainty, sources = fused(values, weight, spread)
    if missing.all():
        assert np.isnan([temperature, uncertainty]).all()
        assert sources == 0
        return
    assert np.nanmin(values) - 1e-9 <= temperature <= np.nanmax(values) + 1e-9
    assert uncertainty > 0
    assert 1 <= sources <= (~missing).sum()


@given(
    values=rows,
    weight=weights,
    spread=spreads,
    lies=arrays(np.float64, SOURCES, elements=st.floats(-1e6, 1e6)),
    order=st.permutations(range(SOURCES)),
)
def test_fewer_than_half_of_the_weight_cannot_pull_it_out_of_the_honest_range(
    values: Array, weight: Array, spread: Array, lies: Array, order: list[int]
):
    """The middle stays among the honest; who is further from it than his spread allows counts nothing at all."""
    liars: list[int] = []
    for source in order:
        if weight[0, [*liars, source]].sum() < 0.499 * weight.sum():
            liars.append(source)
    honest = [source for source in range(SOURCES) if source not in liars]
    wrong = values.copy()
    wrong[0, liars] = lies[liars]
    low, high = values[0, honest].min(), values[0, honest].max()
    reach = NO_WEIGHT_SPREADS * spread.max()
    temperature, _, _ = fused(wrong, weight, spread)
    assert low - reach - 1e-6 <= temperature <= high + reach + 1e-6


@given(values=rows, weight=weights, spread=spreads, liar=st.integers(0, SOURCES - 1), side=st.sampled_from([-1, 1]))
def test_a_lie_beyond_all_reach_is_as_good_as_silence(values: Array, weight: Array, spread: Array, liar: int, side: int):
    """Where the honest agree: the fused value is theirs to the digit, wherever the liar points."""
    weight[0, liar] = 0.4 * np.delete(weight[0], liar).sum()
    values = np.full_like(values, values[0, 0])
    wrong = values.copy()
    wrong[0, liar] += side * (NO_WEIGHT_SPREADS * spread.max() + 1)
    assert fused(wrong, weight, spread)[0] == pytest.approx(values[0, 0])


@given(values=rows, weight=weights, spread=spreads, shift=st.floats(-50, 50))
def test_what_is_added_to_all_is_added_to_the_fused(values: Array, weight: Array, spread: Array, shift: float):
    # Two readings at the very same distance from the middle may change places by rounding: keep them on a grid.
    values, shift = values.round(3), round(shift, 3)
    plain, moved = fused(values, weight, spread), fused(values + shift, weight, spread)
    assert moved[0] - shift == pytest.approx(plain[0], abs=1e-6)
    assert moved[1] == pytest.approx(plain[1], abs=1e-6)


@given(values=rows, weight=weights, spread=spreads)
def test_mirrored_readings_give_the_mirrored_value(values: Array, weight: Array, spread: Array):
    plain, mirrored = fused(values, weight, spread), fused(-values, weight, spread)
    assert mirrored[0] == pytest.approx(-plain[0], abs=1e-6)
    assert mirrored[1] == pytest.approx(plain[1], abs=1e-6)


@given(values=rows, weight=weights, spread=spreads, missing=silent, order=st.permutations(range(SOURCES)))
def test_the_order_of_the_sources_does_not_matter_to_the_fused(
    values: Array, weight: Array, spread: Array, missing: Array, order: list[int]
):
    values = np.where(missing, np.nan, values)
    plain = fused(values, weight, spread)
    shuffled = fused(values[:, order], weight[:, order], spread[order])
    np.testing.assert_allclose(shuffled, plain, atol=1e-6)


@given(level=temperatures, spread=spreads, lost=st.integers(0, SOURCES - 1), missing=silent)
def test_losing_a_source_that_agreed_never_makes_it_surer(level: float, spread: Array, lost: int, missing: Array):
    """With the weights that the watch gives to spreads. One that contradicts the others is another matter."""
    missing[0, lost] = False
    values = np.where(missing, np.nan, level)
    weight = 1 / (spread**2 + LEAST_SPREAD_C**2)[None, :]
    fewer = values.copy()
    fewer[0, lost] = np.nan
    before, after = fused(values, weight, spread)[1], fused(fewer, weight, spread)[1]
    assert np.isnan(after) or after >= before - 1e-12


@given(values=rows, weight=weights, spread=spreads, doubt=arrays(np.float64, SOURCES, elements=st.floats(0, 10)))
def test_doubt_never_makes_it_surer_and_does_not_move_it(values: Array, weight: Array, spread: Array, doubt: Array):
    plain, doubted = fused(values, weight, spread), fused(values, weight, spread, doubt)
    assert doubted[0] == plain[0]
    assert doubted[1] >= plain[1]


# --- the watch ---

PLACE = town(4, days=100, seed=6)
START = 60 * DAY
FRESH = WeatherWatch(PLACE.names, PLACE.timezone, PLACE.step, RULES)
FRESH.advance(PLACE.index[:START], PLACE.readings[:START], PLACE.demand_mw[:START])


def judged(readings: Array, demand: Array = PLACE.demand_mw) -> tuple[WeatherWatch, Progress]:
    """A copy of the learned watch after the days that follow."""
    watch = copy.deepcopy(FRESH)
    return watch, watch.advance(PLACE.index[START:], readings[START:], demand[START:])


def troubled(seed: int) -> Array:
    """Gaps, spikes, stretches of silence and nonsense, and up to two that begin to lie."""
    random = np.random.default_rng(seed)
    readings = PLACE.readings.copy()
    part = readings[START:]
    part[random.random(part.shape) < 0.05] = np.nan
    part[random.random(part.shape) < 0.003] += 15
    for value in (np.nan, np.inf, -1e300, 12.5):
        at, source = random.integers(0, len(part) - 60), random.integers(0, 4)
        part[at : at + random.integers(1, 60), source] = value
    for liar in random.choice(4, random.integers(0, 3), replace=False):
        part[random.integers(0, len(part)) :, liar] += random.choice([-3.0, 2.0])
    return readings


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), everybody=st.booleans())
def test_no_mixture_of_gaps_nonsense_and_lies_stops_the_watch_or_gets_into_the_answer(seed: int, everybody: bool):
    readings = troubled(seed)
    if everybody:
        readings[START + 100 : START + 130] = np.nan
    demand = np.where(np.random.default_rng(seed).random(len(readings)) < 0.2, np.nan, PLACE.demand_mw)
    watch, progress = judged(readings, demand)
    known = np.isfinite(progress.temperature_c)
    assert (known == (progress.sources > 0)).all()
    assert (known == np.isfinite(progress.uncertainty_c)).all()
    assert (progress.uncertainty_c[known] > 0).all()
    assert (progress.flags[~np.isfinite(readings[START:])] != 0).all()
    # What remains is one of the usable readings' weather: within their range, usual bias taken off.
    bad = Flag.MISSING | Flag.INVALID | Flag.GROSS | Flag.SPIKE | Flag.FROZEN | Flag.REPEATED | Flag.EXCLUDED | Flag.UNUSUAL
    usable = np.where(progress.flags & int(bad), np.nan, readings[START:])[known]
    assert (progress.temperature_c[known] <= np.nanmax(usable, axis=1) + 2.0).all()
    assert (progress.temperature_c[known] >= np.nanmin(usable, axis=1) - 2.0).all()
    assert len(progress.days) == 40
    assert set(watch.standings) <= {"trusted", "suspect", "quarantined"}


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), order=st.permutations(range(4)))
def test_the_order_of_the_sources_does_not_matter_to_the_watch(seed: int, order: list[int]):
    readings = troubled(seed)
    _, progress = judged(readings)
    names = [PLACE.names[source] for source in order]
    watch = WeatherWatch(names, PLACE.timezone, PLACE.step, RULES)
    watch.advance(PLACE.index[:START], PLACE.readings[:START, order], PLACE.demand_mw[:START])
    shuffled = watch.advance(PLACE.index[START:], readings[START:, order], PLACE.demand_mw[START:])
    key = lambda event: (event.at, event.provider, event.to_state)  # noqa: E731 (used three times, read once)
    assert sorted(map(key, shuffled.events)) == sorted(map(key, progress.events))
    np.testing.assert_array_equal(shuffled.flags, progress.flags[:, order])
    np.testing.assert_allclose(shuffled.temperature_c, progress.temperature_c, atol=1e-6)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), days=st.integers(1, 39))
def test_cutting_the_history_anywhere_leaves_all_that_was_said_up_to_it(seed: int, days: int):
    readings = troubled(seed)
    watch = copy.deepcopy(FRESH)
    stop = START + days * DAY + 5
    earlier = watch.advance(PLACE.index[START:stop], readings[START:stop], PLACE.demand_mw[START:stop])
    _, whole = judged(readings)
    cut = len(earlier.index)
    assert earlier.events == tuple(event for event in whole.events if event.at <= PLACE.index[stop])
    np.testing.assert_array_equal(earlier.flags, whole.flags[:cut])
    np.testing.assert_allclose(earlier.temperature_c, whole.temperature_c[:cut], atol=1e-9)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_standings_change_step_by_step_and_only_an_operator_leads_out_of_quarantine(seed: int):
    state = dict.fromkeys(PLACE.names, "trusted")
    previous = PLACE.index[START]
    for event in judged(troubled(seed))[1].events:
        assert event.from_state == state[event.provider] != event.to_state
        assert event.from_state != "quarantined"
        assert event.onset <= event.at
        assert previous <= event.at
        state[event.provider], previous = event.to_state, event.at


@settings(deadline=None, max_examples=15)
@given(
    sources=st.integers(3, 4),
    liar=st.integers(0, 2),
    day=st.integers(2, 30),
    lie=st.floats(2, 3),
    side=st.sampled_from([-1, 1]),
)
def test_whoever_lies_from_whenever_is_named_and_nobody_else(sources: int, liar: int, day: int, lie: float, side: int):
    """With a year of baseline, as the watch is meant to be used."""
    place = town(sources)
    watch, _ = judged_of(place, lied(place, liar, lambda said: said + side * round(lie, 1), day))
    assert [state == "quarantined" for state in watch.standings] == [source == liar for source in range(sources)]
