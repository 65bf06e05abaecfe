"""Writes what many callers did at the same moment in one transaction: a commit costs as much for hundreds as for one.

    request → write(act) ─┐                           ┌→ its number, once committed
    request → write(act) ─┼→ one thread, one commit ──┼→ …
    request → write(act) ─┘        └ signs a head     └→ UnavailableError, if it could not be

Nobody is answered before the commit, so a process that is killed loses only what nobody was answered for. A store that is
away fails the writes that wait, within two seconds, and nothing else: the thread goes on, and works when the store does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel import Session

from security.audit_log import Act, Fields, Tail, WrittenMeanwhile, append_after, append_many, written
from security.errors import UnavailableError

__all__ = ["Act", "AuditWriter"]

# With what else a request does, an answer within two seconds.
WAIT_SECONDS = 1.8
HEAD_EVERY_SECONDS = 0.5
FAILED_HEAD_WAITS_SECONDS = 5.0
# Of one commit. More at once would make the first wait for the last.
BATCH = 500
# Where several came with the last commit more are on their way; one that waits for them costs each of them less.
CROWD, GATHERED_SECONDS = 3, 0.004
# Beyond what a store that works lets wait: memory stays bounded while it is away (AML.T0029).
WAITING_LIMIT = 10_000

_LOG = logging.getLogger("gridward.audit")


Opened = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True, eq=False)
class _Waiting:
    fields: Fields
    answer: asyncio.Future[int]
    loop: asyncio.AbstractEventLoop


class AuditWriter:
    """One for a process. transaction: commits at its end; witness: signs the log's head, in a transaction of its own;
    at_once: a transaction for one statement, None for the same as `transaction`.
    """

    def __init__(self, transaction: Opened, witness: Callable[[datetime], None], at_once: Opened | None = None) -> None:
        self._transaction = transaction
        self._at_once = at_once or transaction
        self._witness = witness
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._closed = False
        self._tail: Tail | None = None
        self._last_batch = 0
        self._unsigned = False
        self._sign_after = 0.0
        self._thread = threading.Thread(target=self._run, name="gridward-audit", daemon=True)
        self._thread.start()

    async def write(self, act: Act, patience_seconds: float = WAIT_SECONDS) -> int:
        """The act's number in the log, once it is committed.

        Raises ValueError as `audit_log.written`, UnavailableError when it was not committed within `patience_seconds`: it
        may still be, later.
        """
        fields = written(act)
        if self._closed or self._queue.qsize() >= WAITING_LIMIT:
            raise _not_written("the writer is closed" if self._closed else "too many wait for it")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(fields, loop.create_future(), loop)
        self._queue.put(waiting)
        # Cheaper than a task with a time-out, on a path that every request takes.
        limit = loop.call_later(patience_seconds, _fail, waiting.answer, _not_written("the store does not answer"))
        try:
            return await waiting.answer
        finally:
            limit.cancel()

    def close(self) -> None:
        """Take nothing more, write what waits, sign the head, and end."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        running = True
        while running:
            batch, running = self._next_batch()
            if batch:
                self._write_batch(batch)
            if self._unsigned and (not running or time.monotonic() >= self._sign_after):
                self._sign()

    def _next_batch(self) -> tuple[list[_Waiting], bool]:
        """Whatever waits, at most BATCH; waits for a first one, or until a head is to be signed. False: the last."""
        batch: list[_Waiting] = []
        patience = max(0.0, self._sign_after - time.monotonic()) if self._unsigned else None
        try:
            one = self._queue.get(timeout=patience)
            if self._last_batch >= CROWD:
                time.sleep(GATHERED_SECONDS)
            while one is not None:
                # Whoever gave up was told that it failed.
                if not one.answer.done():
                    batch.append(one)
                if len(batch) == BATCH:
                    return batch, True
                one = self._queue.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False

    def _write_batch(self, batch: list[_Waiting]) -> None:
        self._last_batch = len(batch)
        try:
            tail = self._append([one.fields for one in batch])
        except Exception as error:  # The thread has to outlive whatever a driver raises; nobody is told that it went well.
            self._tail = None
            _LOG.exception("audit entries could not be written", extra={"entries": len(batch)})
            failure = _not_written(str(error) if isinstance(error, UnavailableError) else type(error).__name__)
            _answer(batch, [failure] * len(batch))
            return
        self._tail, self._unsigned = tail, True
        _answer(batch, range(tail.seq - len(batch) + 1, tail.seq + 1))

    def _append(self, acts: list[Fields]) -> Tail:
        if self._tail is not None:
            with contextlib.suppress(WrittenMeanwhile), self._at_once() as session:
                return append_after(session, self._tail, acts)
        with self._transaction() as session:
            return append_many(session, acts)

    def _sign(self) -> None:
        self._sign_after = time.monotonic() + HEAD_EVERY_SECONDS
        try:
            self._witness(datetime.now(UTC))
            self._unsigned = False
        except Exception:  # The entries are safe; the next head vouches for them too. It is tried again until one does.
            self._sign_after += FAILED_HEAD_WAITS_SECONDS
            _LOG.exception("no head of the audit log could be signed")


def _answer(batch: Iterable[_Waiting], outcomes: Sequence[int | UnavailableError]) -> None:
    """Wake every caller: once for each event loop, not once for each caller."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[int], int | UnavailableError]]] = {}
    for one, outcome in zip(batch, outcomes, strict=True):
        by_loop.setdefault(one.loop, []).append((one.answer, outcome))
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, answers)
        except RuntimeError:
            # The loop was closed: its callers are gone.
            continue


def _resolve(answers: Iterable[tuple[asyncio.Future[int], int | UnavailableError]]) -> None:
    for answer, outcome in answers:
        if isinstance(outcome, UnavailableError):
            _fail(answer, outcome)
        elif not answer.done():
            answer.set_result(outcome)


def _fail(answer: asyncio.Future[int], error: UnavailableError) -> None:
    if not answer.done():
        answer.set_exception(error)


def _not_written(why: str) -> UnavailableError:
    return UnavailableError(f"the audit log could not be written: {why}", mend="try again once the store is back")
