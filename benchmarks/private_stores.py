"""A PostgreSQL and a Redis of one's own, to be killed, stopped and started again: for accidents and for load.

PostgreSQL refuses to run as root; then it runs as the user `postgres`, in a folder that is his.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_START_SECONDS = 30.0


class NoServer(RuntimeError):
    """A server is not installed, or did not start."""


@dataclass
class PrivateServer:
    """One server process. `command` starts it in the foreground."""

    command: list[str]
    folder: Path
    port: int
    url: str
    answers: Callable[[int], bool]
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, or start it again; returns when it answers. Raises NoServer."""
        log = (self.folder / "server.log").open("ab")
        # After a kill -9 PostgreSQL's own children may hold its memory for a moment: tried until it stands.
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(self.command, stdout=log, stderr=log)  # noqa: S603 (our own command)
            if self.answers(self.port):
                log.close()
                return
            time.sleep(0.05)
        raise NoServer(f"{self.command[0]} did not start: see {self.folder / 'server.log'}")

    def kill(self) -> None:
        """Kill -9: nothing is finished, nothing is written any more."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def freeze(self) -> None:
        """Let it live and say nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for pid in _processes_of(self._process):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


@contextmanager
def private_redis(*options: str) -> Iterator[PrivateServer]:
    """A Redis that keeps nothing on disk unless `options` say so."""
    program = shutil.which("redis-server")
    if program is None:
        raise NoServer("redis-server is not installed")
    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        base = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", name, "--save", "", "--loglevel", "warning"]
        yield from _running(
            PrivateServer([*base, *options], Path(name), port, f"redis://127.0.0.1:{port}/0", _redis_answers)
        )


@contextmanager
def private_postgresql() -> Iterator[PrivateServer]:
    """A PostgreSQL that syncs every commit; its user `gridward` is trusted."""
    binaries = _postgresql_binaries()
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as name:
        folder, data = Path(name), Path(name) / "data"
        if as_user:
            shutil.chown(folder, "postgres")
        make = [*as_user, str(binaries / "initdb"), "-D", str(data), "-U", "gridward", "-A", "trust", "-E", "UTF8"]
        made = subprocess.run([*make, "--locale=C"], cwd=folder, capture_output=True, check=False)  # noqa: S603 (our own)
        if made.returncode:
            raise NoServer(f"initdb failed: {made.stderr.decode(errors='replace')[-300:]}")
        port = free_port()
        serve = [*as_user, str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", name]
        url = f"postgresql://gridward@127.0.0.1:{port}/postgres"
        yield from _running(PrivateServer(serve, folder, port, url, _postgresql_answers))


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _running(server: PrivateServer) -> Iterator[PrivateServer]:
    try:
        server.start()
        yield server
    finally:
        server.thaw()
        server.kill()


def _postgresql_binaries() -> Path:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which("postgres")
    if found is None:
        raise NoServer("PostgreSQL's server is not installed")
    return Path(found).parent


def _processes_of(process: subprocess.Popen[bytes] | None) -> list[int]:
    """The process and all it started, the eldest first."""
    if process is None or process.poll() is not None:
        return []
    found = [process.pid]
    for pid in found:
        with suppress(FileNotFoundError):
            found += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return found


def _redis_answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _postgresql_answers(port: int) -> bool:
    import pg8000  # noqa: PLC0415 (a Redis alone needs no driver)

    try:
        pg8000.connect(user="gridward", database="postgres", host="127.0.0.1", port=port, timeout=1).close()
    except (pg8000.Error, OSError):
        return False
    return True
