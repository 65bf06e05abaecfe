"""The shared state of several workers: Redis, asked once for each `apply`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, assert_never

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

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

NAMESPACE = "gridward:"
WHOLE_SECONDS = 1.5
_CONNECT_SECONDS, _READ_SECONDS = 0.7, 1.0
_CONNECTIONS = 32


def redis_client(url: str, on_connection: Callable[[], None] = lambda: None) -> Redis:
    """A client that gives up instead of waiting: no second try, and time-outs of a second at most.

    on_connection: called whenever a connection was made. Raises ValueError for a URL that is none. The client belongs to the
    event loop that uses it first.
    """

    async def connected(connection: AbstractConnection) -> None:
        await connection.on_connect()
        on_connection()

    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=_READ_SECONDS,
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=_READ_SECONDS,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        redis_connect_func=connected,
    )
    return Redis.from_pool(pool)


class RedisState:
    """Keys below `gridward:` in one Redis, 7 or newer (`PEXPIRE … NX`), set to `maxmemory-policy noeviction`.

    It belongs to the event loop that uses it first, until `close`; used again after that, it connects anew.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = redis_client(url)

    async def apply(self, *steps: Step) -> list[Any]:
        """See SharedState."""
        pipeline = self._client.pipeline(transaction=True)
        counts = [_queue(pipeline, step) for step in steps]
        try:
            async with asyncio.timeout(WHOLE_SECONDS):
                answers = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise UnavailableError(
                "the shared state's Redis does not answer, so nothing is served", mend="start it again"
            ) from error
        firsts = itertools.accumulate(counts, initial=0)
        return [_answer(step, answers[first]) for step, first in zip(steps, firsts, strict=False)]

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()
        self._client = redis_client(self._url)


def _queue(pipeline: Pipeline, step: Step) -> int:
    """Add a step's commands, of which the first one's answer counts; how many they are."""
    key = NAMESPACE + step.key
    match step:
        case Increment():
            pipeline.incrbyfloat(key, step.amount)
            pipeline.pexpire(key, _milliseconds(step.ttl_seconds), nx=True)
            return 2
        case AddToSet():
            pipeline.sadd(key, *step.members)
            pipeline.pexpire(key, _milliseconds(step.ttl_seconds), nx=True)
            return 2
        case SetSize():
            pipeline.scard(key)
        case Push():
            pipeline.lrange(key, 0, -1)
            pipeline.lpush(key, step.value)
            pipeline.ltrim(key, 0, step.keep - 1)
            pipeline.pexpire(key, _milliseconds(step.ttl_seconds))
            return 4
        case PutIfAbsent():
            pipeline.set(key, step.value, px=_milliseconds(step.ttl_seconds), nx=True, get=True)
        case Put():
            pipeline.set(key, step.value, px=_milliseconds(step.ttl_seconds))
        case Get():
            pipeline.get(key)
        case Delete():
            pipeline.delete(key)
        case _:
            assert_never(step)
    return 1


def _answer(step: Step, answer: Any) -> Any:
    match step:
        case Increment():
            return float(answer)
        case Put() | Delete():
            return None
        case _:
            return answer


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
