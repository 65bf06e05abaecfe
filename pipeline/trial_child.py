"""The other side of a trial (`pipeline.trial`): run as `python -m pipeline.trial_child`, never imported to be served from.

    server   imports what bundles need once, takes requests from its standard input, forks a worker for each and waits for it
             so long and no longer; never looks into a bundle; ends when its parent closes the input or is gone
    worker   closes every file, sets its limits, restores the bundle, asks it the golden day, writes its answer, ends

The limits hold what a malformed file can make a parser do: abort, loop, eat memory, write. They are no sandbox against code
of the attacker's own: that no format of a bundle can hold any is what keeps it out (AML.T0018).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from forecasting.arrays import packed
from forecasting.errors import ModelFileRefused
from forecasting.golden import GOLDEN_JSON, answers, golden_case
from forecasting.prophet_forecaster import quiet
from pipeline.bundle import restore

# A request is its length, a line of JSON, and the files one after the other; a reply its length, how it ended, the answer.
LENGTH_BYTES = 8
MOST_REQUEST_BYTES = 256 * 2**20
MOST_ANSWER_BYTES = 2**20
LONGEST_REASON = 500
ANSWERED, HUNG, OUT_OF_MEMORY, TOO_LONG = "answered", "hung", "out of memory", "an answer without end"
PROPHET_JSON = "prophet.json"

_SET_PARENT_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38
_OPEN_FILES = 16
# Above any that a server with nothing else to do has open.
_HIGHEST_FILE = 2**16
_EXIT_OUT_OF_MEMORY, _EXIT_FAILED = 71, 70
_CHUNK = 2**20
_LOOK_FOR_PARENT_MS = 500

Work = Callable[[Mapping[str, bytes]], dict[str, Any]]


def tried(files: Mapping[str, bytes]) -> dict[str, Any]:
    """What a bundle comes to, as JSON: `answered` with the golden forecasts, `refused` with the part, or `failed` with the
    kind of error that nobody foresaw.
    """
    try:
        if GOLDEN_JSON not in files:
            raise ModelFileRefused("it is missing", part=GOLDEN_JSON)
        case = golden_case(files[GOLDEN_JSON])
        return {"answered": packed(answers(restore(files), case))}
    except ModelFileRefused as error:
        return {"refused": error.problem[:LONGEST_REASON], "part": error.part}
    except MemoryError:
        raise
    except Exception as error:
        return {"failed": type(error).__name__}


def serve(work: Work) -> None:
    """Answer requests until the parent is done."""
    # A parent that ignores the end of its children hands that down.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    requests, replies = os.dup(0), os.dup(1)
    # LightGBM prints where replies are written.
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    parent = os.getppid()
    while (size := _received(requests, LENGTH_BYTES, parent)) is not None:
        length = int.from_bytes(size)
        request = _received(requests, length, parent) if length <= MOST_REQUEST_BYTES else None
        if request is None:
            return
        reply = _reply(work, request)
        _write_all(replies, len(reply).to_bytes(LENGTH_BYTES) + reply)


def set_limits(seconds: int, memory_bytes: int) -> None:
    """Bind this process: so much more memory, so much processor time, no file written, few open, no other process, no dump
    of its memory, no privilege gained; and it ends with its parent.
    """
    # Told by the kernel, in pages.
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    control = ctypes.CDLL(None).prctl
    control(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    control(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    # The server ends it sooner; this is for one that has lost its server.
    signal.alarm(seconds + 1)
    for limit, most in (
        (resource.RLIMIT_AS, now + memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        # Root is not held by it.
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (most, most))


def _reply(work: Work, request: bytes) -> bytes:
    line, _, content = request.partition(b"\n")
    order = json.loads(line)
    if PROPHET_JSON in (name for name, _ in order["files"]):
        _prepare_prophet()
    reading, writing = os.pipe()
    worker = os.fork()
    if worker == 0:
        _be_worker(work, order, content, writing)
    os.close(writing)
    deadline = time.monotonic() + order["seconds"]
    answer, end = _answer_of(reading, deadline)
    os.close(reading)
    status = _ended(worker, deadline) if end == ANSWERED else None
    if status is None:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        end = HUNG if end == ANSWERED else end
    elif status != 0:
        answer, end = b"", _told(status)
    return end.encode() + b"\n" + answer


@cache
def _prepare_prophet() -> None:
    """Import Prophet and Stan's interface before the fork: under a worker's limits they find no place for their files."""
    with quiet():
        import prophet.serialize  # noqa: PLC0415 (slow to import, rarely needed)

        prophet.Prophet()


def _be_worker(work: Work, order: dict[str, Any], content: bytes, writing: int) -> None:
    """Never returns: whatever happens in a worker, it must not become a second server."""
    code = _EXIT_FAILED
    try:
        os.closerange(3, writing)
        os.closerange(writing + 1, _HIGHEST_FILE)
        set_limits(order["seconds"], order["memory_bytes"])
        files, start = {}, 0
        for name, size in order["files"]:
            files[name] = content[start : start + size]
            start += size
        _write_all(writing, json.dumps(work(files), allow_nan=False).encode())
        code = 0
    except MemoryError:
        code = _EXIT_OUT_OF_MEMORY
    finally:
        os._exit(code)


def _answer_of(reading: int, deadline: float) -> tuple[bytes, str]:
    answer = bytearray()
    while _readable(reading, deadline):
        chunk = os.read(reading, _CHUNK)
        if not chunk:
            return bytes(answer), ANSWERED
        answer += chunk
        if len(answer) > MOST_ANSWER_BYTES:
            return b"", TOO_LONG
    return b"", HUNG


def _readable(file: int, deadline: float) -> bool:
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    return bool(waiting.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _ended(worker: int, deadline: float) -> int | None:
    """How a worker ended that has nothing more to say: its status, None where it does not end."""
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.002)


def _told(status: int) -> str:
    # The worker's own alarm goes off first where the server was held up.
    if status in (-signal.SIGXCPU, -signal.SIGALRM):
        return HUNG
    if status < 0:
        return f"crashed (signal {-status})"
    return OUT_OF_MEMORY if status == _EXIT_OUT_OF_MEMORY else "ended without an answer"


def _received(file: int, size: int, parent: int) -> bytes | None:
    """So many bytes; None when the parent closed the file or is gone: a fork of it may keep the other end open."""
    content = bytearray()
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    while len(content) < size:
        if not waiting.poll(_LOOK_FOR_PARENT_MS):
            if os.getppid() != parent:
                return None
            continue
        chunk = os.read(file, min(_CHUNK, size - len(content)))
        if not chunk:
            return None
        content += chunk
    return bytes(content)


def _write_all(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


if __name__ == "__main__":
    serve(tried)
