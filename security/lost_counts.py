"""A Redis that forgot what callers spent is told again, before it grants anything (AML.T0029, AML.T0034).

Every worker writes a beat to Redis once a second, the moment it was written. Another beat stands there when Redis came back
from a copy that is a little older, none when it was emptied, and its run id is another when it was restarted: then all that
the worker granted since the beat that stands is charged once more, and for a moment nothing is granted, while the other
workers do the same. Charging twice what was not lost is possible, and errs on the strict side; a minute later it is right
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
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
# Of the beats without an answer those that may yet stand; an older one would count as a loss, on the strict side.
_UNANSWERED = 8

# One command: between a look and a beat apart, a restart would go unseen. Answered: what stood, and the run id. A beat that
# is written over a loss names the beat before it, `from,beat`, so that a worker who gets no answer still learns of the loss.
_LOOK = """
local beat, kept, run = ARGV[1], ARGV[2], ARGV[3]
local stood = redis.call('GET', KEYS[1]) or ''
local runs = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local lost = run ~= '' and run ~= runs
local expected = false
for place = 4, #ARGV do
    expected = expected or ARGV[place] == stood
end
if lost or not expected then
    beat = string.match(stood, '^[^,]*') .. ',' .. beat
end
redis.call('SET', KEYS[1], beat, 'EX', kept)
return {stood, runs, beat}
"""

_LOG = logging.getLogger("gridward.rate")


class LostCounts:
    """The watch over one worker's Redis. own: what this worker granted; common: what Redis says all granted."""

    def __init__(self, redis: Redis, own: MemoryStorage, common: RedisStorage, budget: RateLimitItem, key: str) -> None:
        self._own, self._common, self._budget = own, common, budget
        self._key = f"{key}:{uuid.uuid4().hex}"
        self._script = redis.register_script(_LOOK)
        # What may stand while nothing is lost: the beat that was answered last, and those whose answer never came.
        self._expected = [""]
        self._run = ""
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
            async with self._looking:
                # Of many who wait here the first looks for all.
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
                async with self._looking:
                    await self._look()

    async def _look(self) -> None:
        connections, beat, expected = self._connections, repr(time.time()), self._expected
        self._expected = [*expected[:1], *expected[1:][-_UNANSWERED:], beat]
        answer = await self._script([self._key], [beat, _KEPT_SECONDS, self._run, *expected])
        stood, run, written = (text.decode() for text in answer)
        if written != beat:
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            await self._charge_again(float(stood.partition(",")[0] or 0))
        self._expected, self._run = [written], run
        self._looked_at = connections

    async def _charge_again(self, since: float) -> None:
        limit, window = self._budget.amount, self._budget.get_expiry()
        _LOG.warning("redis lost what callers spent: it is told again")
        from_when = max(since, time.time() - window)
        for key, entries in list(self._own.events.items()):
            granted = sum(entry.atime >= from_when for entry in entries)
            await self._charge(key, granted, limit, window)

    async def _charge(self, key: str, granted: int, limit: int, window: int) -> None:
        """Charge all of it, or as much as the budget holds; others spend meanwhile, so that one try may not do."""
        while True:
            _, known = await self._common.get_moving_window(key, limit, window)
            cost = min(granted, limit - known)
            if cost <= 0 or await self._common.acquire_entry(key, limit, window, cost):
                return
