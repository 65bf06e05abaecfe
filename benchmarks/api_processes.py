"""The processes of the load benchmark: servers pinned to a core, their memory, a trained station, and the stores."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.private_stores import private_postgresql, private_redis

SERVICE = ("-m", "api.cli", "serve", "--port", "0")
BARE = ("-m", "benchmarks.api_bare")
# One core for the server under test; the load generator and the stores, another machine's in earnest, share the other.
SERVER_CORE, CLIENT_CORE = 0, 1
ENDS_AFTER_SECONDS = 20
# No identity of the load reaches it: what a refusal costs is not what is measured.
RATE_LIMIT = 10**8


@dataclass(frozen=True)
class Server:
    """A server that listens."""

    process: subprocess.Popen[str]
    host: str
    port: int

    def resident_kib(self) -> int:
        """Its resident memory [KiB]."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


@contextlib.contextmanager
def running(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[Server]:
    """Python with these arguments, on the server's core, until it says where it listens; stopped at the end."""
    with log.open("ab") as stderr, on_core(SERVER_CORE):
        command = [sys.executable, *arguments]
        process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, stderr=stderr, text=True)  # noqa: S603 (our own command)
    try:
        assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the server did not start; see {log}:\n{log.read_text()[-2000:]}")
        told = json.loads(line)
        yield Server(process, told["host"], told["port"])
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDS_AFTER_SECONDS)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Children started here run on this core alone; of a machine that has one core only, on that."""
    before = os.sched_getaffinity(0)
    if core in before:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def stores(kind: str) -> Iterator[dict[str, str]]:
    """The environment that names the stores: `embedded`, or private PostgreSQL and Redis servers (`servers`)."""
    if kind == "embedded":
        yield {}
        return
    with contextlib.ExitStack() as stack:
        with on_core(CLIENT_CORE):
            postgresql = stack.enter_context(private_postgresql())
            redis = stack.enter_context(private_redis())
        yield {
            "GRIDWARD_DATABASE_URL": f"postgresql://gridward@127.0.0.1:{postgresql.port}/postgres",
            "GRIDWARD_REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
        }


def environment_for(home: Path, named: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with no setting of Gridward but these; one thread for numerics."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GRIDWARD_")}
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    limit = {"GRIDWARD_RATE_LIMIT_PER_MINUTE": str(RATE_LIMIT)}
    return plain | one_thread | {"GRIDWARD_HOME": str(home)} | limit | dict(named)


def trained(home: Path, environment: Mapping[str, str], given: Path | None) -> None:
    """A station of three years of Victoria at `home`: a copy of `given` (embedded stores only), or trained now."""
    if given is not None and "GRIDWARD_DATABASE_URL" not in environment:
        shutil.copytree(given, home)
        return
    command = [sys.executable, "-m", "api.cli", "train"]
    subprocess.run(command, env=dict(environment), stdout=subprocess.DEVNULL, check=True)  # noqa: S603 (our own command)
