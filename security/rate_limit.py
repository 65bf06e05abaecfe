"""How often one caller may ask: a budget per identity over the last minute (AML.T0029, AML.T0034).

With Redis, all workers spend one budget. Each worker counts in its own memory besides, the stricter of the two decides, and
a Redis that was restarted and forgot what callers spent is told again (`lost_counts`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter as CommonWindow
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter as OwnWindow
from redis.asyncio import Redis

from security.errors import RateLimited, UnavailableError
from security.lost_counts import LostCounts
from security.redis_state import NAMESPACE, WHOLE_SECONDS, redis_client

_WINDOW_SECONDS = 60.0
_LOOKED_EVERY_SECONDS = 1.0


class OwnCounts(MemoryStorage):
    """What this worker granted. `limits` would look for expired counts a hundredth of a second after each charge, with a
    thread for each look: a busy service started a hundred threads a second. Here it looks once a second.
    """

    @property
    def timer(self) -> threading.Timer:
        """The next look, as `MemoryStorage` keeps it."""
        return self._next_look

    @timer.setter
    def timer(self, look: threading.Timer) -> None:
        look.interval, look.daemon = _LOOKED_EVERY_SECONDS, True
        self._next_look = look


class RateLimiter:
    """A moving window of one minute in which each identity may spend `per_minute`.

    redis_url: where the workers keep their common budgets; empty: this worker is the only one. With Redis it belongs to the
    event loop that uses it first, until `close`.
    """

    def __init__(self, per_minute: int, redis_url: str = "") -> None:
        if per_minute < 1:
            raise ValueError(f"per_minute {per_minute} must be at least 1")
        self.per_minute = per_minute
        self._redis_url = redis_url
        self._budget = RateLimitItemPerMinute(per_minute)
        self._granted = OwnCounts()
        self._own = OwnWindow(self._granted)
        self._common = self._in_redis() if redis_url else None

    async def charge(self, identity_key: str, cost: int = 1) -> None:
        """Spend `cost` of the caller's budget, or nothing at all.

        Raises RateLimited (`retry_after_seconds`: when some of the budget comes back), UnavailableError when the store
        fails (no limiter, no answer), ValueError for a cost below 1.
        """
        if cost < 1:
            raise ValueError(f"cost {cost} must be at least 1")
        if cost > self.per_minute:
            raise RateLimited(
                f"this request costs {cost}, the whole budget is {self.per_minute} a minute",
                retry_after_seconds=_WINDOW_SECONDS,
                mend="ask for less at once",
            )
        try:
            if self._common is None:
                reset_at = self._charge_own(identity_key, cost)
            else:
                async with asyncio.timeout(WHOLE_SECONDS):
                    reset_at = await self._charge_both(self._common, identity_key, cost)
        except UnavailableError:
            raise
        except Exception as error:  # Whatever the store raises: fail closed.
            raise UnavailableError(
                "the rate limiter's store failed, so nothing is served", mend="start the store again"
            ) from error
        if reset_at is not None:
            wait = min(max(reset_at - time.time(), 0.0), _WINDOW_SECONDS)
            raise RateLimited(
                f"more than {self.per_minute} requests in a minute",
                retry_after_seconds=wait,
                mend=f"try again in {wait:.0f} s",
            )

    async def close(self) -> None:
        """Close the connections to Redis; used again, it connects anew."""
        if self._common is not None:
            self._common.lost.close()
            await self._common.redis.aclose()
            self._common = self._in_redis()

    def _charge_own(self, key: str, cost: int) -> float | None:
        """None when this worker's count grants it, else the moment at which some of the budget comes back."""
        if self._own.hit(self._budget, key, cost=cost):
            return None
        return float(self._own.get_window_stats(self._budget, key).reset_time)

    async def _charge_both(self, common: _Common, key: str, cost: int) -> float | None:
        """None when both counts grant it, else the moment at which some of the budget comes back."""
        # The own count is asked first and charged last, so that what Redis refuses costs nothing here.
        if not self._own.test(self._budget, key, cost=cost):
            return float(self._own.get_window_stats(self._budget, key).reset_time)
        await common.lost.require_none()
        granted = await common.window.hit(self._budget, key, cost=cost)
        await common.lost.require_none()
        if granted:
            return self._charge_own(key, cost)
        return float((await common.window.get_window_stats(self._budget, key)).reset_time)

    def _in_redis(self) -> _Common:
        redis = redis_client(self._redis_url, lambda: lost.connected())  # noqa: PLW0108 (it is made below)
        pool: Any = redis.connection_pool  # limits hands it on to Redis, and calls it a number or a text
        prefix = f"{NAMESPACE}rate"
        storage = RedisStorage(self._redis_url, implementation="redispy", key_prefix=prefix, connection_pool=pool)
        lost = LostCounts(redis, self._granted, storage, self._budget, f"{NAMESPACE}beat")
        return _Common(redis, CommonWindow(storage), lost)


@dataclass(frozen=True)
class _Common:
    """The budgets of all workers: their Redis, the window in it, and the watch over what it forgets."""

    redis: Redis
    window: CommonWindow
    lost: LostCounts
