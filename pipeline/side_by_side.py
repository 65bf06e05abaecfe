"""The same work on many orders at a time, each in a process of its own; answers and refusals come back in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

from pipeline.errors import PipelineError
from security.errors import GridwardError

Given = TypeVar("Given")
Order = TypeVar("Order")
Answer = TypeVar("Answer")

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def in_processes(
    work: Callable[[Given, Order], Answer], given: Given, orders: Sequence[Order], jobs: int
) -> Generator[Answer, None, None]:
    """`work(given, order)` for each order, `jobs` at a time, each process given `given` once; answers in order.

    work: a function of a module. Of several refusals always the same one is told: the first in order. What fails first, or
    Ctrl-C, ends all processes; so does closing the generator. Raises PipelineError when a process dies.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_take, initargs=(given,))
    ended = False
    try:
        with _for_workers():
            working = [pool.submit(_worked, work, order) for order in orders]
        for future in working:
            yield _answer(future.result())
        ended = True
    except BrokenProcessPool:
        raise PipelineError("a process ended before its time", mend="give fewer --jobs, each needs memory") from None
    finally:
        if not ended:
            for process in set(active_children()) - others:
                process.terminate()
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Refusal:
    """An error on its way between processes: those with arguments of their own cannot be sent as they are."""

    kind: type[GridwardError]
    facts: dict[str, Any]


# What a worker process was given when it began.
_GIVEN: list[Any] = []


def _take(given: object) -> None:
    _GIVEN.append(given)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Were the parent killed, nobody would ever end this process."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _worked(work: Callable[[Any, Order], Answer], order: Order) -> Answer | _Refusal:
    try:
        return work(_GIVEN[0], order)
    except GridwardError as error:
        return _Refusal(type(error), vars(error))


def _answer(answer: Answer | _Refusal) -> Answer:
    if isinstance(answer, _Refusal):
        error = answer.kind.__new__(answer.kind)
        vars(error).update(answer.facts)
        raise error
    return answer


@contextmanager
def _for_workers() -> Iterator[None]:
    """Processes that are started meanwhile compute on one thread and are deaf to Ctrl-C.

    A terminal's Ctrl-C reaches them all; the one that started the others hears it and ends them, in silence.
    """
    before = {name: os.environ[name] for name in _ONE_THREAD if name in os.environ}
    os.environ.update(_ONE_THREAD)
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        for name in _ONE_THREAD:
            del os.environ[name]
        os.environ.update(before)
