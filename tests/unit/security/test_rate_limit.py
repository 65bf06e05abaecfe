from __future__ import annotations

import time

import pytest
from limits.storage import MemoryStorage

from security.errors import RateLimited, UnavailableError
from security.rate_limit import RateLimiter


def test_each_identity_has_its_own_budget():
    limiter = RateLimiter(per_minute=3)
    for _ in range(3):
        limiter.charge("olga")
    with pytest.raises(RateLimited) as refusal:
        limiter.charge("olga")
    assert 50.0 < refusal.value.retry_after_seconds <= 60.0
    limiter.charge("anna")


def test_a_refused_request_spends_nothing():
    limiter = RateLimiter(per_minute=3)
    limiter.charge("olga", cost=2)
    with pytest.raises(RateLimited):
        limiter.charge("olga", cost=2)
    limiter.charge("olga", cost=1)


def test_the_budget_comes_back_a_minute_after_it_was_spent(monkeypatch: pytest.MonkeyPatch):
    limiter, start = RateLimiter(per_minute=2), time.time()
    monkeypatch.setattr(time, "time", lambda: start)
    limiter.charge("olga")
    monkeypatch.setattr(time, "time", lambda: start + 40)
    limiter.charge("olga")
    with pytest.raises(RateLimited) as refusal:
        limiter.charge("olga")
    assert refusal.value.retry_after_seconds == pytest.approx(20.0)
    monkeypatch.setattr(time, "time", lambda: start + 60.1)
    limiter.charge("olga")
    with pytest.raises(RateLimited):
        limiter.charge("olga")


def test_a_request_larger_than_the_whole_budget_says_to_ask_for_less():
    with pytest.raises(RateLimited, match="ask for less"):
        RateLimiter(per_minute=3).charge("olga", cost=4)


@pytest.mark.parametrize("method", ["acquire_entry", "get_moving_window"])
def test_a_failing_store_closes_the_door(monkeypatch: pytest.MonkeyPatch, method: str):
    def fail(*_args: object, **_options: object) -> None:
        raise ConnectionError("store is gone")

    limiter = RateLimiter(per_minute=3)
    monkeypatch.setattr(MemoryStorage, method, fail)
    with pytest.raises(UnavailableError, match="nothing is served"):
        limiter.charge("olga")


def test_budgets_and_costs_are_at_least_one():
    with pytest.raises(ValueError, match="per_minute"):
        RateLimiter(per_minute=0)
    for cost in (0, -5):
        with pytest.raises(ValueError, match="cost"):
            RateLimiter(per_minute=3).charge("olga", cost=cost)
