"""Try a bundle in another process before this one parses it: what its bytes do there, they do to nobody else (AML.T0029).

LightGBM's parser aborts on many malformed texts, and an abort cannot be caught. One server process for each process that
tries bundles is started when it is first needed; it imports everything once and forks for each bundle (`trial_child`). It
sees no secret: its environment is made anew, and it inherits no open file. What it answers is as untrusted as the bundle.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data.schema import Array
from forecasting.errors import ModelFileRefused
from forecasting.golden import GOLDEN_JSON, GoldenCase, golden_case, require_equal
from forecasting.strict_json import Unexpected, block, fields, parsed, shown, text
from pipeline.errors import TrialFailed
from pipeline.trial_child import (
    ANSWERED,
    HUNG,
    LENGTH_BYTES,
    LONGEST_REASON,
    MOST_ANSWER_BYTES,
    MOST_REQUEST_BYTES,
    TOO_LONG,
)

# -P: nothing is imported from where the command happens to be run.
SERVER = (sys.executable, "-P", "-s", "-m", "pipeline.trial_child")
# What the server needs to start, beyond the time of the trial itself.
START_SECONDS = 60
STOP_SECONDS = 5

_ROOT = Path(__file__).resolve().parents[1]
# The last three let coverage be measured there.
_KEPT = (
    "PATH",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "COVERAGE_PROCESS_START",
    "COVERAGE_PROCESS_CONFIG",
    "COVERAGE_FILE",
)
_SET = {
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Arrow's own allocator takes as much address space at once as a trial is given.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
_CHUNK = 2**16
_GONE = "the trial server ended"


@dataclass
class _Here:
    """The server of this process, and whose turn it is."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    server: subprocess.Popen[bytes] | None = None


_here = _Here()


@dataclass(frozen=True)
class Limits:
    """Of one trial. seconds: of wall and of processor time; memory_bytes: beyond what the server itself has."""

    seconds: int = 30
    memory_bytes: int = 2**30


@dataclass(frozen=True)
class TrialAnswer:
    """answered: the golden forecasts as the tried bundle makes them, shape (intervals, `golden.OUTPUTS`) [MW]; seconds: how
    long it took, the start of the server included.
    """

    answered: Array
    seconds: float


def try_bundle(files: Mapping[str, bytes], limits: Limits | None = None) -> TrialAnswer:
    """Restore a bundle in a child process with limits and hold its golden forecasts against those it was published with.

    files: every file of it (`pipeline.bundle`), name → verified bytes. Raises ModelFileRefused for a file that is not what
    is documented and for other forecasts, TrialFailed for a bundle that crashes, hangs, or eats memory. Threads take turns.
    """
    began = time.monotonic()
    within = limits or Limits()
    request = _request(files, within)
    with _here.turn:
        reply = _exchanged(request, within.seconds + START_SECONDS)
    answered = _answered(reply, files)
    return TrialAnswer(answered, time.monotonic() - began)


def start_trials() -> None:
    """Start the server now, so that the first trial need not wait for it."""
    with _here.turn:
        _running()


def stop_trials() -> None:
    """End this process's server, if there is one; the next trial starts another."""
    with _here.turn:
        _stop(STOP_SECONDS)


def _request(files: Mapping[str, bytes], limits: Limits) -> bytes:
    order = {
        "files": [[name, len(content)] for name, content in files.items()],
        "seconds": limits.seconds,
        "memory_bytes": limits.memory_bytes,
    }
    content = b"".join([json.dumps(order).encode(), b"\n", *files.values()])
    if len(content) > MOST_REQUEST_BYTES:
        raise TrialFailed(f"{len(content):,} bytes, at most {MOST_REQUEST_BYTES:,} are tried")
    return len(content).to_bytes(LENGTH_BYTES) + content


def _answered(reply: bytes, files: Mapping[str, bytes]) -> Array:
    """The golden forecasts of a reply, which are what is expected."""
    end, _, answer = reply.partition(b"\n")
    if end != ANSWERED.encode():
        raise TrialFailed(shown(end.decode("ascii", "replace")))
    try:
        found = fields(parsed(answer, most_bytes=MOST_ANSWER_BYTES, most_parts=1000), "", (), _ANSWERS)
        if "refused" in found:
            raise _refusal(found, files)
        if "failed" in found:
            raise TrialFailed(f"it raised {shown(text(found['failed'], 'failed', 80))}")
        # Read here only now: the worker has read it without harm.
        case = golden_case(files[GOLDEN_JSON])
        return _golden(found, case)
    except Unexpected as error:
        raise TrialFailed(f"an answer that is none: {error}") from error


