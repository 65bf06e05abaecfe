from __future__ import annotations

import numpy as np
import pytest

from security.query_guard import SIGNS
from security.query_sequence import KEPT, odd, packed

SLOTS = 48
MOST_DAYS = KEPT + 1 - SIGNS.fewest


def moved(slot: int, by: float = 1.0) -> np.ndarray:
    path = np.zeros(SLOTS)
    path[slot] = by
    return path


def smooth(seed: int) -> np.ndarray:
    knots = np.random.default_rng(seed).normal(0, 2.5, 7)
    return np.interp(np.linspace(0, 6, SLOTS), np.arange(7), knots)


def sign_of(kept: list[bytes]) -> str:
    """The sign after the last question of many, in the order in which they were asked."""
    newest, *before = reversed(kept[-KEPT - 1 :])
    return odd(newest, before, SIGNS)


PROBES = [moved(slot) for slot in range(SLOTS)]
CREEPS = [np.full(SLOTS, 0.05 * step) for step in range(SLOTS)]


@pytest.mark.parametrize("days", [1, 2, 5, MOST_DAYS])
@pytest.mark.parametrize(("paths", "sign"), [(PROBES, "probing"), (CREEPS, "creeping")], ids=["probing", "creeping"])
def test_days_asked_in_turn_do_not_hide_a_sign(paths: list[np.ndarray], sign: str, days: int):
    turns = [packed(day, path) for path in paths for day in range(days)]

    assert sign_of(turns[: KEPT + 1]) == sign


def test_with_more_days_in_turn_too_few_of_a_day_are_kept():
    turns = [packed(day, path) for path in PROBES for day in range(MOST_DAYS + 1)]

    assert sign_of(turns[: KEPT + 1]) == ""


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize(("decoys", "sign"), [(1, "probing"), (3, "probing"), (4, "")])
def test_up_to_three_decoys_for_each_probe_do_not_hide_it(decoys: int, sign: str, repeated: bool):
    kept = []
    for number, path in enumerate(PROBES):
        first = 0 if repeated else number * decoys
        kept += [packed(1, smooth(first + decoy)) for decoy in range(decoys)]
        kept.append(packed(1, path))

    assert sign_of(kept) == sign


def test_the_same_paths_of_different_days_are_no_sign():
    assert sign_of([packed(number, path) for number, path in enumerate(PROBES)]) == ""


def test_repeats_of_scenarios_that_lie_apart_are_no_sign():
    scenarios = [packed(1, smooth(seed)) for seed in range(4)]

    assert sign_of(scenarios * 10) == ""


def test_days_on_which_the_clock_changes_do_not_hide_the_others():
    short = [packed(2, path[:-2]) for path in PROBES]
    usual = [packed(1, path) for path in PROBES]

    assert sign_of([one for pair in zip(short, usual, strict=True) for one in pair]) == "probing"


def test_a_path_of_one_interval_is_judged():
    assert sign_of([packed(1, [float(number)]) for number in range(KEPT)]) == "probing"
