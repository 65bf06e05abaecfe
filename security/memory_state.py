"""The shared state of a service of one worker: its memory. A restart forgets it."""

from __future__ import annotations

import heapq
import time
from typing import Any, assert_never

from security.errors import UnavailableError
from security.shared_state import (
    AddToSet,
    Delete,
    Get,
    Increment,
    Push,
    Put,
    PutIfAbsent,
    SetSize,
    Step,
)

_MOST_KEYS = 200_000
_REMOVED_AT_ONCE = 50


class MemoryState:
    """Keys in a dictionary. One event loop uses it: nothing is awaited within `apply`, so its steps are done together.

    most_keys: with more than these alive, new ones are refused (UnavailableError) rather than old ones forgotten, since a
    forgotten counter is a budget given twice.
    """

    def __init__(self, most_keys: int = _MOST_KEYS) -> None:
        self._most_keys = most_keys
        self._values: dict[str, Any] = {}
        self._expires: dict[str, float] = {}
        # One (moment, key) for each key that lives, by the moment at which it is looked at again.
        self._waiting: list[tuple[float, str]] = []
        self._queued: set[str] = set()

    async def apply(self, *steps: Step) -> list[Any]:
        """See SharedState."""
        now = time.monotonic()
        self._remove_expired(now)
        fresh = {step.key for step in steps if not isinstance(step, Get | SetSize | Delete)}
        if len(self._expires) + len(fresh) > self._most_keys and any(key not in self._expires for key in fresh):
            raise UnavailableError(
                f"the shared state holds {self._most_keys} keys, and forgets none before its time",
                mend="set GRIDWARD_REDIS_URL, or wait until some have expired",
            )
        return [self._do(step, now) for step in steps]

    async def close(self) -> None:
        """Forget everything."""
        for kept in (self._values, self._expires, self._waiting, self._queued):
            kept.clear()

    def _do(self, step: Step, now: float) -> Any:
        standing = self._values.get(step.key) if self._expires.get(step.key, now) > now else None
        answer: Any = None
        match step:
            case Increment():
                answer = (standing or 0.0) + step.amount
                self._keep(step.key, answer, now + step.ttl_seconds, renew=standing is None)
            case AddToSet():
                members: set[str] = set() if standing is None else standing
                answer = len(set(step.members) - members)
                members.update(step.members)
                self._keep(step.key, members, now + step.ttl_seconds, renew=standing is None)
            case SetSize():
                answer = len(standing or ())
            case Push():
                answer = standing or []
                others = [value for value in answer if value != step.value]
                self._keep(step.key, [step.value, *others][: step.keep], now + step.ttl_seconds)
            case PutIfAbsent():
                answer = standing
                if standing is None:
                    self._keep(step.key, step.value, now + step.ttl_seconds)
            case Put():
                self._keep(step.key, step.value, now + step.ttl_seconds)
            case Get():
                answer = standing
            case Delete():
                self._forget(step.key)
            case _:
                assert_never(step)
        return answer

    def _keep(self, key: str, value: Any, until: float, *, renew: bool = True) -> None:
        self._values[key] = value
        if renew:
            self._expires[key] = until
        if key not in self._queued:
            self._queued.add(key)
            heapq.heappush(self._waiting, (until, key))

    def _forget(self, key: str) -> None:
        self._values.pop(key, None)
        self._expires.pop(key, None)

    def _remove_expired(self, now: float) -> None:
        """A few at a time, so that no request pays for many."""
        for _ in range(_REMOVED_AT_ONCE):
            if not self._waiting or self._waiting[0][0] > now:
                return
            _, key = heapq.heappop(self._waiting)
            until = self._expires.get(key)
            if until is None or until <= now:
                self._queued.discard(key)
                self._forget(key)
            else:
                heapq.heappush(self._waiting, (until, key))