def _golden(found: Mapping[str, object], case: GoldenCase) -> Array:
    answered = block(found.get("answered"), "answered", case.expected.shape)
    require_equal(case, answered)
    return answered


_ANSWERS = ("answered", "refused", "part", "failed")


def _refusal(found: Mapping[str, object], files: Mapping[str, bytes]) -> ModelFileRefused:
    reason, part = text(found["refused"], "refused", LONGEST_REASON), text(found.get("part"), "part", 100)
    # The validator of a text names the tree and the line after the file.
    if part.split(", ")[0] not in {*files, GOLDEN_JSON}:
        raise Unexpected("part", "the name of a file is expected")
    return ModelFileRefused(ascii(reason)[1:-1], part=ascii(part)[1:-1])


def _exchanged(request: bytes, seconds: float) -> bytes:
    """The reply to a request. Raises TrialFailed, and ends the server, when there is none in time."""
    was_there = _here.server is not None
    try:
        return _sent_and_received(_running(), request, time.monotonic() + seconds)
    except BaseException as error:
        # Whatever came between, a late reply must not be taken for that to the next request.
        _stop(0)
        # One that was ended by somebody else, just now, tells nothing of this bundle: another one does.
        if was_there and isinstance(error, TrialFailed) and error.why == _GONE:
            return _exchanged(request, seconds)
        raise


def _sent_and_received(server: subprocess.Popen[bytes], request: bytes, deadline: float) -> bytes:
    assert server.stdin is not None and server.stdout is not None  # noqa: S101, PT018 (they are pipes)
    to_server, from_server = server.stdin.fileno(), server.stdout.fileno()
    left, reply = memoryview(request), bytearray()
    waiting = select.poll()
    waiting.register(from_server, select.POLLIN)
    waiting.register(to_server, select.POLLOUT)
    while True:
        ready = dict(waiting.poll(max(0.0, deadline - time.monotonic()) * 1000))
        if not ready:
            raise TrialFailed(HUNG)
        if to_server in ready:
            left = left[_written(to_server, left) :]
            if not left:
                waiting.unregister(to_server)
        if from_server in ready:
            chunk = os.read(from_server, _CHUNK)
            if not chunk:
                raise TrialFailed(_GONE)
            reply += chunk
        if len(reply) >= LENGTH_BYTES:
            length = int.from_bytes(reply[:LENGTH_BYTES])
            if length > MOST_ANSWER_BYTES + 100 or len(reply) > LENGTH_BYTES + length:
                raise TrialFailed(TOO_LONG)
            if len(reply) == LENGTH_BYTES + length:
                return bytes(reply[LENGTH_BYTES:])


def _written(to_server: int, left: memoryview) -> int:
    try:
        return os.write(to_server, left[:_CHUNK])
    except BlockingIOError:
        return 0
    except BrokenPipeError as error:
        raise TrialFailed(_GONE) from error


def _running() -> subprocess.Popen[bytes]:
    """The server; another one where there is none, or it has ended."""
    if _here.server is not None and _here.server.poll() is None:
        return _here.server
    _stop(0)
    _here.server = subprocess.Popen(  # noqa: S603 (our own module, by our own interpreter)
        SERVER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd="/",
        env=_clean_environment(),
        start_new_session=True,
    )
    assert _here.server.stdin is not None  # noqa: S101 (it is a pipe)
    os.set_blocking(_here.server.stdin.fileno(), False)
    return _here.server


def _clean_environment() -> dict[str, str]:
    """No variable but these: no secret of ours can be read there."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    own = {**_SET, "PYTHONPATH": str(_ROOT)}
    return kept | own


def _stop(patience_seconds: float) -> None:
    """End the server: at its own pace while there is patience, for it may have coverage to write."""
    if _here.server is None:
        return
    server, _here.server = _here.server, None
    for stream in (server.stdin, server.stdout):
        if stream is not None:
            stream.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(patience_seconds)
    server.kill()
    server.wait()


def _after_fork() -> None:
    """A forked process has a server of its own: its parent's goes on answering its parent."""
    _here.turn = threading.Lock()
    if _here.server is not None:
        # It is no child of this process: polling marks it as over, and nothing is ended.
        _here.server.poll()
        for stream in (_here.server.stdin, _here.server.stdout):
            if stream is not None:
                stream.close()
        _here.server = None


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_stop, STOP_SECONDS)
