"""Attacks through the stores of the service: a budget that is spent twice because the counter forgot it."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.private_stores import PrivateServer
from security import lost_counts
from security.errors import RateLimited, UnavailableError
from security.lost_counts import LostCounts
from security.rate_limit import RateLimiter

BUDGET = 20


async def _spend(workers: list[RateLimiter], asked: int) -> int:
    """How many answers a caller gets who asks each worker in turn."""
    got = 0
    for number in range(asked):
        try:
            await workers[number % len(workers)].charge("mallory")
            got += 1
        except (RateLimited, UnavailableError):
            pass
    return got


def _answers_within_a_minute(server: PrivateServer) -> int:
    """The attacker spends the budget, Redis is restarted (he overloaded it, or he waited for it), and he asks on."""

    async def run() -> int:
        workers = [RateLimiter(BUDGET, server.url) for _ in range(2)]
        got = await _spend(workers, 2 * BUDGET)
        await asyncio.sleep(0.2)
        server.kill()
        server.start()
        for _ in range(6):
            got += await _spend(workers, BUDGET)
            await asyncio.sleep(0.4)
        for worker in workers:
            await worker.close()
        return got

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_counts, "_BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lost_counts, "_QUIET_SECONDS", 1.0)


def test_a_redis_that_forgets_gives_a_second_budget_to_who_nobody_remembers(
    own_redis: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def trusting(_self: LostCounts) -> None:
        """The safeguard off: Redis is believed, whatever became of it."""

    monkeypatch.setattr(LostCounts, "require_none", trusting)
    assert _answers_within_a_minute(own_redis) > BUDGET


def test_a_redis_that_forgets_is_told_again_and_gives_nothing(own_redis: PrivateServer) -> None:
    assert _answers_within_a_minute(own_redis) <= BUDGET
