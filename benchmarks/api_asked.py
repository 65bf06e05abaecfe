"""One attempt of the fuzzer, put to the service over ASGI as a web server would: by piece, by client, with a patience."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from benchmarks.api_grammar import Attempt

PATIENCE_SECONDS = 30.0
STREAM_SECONDS = 0.3


async def asked(app: ASGIApp, attempt: Attempt, token: str | None, number: int) -> tuple[int, bytes]:
    """The status and body of the answer; TimeoutError for none. number: of the attempt; gives it a client address.

    A stream of events is listened to for a moment, then the client goes away.
    """
    gone = asyncio.Event()
    pieces = itertools.chain(attempt.chunks[:-1], attempt.chunks[-1:] or [b""])
    left = max(1, len(attempt.chunks))
    status, body = 0, bytearray()

    async def receive() -> Message:
        nonlocal left
        if left:
            left -= 1
            return {"type": "http.request", "body": next(pieces), "more_body": left > 0}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            if any(value.startswith(b"text/event-stream") for _, value in message["headers"]):
                asyncio.get_running_loop().call_later(STREAM_SECONDS, gone.set)
        else:
            body.extend(message.get("body", b""))
            if not message.get("more_body", False):
                gone.set()

    async with asyncio.timeout(PATIENCE_SECONDS):
        await app(scope_of(attempt, token, number), receive, send)
    return status, bytes(body)


def scope_of(attempt: Attempt, token: str | None, number: int) -> dict[str, Any]:
    """The ASGI scope, as uvicorn makes it: names of headers in lower case, the path decoded, the raw one beside it."""
    headers = [(name, value.encode("utf-8")) for name, value in attempt.headers]
    names = {name for name, _ in headers}
    given = [(name.encode("latin-1"), value) for name, value in headers]
    if token and "authorization" not in names:
        given.append((b"authorization", f"Bearer {token}".encode()))
    if "host" not in names:
        given.append((b"host", b"gridward.example"))
    if attempt.kind != "chunked" and attempt.chunks and "content-length" not in names:
        given.append((b"content-length", str(sum(map(len, attempt.chunks))).encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": attempt.method,
        "scheme": "http",
        "path": unquote(attempt.path),
        "raw_path": attempt.path.encode("ascii"),
        "root_path": "",
        "query_string": attempt.query.encode("ascii"),
        "headers": given,
        # Refused tokens count against their address: each comes from another one, or none got past the first few.
        "client": (address_of(number), 4711),
        "server": ("127.0.0.1", 8420),
        "state": {},
    }


def address_of(number: int) -> str:
    """A client's address, for each number another one, until there were sixteen million."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
