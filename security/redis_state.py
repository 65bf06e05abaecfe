"""The shared state of several workers: Redis, asked once for each `apply`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, assert_never

from redis.asyncio import BlockingConnectionPool, Redis
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
_VERBS: dict[type[Step], str] = {
    Increment: "increment",
    AddToSet: "add",
    SetSize: "size",
    Push: "push",
    PutIfAbsent: "put_if_absent",
    Put: "put",
    Get: "get",
    Delete: "delete",
}
# All steps as one command: what a step costs is Python's packing and parsing of commands, not Redis. `false` is no answer.
_APPLY = """
local at = 0
local function take()
    at = at + 1
    return ARGV[at]
end

local verbs = {
    increment = function(key)
        local total = redis.call('INCRBYFLOAT', key, take())
        redis.call('PEXPIRE', key, take(), 'NX')
        return total
    end,
    add = function(key)
        local ttl, new = take(), 0
        for _ = 1, tonumber(take()) do
            new = new + redis.call('SADD', key, take())
        end
        redis.call('PEXPIRE', key, ttl, 'NX')
        return new
    end,
    size = function(key)
        return redis.call('SCARD', key)
    end,
    push = function(key)
        local before = redis.call('LRANGE', key, 0, -1)
        local value = take()
        redis.call('LREM', key, 0, value)
        redis.call('LPUSH', key, value)
        redis.call('LTRIM', key, 0, tonumber(take()) - 1)
        redis.call('PEXPIRE', key, take())
        return before
    end,
    put_if_absent = function(key)
        return redis.call('SET', key, take(), 'NX', 'GET', 'PX', take())
    end,
    put = function(key)
        redis.call('SET', key, take(), 'PX', take())
        return false
    end,
    get = function(key)
        return redis.call('GET', key)
    end,
    delete = function(key)
        redis.call('DEL', key)
        return false
    end,
}

local answers = {}
for place, key in ipairs(KEYS) do
    answers[place] = verbs[take()](key)
end
return answers
"""


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
        self._connect()

    async def apply(self, *steps: Step) -> list[Any]:
        """See SharedState."""
        keys = [NAMESPACE + step.key for step in steps]
        arguments = [argument for step in steps for argument in _arguments(step)]
        try:
            async with asyncio.timeout(WHOLE_SECONDS):
                answers = await self._script(keys, arguments)
        except (RedisError, OSError) as error:
            raise UnavailableError(
                "the shared state's Redis does not answer, so nothing is served", mend="start it again"
            ) from error
        return [
            float(answer) if isinstance(step, Increment) else answer for step, answer in zip(steps, answers, strict=True)
        ]

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()
        self._connect()

    def _connect(self) -> None:
        self._client = redis_client(self._url)
        # Sent whole when Redis does not know it, as after a restart; by its digest otherwise.
        self._script = self._client.register_script(_APPLY)


def _arguments(step: Step) -> list[str | bytes | float]:
    """A step as `_APPLY` reads it: the verb, then what the verb takes."""
    taken: tuple[str | bytes | float, ...]
    match step:
        case Increment():
            taken = step.amount, _milliseconds(step.ttl_seconds)
        case AddToSet():
            taken = _milliseconds(step.ttl_seconds), len(step.members), *step.members
        case Push():
            taken = step.value, step.keep, _milliseconds(step.ttl_seconds)
        case PutIfAbsent() | Put():
            taken = step.value, _milliseconds(step.ttl_seconds)
        case SetSize() | Get() | Delete():
            taken = ()
        case _:
            assert_never(step)
    return [_VERBS[type(step)], *taken]


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
