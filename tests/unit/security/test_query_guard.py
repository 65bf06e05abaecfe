from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import numpy as np
import pytest

from security.errors import UnavailableError
from security.memory_state import MemoryState
from security.query_budget import DAY_SECONDS
from security.query_guard import (
    BLOCKED_SECONDS,
    CELL,
    FALL_SECONDS,
    LIMITS,
    LOOKED_UP_SECONDS,
    NEAR,
    REGION,
    SIGNS,
    ChallengeRequired,
    Level,
    QueryBlocked,
    QueryGuard,
    Question,
    Standing,
    Verdict,
)
from security.query_sequence import packed
from security.shared_state import Delete, SharedState, Step

Answer = TypeVar("Answer")

START = 1_400_000_000.0
SECRET = b"s" * 32


def done(work: Coroutine[Any, Any, Answer]) -> Answer:
    """What a coroutine answers that never waits, as memory does not."""
    try:
        work.send(None)
    except StopIteration as end:
        answer: Answer = end.value
        return answer
    raise AssertionError("memory does not wait")


class Desk:
    """A guard with a clock, asked one question after the other."""

    def __init__(self, state: SharedState | None = None, **kept: Any) -> None:
        self.now = START
        self.state = MemoryState() if state is None else state
        self.guard = QueryGuard(self.state, SECRET, now=lambda: self.now, **kept)

    def ask(self, question: Question, subject: str = "ann", issued_at: float = 0.0) -> Verdict:
        return done(self.guard.judge(subject, "analyst", issued_at, question))

    def learn(self, count: int, subject: str = "ann", kind: str = NEAR, first: int = 0) -> Verdict:
        """`count` questions, each about a cell that was not asked before."""
        for number in range(first, first + count):
            verdict = self.ask(new(number, kind), subject)
        return verdict


def new(number: int, kind: str = NEAR) -> Question:
    return Question(b"%d" % number, b"m", {kind: (str(number),)})


FREE = Question(b"free", b"m")


class Away:
    """A store that does not answer."""

    async def apply(self, *steps: Step) -> list[Any]:
        raise UnavailableError(f"away, {len(steps)} steps")

    async def close(self) -> None:
        """Nothing is open."""


def test_repeats_and_questions_that_teach_nothing_cost_nothing():
    desk = Desk()
    desk.learn(1)

    for _ in range(3000):
        again = desk.ask(new(0))
        free = desk.ask(FREE)

    assert (again.level, free.level) == (Level.OPEN, Level.OPEN)
    assert again.standing.why == ""


def test_what_is_learned_raises_the_level_step_by_step_until_the_caller_is_blocked():
    desk, met = Desk(), []
    for number in range(1100):
        desk.now += 1.0
        level = desk.ask(new(number)).level
        if not met or met[-1] != level:
            met.append(level)

    assert met == [Level.OPEN, Level.SLOW, Level.COARSE, Level.CHALLENGE, Level.BLOCKED]


def test_the_delay_grows_and_is_never_longer_than_two_seconds():
    desk = Desk()
    delays = [desk.ask(new(number)).delay_seconds for number in range(1000)]

    assert delays == sorted(delays)
    assert 0.0 < max(delays) <= 2.0


def test_a_new_region_far_from_the_present_costs_more_than_another_scenario():
    near, far = Desk(), Desk()

    assert near.learn(300).level is Level.OPEN
    assert far.learn(300, kind=REGION).level is Level.BLOCKED


def test_a_challenge_is_met_by_a_token_that_was_issued_after_it_and_by_no_other():
    desk = Desk()
    desk.learn(945)
    since = desk.now

    with pytest.raises(ChallengeRequired):
        desk.ask(FREE, issued_at=since - 1).require_answerable("ann")
    assert desk.ask(FREE, issued_at=since + 1).level is Level.COARSE


def test_a_block_holds_for_what_teaches_nothing_too_and_ends_after_thirty_days():
    desk = Desk()
    desk.learn(1100)

    with pytest.raises(QueryBlocked):
        desk.ask(FREE).require_answerable("ann")
    desk.now += BLOCKED_SECONDS - 1
    assert desk.ask(FREE).level is Level.BLOCKED
    desk.now += 11 * DAY_SECONDS
    assert desk.ask(FREE).level is Level.OPEN
    assert desk.learn(1100, first=2000).level is Level.BLOCKED


def test_a_level_falls_back_by_one_in_twelve_hours():
    desk = Desk()
    desk.learn(900)

    levels = []
    for _ in range(3):
        levels.append(desk.ask(FREE).level)
        desk.now += FALL_SECONDS

    assert levels == [Level.COARSE, Level.SLOW, Level.OPEN]


def test_a_released_caller_has_its_whole_budget_again_in_every_worker():
    desk = Desk()
    other = Desk(desk.state)
    desk.learn(1100)
    assert other.ask(FREE).level is Level.BLOCKED

    desk.now = other.now = desk.now + 1
    done(desk.guard.release("ann"))
    other.now += LOOKED_UP_SECONDS

    assert (desk.ask(new(5000)).level, other.ask(FREE).level) == (Level.OPEN, Level.OPEN)
    assert desk.learn(600, first=6000).level is Level.OPEN


