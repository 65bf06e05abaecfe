"""The service is killed in the middle of long work, and started again: the work is done, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from pipeline.jobs import LEASE
from security.identity import Role, issue_token
from security.key_chest import open_chest
from security.master_key import Protection
from tests.unit.api.small_station import build

DAYS = ("2023-05-01", "2023-05-08", "2023-05-15")
PATIENCE_SECONDS = LEASE.total_seconds() + 120


@contextmanager
def running(home: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    # Looked at again and again, more often than a caller may by default.
    environment = os.environ | {"GRIDWARD_HOME": str(home), "GRIDWARD_RATE_LIMIT_PER_MINUTE": "100000"}
    command = [sys.executable, "-m", "api.cli", "serve", "--port", "0"]
    with (home.parent / "service.log").open("a") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            line = json.loads(process.stdout.readline())
            signer = open_chest(home / "keys", Protection()).signer("token")
            token = issue_token(signer, "olga", Role.OPERATOR, timedelta(minutes=5), datetime.now(UTC))
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=line["address"], timeout=60, headers=headers) as client:
                yield process, client
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def jobs_of(client: httpx.Client) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = client.get("/v1/jobs").json()["jobs"]
    return jobs


def wait_until(client: httpx.Client, state: str, wanted: int) -> list[dict[str, Any]]:
    """The jobs, as soon as so many are in this state."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        jobs = jobs_of(client)
        if sum(job["state"] == state for job in jobs) >= wanted:
            return jobs
        time.sleep(0.1)
    raise AssertionError(f"not {wanted} jobs {state}: {jobs}")


def test_work_that_a_killed_service_left_is_done_once_by_the_next(tmp_path: Path) -> None:
    home = build(tmp_path / "home")
    with running(home) as (process, client):
        before = len(client.get("/v1/models").json()["models"])
        for day in DAYS:
            assert client.post("/v1/retrain", json={"as_of_day": day}).status_code == 202
        wait_until(client, "running", 1)
        process.kill()
        process.wait()

    with running(home) as (_, client):
        jobs = wait_until(client, "done", len(DAYS))
        models = client.get("/v1/models").json()
        events = client.get(f"/v1/jobs/{jobs[-1]['job_id']}/events").text

    assert [job["problem"] for job in jobs] == [""] * len(DAYS)
    # Each order has its model, none has two, and the last one ordered serves.
    made = {job["result"]["model"]["model_id"] for job in jobs}
    assert len(made) == len(DAYS)
    assert len(models["models"]) == before + len(DAYS)
    assert models["active_model_id"] == jobs[0]["result"]["active_model_id"]
    assert sum(job["attempts"] for job in jobs) in (len(DAYS), len(DAYS) + 1), "killed between two, none was begun twice"
    assert events.count("event: done") == 1


def test_a_key_sent_again_after_a_restart_does_nothing_twice(tmp_path: Path) -> None:
    home = build(tmp_path / "home")
    answers = []
    for _ in range(2):
        with running(home) as (_, client):
            answer = client.post("/v1/retrain", json={"as_of_day": DAYS[0]}, headers={"Idempotency-Key": "monday"})
            answers.append(answer.json()["job_id"])
            count = len(jobs_of(client))

    assert len(set(answers)) == 1
    assert count == 1
