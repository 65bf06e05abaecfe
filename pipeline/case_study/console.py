"""The operator's commands in the story: run as processes of their own, with what they answered and their exit codes kept."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import select

from pipeline.case_study.exchange import Exchange
from pipeline.database import transaction
from pipeline.recovery.journal import PLANNED, RecoveryRecord
from pipeline.station import Station

LONGEST_SECONDS = 300
OPERATOR = "operator on the console"


@dataclass(frozen=True)
class Console:
    """Runs `gridward` for a station; log: where each command is noted. environment: of the process, with the settings."""

    station: Station
    environment: Mapping[str, str]
    log: list[Exchange]

    def run(self, act: str, *arguments: str, **elsewhere: str) -> dict[str, Any]:
        """Run one command to its end; answers its JSON. elsewhere: environment variables for this command alone."""
        done = subprocess.run(  # noqa: S603 (our own command)
            _command(arguments),
            env={**self.environment, **elsewhere},
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        content: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {"detail": done.stderr.strip()}
        self._note(act, arguments, 0, done.returncode, content)
        return content

    def run_and_kill(self, act: str, *arguments: str) -> None:
        """Run a recovery, and kill it (SIGKILL) when its first step is done: as a power cut would."""
        process = subprocess.Popen(  # noqa: S603 (our own command)
            _command(arguments), env=dict(self.environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + LONGEST_SECONDS
        while process.poll() is None:
            if self._first_step_is_done() or time.monotonic() > deadline:
                process.kill()
                process.wait()
            time.sleep(0.02)
        self._note(act, arguments, -signal.SIGKILL, process.returncode, {})

    def _first_step_is_done(self) -> bool:
        with transaction(self.station.engine) as session:
            return any(record.state != PLANNED for record in session.exec(select(RecoveryRecord)))

    def _note(self, act: str, arguments: Sequence[str], wanted: int, status: int, content: Mapping[str, Any]) -> None:
        told = {key: _rounded(value) for key, value in content.items() if isinstance(value, str | int | float)}
        folder = f"{self.station.home.parent}/"
        request = shlex.join(["gridward", *(argument.removeprefix(folder) for argument in arguments)])
        self.log.append(Exchange(act, OPERATOR, request, wanted, status, told))


def _rounded(value: str | float) -> str | float:
    return round(value, 1) if isinstance(value, float) else value


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "api.cli", *arguments, "--json"]
