"""A model is stolen by asking it, unless the query guard is there; genuine callers do not notice the guard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from benchmarks.genuine_mix import genuine_mix
from benchmarks.guarded_asking import SECRET, SimulatedGuard, highest
from benchmarks.model_theft import (
    BLOCKED_BEFORE,
    MOST_COARSENED,
    answers_of,
    blocked_at,
    known_of,
    medians,
    path_of,
    says_of,
    stolen_error,
)
from benchmarks.model_theft import (
    test_questions as questions_of_the_test,
)
from benchmarks.theft_oracle import HELD_OUT, YEAR, Oracle
from benchmarks.thief_questions import STRATEGIES
from data.datasets import EmbeddedDataset
from data.schema import Array
from pipeline.disguise import disguised
from pipeline.redteam.model_theft import Surrogate
from pipeline.watermark import mark_name, recognise
from security.memory_state import MemoryState
from security.query_guard import Level, watermark_of
from security.query_sequence import Signs, odd
from security.shared_state import Push, Step

MEDIAN = 4
STOLEN = 400


@pytest.fixture(scope="module")
def oracle(victoria: EmbeddedDataset) -> Oracle:
    return Oracle.learned(victoria)


def asked_by(oracle: Oracle, strategy: str, count: int) -> list:
    return list(islice(STRATEGIES[strategy](oracle.temperature_c, np.random.default_rng(5)), count))


def test_the_shortcut_of_these_tests_answers_what_the_model_answers(oracle: Oracle):
    assert oracle.largest_difference(list(YEAR[::60])) < 1e-9


def test_a_thief_learns_the_model_without_the_guard_and_is_blocked_with_it(oracle: Oracle):
    asked = asked_by(oracle, "jittered", STOLEN)
    says = says_of(oracle, asked)
    known = known_of(oracle, [one.asked.day for one in asked], np.stack([path_of(oracle, one) for one in asked]))
    heard = SimulatedGuard().hear(asked)
    let_through = np.array([row for row, one in enumerate(heard) if one.verdict.level < Level.BLOCKED])
    test = questions_of_the_test(oracle)

    without = stolen_error(known, medians(says), test, seed=1)
    guarded = stolen_error(known.rows(let_through), answers_of(heard, says)[let_through], test, seed=1)

    assert without < 3.0
    assert guarded > 1.15 * without
    assert blocked_at(heard) is not None
    assert len(let_through) < STOLEN / 2


@pytest.mark.parametrize("strategy", ["random", "mimic", "grid", "sybil", "present"])
def test_every_way_of_asking_for_too_much_is_blocked_before_two_thousand_questions(oracle: Oracle, strategy: str):
    at = blocked_at(SimulatedGuard().hear(asked_by(oracle, strategy, BLOCKED_BEFORE)))

    assert at is not None
    assert at < BLOCKED_BEFORE


def neighbours_alone(newest: bytes, before: Sequence[bytes], signs: Signs) -> str:
    """The rule without its safeguard: each path is held against the one before it, whatever day that is about."""
    steps = zip([newest, *before], before, strict=False)
    shown = Counter(odd(one, [other], replace(signs, fewest=1)) for one, other in steps)
    return next((sign for sign in ("probing", "creeping") if shown[sign] >= signs.fewest), "")


RULES = {"neighbours alone": neighbours_alone, "all of a day": odd}


@pytest.mark.parametrize("rule", RULES)
def test_finite_differences_are_seen_within_a_hundred_questions(oracle: Oracle, monkeypatch: pytest.MonkeyPatch, rule: str):
    monkeypatch.setattr("security.query_guard.odd", RULES[rule])
    heard = SimulatedGuard().hear(asked_by(oracle, "derivatives", 100))

    assert blocked_at(heard) is not None
    assert "probing" in heard[-1].verdict.standing.why


def between_decoys(oracle: Oracle) -> list:
    """One day's finite differences, a scenario that means nothing before each."""
    rng, asked = np.random.default_rng(6), []
    for probe in asked_by(oracle, "interleaved", GRADIENTS)[::2]:
        path = probe.asked.base_c + np.interp(np.arange(48), np.arange(0, 49, 8), rng.normal(0, 2.5, 7))
        asked += [replace(probe, asked=replace(probe.asked, temperatures_c=path)), probe]
    return asked


def between_repeats(oracle: Oracle) -> list:
    """One day's finite differences, and before each the same four scenarios, which cost nothing."""
    asked = []
    for probe in asked_by(oracle, "interleaved", GRADIENTS)[::2]:
        fan = [replace(probe.asked, temperatures_c=probe.asked.base_c + shift) for shift in (-2.0, -1.0, 1.0, 2.0)]
        asked += [replace(probe, asked=one) for one in (*fan, probe.asked)]
    return asked


