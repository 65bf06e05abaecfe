from __future__ import annotations

import asyncio
import threading
import time

import pytest

from benchmarks.private_stores import PrivateServer
from security import rate_limit
from security.errors import RateLimited, UnavailableError
from security.rate_limit import OwnCounts, RateLimiter
from tests.unit.security.budgets import granted


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


def test_each_identity_has_its_own_budget(url: str):
    async def work() -> None:
        limiter = RateLimiter(3, url)
        for _ in range(3):
            await limiter.charge("olga")
        with pytest.raises(RateLimited) as refusal:
            await limiter.charge("olga")
        assert 50.0 < refusal.value.retry_after_seconds <= 60.0
        await limiter.charge("anna")
        await limiter.close()

    asyncio.run(work())


def test_a_refused_request_spends_nothing(url: str):
    async def work() -> None:
        limiter = RateLimiter(3, url)
        await limiter.charge("olga", cost=2)
        with pytest.raises(RateLimited):
            await limiter.charge("olga", cost=2)
        await limiter.charge("olga", cost=1)
        await limiter.close()

    asyncio.run(work())


def test_the_budget_comes_back_a_minute_after_it_was_spent(monkeypatch: pytest.MonkeyPatch, url: str):
    start = time.time()

    async def work() -> None:
        limiter = RateLimiter(2, url)
        monkeypatch.setattr(time, "time", lambda: start)
        await limiter.charge("olga")
        monkeypatch.setattr(time, "time", lambda: start + 40)
        await limiter.charge("olga")
        with pytest.raises(RateLimited) as refusal:
            await limiter.charge("olga")
        assert refusal.value.retry_after_seconds == pytest.approx(20.0)
        monkeypatch.setattr(time, "time", lambda: start + 60.1)
        await limiter.charge("olga")
        with pytest.raises(RateLimited):
            await limiter.charge("olga")
        await limiter.close()

    asyncio.run(work())


def test_a_request_larger_than_the_whole_budget_says_to_ask_for_less():
    with pytest.raises(RateLimited, match="ask for less"):
        asyncio.run(RateLimiter(3).charge("olga", cost=4))


@pytest.mark.parametrize("method", ["acquire_entry", "get_moving_window"])
def test_a_failing_store_closes_the_door(monkeypatch: pytest.MonkeyPatch, method: str):
    def fail(*_args: object, **_options: object) -> None:
        raise ConnectionError("store is gone")

    async def work() -> None:
        limiter = RateLimiter(1)
        await limiter.charge("olga")
        monkeypatch.setattr(OwnCounts, method, fail)
        with pytest.raises(UnavailableError, match="nothing is served"):
            await limiter.charge("olga")

    asyncio.run(work())


def test_a_busy_worker_starts_no_thread_for_each_charge(monkeypatch: pytest.MonkeyPatch):
    started: list[threading.Thread] = []
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread) or start(thread))

    async def work() -> None:
        limiter = RateLimiter(1000)
        for _ in range(20):
            await limiter.charge("olga")
            await asyncio.sleep(0.02)
        assert len(started) <= 2

    asyncio.run(work())


def test_counts_of_a_minute_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rate_limit, "_LOOKED_EVERY_SECONDS", 0.05)
    counts = OwnCounts()
    assert counts.acquire_entry("olga", 5, 60)
    past = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: past)
    until = time.monotonic() + 30
    while counts.events.get("olga") and time.monotonic() < until:
        time.sleep(0.1)
        counts.acquire_entry("anna", 1_000_000, 60)
    assert not counts.events.get("olga")


def test_budgets_and_costs_are_at_least_one():
    with pytest.raises(ValueError, match="per_minute"):
        RateLimiter(per_minute=0)
    for cost in (0, -5):
        with pytest.raises(ValueError, match="cost"):
            asyncio.run(RateLimiter(3).charge("olga", cost=cost))


def test_all_workers_spend_one_budget(redis_url: str):
    async def work() -> None:
        workers = [RateLimiter(10, redis_url) for _ in range(3)]
        counts = await asyncio.gather(*(granted(worker, 8) for worker in workers))
        assert sum(counts) == 10
        for worker in workers:
            await worker.close()

    asyncio.run(work())


def test_the_door_stays_closed_while_redis_is_away_and_opens_without_a_restart(own_redis: PrivateServer):
    async def work() -> None:
        limiter = RateLimiter(10, own_redis.url)
        await limiter.charge("olga")
        own_redis.freeze()
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="nothing is served"):
            await limiter.charge("olga")
        assert time.monotonic() - started < 2
        own_redis.thaw()
        assert await granted(limiter, 12) in {8, 9}  # what was sent into the silence may have been charged
        own_redis.kill()
        with pytest.raises(UnavailableError, match="nothing is served"):
            await limiter.charge("anna")
        await limiter.close()

    asyncio.run(work())
