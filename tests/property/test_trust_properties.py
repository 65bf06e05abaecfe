"""The watch over providers: what it says of a day rests on that day and those before it, and on nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import Utility
from data.weather_fusion import Profiles
from data.weather_trust import TrustEvent, watch

START = pd.Timestamp("2013-01-14T23:00Z")
UTILITY = Utility("Europe/Berlin", pd.Timedelta(hours=1))
LEARNED = START + pd.Timedelta(days=40)
DAYS = 100
NAMES = list("abcde")


def history(seed: int) -> dict[str, pd.DataFrame]:
    """Five providers with noise, a gap or two, and up to three that begin to lie at some time."""
    random = np.random.default_rng(seed)
    index = pd.date_range(START, periods=24 * DAYS, freq="h", name="timestamp")
    truth = 10 + random.normal(0, 4, len(index))
    kinds = {}
    for kind in ("measured", "forecast"):
        daily = np.repeat(random.normal(0, 0.4, (DAYS, len(NAMES))), 24, axis=0)
        frame = pd.DataFrame(truth[:, None] + daily, index=index, columns=NAMES)
        gap = random.integers(0, len(index) - 200)
        frame.iloc[gap : gap + 150, random.integers(0, len(NAMES))] = np.nan
        kinds[kind] = frame
    for liar in random.choice(NAMES, random.integers(0, 4), replace=False):
        onset = LEARNED + pd.Timedelta(days=int(random.integers(2, 50)))
        for frame in kinds.values():
            frame.loc[onset:, liar] += random.choice([-3.0, 2.0])
    return kinds


def judged(kinds: dict[str, pd.DataFrame]) -> list[TrustEvent]:
    return watch(kinds, Profiles({}), UTILITY, LEARNED)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), days=st.integers(45, DAYS - 1))
def test_cutting_the_history_after_a_day_leaves_all_that_was_said_up_to_it(seed: int, days: int):
    kinds = history(seed)
    # Berlin's clocks move within the history: a local day ends where the local clock says.
    cut = UTILITY.day_index((START.tz_convert(UTILITY.zone) + pd.DateOffset(days=days)).date())[0]
    earlier = {kind: frame.loc[: cut - UTILITY.step] for kind, frame in kinds.items()}
    assert judged(earlier) == [event for event in judged(kinds) if event.at <= cut]


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), order=st.permutations(NAMES))
def test_the_order_of_the_providers_does_not_matter(seed: int, order: list[str]):
    kinds = history(seed)
    shuffled = {kind: frame[order] for kind, frame in kinds.items()}
    key = lambda event: (event.at, event.provider)  # noqa: E731 (used twice, read once)
    assert sorted(judged(shuffled), key=key) == sorted(judged(kinds), key=key)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_standing_changes_step_by_step_from_trusted_and_quarantine_is_the_end(seed: int):
    state = dict.fromkeys(NAMES, "trusted")
    previous = LEARNED
    for event in judged(history(seed)):
        assert event.from_state == state[event.provider] != event.to_state
        assert event.from_state != "quarantined"
        assert event.at > LEARNED
        assert event.onset < event.at
        assert previous <= event.at
        previous = event.at
        state[event.provider] = event.to_state


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-20, 20))
def test_weather_that_is_the_same_for_all_says_nothing_about_anybody(seed: int, shift: float):
    kinds = history(seed)
    front = np.linspace(0, shift, 24 * DAYS)
    moved = {kind: frame.add(front, axis=0) for kind, frame in kinds.items()}
    named = [(event.provider, event.at, event.to_state) for event in judged(kinds)]
    assert [(event.provider, event.at, event.to_state) for event in judged(moved)] == named