GRADIENTS = 2 * 48
HIDDEN = {
    "two days in turn": lambda oracle: asked_by(oracle, "interleaved", GRADIENTS),
    "decoys between": between_decoys,
}


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("rule", RULES)
def test_finite_differences_between_other_questions_are_hidden_from_neighbours_and_seen_among_all_of_the_day(
    oracle: Oracle, monkeypatch: pytest.MonkeyPatch, hidden: str, rule: str
):
    monkeypatch.setattr("security.query_guard.odd", RULES[rule])
    heard = SimulatedGuard().hear(HIDDEN[hidden](oracle))

    if rule == "neighbours alone":
        assert set(highest(heard).values()) == {Level.OPEN}
    else:
        assert blocked_at(heard) is not None
        assert "probing" in heard[-1].verdict.standing.why


class KeepsRepeats(MemoryState):
    """Without its safeguard: what is pushed again takes another place among the newest."""

    async def apply(self, *steps: Step) -> list:
        answers = await super().apply(*steps)
        for step, before in zip(steps, answers, strict=True):
            if isinstance(step, Push):
                self._values[step.key] = [step.value, *before][: step.keep]
        return answers


@pytest.mark.parametrize("state", [KeepsRepeats, MemoryState])
def test_repeats_between_finite_differences_take_no_place_among_what_is_looked_at(
    oracle: Oracle, monkeypatch: pytest.MonkeyPatch, state: type[MemoryState]
):
    monkeypatch.setattr("benchmarks.guarded_asking.MemoryState", state)
    heard = SimulatedGuard().hear(between_repeats(oracle))

    if state is KeepsRepeats:
        assert set(highest(heard).values()) == {Level.OPEN}
    else:
        assert "probing" in heard[-1].verdict.standing.why


def test_ten_thousand_genuine_questions_pass_unhindered_and_hardly_rounded(oracle: Oracle):
    mix = genuine_mix(77, YEAR[100], oracle.temperature_c)
    heard = SimulatedGuard().hear(mix)
    says = says_of(oracle, mix[::20])

    furthest = np.abs(answers_of(heard[::20], says) / medians(says) - 1).max()

    assert len(mix) == 10_000
    assert set(highest(heard).values()) == {Level.OPEN}
    assert furthest <= MOST_COARSENED


def test_genuine_callers_pass_while_accounts_of_a_thief_are_being_blocked(oracle: Oracle):
    thieves = asked_by(oracle, "sybil", BLOCKED_BEFORE)
    mix = genuine_mix(78, thieves[0].today, oracle.temperature_c)
    together = sorted([*thieves, *mix], key=lambda one: one.at)

    levels = highest(SimulatedGuard().hear(together))

    assert {level for name, level in levels.items() if name.startswith("thief")} == {Level.BLOCKED}
    assert {level for name, level in levels.items() if not name.startswith("thief")} == {Level.OPEN}


def test_averaging_repeats_and_accounts_comes_no_nearer_to_the_model(oracle: Oracle):
    one = asked_by(oracle, "jittered", 1)
    (says,) = says_of(oracle, one)
    guard = SimulatedGuard()
    repeats = guard.hear(one * 50)

    answers = [disguised(says, 0, answer.verdict.seed, answer.verdict.watermark)[:, MEDIAN] for answer in repeats]

    assert np.ptp(np.stack(answers), axis=0).max() == 0.0
    # Five accounts differ in their marks alone: what is drawn at random is the same for all.
    assert {answer.verdict.seed for answer in SimulatedGuard().hear(one)} == {repeats[0].verdict.seed}


def test_even_answers_about_a_single_day_teach_a_thief_something(oracle: Oracle):
    asked = asked_by(oracle, "derivatives", 40)
    assert len({one.asked.day for one in asked}) == 1
    paths = np.stack([path_of(oracle, one) for one in asked])
    known, answers = known_of(oracle, [one.asked.day for one in asked], paths), medians(says_of(oracle, asked))

    assert stolen_error(known, answers, (known, answers), seed=1) < 1.0


def stolen_forecasts(oracle: Oracle, marked: bool) -> tuple[Array, Array, list]:
    asked = asked_by(oracle, "jittered", STOLEN)
    says, days = says_of(oracle, asked), [one.asked.day for one in asked]
    known = known_of(oracle, days, np.stack([path_of(oracle, one) for one in asked]))
    answers = medians(says)
    if marked:
        rng = np.random.default_rng(3)
        told = zip(says, days, strict=True)
        marks = [(one, rng.bytes(32), watermark_of(SECRET, "thief", mark_name(day))) for one, day in told]
        answers = np.stack([disguised(one, 0, seed, mark)[:, MEDIAN] for one, seed, mark in marks])
    year = [day for day in YEAR if day not in HELD_OUT]
    paths = np.stack([oracle.temperature_c[day] for day in year])
    suspect = Surrogate(1).fit(known, answers).predict(known_of(oracle, year, paths))
    return suspect, medians(oracle.says(year, paths)), year


@pytest.mark.parametrize("marked", [True, False], ids=["watermark on", "watermark off"])
def test_a_stolen_model_is_recognised_by_its_watermark_and_nobody_else_is_accused(oracle: Oracle, marked: bool):
    suspect, own, year = stolen_forecasts(oracle, marked)

    found = recognise(suspect, own, year, ["thief", *(f"caller-{number}" for number in range(200))], SECRET)

    assert [one.subject for one in found if one.recognised] == (["thief"] if marked else [])
