"""The shared state of several workers: Redis, asked once for each `apply`."""

from __future__ import annotations

import asyncio
import json
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
# All steps as one command with one argument and one answer: what a step costs is Python's packing and parsing, not Redis.
# Bytes go and come as the characters of the same numbers (Latin-1), so that JSON holds them. `false` is no answer.
_APPLY = """
local verbs = {
    increment = function(key, amount, ttl)
        local total = redis.call('INCRBYFLOAT', key, amount)
        redis.call('PEXPIRE', key, ttl, 'NX')
        return total
    end,
    add = function(key, members, ttl)
        local new = 0
        for _, member in ipairs(members) do
            new = new + redis.call('SADD', key, member)
        end
        redis.call('PEXPIRE', key, ttl, 'NX')
        return new
    end,
    size = function(key)
        return redis.call('SCARD', key)
    end,
    push = function(key, value, keep, ttl)
        local before = redis.call('LRANGE', key, 0, -1)
        redis.call('LREM', key, 0, value)
        redis.call('LPUSH', key, value)
        redis.call('LTRIM', key, 0, keep - 1)
        redis.call('PEXPIRE', key, ttl)
        return before
    end,
    put_if_absent = function(key, value, ttl)
        return redis.call('SET', key, value, 'NX', 'GET', 'PX', ttl)
    end,
    put = function(key, value, ttl)
        redis.call('SET', key, value, 'PX', ttl)
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
for place, step in ipairs(cjson.decode(ARGV[1])) do
    answers[place] = verbs[step[1]](unpack(step, 2))
end
return cjson.encode(answers)
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
        try:
            async with asyncio.timeout(WHOLE_SECONDS):
                answers = await self._script((), [json.dumps([_asked(step) for step in steps])])
            return [_answer(step, said) for step, said in zip(steps, json.loads(answers), strict=True)]
        except (RedisError, OSError) as error:
            raise UnavailableError(
                "the shared state's Redis does not answer, so nothing is served", mend="start it again"
            ) from error
        except ValueError as error:
            raise UnavailableError(
                "the shared state's Redis holds what no Gridward wrote", mend="give it a Redis of its own"
            ) from error

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()
        self._connect()

    def _connect(self) -> None:
        self._client = redis_client(self._url)
        # Sent whole when Redis does not know it, as after a restart; by its digest otherwise.
        self._script = self._client.register_script(_APPLY)


def _asked(step: Step) -> list[Any]:
    """A step as `_APPLY` reads it: the verb, the key, then what the verb takes."""
    taken: tuple[Any, ...]
    match step:
        case Increment():
            taken = repr(step.amount), _milliseconds(step.ttl_seconds)
        case AddToSet():
            taken = step.members, _milliseconds(step.ttl_seconds)
        case Push():
            taken = step.value.decode("latin-1"), step.keep, _milliseconds(step.ttl_seconds)
        case PutIfAbsent() | Put():
            taken = step.value.decode("latin-1"), _milliseconds(step.ttl_seconds)
        case SetSize() | Get() | Delete():
            taken = ()
        case _:
            assert_never(step)
    return [_VERBS[type(step)], NAMESPACE + step.key, *taken]


def _answer(step: Step, said: Any) -> Any:
    """What SharedState promises of a step, from what `_APPLY` says."""
    match step:
        case Increment():
            return float(said)
        case AddToSet() | SetSize():
            return int(said)
        case Push():
            # An empty list of Lua's is an empty object of JSON's.
            return [value.encode("latin-1") for value in said]
        case PutIfAbsent() | Get() | Put() | Delete():
            return None if said is False else said.encode("latin-1")
        case _:
            assert_never(step)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
