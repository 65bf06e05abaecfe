"""Levels 1 and 2: each flag, and the case next to it that must not be flagged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.schema import Array, Integers
from data.trust.readings import (
    CONTEXT_DAYS,
    LARGEST_SHARE,
    LONGEST_RUN_HOURS,
    UNUSABLE,
    Flag,
    Usual,
    flags_of,
    lasting,
    learn_usual,
    months_of,
    unknown,
    usable,
)
from data.trust.relation import middle_of
from data.trust.rules import TrustRules
from tests.unit.trust.trust_town import DAY, town

RULES = TrustRules()
PLACE = town(3)
BASELINE = PLACE.readings[: PLACE.start]
MONTH = months_of(PLACE.index, PLACE.timezone)
WEEK = slice(PLACE.start, PLACE.start + 7 * DAY)
ROW = 5 * DAY + 7


def departure(raw: Array) -> Array:
    return raw - middle_of(raw)[:, None]


@pytest.fixture(scope="module")
def usual() -> Usual:
    return learn_usual(BASELINE, departure(BASELINE), MONTH[: PLACE.start], RULES, 1)


@pytest.fixture
def week() -> Array:
    return PLACE.readings[WEEK].copy()


def flagged(raw: Array, usual: Usual, heard: tuple[bool, ...] = (True, True, True), per_hour: int = 1) -> Integers:
    month = np.full(len(raw), MONTH[WEEK][0])
    return flags_of(raw, raw, np.array(heard), month, usual, RULES, per_hour)


def has(flags: Integers, flag: Flag) -> Array:
    return (flags & int(flag)) != 0


def test_an_honest_week_carries_no_flags(usual: Usual, week: Array):
    assert not flagged(week, usual).any()


def test_a_missing_reading_is_missing_and_nothing_else(usual: Usual, week: Array):
    week[ROW, 1] = np.nan
    flags = flagged(week, usual)
    assert flags[ROW].tolist() == [0, int(Flag.MISSING), 0]
    assert np.count_nonzero(flags) == 1


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e9, RULES.physics_c[0] - 0.1, RULES.physics_c[1] + 0.1])
def test_what_was_never_measured_on_earth_is_invalid_and_accuses_nobody_else(value: float, usual: Usual, week: Array):
    week[ROW, 1] = value
    flags = flagged(week, usual)
    assert flags[ROW, 1] & Flag.INVALID
    assert not flags[:, [0, 2]].any()


@pytest.mark.parametrize("value", RULES.physics_c)
def test_the_records_themselves_are_valid(value: float, week: Array):
    week[ROW, 1] = value
    assert not has(flagged(week, unknown(3, RULES, 1)), Flag.INVALID).any()


def test_beyond_the_months_range_and_its_margin_is_unusual_and_within_it_is_not(usual: Usual, week: Array):
    near = np.isin(MONTH[: PLACE.start], [MONTH[WEEK][0] - 1, MONTH[WEEK][0], MONTH[WEEK][0] + 1])
    highest, lowest = BASELINE[near, 0].max(), BASELINE[near, 0].min()
    margin = RULES.climatology_margin_c
    for value, expected in (
        (highest + margin + 0.2, True),
        (highest + margin - 0.2, False),
        (lowest - margin - 0.2, True),
        (lowest - margin + 0.2, False),
    ):
        week[ROW, 0] = value
        assert has(flagged(week, usual), Flag.UNUSUAL)[ROW, 0] == expected


def test_a_month_far_from_all_that_was_seen_has_the_bounds_of_physics_only():
    may = MONTH[: PLACE.start] == 5
    usual = learn_usual(BASELINE[may], departure(BASELINE[may]), MONTH[: PLACE.start][may], RULES, 1)
    assert (usual.highest[10] == RULES.physics_c[1]).all()
    assert (usual.lowest[10] == RULES.physics_c[0]).all()
    assert (usual.highest[4] < RULES.physics_c[1]).all()


def test_impossible_readings_of_the_baseline_widen_no_range(usual: Usual):
    wild = BASELINE.copy()
    wild[100:105, 0] = 999.0
    again = learn_usual(wild, departure(wild), MONTH[: PLACE.start], RULES, 1)
    np.testing.assert_array_equal(again.highest[:, 1:], usual.highest[:, 1:])
    assert (again.highest <= RULES.physics_c[1] + RULES.climatology_margin_c).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_far_from_two_others_is_gross_for_the_one_only(sign: int, usual: Usual, week: Array):
    week[ROW:, 1] += sign * (RULES.gross_c + 2)
    flags = flagged(week, usual)
    assert has(flags, Flag.GROSS)[ROW:, 1].all()
    assert not has(flags, Flag.GROSS)[:, [0, 2]].any()


def test_a_front_that_everybody_meets_is_neither_gross_nor_a_spike(usual: Usual, week: Array):
    week[ROW:] -= RULES.gross_c + 2
    assert not has(flagged(week, usual), Flag.GROSS | Flag.SPIKE).any()


def test_of_two_sources_nobody_can_say_which_is_far_off(usual: Usual, week: Array):
    week[ROW:, 1] += RULES.gross_c + 2
    week[:, 2] = np.nan
    assert not has(flagged(week, usual), Flag.GROSS | Flag.SPIKE).any()


def test_who_is_not_heard_is_held_against_the_others_and_they_not_against_him():
    four = town(4)
    part = four.readings[four.start : four.start + 7 * DAY].copy()
    learned = learn_usual(four.readings[: four.start], departure(four.readings[: four.start]), MONTH[: four.start], RULES, 1)
    part[ROW:, 3] += RULES.gross_c + 2
    flags = flagged(part, learned, heard=(True, True, True, False))
    assert has(flags, Flag.GROSS)[ROW:, 3].all()
    assert not flags[:, :3].any()
    # Two heard sources are too few to hold anybody against, however many others speak.
    assert not has(flagged(part, learned, heard=(True, True, False, False)), Flag.GROSS).any()


def test_a_jump_against_the_others_is_a_spike_and_the_way_back_is_not(usual: Usual, week: Array):
    week[ROW, 1] += usual.spike_c[1] + 2
    spikes = has(flagged(week, usual), Flag.SPIKE)
    assert spikes[ROW, 1]
    assert spikes.sum() == 1


def test_a_move_below_the_threshold_is_no_spike(usual: Usual, week: Array):
    week[ROW, 1] += usual.spike_c[1] - 2
    assert not has(flagged(week, usual), Flag.SPIKE).any()


def test_a_slow_drift_is_no_spike_however_far_it_goes(usual: Usual, week: Array):
    week[:, 1] += np.linspace(0, 10, len(week))
    assert not has(flagged(week, usual), Flag.SPIKE).any()


def test_a_restless_source_has_a_wider_threshold_for_spikes(usual: Usual):
    restless = BASELINE.copy()
    restless[:, 0] += np.random.default_rng(2).normal(0, 2, len(restless))
    wider = learn_usual(restless, departure(restless), MONTH[: PLACE.start], RULES, 1)
    assert wider.spike_c[0] > usual.spike_c[0]


def test_one_value_for_long_is_frozen_from_the_row_at_which_it_is_too_long(usual: Usual, week: Array):
    longest = int(usual.longest_run[1])
    week[ROW:, 1] = week[ROW, 1] + 0.05
    frozen = has(flagged(week, usual), Flag.FROZEN)
    assert not frozen[: ROW + longest - 1].any()
    assert frozen[ROW + longest - 1 :, 1].all()
    assert not frozen[:, [0, 2]].any()


def test_a_missing_reading_ends_a_run_of_one_value(usual: Usual, week: Array):
    longest = int(usual.longest_run[1])
    week[ROW:, 1] = 12.0
    week[ROW + longest - 1 :: longest - 1, 1] = np.nan
    assert not has(flagged(week, usual), Flag.FROZEN).any()


def test_a_source_that_always_rounds_coarsely_may_stay_longer_at_one_value_but_not_for_days(usual: Usual):
    coarse = BASELINE.copy()
    coarse[:, 0] = np.round(coarse[:, 0] / 4) * 4
    learned = learn_usual(coarse, departure(coarse), MONTH[: PLACE.start], RULES, 1)
    assert usual.longest_run[0] < learned.longest_run[0] <= LONGEST_RUN_HOURS
    part = coarse[-7 * DAY :]
    assert not has(flagged(part, learned), Flag.FROZEN).any()


def test_a_replayed_day_is_repeated_and_neither_the_day_before_nor_the_others_are(usual: Usual, week: Array):
    week[3 * DAY :, 1] = week[2 * DAY : -DAY, 1]
    repeated = has(flagged(week, usual), Flag.REPEATED)
    assert repeated[4 * DAY - 1 : 4 * DAY, 1].all()
    assert not repeated[: 3 * DAY + DAY // 2].any()
    assert not repeated[:, [0, 2]].any()


def test_a_replay_written_in_other_digits_is_still_a_replay(usual: Usual, week: Array):
    """Fahrenheit turned into Celsius and rounded anew: 3.9 is not 3.9000000000000004."""
    week[3 * DAY : 4 * DAY, 1] = week[2 * DAY : 3 * DAY, 1] + 1e-4
    assert has(flagged(week, usual), Flag.REPEATED)[4 * DAY - 1, 1]


def test_a_replay_with_a_gap_is_still_a_replay(usual: Usual, week: Array):
    week[3 * DAY : 4 * DAY, 1] = week[2 * DAY : 3 * DAY, 1]
    week[3 * DAY + 5 : 3 * DAY + 8, 1] = np.nan
    assert has(flagged(week, usual), Flag.REPEATED)[4 * DAY - 1, 1]


def test_mostly_missing_days_cannot_be_called_repeated(usual: Usual, week: Array):
    week[2 * DAY :, 1] = np.where(np.arange(len(week) - 2 * DAY) % 3 == 0, 12.3, np.nan)
    assert not has(flagged(week, usual), Flag.REPEATED).any()


def test_calm_days_of_few_values_are_not_a_replay(usual: Usual, week: Array):
    """Fog: two days of the same two values repeat each other without a lie."""
    week[:, 1] = np.where(np.arange(len(week)) % DAY < 12, 3.0, 3.5)
    assert not has(flagged(week, usual), Flag.REPEATED).any()


def test_a_source_whose_days_often_look_alike_needs_a_larger_share():
    coarse = np.round(BASELINE / 5) * 5
    learned = learn_usual(coarse, departure(coarse), MONTH[: PLACE.start], RULES, 1)
    assert (learned.repeat_share >= RULES.repeat_share).all()
    assert (learned.repeat_share <= LARGEST_SHARE).all()
    assert learned.repeat_share.max() > RULES.repeat_share


@pytest.mark.parametrize("per_hour", [1, 4])
def test_a_row_with_two_days_before_it_has_the_flags_it_has_in_the_whole_history(per_hour: int):
    place = PLACE if per_hour == 1 else town(3, days=372, step=pd.Timedelta(minutes=15))
    raw = place.readings[place.start - 4 * DAY * per_hour : place.start + 2 * DAY * per_hour].copy()
    random = np.random.default_rng(3)
    raw[random.random(raw.shape) < 0.03] = np.nan
    raw[random.random(raw.shape) < 0.02] += 30
    raw[3 * DAY * per_hour :, 0] = 11.1
    raw[4 * DAY * per_hour : 5 * DAY * per_hour, 1] = raw[3 * DAY * per_hour : 4 * DAY * per_hour, 1]
    baseline = place.readings[: place.start]
    month = months_of(place.index[: place.start], place.timezone)
    usual = learn_usual(baseline, departure(baseline), month, RULES, per_hour)
    whole = flagged(raw, usual, per_hour=per_hour)
    for flag in (Flag.MISSING, Flag.UNUSUAL | Flag.GROSS, Flag.SPIKE, Flag.FROZEN, Flag.REPEATED):
        assert has(whole, flag).any()
    context = (CONTEXT_DAYS * 24 + 1) * per_hour
    for row in range(context, len(raw), 5):
        one = flagged(raw[row - context : row + 1], usual, per_hour=per_hour)
        np.testing.assert_array_equal(one[-1], whole[row])


def test_before_anything_is_learned_only_physics_freezing_and_replays_count(week: Array):
    week[ROW, 0] = 40.0
    week[:, 2] = 7.0
    corrected = np.full(week.shape, np.nan)
    nothing = unknown(3, RULES, 1)
    flags = flags_of(week, corrected, np.ones(3, dtype=bool), np.full(len(week), 5), nothing, RULES, 1)
    assert not flags[:, :2].any()
    assert has(flags, Flag.FROZEN)[int(LONGEST_RUN_HOURS) :, 2].all()


def test_no_source_heard_leaves_nothing_to_be_held_against(usual: Usual, week: Array):
    week[ROW, 1] = 99.0
    flags = flagged(week, usual, heard=(False, False, False))
    assert has(flags, Flag.INVALID)[ROW, 1]
    assert not has(flags, Flag.GROSS | Flag.SPIKE).any()


def test_usable_readings_are_those_without_a_forbidding_flag():
    raw = np.arange(10.0)[None, :]
    flags = np.array([[0, *[int(flag) for flag in Flag]]])
    kept = usable(raw, flags)
    assert np.isfinite(kept[0, 0])
    for number, flag in enumerate(Flag, start=1):
        assert np.isnan(kept[0, number]) == bool(flag & UNUSABLE)


def test_lasting_counts_the_last_rows_only():
    found = np.array([[True], [True], [False], [True], [False], [False]])
    assert lasting(found, 3)[:, 0].tolist() == [1, 2, 2, 2, 1, 1]


def test_the_memory_of_spikes_outlives_one_bad_reading(usual: Usual, week: Array):
    """A second bad reading right after the first is a spike as well, not the new normal."""
    week[ROW : ROW + 2, 1] += usual.spike_c[1] + 2
    assert has(flagged(week, usual), Flag.SPIKE)[ROW : ROW + 2, 1].any()
