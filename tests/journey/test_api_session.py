"""The session of docs/api.md, run as it stands against a service on the embedded data."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores import without

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs" / "api.md").read_text().split("## A session\n")[1].split("\n## ")[0]
COMMAND = [sys.executable, "-m", "api.cli"]


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    assert found is not None, language
    return found[1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A trained station that answers, and `gridward` on the path."""
    home = tmp_path_factory.mktemp("session")
    (home / "bin").mkdir()
    command = home / "bin" / "gridward"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m api.cli "$@"\n')
    command.chmod(0o755)
    told = os.environ | {"GRIDWARD_HOME": str(home / "station"), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    subprocess.run([*COMMAND, "train"], env=told, cwd=ROOT, capture_output=True, check=True)
    with (home / "log").open("w") as log:
        command_line = [*COMMAND, "serve", "--port", "0"]
        service = subprocess.Popen(command_line, env=told, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert service.stdout is not None
            yield told | {"GRIDWARD": json.loads(service.stdout.readline())["address"]}
        finally:
            service.terminate()
            service.wait(timeout=30)
            service.stdout.close()


def test_the_commands_of_the_session_answer(environment: dict[str, str]) -> None:
    command = ["bash", "-euo", "pipefail", "-c", block("sh")]
    if shutil.which("curl") is None:
        without("curl", "the session of docs/api.md is typed with it")
    session = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)

    assert session.returncode == 0, session.stdout + session.stderr
    who, forecast, header, *rest = session.stdout.splitlines()
    assert json.loads(who)["subject"] == "ann"
    assert len(json.loads(forecast)["intervals"]) == 48
    assert header.startswith("timestamp")
    what_if, job, entries, verified = (json.loads(line) for line in rest if line.startswith("{"))
    assert what_if["judgement"]["verdict"] in {"usual", "unusual"}
    assert job["state"] in {"queued", "running", "done"}
    assert len(entries["entries"]) == 2
    assert verified["entries"] > 5


def test_the_client_of_the_session_answers_in_twenty_lines(environment: dict[str, str]) -> None:
    program = block("python")
    token = [*COMMAND, "token", "--role", "analyst", "--subject", "bob"]
    shown = subprocess.run(token, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment | {"TOKEN": shown}, capture_output=True, text=True, check=True
    )

    assert len([line for line in program.splitlines() if line.strip()]) <= 20
    assert re.fullmatch(r"peak \d+ MW, three degrees hotter \d+ MW; (un)?usual weather\n", ran.stdout)
