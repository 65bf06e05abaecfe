"""What several workers know together: the same verbs in memory and in Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from benchmarks.private_stores import PrivateServer
from security import memory_state
from security.errors import UnavailableError
from security.memory_state import MemoryState
from security.redis_state import RedisState
from security.shared_state import (
    AddToSet,
    Delete,
    Get,
    Increment,
    Push,
    Put,
    PutIfAbsent,
    SetSize,
    SharedState,
    Step,
    open_shared_state,
)

MINUTE = 60.0


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


def using(url: str, work: Callable[[SharedState], Awaitable[Any]]) -> Any:
    """What `work` answers, with the state at a URL."""

    async def run() -> Any:
        state = open_shared_state(url)
        try:
            return await work(state)
        finally:
            await state.close()

    return asyncio.run(run())


def answers(url: str, *steps: Step) -> list[Any]:
    return using(url, lambda state: state.apply(*steps))


def test_a_url_decides_where_it_is_kept():
    assert isinstance(open_shared_state(""), MemoryState)
    assert isinstance(open_shared_state("redis://127.0.0.1:1"), RedisState)


def test_amounts_add_up(url: str):
    assert answers(url, Increment("a", 1.5, MINUTE), Increment("a", 2, MINUTE), Increment("b", 1, MINUTE)) == [1.5, 3.5, 1.0]


def test_small_and_large_amounts_are_added_too(url: str):
    told = answers(url, *(Increment("a", amount, MINUTE) for amount in (1e-7, 1e-7, 3.3e9)))
    assert told == pytest.approx([1e-7, 2e-7, 3.3e9])


def test_a_set_counts_only_what_is_new(url: str):
    steps = (AddToSet("s", ("x", "y", "y"), MINUTE), AddToSet("s", ("y", "z"), MINUTE), SetSize("s"), SetSize("none"))
    assert answers(url, *steps) == [2, 1, 3, 0]


def test_what_is_pushed_finds_what_stood_before_it_newest_first_and_no_more_than_are_kept(url: str):
    pushes = [Push("p", value, 2, MINUTE) for value in (b"1", b"2", b"3", b"4")]
    assert answers(url, *pushes) == [[], [b"1"], [b"2", b"1"], [b"3", b"2"]]


def test_what_is_pushed_again_moves_to_the_front(url: str):
    pushes = [Push("p", value, 3, MINUTE) for value in (b"1", b"2", b"1", b"3", b"1", b"4")]
    assert answers(url, *pushes)[2:] == [[b"2", b"1"], [b"1", b"2"], [b"3", b"1", b"2"], [b"1", b"3", b"2"]]


def test_the_first_to_put_wins_until_another_overwrites_or_deletes(url: str):
    steps = (
        PutIfAbsent("k", b"first", MINUTE),
        PutIfAbsent("k", b"second", MINUTE),
        Get("k"),
        Put("k", b"third", MINUTE),
        Get("k"),
        Delete("k"),
        Get("k"),
        PutIfAbsent("k", b"fourth", MINUTE),
    )
    assert answers(url, *steps) == [None, b"first", b"first", None, b"third", None, None, None]


def test_what_has_had_its_time_is_gone(url: str):
    keys = (
        Increment("a", 5, 0.05),
        AddToSet("s", ("x",), 0.05),
        Push("p", b"1", 3, 0.05),
        PutIfAbsent("k", b"v", 0.05),
        Put("l", b"v", 0.05),
    )

    async def work(state: SharedState) -> list[Any]:
        await state.apply(*keys)
        await asyncio.sleep(0.1)
        return await state.apply(*keys[:4], Get("l"))

    assert using(url, work) == [5.0, 1, [], None, None]


def test_the_time_of_a_counter_and_of_a_set_starts_with_the_first(url: str):
    async def work(state: SharedState) -> list[Any]:
        await state.apply(Increment("a", 1, 1.0), AddToSet("s", ("x",), 1.0), Push("p", b"1", 3, 1.0))
        await asyncio.sleep(0.2)
        await state.apply(Increment("a", 1, MINUTE), AddToSet("s", ("y",), MINUTE), Push("p", b"2", 3, MINUTE))
        await asyncio.sleep(0.9)
        return await state.apply(Increment("a", 1, 1), SetSize("s"), Push("p", b"3", 3, 1))

    assert using(url, work) == [1.0, 0, [b"2", b"1"]]


def test_nothing_comes_between_the_steps_of_one_apply(url: str):
    async def work(state: SharedState) -> list[list[Any]]:
        one = Increment("a", 1, MINUTE)
        return await asyncio.gather(*(state.apply(one, Push("p", bytes([number]), 100, MINUTE)) for number in range(20)))

    assert all(total == len(before) + 1 for total, before in using(url, work))


def test_a_memory_that_is_full_forgets_nothing_and_takes_nothing_new(monkeypatch: pytest.MonkeyPatch):
    async def work() -> None:
        state = MemoryState(most_keys=2)
        await state.apply(Increment("a", 1, 10), Increment("b", 1, 60))
        with pytest.raises(UnavailableError, match="holds 2 keys"):
            await state.apply(Increment("a", 1, 10), Increment("c", 1, 60))
        assert await state.apply(Increment("a", 1, 10)) == [2.0]
        later = time.monotonic() + 30
        monkeypatch.setattr(memory_state.time, "monotonic", lambda: later)
        assert await state.apply(Increment("c", 1, 60), Get("a"), Get("b")) == [1.0, None, 1.0]

    asyncio.run(work())


def test_keys_in_redis_stand_below_our_own_name(redis_url: str):
    import redis  # noqa: PLC0415 (this test alone looks from outside)

    answers(redis_url, Put("k", b"v", MINUTE))
    with redis.Redis.from_url(redis_url) as outside:
        assert outside.keys() == [b"gridward:k"]


def test_a_redis_that_dies_or_freezes_is_told_within_two_seconds_and_used_again_when_it_is_back(own_redis: PrivateServer):
    async def refused_after(state: SharedState) -> float:
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="Redis does not answer"):
            await state.apply(Increment("a", 1, MINUTE))
        return time.monotonic() - started

    async def work(state: SharedState) -> None:
        assert await state.apply(Increment("a", 1, MINUTE)) == [1.0]
        own_redis.kill()
        assert await refused_after(state) < 2
        own_redis.start()
        assert await state.apply(Increment("a", 1, MINUTE)) == [1.0]
        own_redis.freeze()
        assert await refused_after(state) < 2
        own_redis.thaw()
        assert (await state.apply(Increment("a", 1, MINUTE)))[0] >= 2.0

    using(own_redis.url, work)


def test_what_no_gridward_wrote_is_refused_and_told(redis_url: str):
    with redis.Redis.from_url(redis_url) as outside:
        outside.set("gridward:k", "\u20ac".encode() + b"\xff")
    with pytest.raises(UnavailableError, match="no Gridward wrote"):
        answers(redis_url, Get("k"))
    assert answers(redis_url, Delete("k"), Get("k")) == [None, None]
