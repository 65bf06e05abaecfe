"""What all workers of a service know together, small and short-lived: counters, sets, the last few of something, answers.

Every key lives for a stated time. The steps of one `apply` are done together, in one round trip, with nobody else's between
them. In Redis when there are several workers; in the memory of the one worker otherwise. A store that does not answer within
two seconds is an UnavailableError, and the next `apply` tries it again: nothing is served on a guess (AML.T0029).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Increment:
    """Add `amount` to a number; answers the new total, float. Its time to live starts with the first amount."""

    key: str
    amount: float
    ttl_seconds: float


@dataclass(frozen=True)
class AddToSet:
    """Add members, one at least, to a set; answers how many were new, int. Its time to live starts with the first member."""

    key: str
    members: tuple[str, ...]
    ttl_seconds: float


@dataclass(frozen=True)
class SetSize:
    """How many members a set has, int; 0 for none."""

    key: str


@dataclass(frozen=True)
class Push:
    """Put a value in front of the newest `keep`, or move it there; answers what stood before, list of bytes, newest first.

    Its time to live starts anew with each value.
    """

    key: str
    value: bytes
    keep: int
    ttl_seconds: float


@dataclass(frozen=True)
class PutIfAbsent:
    """Keep a value unless there is one; answers None when it was put, else the bytes that stand."""

    key: str
    value: bytes
    ttl_seconds: float


@dataclass(frozen=True)
class Put:
    """Keep a value in the place of any other; answers None."""

    key: str
    value: bytes
    ttl_seconds: float


@dataclass(frozen=True)
class Get:
    """The bytes that are kept, or None."""

    key: str


@dataclass(frozen=True)
class Delete:
    """Forget a key of any kind; answers None."""

    key: str


Step = Increment | AddToSet | SetSize | Push | PutIfAbsent | Put | Get | Delete


class SharedState(Protocol):
    """Where the workers meet."""

    async def apply(self, *steps: Step) -> list[Any]:
        """Do all steps, in their order and together; one answer each. Raises UnavailableError, having done all or nothing
        as far as anybody can know (an answer that was lost on its way may have been done).
        """
        ...

    async def close(self) -> None:
        """Let go of the store."""
        ...


def open_shared_state(redis_url: str) -> SharedState:
    """Redis at a URL (`redis://`, `rediss://`, `unix://`), first asked when it is used; empty: this process's memory."""
    if not redis_url:
        from security.memory_state import MemoryState  # noqa: PLC0415 (each store imports the steps from here)

        return MemoryState()
    from security.redis_state import RedisState  # noqa: PLC0415 (and one worker alone needs no Redis client)

    return RedisState(redis_url)