def test_two_workers_count_as_one():
    one = Desk()
    other = Desk(one.state)

    one.learn(550)

    assert other.learn(550, first=550).level is Level.BLOCKED


def test_each_caller_has_a_budget_of_its_own():
    desk = Desk()
    desk.learn(1100)

    assert desk.ask(new(1), "bob").level is Level.OPEN


def test_a_store_that_lost_its_memory_frees_nobody_whom_this_worker_blocked():
    desk = Desk()
    desk.learn(1100)

    done(desk.state.close())
    desk.now += LOOKED_UP_SECONDS

    assert desk.ask(FREE).level is Level.BLOCKED


def test_blocks_that_stood_before_the_service_started_hold():
    desk = Desk(blocked={"ann": Standing(Level.BLOCKED, START - 60, "before")})

    assert desk.ask(new(1)).level is Level.BLOCKED
    assert desk.ask(new(1), "bob").level is Level.OPEN


def test_without_the_store_nothing_is_answered():
    desk = Desk(Away())

    for question in (FREE, new(1)):
        with pytest.raises(UnavailableError):
            desk.ask(question)


def test_several_accounts_that_explore_together_shrink_each_others_budgets():
    alone, many = Desk(), Desk()
    explored = 100

    assert alone.learn(explored, kind=REGION).level is Level.OPEN
    for account in range(25):
        verdict = many.learn(explored, f"thief-{account}", REGION, first=account * explored)

    assert verdict.level is Level.BLOCKED
    assert "others of the role" in verdict.standing.why


def test_while_others_explore_a_caller_who_asks_about_the_present_is_left_alone():
    desk = Desk()
    for account in range(20):
        desk.learn(100, f"thief-{account}", REGION, first=account * 100)

    assert desk.learn(700, "analyst", NEAR).level is Level.OPEN


def test_what_a_blocked_caller_goes_on_asking_does_not_shrink_the_budgets_of_its_role():
    desk = Desk()
    desk.learn(5000, "thief", REGION)

    assert desk.learn(100, "analyst", REGION, first=9000).level is Level.OPEN


def walk(desk: Desk, steps: list[np.ndarray]) -> Verdict:
    for number, path in enumerate(steps):
        question = Question(b"%d" % number, b"m", {CELL: (str(number),)}, packed(1, path))
        verdict = desk.ask(question)
    return verdict


def bump(slot: int, by: float) -> np.ndarray:
    path = np.zeros(48)
    path[slot] = by
    return path


SEQUENCES = {
    "probing": [path for slot in range(48) for path in (bump(slot, 0.0), bump(slot, 1.0))],
    "creeping": [np.full(48, 0.05 * step) for step in range(90)],
    "rough": [np.random.default_rng(step).normal(0, 2, 48) for step in range(80)],
}


@pytest.mark.parametrize("sign", SEQUENCES)
def test_a_sequence_that_no_person_asks_is_blocked_long_before_the_budget_is_spent(sign: str):
    verdict = walk(Desk(), SEQUENCES[sign])

    assert verdict.level is Level.BLOCKED
    assert sign in verdict.standing.why
    assert len(SEQUENCES[sign]) < LIMITS.a_day / 10


def test_fans_of_scenarios_are_no_odd_sequence():
    rng = np.random.default_rng(1)
    humps = [np.convolve(bump(int(rng.integers(48)), 4.0), np.hanning(13), "same") for _ in range(20)]
    fan = [np.full(48, shift) for shift in (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)]

    verdict = walk(Desk(), [*fan, *humps, *fan, *(1.25 * hump for hump in humps)])

    assert verdict.level is Level.OPEN
    assert SIGNS.fewest < len(humps)


def test_questions_near_the_limits_of_what_is_believed_cost_extra():
    desk = Desk()
    for number in range(110):
        verdict = desk.ask(Question(b"%d" % number, b"m", {NEAR: (str(number),)}, strange=True))

    assert verdict.level is Level.BLOCKED
    assert "odd" in verdict.standing.why


def test_the_same_question_is_answered_alike_whoever_asks_and_marked_for_each():
    desk = Desk()
    ann, again, bob = desk.ask(new(1)), desk.ask(new(1)), desk.ask(new(1), "bob")

    assert ann.seed == again.seed == bob.seed != desk.ask(new(2)).seed
    assert ann.watermark == again.watermark != bob.watermark


def test_a_standing_is_news_until_somebody_was_told():
    desk = Desk()
    verdict = desk.learn(1100)
    assert verdict.news

    desk.guard.told("ann", verdict.standing)

    assert not desk.ask(FREE).news
    assert not desk.ask(FREE, "bob").news


def test_a_store_that_lost_its_memory_frees_nobody_whom_another_worker_blocked_and_this_one_met():
    blocking, meeting = Desk(), Desk()
    meeting.state = blocking.state
    meeting.guard = QueryGuard(blocking.state, SECRET, now=lambda: meeting.now)
    blocking.learn(2_000)
    free = Question(b"f" * 32, b"m")
    assert meeting.ask(free).level is Level.BLOCKED

    done(blocking.state.apply(Delete("guard:ann:level")))
    meeting.now += LOOKED_UP_SECONDS + 1

    assert meeting.ask(free).level is Level.BLOCKED
