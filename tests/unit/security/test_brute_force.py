from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from security.brute_force import (
    FREE_OF_ADDRESS,
    FREE_OF_NETWORK,
    KEY_UNDER_ATTACK,
    LONGEST_WAIT_SECONDS,
    BruteForce,
    Origin,
    TooManyFailures,
)
from security.errors import UnavailableError
from security.memory_state import MemoryState
from tests.unit.security import small_clock
from tests.unit.security.small_clock import Moment

HERE, THERE = Origin.of("192.0.2.1"), Origin.of("198.51.100.9")
KEY = "0123456789abcdef"


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Moment:
    return small_clock.held(monkeypatch)


async def fail(guard: BruteForce, times: int, origin: Origin = HERE, key_id: str = "") -> None:
    for _ in range(times):
        await guard.begin(origin, key_id)


def within(moment: Moment, play: Callable[[BruteForce], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(play(BruteForce(MemoryState(), moment)))


def test_five_failures_are_free_and_the_waits_then_double(moment: Moment) -> None:
    async def play(guard: BruteForce) -> None:
        await fail(guard, FREE_OF_ADDRESS)
        for wait in (1, 2, 4, 8, 16):
            with pytest.raises(TooManyFailures) as told:
                await guard.begin(HERE)
            assert told.value.retry_after_seconds == pytest.approx(wait)
            moment.pass_seconds(wait + 0.01)
            await guard.begin(HERE)

    within(moment, play)


def test_who_waits_is_not_judged_and_its_wait_does_not_grow_by_asking(moment: Moment) -> None:
    async def play(guard: BruteForce) -> None:
        await fail(guard, FREE_OF_ADDRESS)
        for _ in range(50):
            with pytest.raises(TooManyFailures):
                await guard.begin(HERE)
        moment.pass_seconds(1.01)
        await guard.begin(HERE)
        with pytest.raises(TooManyFailures) as told:
            await guard.begin(HERE)
        assert told.value.retry_after_seconds == pytest.approx(2)

    within(moment, play)


def test_whoever_is_right_fails_never(moment: Moment) -> None:
    async def play(guard: BruteForce) -> None:
        for _ in range(1000):
            await guard.right(await guard.begin(HERE, KEY))

    within(moment, play)


def test_a_right_try_ends_the_wait_that_it_began_and_forgives_no_other_failure(moment: Moment) -> None:
    async def play(guard: BruteForce) -> None:
        await fail(guard, FREE_OF_ADDRESS - 1)
        for _ in range(10):
            await guard.right(await guard.begin(HERE))
        await guard.begin(HERE)
        with pytest.raises(TooManyFailures):
            await guard.begin(HERE)

    within(moment, play)


def test_failures_are_forgiven_after_an_hour_and_no_wait_is_longer_than_fifteen_minutes(moment: Moment) -> None:
    async def play(guard: BruteForce) -> None:
        begun, waits = moment(), list[float]()
        while moment() - begun < 3500:
            try:
                await guard.begin(HERE)
            except TooManyFailures as told:
                waits.append(told.retry_after_seconds)
                moment.pass_seconds(told.retry_after_seconds + 0.01)
        assert max(waits) == LONGEST_WAIT_SECONDS
        moment.pass_seconds(LONGEST_WAIT_SECONDS)
        await fail(guard, FREE_OF_ADDRESS)

    within(moment, play)


def test_a_guesser_makes_at_most_two_dozen_guesses_in_any_hour(moment: Moment) -> None:
    async def play(guard: BruteForce) -> None:
        judged: list[float] = []
        begun = moment()
        while moment() - begun < 6 * 3600:
            try:
                await guard.begin(HERE)
                judged.append(moment())
            except TooManyFailures:
                moment.pass_seconds(0.5)
        busiest = max(sum(start <= at < start + 3600 for at in judged) for start in judged)
        assert FREE_OF_ADDRESS < busiest <= 24

    within(moment, play)


def test_many_guesses_at_the_same_moment_gain_nothing(moment: Moment) -> None:
    async def play(guard: BruteForce) -> None:
        outcomes = await asyncio.gather(*(guard.begin(HERE) for _ in range(200)), return_exceptions=True)
        assert sum(not isinstance(outcome, TooManyFailures) for outcome in outcomes) == FREE_OF_ADDRESS

    within(moment, play)


def test_another_address_does_not_wait_for_a_guesser(moment: Moment) -> None:
    async def play(guard: BruteForce) -> None:
        await fail(guard, FREE_OF_ADDRESS)
        await guard.begin(THERE)
        await guard.begin(Origin.of("192.0.2.2"))

    within(moment, play)


def test_a_guesser_who_walks_through_a_network_is_stopped_by_its_sum(moment: Moment) -> None:
    async def play(guard: BruteForce) -> None:
        judged = 0
        for host in range(1, 255):
            try:
                await guard.begin(Origin.of(f"192.0.2.{host}"))
                judged += 1
            except TooManyFailures:
                continue
        assert judged == FREE_OF_NETWORK
        await guard.begin(THERE)

    within(moment, play)


def test_the_owner_of_a_hammered_key_gets_in_at_the_first_showing_from_any_address(moment: Moment) -> None:
    async def play(guard: BruteForce) -> None:
        for host in range(200):
            await fail(guard, 1, Origin.of(f"10.{host}.0.1"), KEY)
        for _ in range(20):
            await guard.right(await guard.begin(THERE, KEY))

    within(moment, play)


def test_on_a_hammered_key_a_fresh_address_has_one_failure_and_not_five(moment: Moment) -> None:
    async def play(guard: BruteForce) -> None:
        for host in range(KEY_UNDER_ATTACK):
            await fail(guard, 1, Origin.of(f"10.{host}.0.1"), KEY)
        await guard.begin(THERE, KEY)
        with pytest.raises(TooManyFailures):
            await guard.begin(THERE, KEY)
        await fail(guard, FREE_OF_ADDRESS, HERE, "f" * 16)

    within(moment, play)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "no address", True),
    ],
)
def test_an_address_counts_as_whom_it_belongs_to(one: str, other: str, same: bool) -> None:
    assert (Origin.of(one).address == Origin.of(other).address) == same


def test_without_its_store_nobody_is_judged(moment: Moment) -> None:
    class Away(MemoryState):
        async def apply(self, *_steps: Any) -> list[Any]:
            raise UnavailableError("away")

    async def play() -> None:
        with pytest.raises(UnavailableError):
            await BruteForce(Away(), moment).begin(HERE)

    asyncio.run(play())
