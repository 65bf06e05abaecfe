"""What is told of a job, as server-sent events (WHATWG HTML, section 9.2): each has an id, from which a reader goes on.

A stream ends with its job, and after ten minutes: a token is short-lived, and so is what it opened. A reader that comes
again with `Last-Event-ID` misses nothing. Of each caller only so many are open at a time (AML.T0029).
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import anyio
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from pipeline.job_records import JobEvent
from security.errors import RateLimited

MOST_STREAMS = 4
HEARTBEAT_SECONDS = 15.0
LONGEST_SECONDS = 600.0
LOOK_SECONDS = 0.5
RETRY_MILLISECONDS = 2000

Read = Callable[[int], tuple[list[JobEvent], bool]]

_LOG = logging.getLogger("gridward.events")


class EventStream(StreamingResponse):
    """The events of a job that follow `after`, as they come. read: events after a number, and whether these are the last.

    Raises RateLimited, when it is about to be sent, while as many streams of `subject` are open as may be.
    """

    media_type = "text/event-stream"

    def __init__(self, request: Request, subject: str, read: Read, after: int) -> None:
        self._open, self._subject = _open_streams(request), subject
        super().__init__(_told(read, after), headers={"X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; counted from its first byte to its last, however it ends."""
        if self._open[self._subject] >= MOST_STREAMS:
            seconds = RETRY_MILLISECONDS / 1000
            raise RateLimited(f"{MOST_STREAMS} streams of yours are open", retry_after_seconds=seconds, mend="close one")
        # Whatever body came with the question is heard out before the answer begins: too large, it is still a 413.
        await Request(scope, receive).body()
        self._open[self._subject] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._open[self._subject] -= 1
            if not self._open[self._subject]:
                del self._open[self._subject]


def message_of(event: JobEvent) -> str:
    """One event as it is sent; its name is the job's state."""
    data = {"at": event.at.isoformat(), "state": event.state, "stage": event.stage, "share": event.share}
    return f"id: {event.number}\nevent: {event.state}\ndata: {json.dumps(data)}\n\n"


async def _told(read: Read, after: int) -> AsyncIterator[str]:
    began = said = time.monotonic()
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    while time.monotonic() - began < LONGEST_SECONDS:
        try:
            events, over = await run_in_threadpool(read, after)
        except Exception:
            # The answer was begun, there is no status to give any more: the reader comes again, and is told then.
            _LOG.exception("a stream of events was broken off")
            return
        for event in events:
            after = event.number
            yield message_of(event)
        if over:
            return
        if events:
            said = time.monotonic()
        elif time.monotonic() - said >= HEARTBEAT_SECONDS:
            said = time.monotonic()
            yield ": still at it\n\n"
        await anyio.sleep(LOOK_SECONDS)


def _open_streams(request: Request) -> Counter[str]:
    """How many streams of each caller are open in this process."""
    if not hasattr(request.app.state, "open_streams"):
        request.app.state.open_streams = Counter()
    streams: Counter[str] = request.app.state.open_streams
    return streams
