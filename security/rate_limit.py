"""How often one caller may ask: a budget per identity over the last minute (AML.T0029, AML.T0034).

The store is this process's memory: a restart forgives, and two processes keep two budgets.
"""

from __future__ import annotations

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from security.errors import RateLimited, UnavailableError

_WINDOW_SECONDS = 60.0


class RateLimiter:
    """A moving window of one minute in which each identity may spend `per_minute`."""

    def __init__(self, per_minute: int) -> None:
        if per_minute < 1:
            raise ValueError(f"per_minute {per_minute} must be at least 1")
        self.per_minute = per_minute
        self._budget = RateLimitItemPerMinute(per_minute)
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def charge(self, identity_key: str, cost: int = 1) -> None:
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
            granted = self._window.hit(self._budget, identity_key, cost=cost)
            reset_at = self._window.get_window_stats(self._budget, identity_key).reset_time
        except Exception as error:  # Whatever the store raises: fail closed.
            raise UnavailableError(
                "the rate limiter's store failed, so nothing is served", mend="restart the service"
            ) from error
        if not granted:
            wait = min(max(reset_at - time.time(), 0.0), _WINDOW_SECONDS)
            raise RateLimited(
                f"more than {self.per_minute} requests in a minute",
                retry_after_seconds=wait,
                mend=f"try again in {wait:.0f} s",
            )
