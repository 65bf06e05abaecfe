"""A load generator for a process of its own: reads one order (JSON) on stdin, prints what came of it (JSON).

Closed loop: every connection asks again as soon as it was answered; for throughput. Open loop: requests arrive as a
Poisson process whether or not earlier ones were answered, and each latency counts from the moment the request was meant to
be sent, so that a server that stalls is not spared what it kept waiting ("coordinated omission", Tene 2013). Requests are
whole texts made beforehand and answers are only framed, not parsed: an answer costs this process about 20 microseconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from array import array
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import cast

import numpy as np
import uvloop

STRAGGLERS_SECONDS = 10.0
LOST, UNANSWERED, UNFRAMED = "connection lost", "unanswered", "unframed"


@dataclass(frozen=True)
class Order:
    """What to ask of whom. requests: texts for the wire, taken in turn; rate: arrivals a second, 0 for a closed loop;
    it ends after `count` requests or `seconds`; core: where to run, None for anywhere.
    """

    host: str
    port: int
    requests: list[str]
    connections: int = 1
    count: int = 10**9
    seconds: float = 3600.0
    rate: float = 0.0
    seed: int = 1
    core: int | None = None


@dataclass(frozen=True)
class Outcome:
    """Answers by status or kind of failure, how long the run took, and quantiles of the latency of those that came [ms]."""

    statuses: dict[str, int]
    seconds: float
    milliseconds: dict[str, float] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """How many requests were made."""
        return sum(self.statuses.values())

    @property
    def errors(self) -> int:
        """How many of them were not answered 200."""
        return self.asked - self.statuses.get("200", 0)

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return self.statuses.get("200", 0) / self.seconds


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request in flight."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.meant_at = 0.0
        self._buffer = b""
        self._wanted = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to the server."""
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes, meant_at: float) -> None:
        """Send one request; its latency counts from `meant_at`."""
        assert self._transport is not None  # noqa: S101 (only connected ones are asked)
        self.meant_at = meant_at
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect an answer until the length that its head announces."""
        self._buffer += data
        if not self._wanted:
            head_end = self._buffer.find(b"\r\n\r\n")
            if head_end < 0:
                return
            self._wanted = head_end + 4 + announced_length(self._buffer[:head_end])
        if len(self._buffer) < self._wanted:
            return
        status = self._buffer[9:12].decode("ascii", "replace") if len(self._buffer) == self._wanted else UNFRAMED
        self._buffer, self._wanted = b"", 0
        self.load.answered(self, status)

    def connection_lost(self, _: Exception | None) -> None:
        """What was in flight is an error."""
        self.load.lost(self)


def announced_length(head: bytes) -> int:
    """The Content-Length of an answer's head; 0 without one."""
    _, _, after = head.lower().partition(b"\r\ncontent-length:")
    return int(after.partition(b"\r\n")[0] or 0)


class Load:
    """One run: connections, arrivals, and what came of them."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._texts = [text.encode() for text in order.requests]
        self._statuses: Counter[str] = Counter()
        self._latencies = array("d")
        self._idle: deque[Connection] = deque()
        self._waiting: deque[float] = deque()
        self._busy: set[Connection] = set()
        self._sent = 0
        self._done = asyncio.Event()
        self._ends_at = 0.0
        self._arriving = bool(order.rate)

    async def run(self) -> Outcome:
        """The order, carried out."""
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: Connection(self), self.order.host, self.order.port)
            for _ in range(self.order.connections)
        ]
        self._idle.extend(connection for _, connection in made)
        began = time.perf_counter()
        self._ends_at = began + self.order.seconds
        if self._arriving:
            await self._arrivals(began)
        else:
            for _ in made:
                self._next()
        left = max(0.0, self._ends_at - time.perf_counter()) + STRAGGLERS_SECONDS
        try:
            await asyncio.wait_for(self._done.wait(), left)
        except TimeoutError:
            self._statuses[UNANSWERED] += len(self._busy) + len(self._waiting)
        seconds = time.perf_counter() - began
        self._busy.clear()
        for transport, _ in made:
            transport.close()
        await asyncio.sleep(0)
        return Outcome(dict(self._statuses), seconds, quantiles_of(self._latencies))

    async def _arrivals(self, began: float) -> None:
        """Offer requests at the moments of a Poisson process. Timers are a millisecond coarse, which counts as latency; it
        must not spin until the moment, because the stores of the service run on this core.
        """
        chance = random.Random(self.order.seed)  # noqa: S311 (arrivals, no secret)
        meant_at = began
        for _ in range(self.order.count):
            meant_at += chance.expovariate(self.order.rate)
            if meant_at > self._ends_at:
                break
            while (left := meant_at - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            if self._idle:
                self._send(self._idle.popleft(), meant_at)
            else:
                self._waiting.append(meant_at)
        self._arriving = False
        self._finish_if_done()

    def _send(self, connection: Connection, meant_at: float) -> None:
        self._busy.add(connection)
        connection.ask(self._texts[self._sent % len(self._texts)], meant_at)
        self._sent += 1

    def _next(self) -> None:
        """Keep a free connection busy: with what waits (open loop), or with one more request (closed loop)."""
        if self._waiting:
            self._send(self._idle.popleft(), self._waiting.popleft())
        elif not self.order.rate and self._sent < self.order.count and (now := time.perf_counter()) < self._ends_at:
            self._send(self._idle.popleft(), now)
        else:
            self._finish_if_done()

    def answered(self, connection: Connection, status: str) -> None:
        """Count an answer and go on."""
        self._latencies.append(time.perf_counter() - connection.meant_at)
        self._statuses[status] += 1
        self._busy.discard(connection)
        self._idle.append(connection)
        self._next()

    def lost(self, connection: Connection) -> None:
        """Count what was in flight on a lost connection; it is not opened again."""
        if connection in self._busy:
            self._busy.discard(connection)
            self._statuses[LOST] += 1
            self._finish_if_done()
        elif connection in self._idle:
            self._idle.remove(connection)

    def _finish_if_done(self) -> None:
        if not (self._busy or self._waiting or self._arriving):
            self._done.set()


def quantiles_of(seconds: array[float]) -> dict[str, float]:
    """Quantiles of latencies [ms]; empty for none."""
    if not seconds:
        return {}
    levels = {"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9, "max": 100}
    found = np.percentile(np.asarray(seconds) * 1000, list(levels.values()))
    return dict(zip(levels, found.tolist(), strict=True))


def ordered(order: Order) -> Outcome:
    """Carry out an order in another process. Raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", "benchmarks.load_client"]
    done = subprocess.run(command, input=json.dumps(asdict(order)), stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 (ours)
    return Outcome(**json.loads(done.stdout))


def request_text(host: str, path: str, body: str, token: str = "") -> str:
    """A POST of JSON as it goes over the wire."""
    bearer = f"Authorization: Bearer {token}\r\n" if token else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n"
    )
    return f"{head}Accept: application/json\r\n{bearer}\r\n{body}"


def main() -> None:
    order = Order(**json.load(sys.stdin))
    if order.core is not None:
        os.sched_setaffinity(0, {order.core})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(_run(order))
    print(json.dumps(asdict(outcome)))


async def _run(order: Order) -> Outcome:
    return await Load(order).run()


if __name__ == "__main__":
    main()
