"""The real service in a process of its own, asked over loopback: what an operator and an analyst live through."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from security.identity import Role, issue_token
from security.key_chest import open_chest
from security.master_key import Protection
from tests.unit.api.small_station import LAST_DAY, build

FORECAST = {"day": str(LAST_DAY), "quantiles": [0.1, 0.9]}
COMMAND = [sys.executable, "-m", "api.cli"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"GRIDWARD_HOME": str(build(tmp_path / "home"))}


@contextmanager
def running(environment: dict[str, str], log: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    with log.open("w") as stderr:
        command = [*COMMAND, "serve", "--port", "0"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)
        try:
            assert process.stdout is not None
            line = json.loads(process.stdout.readline())
            assert line["event"] == "listening"
            with httpx.Client(base_url=line["address"], timeout=60) as client:
                yield process, client
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def token_by_command(environment: dict[str, str], role: Role) -> str:
    command = [*COMMAND, "token", "--role", role, "--subject", f"{role}-1", "--minutes", "5"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def token_at_once(home: Path, role: Role) -> str:
    signer = open_chest(home / "keys", Protection()).signer("token")
    return issue_token(signer, f"{role}-1", role, timedelta(minutes=5), datetime.now(UTC))


def test_a_day_at_the_service(environment: dict[str, str], tmp_path: Path) -> None:
    home, log = Path(environment["GRIDWARD_HOME"]), tmp_path / "service.log"
    with running(environment, log) as (process, client):
        tokens = [
            token_by_command(environment, Role.ANALYST),
            token_at_once(home, Role.OPERATOR),
            token_at_once(home, Role.AUDITOR),
        ]
        analyst, operator, auditor = ({"Authorization": f"Bearer {token}"} for token in tokens)
        first_model = client.get("/readyz").json()["active_model_id"]

        forecast = client.post("/v1/forecasts", json=FORECAST, headers=analyst)
        assert forecast.status_code == 200
        assert len(forecast.json()["intervals"]) == 24

        assert client.post("/v1/retrain", json={}, headers=analyst).status_code == 403
        retrained = client.post("/v1/retrain", json={"as_of_day": "2023-05-01"}, headers=operator)
        assert retrained.status_code == 202
        job = retrained.headers["location"]
        told = client.get(f"{job}/events", headers=operator)
        assert told.text.rstrip().splitlines()[-2] == "event: done"
        new_model = client.get(job, headers=operator).json()["result"]["active_model_id"]
        assert new_model != first_model

        (home / "models" / new_model / "intruder.txt").write_text("x")
        refused = client.post("/v1/models/reload", headers=operator)
        assert refused.status_code == 409
        assert "intruder.txt" in refused.json()["detail"]
        assert client.get("/readyz").json() == {"status": "ready", "active_model_id": new_model}
        assert client.post("/v1/forecasts", json=FORECAST, headers=analyst).json()["model_id"] == new_model

        entries = client.get("/v1/audit", headers=auditor).json()["entries"]
        assert client.post("/v1/audit/verify", headers=auditor).json()["entries"] > len(entries)
        # What was only read or followed stands in the log too, at the moment it was answered, amid the job's own acts.
        actions = [entry["action"] for entry in entries if entry["action"] != "request.answered"]
        assert actions == [
            "registry.founded",
            "model.approved",
            "model.approved",
            "model.activated",
            "access.granted",
            "forecast.served",
            "access.denied",
            "job.submitted",
            "model.approved",
            "model.approved",
            "model.activated",
            "model.refused",
            "request.refused",
            "forecast.served",
        ]

        process.send_signal(signal.SIGINT)
        # Where whoever runs the tests ignores SIGINT (a background job does), the service ends cleanly instead.
        assert process.wait(timeout=20) in (0, 130)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in requests if line["path"] == "/v1/retrain"] == [403, 202]
    assert not any(token in log.read_text() for token in tokens)
