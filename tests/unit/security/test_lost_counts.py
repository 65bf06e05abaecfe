from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from limits.aio.storage import RedisStorage
from redis.commands.core import AsyncScript
from redis.exceptions import TimeoutError as NoAnswer

from benchmarks.private_stores import PrivateServer
from security import lost_counts
from security.rate_limit import RateLimiter
from tests.unit.security.budgets import granted

BUDGET = 10
OFTEN, NEVER = 0.05, 1000.0
QUIET = 1.0


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(lost_counts, "_BEAT_SECONDS", OFTEN)
    monkeypatch.setattr(lost_counts, "_QUIET_SECONDS", QUIET)
    return monkeypatch


async def ask_on(workers: list[RateLimiter]) -> int:
    """What all workers grant until the quiet is over and nothing is left."""
    count = sum([await granted(worker, 2 * BUDGET) for worker in workers])
    await asyncio.sleep(QUIET + 0.5)
    return count + sum([await granted(worker, 2 * BUDGET) for worker in workers])


def restart(server: PrivateServer) -> None:
    server.kill()
    server.start()


def test_what_was_lost_is_charged_although_others_spend_in_the_meantime(own_redis: PrivateServer, beats: pytest.MonkeyPatch):
    async def work() -> None:
        limiter = RateLimiter(BUDGET, own_redis.url)
        assert await granted(limiter, 4) == 4
        restart(own_redis)
        reads = RedisStorage.get_moving_window

        async def read_before_another_spends(storage: RedisStorage, key: str, limit: int, window: int) -> tuple[float, int]:
            read = await reads(storage, key, limit, window)
            beats.setattr(RedisStorage, "get_moving_window", reads)
            assert await storage.acquire_entry(key, limit, window, 6)
            return read

        beats.setattr(RedisStorage, "get_moving_window", read_before_another_spends)
        # Another worker's 6 are in Redis, and our own 4: nothing is left.
        assert await ask_on([limiter]) == 0
        await limiter.close()

    asyncio.run(work())


def test_many_who_come_at_once_are_looked_for_together(redis_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lost_counts, "_BEAT_SECONDS", NEVER)
    calls = AsyncScript.__call__
    looks = 0

    async def counted(script: AsyncScript, *args: Any, **options: Any) -> Any:
        nonlocal looks
        looks += script.script == lost_counts._LOOK
        return await calls(script, *args, **options)

    monkeypatch.setattr(AsyncScript, "__call__", counted)

    async def work() -> None:
        limiter = RateLimiter(100, redis_url)
        await asyncio.gather(*(limiter.charge("olga") for _ in range(30)))
        assert 1 <= looks <= 20
        await limiter.close()

    asyncio.run(work())


def test_a_loss_is_found_although_the_answer_that_would_have_shown_it_never_came(
    own_redis: PrivateServer, beats: pytest.MonkeyPatch
):
    async def work() -> None:
        workers = [RateLimiter(BUDGET, own_redis.url) for _ in range(2)]
        assert [await granted(worker, BUDGET // 2) for worker in workers] == [BUDGET // 2] * 2
        restart(own_redis)
        calls = AsyncScript.__call__
        done = 0

        async def done_and_not_answered(script: AsyncScript, *args: Any, **options: Any) -> Any:
            nonlocal done
            answer = await calls(script, *args, **options)
            done += script.script == lost_counts._LOOK
            if script.script == lost_counts._LOOK and done <= 3:
                raise NoAnswer("timed out")
            return answer

        beats.setattr(AsyncScript, "__call__", done_and_not_answered)
        assert await ask_on(workers) <= 2
        assert done > 3
        for worker in workers:
            await worker.close()

    asyncio.run(work())


@pytest.mark.usefixtures("beats")
def test_a_beat_without_an_answer_is_no_loss(own_redis: PrivateServer):
    async def work() -> None:
        limiter = RateLimiter(BUDGET, own_redis.url)
        assert await granted(limiter, 2) == 2
        own_redis.freeze()
        assert await granted(limiter, 2) == 0
        own_redis.thaw()
        # What was sent into the silence may have been charged, but nothing is charged again and no quiet follows.
        assert await granted(limiter, 2 * BUDGET) >= BUDGET - 4
        await limiter.close()

    asyncio.run(work())


def test_a_restart_from_a_copy_with_the_last_beat_in_it_is_found(own_redis: PrivateServer, beats: pytest.MonkeyPatch):
    beats.setattr(lost_counts, "_BEAT_SECONDS", NEVER)

    async def work() -> None:
        workers = [RateLimiter(BUDGET, own_redis.url) for _ in range(2)]
        assert [await granted(worker, 1) for worker in workers] == [1, 1]
        with redis.Redis.from_url(own_redis.url) as outside:
            outside.save()
        assert [await granted(worker, 4) for worker in workers] == [4, 4]
        restart(own_redis)
        assert await ask_on(workers) == 0
        for worker in workers:
            await worker.close()

    asyncio.run(work())


@pytest.mark.parametrize("accident", ["restarted", "emptied"])
def test_a_redis_that_forgot_gives_no_second_budget_by_any_worker(
    own_redis: PrivateServer, monkeypatch: pytest.MonkeyPatch, accident: str
):
    monkeypatch.setattr(lost_counts, "_BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lost_counts, "_QUIET_SECONDS", 1.5)

    async def work() -> None:
        workers = [RateLimiter(10, own_redis.url) for _ in range(2)]
        assert [await granted(worker, 4) for worker in workers] == [4, 4]
        await asyncio.sleep(0.2)
        if accident == "restarted":
            own_redis.kill()
            own_redis.start()
        else:
            with redis.Redis.from_url(own_redis.url) as outside:
                outside.flushall()
            await asyncio.sleep(0.2)
        at_once = [await granted(worker, 20) for worker in workers]
        await asyncio.sleep(1.8)
        later = [await granted(worker, 20) for worker in workers]
        assert at_once == [0, 0]
        # The first request of each worker after a restart may be charged before it is known that counts are missing.
        assert sum(later) in ({2} if accident == "emptied" else {0, 1, 2})
        for worker in workers:
            await worker.close()

    asyncio.run(work())
