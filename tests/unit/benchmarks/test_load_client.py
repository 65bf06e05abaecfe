"""The load generator counts every answer once, and spares no server what it kept waiting."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable

import pytest

from benchmarks.load_client import LOST, Load, Order, Outcome, announced_length, quantiles_of, request_text

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
REQUEST = request_text("x", "/bare", '{"day": "2014-11-20"}', "token")
Answer = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


async def at_once(_: int, writer: asyncio.StreamWriter) -> None:
    writer.write(ANSWER)


def loaded(answer: Answer, **how: object) -> Outcome:
    """What came of an order to a server that answers its n-th request so."""
    count, writers = 0, []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        writers.append(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n") and await reader.readexactly(len('{"day": "2014-11-20"}')):
                count += 1
                await answer(count, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            # The load is over.
            return

    async def run() -> Outcome:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            outcome = await Load(Order(host, port, [REQUEST], **how)).run()  # type: ignore[arg-type]
            for writer in writers:
                writer.close()
                await writer.wait_closed()
            return outcome

    return asyncio.run(run())


def test_a_closed_loop_asks_as_often_as_it_was_ordered_to():
    outcome = loaded(at_once, connections=3, count=50)

    assert outcome.statuses == {"200": 50}
    assert (outcome.asked, outcome.errors) == (50, 0)
    assert outcome.per_second > 0
    assert list(outcome.milliseconds) == ["p50", "p90", "p99", "p99.9", "max"]


def test_an_answer_in_pieces_is_one_answer():
    async def in_pieces(_: int, writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(ANSWER), 7):
            writer.write(ANSWER[at : at + 7])
            await writer.drain()
            await asyncio.sleep(0)

    assert loaded(in_pieces, count=5).statuses == {"200": 5}


def test_failures_and_lost_connections_are_errors():
    async def failing(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 3:
            writer.close()
        else:
            writer.write(ANSWER if number == 1 else ANSWER.replace(b"200 OK", b"503 No"))

    outcome = loaded(failing, count=10)

    assert outcome.statuses == {"200": 1, "503": 1, LOST: 1}
    assert outcome.errors == 2


def test_a_server_that_stalls_once_is_charged_with_everybody_it_kept_waiting():
    async def stalling(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            await asyncio.sleep(0.6)
        writer.write(ANSWER)

    closed = loaded(stalling, count=20)
    arriving = loaded(stalling, count=20, rate=200.0)

    assert closed.milliseconds["p50"] < 300, "a closed loop waits with the server, and hides the stall"
    assert arriving.asked == 20
    assert arriving.milliseconds["p50"] > 300


@pytest.mark.parametrize(
    ("head", "length"), [(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\na: b", 12), (b"HTTP/1.1 304 x", 0)]
)
def test_the_length_of_an_answer_stands_in_its_head(head: bytes, length: int):
    assert announced_length(head) == length


def test_no_latencies_have_no_quantiles():
    assert quantiles_of(array("d")) == {}
