"""A Redis that forgot what callers spent is told again, before it grants anything (AML.T0029, AML.T0034).

Every worker writes a beat to Redis once a second, the moment it was written. What Redis gives back is not that beat when it
was restarted without its memory, or from a copy that is a little older, or when somebody emptied it: then all that the
worker granted since the beat that stands is charged once more, and for a moment nothing is granted, while the other workers
do the same. Charging twice what was not lost is possible, and errs on the strict side; a minute later it is right again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
import uuid

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.storage import MemoryStorage
from redis.asyncio import Redis
from redis.exceptions import RedisError

from security.errors import UnavailableError

_BEAT_SECONDS = 1.0
# Two beats and the time-outs of a connection: by then every other worker has noticed too.
_QUIET_SECONDS = 3.0
_KEPT_SECONDS = 3600

_LOG = logging.getLogger("gridward.rate")


class LostCounts:
    """The watch over one worker's Redis. own: what this worker granted; common: what Redis says all granted."""

    def __init__(self, redis: Redis, own: MemoryStorage, common: RedisStorage, budget: RateLimitItem, key: str) -> None:
        self._redis, self._own, self._common, self._budget = redis, own, common, budget
        self._key = f"{key}:{uuid.uuid4().hex}"
        self._beat: bytes | None = None
        self._owed_since: float | None = None
        self._quiet_until = 0.0
        self._looking = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._connections, self._looked_at = 0, -1

    def connected(self) -> None:
        """A connection was made: it may lead to a Redis that was started anew."""
        self._connections += 1

    async def require_none(self) -> None:
        """Look if a connection was made since the last look; to be called before and after Redis is asked for a grant.

        Raises UnavailableError for the moment in which lost counts are brought back, RedisError when Redis is away.
        """
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        if self._connections != self._looked_at:
            await self._look()
        if time.monotonic() < self._quiet_until:
            raise UnavailableError("the limiter's store had lost its counts", mend=f"try again in {_QUIET_SECONDS:.0f} s")

    def close(self) -> None:
        """End the watch."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            # Away: the requests say so themselves, and the next connection is looked at.
            with contextlib.suppress(RedisError, OSError):
                await self._look()

    async def _look(self) -> None:
        async with self._looking:
            connections, last = self._connections, self._beat
            self._beat = repr(time.time()).encode()
            # One command: between a look and a beat apart, a restart would go unseen.
            stood = await self._redis.set(self._key, self._beat, ex=_KEPT_SECONDS, get=True)
            if stood != last:
                owed = math.inf if self._owed_since is None else self._owed_since
                self._owed_since = min(float(stood or 0), owed)
            if self._owed_since is not None:
                self._quiet_until = time.monotonic() + _QUIET_SECONDS
                await self._charge_again(self._owed_since)
                self._owed_since = None
            self._looked_at = connections

    async def _charge_again(self, since: float) -> None:
        limit, window = self._budget.amount, self._budget.get_expiry()
        _LOG.warning("redis lost what callers spent: it is told again")
        from_when = max(since, time.time() - window)
        for key, entries in list(self._own.events.items()):
            granted = sum(entry.atime >= from_when for entry in entries)
            _, known = await self._common.get_moving_window(key, limit, window)
            if cost := min(granted, limit - known):
                await self._common.acquire_entry(key, limit, window, cost)
