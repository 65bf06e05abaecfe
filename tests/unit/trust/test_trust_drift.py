"""The likelihood ratio over every onset: quiet on honest noise; a lie's sign, size, onset and shape; who tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from data.schema import Array
from data.trust.drift import RAMP_UNIT_DAYS, SHAPES, DriftSums, Evidence, StackedNoise, stacked
from data.trust.honesty import Noise
from data.trust.rules import TrustRules

DAYS, ONSET = 160, 70
LONGEST = 90
HONEST = Noise(centre=0.4, memory=0.5, fast=0.06, white=0.03, usual_weight=24.0, wander=0.01)
LIE_C = 1.5


def noise_of(streams: int, noise: Noise = HONEST) -> StackedNoise:
    return stacked([noise] * streams)


def honest(streams: int, days: int = DAYS, seed: int = 1, noise: Noise = HONEST) -> Array:
    """Daily sizes drawn from the very noise that the sums expect; shape (days, streams)."""
    random = np.random.default_rng(seed)

    def first_order(memory: float, variance: float) -> Array:
        shocks = random.standard_normal((200 + days, streams)) * np.sqrt(variance * (1 - memory**2))
        return np.asarray(lfilter([1.0], [1.0, -memory], shocks, axis=0))[200:]

    slow = first_order(np.exp(-1 / 60), noise.wander)
    white = random.normal(0, np.sqrt(noise.white), (days, streams))
    return noise.centre + first_order(noise.memory, noise.fast) + slow + white


def after(
    sizes: Array,
    sources: int | None = None,
    noise: Noise = HONEST,
    longest: int = LONGEST,
    first: int = 0,
    unrest: Array | None = None,
    mark: Array | None = None,
    heard: Sequence[int] | None = None,
) -> list[Evidence]:
    """Evidence after each day from `first` on; every stream weighs as usual."""
    days, streams = sizes.shape
    sums = DriftSums(noise_of(streams, noise), sources or streams, longest, heard)
    unrest = np.ones(sizes.shape) if unrest is None else unrest
    mark = np.ones(sizes.shape) if mark is None else mark
    taken = [
        sums.take(sizes[day], np.full(streams, 24.0), unrest[day], day, mark[day], judging=day >= first)
        for day in range(days)
    ]
    return [evidence for evidence in taken if evidence is not None]


def step(size: float, onset: int = ONSET, days: int = DAYS) -> Array:
    return np.where(np.arange(days) >= onset, size, 0.0)


def ramp(per_day: float, onset: int = ONSET, days: int = DAYS) -> Array:
    return np.maximum(np.arange(days) - onset + 1, 0) * per_day


def first_beyond(evidence: list[Evidence], stream: int, nats: float) -> int:
    return next(day for day, one in enumerate(evidence) if one.nats[stream] >= nats)


def test_honest_noise_gives_no_evidence_to_speak_of():
    """Five years of days over all streams; what accuses is e^10 to one."""
    largest = np.max([one.nats for one in after(honest(12))], axis=0)
    accuse_at = TrustRules().accuse_at
    assert (largest < accuse_at).mean() >= 11 / 12
    assert np.median(largest) < accuse_at / 2


@pytest.mark.parametrize("size", [LIE_C, -LIE_C])
def test_a_step_is_found_within_days_with_its_sign_size_and_onset(size: float):
    sizes = honest(8, seed=2) + step(size)[:, None]
    evidence = after(sizes)
    for stream in range(8):
        found = first_beyond(evidence, stream, TrustRules().accuse_at)
        assert ONSET < found <= ONSET + 7
        assert abs(evidence[found].onset[stream] - ONSET) <= 3
        assert np.sign(evidence[found].size[stream]) == np.sign(size)
        assert evidence[ONSET + 15].size[stream] == pytest.approx(size, abs=0.75)


@pytest.mark.parametrize("per_day", [0.05, -0.05])
def test_a_ramp_is_found_with_its_sign_its_size_now_and_its_onset(per_day: float):
    sizes = honest(8, seed=3) + ramp(per_day)[:, None]
    last = after(sizes)[ONSET + 45]
    assert (last.nats > TrustRules().accuse_at).all()
    assert [SHAPES[shape] for shape in last.shape].count("ramp") >= 5
    ramps = np.array([SHAPES[shape] == "ramp" for shape in last.shape])
    np.testing.assert_allclose(last.size[ramps], 46 * per_day, atol=1.0)
    assert (np.sign(last.size) == np.sign(per_day)).all()
    assert (np.abs(last.onset - ONSET) <= 21).all()


def test_a_ramp_of_so_much_a_month_has_so_much_after_a_month():
    sizes = np.full((DAYS, 1), HONEST.centre) + ramp(2.0 / RAMP_UNIT_DAYS)[:, None]
    month = after(sizes)[ONSET + int(RAMP_UNIT_DAYS) - 1]
    assert SHAPES[month.shape[0]] == "ramp"
    assert month.size[0] == pytest.approx(2.0, rel=0.1)


def test_mirrored_days_give_mirrored_sizes_and_the_same_evidence():
    sizes = honest(4, seed=4) + step(LIE_C)[:, None]
    plain, mirrored = after(sizes), after(2 * HONEST.centre - sizes)
    for one, other in zip(plain, mirrored, strict=True):
        np.testing.assert_allclose(one.nats, other.nats, atol=1e-9)
        np.testing.assert_allclose(one.size, -other.size, atol=1e-9)
        np.testing.assert_array_equal(one.onset, other.onset)


def test_the_size_grows_with_the_lie():
    sizes = np.stack([honest(1, seed=5)[:, 0] + step(lie) for lie in (1.0, 1.5, 2.0)], axis=1)
    found = after(sizes)[ONSET + 10]
    assert found.nats[0] < found.nats[1] < found.nats[2]
    assert found.size[0] < found.size[1] < found.size[2]


def test_he_who_lies_leads_and_those_who_are_held_against_him_do_not():
    """Of three sources the liar departs by the lie, each of the others by half of it the other way."""
    sizes = honest(3, seed=6) + np.outer(step(2.0), [1.0, -0.5, -0.5])
    last = after(sizes)[ONSET + 10]
    assert last.lead[0] > TrustRules().lead
    assert (last.lead[1:] < 0).all()
    assert np.sign(last.size).tolist() == [1, -1, -1]


@pytest.mark.parametrize("spreads", [5.0, 10.0, 20.0, 40.0])
def test_a_lie_far_beyond_the_noise_still_names_the_liar(spreads: float):
    lie = spreads * float(np.sqrt(HONEST.fast + HONEST.white))
    sizes = honest(3, seed=6) + np.outer(step(lie), [-0.5, 1.0, -0.5])
    for evidence in after(sizes)[ONSET + 1 : ONSET + 10]:
        assert evidence.lead[1] > TrustRules().lead
        assert (evidence.lead[[0, 2]] < 0).all()


def test_two_sources_that_contradict_each_other_leave_nobody_in_the_lead():
    difference = honest(1, seed=7)[:, 0] - HONEST.centre
    sizes = HONEST.centre + np.stack([difference + step(2.0), -difference - step(2.0)], axis=1)
    np.testing.assert_allclose(after(sizes)[-1].lead, 0.0, atol=1e-9)


def test_an_honest_source_that_a_liar_makes_look_alike_does_not_lead():
    """A liar moves what the others are held against: they seem to tell the opposite lie, and less of it."""
    sizes = honest(4, seed=8) + np.outer(step(2.0), [1, 0, -0.6, 0])  # two sources, two kinds each
    last = after(sizes, sources=2)[ONSET + 10]
    assert last.lead[0] > TrustRules().lead
    assert last.lead[2] < 0


def test_who_is_out_already_rivals_nobody():
    """The first liar goes on lying, quarantined: the second is found all the same."""
    sizes = honest(3, seed=8) + np.outer(step(2.0), [3, 1, 0])
    assert after(sizes, sources=3)[ONSET + 10].lead[1] < 0
    assert after(sizes, sources=3, heard=[1, 2])[ONSET + 10].lead[1] > TrustRules().lead


def test_a_stream_alone_is_led_by_nobody():
    last = after(honest(1, seed=9) + step(2.0)[:, None])[ONSET + 10]
    assert last.lead[0] > TrustRules().lead


def test_one_wild_day_accuses_nobody_on_that_day_and_not_much_later():
    sizes = honest(4, seed=10)
    sizes[ONSET] += 30.0
    evidence = after(sizes)
    quiet = after(honest(4, seed=10))
    assert evidence[ONSET].nats.max() < TrustRules().accuse_at
    assert evidence[ONSET + 20].nats.max() < quiet[ONSET + 20].nats.max() + TrustRules().accuse_at


def test_a_day_without_a_word_leaves_evidence_as_it_was():
    sizes = honest(2, seed=11) + step(LIE_C)[:, None]
    gappy = sizes.copy()
    gappy[ONSET + 8 : ONSET + 12, 0] = np.nan
    last, before = after(gappy)[ONSET + 11], after(gappy)[ONSET + 7]
    assert last.nats[0] == pytest.approx(before.nats[0])
    assert last.onset[0] == before.onset[0]
    assert after(gappy)[-1].nats[1] == pytest.approx(after(sizes)[-1].nats[1])


def test_a_lie_is_still_found_through_many_gaps():
    sizes = honest(4, seed=12) + step(2.0)[:, None]
    sizes[np.random.default_rng(1).random(sizes.shape) < 0.4] = np.nan
    assert (after(sizes)[ONSET + 20].nats > TrustRules().accuse_at).all()


def test_a_stream_that_never_spoke_gives_no_evidence():
    evidence = after(np.full((DAYS, 2), np.nan))
    assert all((one.nats == 0).all() for one in evidence)


def test_a_stream_of_unknown_noise_gives_no_evidence():
    silent = Noise(np.nan, np.nan, np.nan, np.nan, np.nan)
    evidence = after(honest(2) + step(9.0)[:, None], noise=silent)
    assert all((one.nats == 0).all() for one in evidence)


def test_no_lie_below_the_smallest_is_accused():
    sizes = np.full((DAYS, 1), HONEST.centre) + step(0.8)[:, None]
    assert after(sizes)[ONSET + 30].nats[0] > 0
    assert after(sizes, noise=replace(HONEST, smallest=1.0))[ONSET + 30].nats[0] == 0


def test_a_lie_must_have_lasted_as_long_as_its_kind_asks():
    sizes = np.full((DAYS, 1), HONEST.centre) + step(3.0)[:, None]
    patient = after(sizes, noise=replace(HONEST, least_age=6))
    accused = [day for day in range(DAYS) if patient[day].nats[0] > 0]
    assert accused
    assert all(day - patient[day].onset[0] >= 6 for day in accused)
    assert patient[ONSET + 2].nats[0] < after(sizes)[ONSET + 2].nats[0]


def test_before_anybody_is_judged_nothing_is_said_and_nothing_is_held_against_anybody_after():
    sizes = honest(1, seed=13)
    sizes[20:30] += 3.0
    evidence = after(sizes, first=60)
    assert len(evidence) == DAYS - 60
    assert min(one.onset.min() for one in evidence) >= 60
    assert max(one.nats.max() for one in evidence) < TrustRules().accuse_at


def test_no_onset_lies_further_back_than_the_longest_lie():
    evidence = after(honest(1, days=300, seed=14) + step(LIE_C, days=300)[:, None], longest=40)
    for day, one in enumerate(evidence):
        assert day - 40 < one.onset[0] <= day


def test_a_slow_honest_wander_explains_itself():
    """A difference that grows in months is a season or a tree; the same in a day is a lie."""
    wandering = HONEST.centre + 0.4 * np.sin(2 * np.pi * np.arange(DAYS) / 300)
    assert max(one.nats[0] for one in after(wandering[:, None], noise=replace(HONEST, wander=0.09))) < TrustRules().accuse_at


def test_restless_weather_weakens_the_evidence():
    sizes = np.full((DAYS, 2), HONEST.centre) + step(1.0)[:, None]
    unrest = np.ones((DAYS, 2))
    unrest[:, 1] = 5.0
    last = after(sizes, unrest=unrest)[ONSET + 5]
    assert last.nats[1] < 0.5 * last.nats[0]


@pytest.mark.parametrize("unrest", [0.5, 6.0])
def test_long_spells_of_quiet_or_restless_weather_keep_the_filter_in_order(unrest: float):
    """Almost all of the noise lasts from day to day: a gain beyond one would let the filter swing ever further."""
    noise = replace(HONEST, memory=0.85, fast=0.095, white=0.005, wander=0.0001)
    sizes = HONEST.centre + np.sqrt(unrest) * (honest(4, days=400, seed=15, noise=noise) - noise.centre)
    evidence = after(sizes, noise=noise, unrest=np.full(sizes.shape, unrest))
    assert np.isfinite([one.size for one in evidence]).all()
    assert np.median([one.nats for one in evidence]) < TrustRules().accuse_at / 2


def test_what_a_lie_of_one_would_add_to_a_day_is_counted():
    """A mark of −2: the stream moves by −2 for each degree of the lie."""
    sizes = honest(1, seed=16) - 2 * step(LIE_C)[:, None]
    last = after(sizes, mark=np.full(sizes.shape, -2.0))[ONSET + 10]
    assert last.size[0] == pytest.approx(LIE_C, abs=0.5)


def test_days_in_which_a_lie_would_not_show_prove_nothing():
    sizes = np.full((DAYS, 1), HONEST.centre) + step(3.0)[:, None]
    assert max(one.nats[0] for one in after(sizes, mark=np.zeros(sizes.shape))) == 0


def test_the_same_days_one_by_one_are_all_there_is_to_know():
    """Evidence of a day does not know the days after it."""
    sizes = honest(3, seed=17) + step(LIE_C)[:, None]
    for part, whole in zip(after(sizes[:100]), after(sizes), strict=False):
        np.testing.assert_array_equal(part.nats, whole.nats)
