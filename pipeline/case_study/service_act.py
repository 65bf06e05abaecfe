"""The response: over HTTP on loopback, against the real service in a process of its own, and on the operator's console.

An analyst asks, an operator recovers, an auditor reads; a recovery is killed and goes on as a job of the service, and a
model file is tampered with. Every exchange is kept with its status, so that the report shows what happened and not what
should have.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from pipeline import registry
from pipeline.case_study.console import Console
from pipeline.case_study.exchange import Exchange
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.service_access import ServiceAccess
from pipeline.station import Station
from security.identity import Role

LONGEST_SECONDS = 900


class _Caller:
    """One part of the study in one role, with a token like everybody, keeping a record of every exchange."""

    def __init__(self, client: httpx.Client, station: Station, role: Role, log: list[Exchange]) -> None:
        self._access = ServiceAccess(station, f"case-study-{role}", role)
        self._client, self._role, self._log = client, role, log

    def ask(self, act: str, method: str, path: str, wanted: int, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._client.request(method, path, json=body, headers=self._access.headers())
        content: dict[str, Any] = answer.json()
        shown = {key: value for key, value in content.items() if isinstance(value, str | int | float)}
        if "intervals" in content:
            shown["energy_mwh"] = round(sum(interval["forecast_mw"] for interval in content["intervals"]) / 2, 1)
        self._log.append(Exchange(act, str(self._role), f"{method} {path}", wanted, answer.status_code, shown))
        return content

    def follow(self, act: str, job: str) -> None:
        """Listen to a job until it ends; a stream that ends before is opened again where it was."""
        path, last, stages, over, status = f"/v1/jobs/{job}/events", "0", [], False, 200
        deadline = time.monotonic() + LONGEST_SECONDS
        while not over and status == 200 and time.monotonic() < deadline:
            headers = self._access.headers() | {"Last-Event-ID": last}
            with self._client.stream("GET", path, headers=headers) as answer:
                status = answer.status_code
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        last = value
                    elif name == "data":
                        told = json.loads(value)
                        stages.append(told["stage"] or told["state"])
                        over = told["state"] in ("done", "failed", "cancelled")
        shown = {"events": int(last), "stages": ", ".join(dict.fromkeys(stages))}
        self._log.append(Exchange(act, str(self._role), f"GET {path}", 200, status, shown))


def respond(station: Station, liar: str, compromise: datetime, day: date, moment: datetime) -> list[Exchange]:
    """Play the response of the morning before `day`; answers every exchange.

    compromise: since when the liar lies, as the investigation found; moment: the replayed present (UTC), the gate closure of
    `day`. Raises PipelineError when the service does not start.
    """
    log: list[Exchange] = []
    environment = _environment(station, moment)
    console = Console(station, environment, log)
    with _service(station, environment) as address, httpx.Client(base_url=address, timeout=120) as client:
        analyst = _Caller(client, station, Role.ANALYST, log)
        operator = _Caller(client, station, Role.OPERATOR, log)
        auditor = _Caller(client, station, Role.AUDITOR, log)
        ask_day = {"day": day.isoformat()}
        analyst.ask("the poisoned model still answers", "POST", "/v1/forecasts", 200, ask_day)
        analyst.ask("an analyst may not retrain", "POST", "/v1/retrain", 403, {})
        _recover(console, analyst, operator, liar, (compromise, day))
        analyst.ask("the recovered model answers", "POST", "/v1/forecasts", 200, ask_day)
        with _tampered(station):
            operator.ask("a model file with one changed byte is refused", "POST", "/v1/models/reload", 409, None)
            analyst.ask("the last good model keeps serving", "POST", "/v1/forecasts", 200, ask_day)
        operator.ask("the file restored, the model loads again", "POST", "/v1/models/reload", 200, None)
        analyst.ask("models and their states", "GET", "/v1/models", 200)
        _close(operator, liar)
        auditor.ask("the audit log holds together", "POST", "/v1/audit/verify", 200)
    return log


def _recover(console: Console, analyst: _Caller, operator: _Caller, liar: str, when: tuple[datetime, date]) -> None:
    """The recovery: begun by a command that a power cut ends, brought to its end by the service, and a disaster at the end.

    when: since when the liar lies, and the day to recover for.
    """
    compromise, day = when
    reason = "supply chain compromise confirmed"
    order = {"provider": liar, "as_of_day": day.isoformat(), "reason": reason}
    since = compromise.isoformat()
    console.run("what the liar touched since the compromise", "trace", "provider", liar, "--since", since)
    seen = urlencode({"since": since})
    operator.ask("the evidence against it, its keys and its history", "GET", f"/v1/providers/{liar}?{seen}", 200)
    operator.ask("what a recovery would do; nothing is changed", "POST", "/v1/recoveries", 200, order | {"dry_run": True})
    recover = ("recover", "--provider", liar, "--as-of-day", str(day), "--reason", reason)
    console.run_and_kill("a power cut, once the provider is revoked", *recover)
    analyst.ask(
        "no trusted weather left: the weather-free fallback answers", "POST", "/v1/forecasts", 200, {"day": day.isoformat()}
    )
    job = operator.ask("the service goes on with what was begun, as a job", "POST", "/v1/recoveries", 202, order)
    operator.follow("its progress, until it ends", job.get("job_id", ""))
    ended = operator.ask("it passed the gates, and its model serves", "GET", f"/v1/jobs/{job.get('job_id', '')}", 200)
    if ended.get("state") != "done":
        raise PipelineError(f"the recovery failed: {ended.get('problem')}", where=str(console.station.home))
    with transaction(console.station.engine) as session:
        snapshot = registry.active(session).snapshot_id
    analyst.ask("what the recovered model learned from, verified", "GET", f"/v1/snapshots/{snapshot}", 200)
    console.run("the new snapshot and all it was made from hold", "snapshot", "verify", snapshot)
    _back_up(console)


def _back_up(console: Console) -> None:
    """The disaster: another machine has the backup and the keys, and no station."""
    backups, keys = console.station.home.parent / "backups", console.station.home.parent / "backup-keys"
    console.run("an encrypted, signed backup", "backup", "create", "--to", str(backups))
    keys.mkdir()
    shutil.copy(console.station.home / "keys" / "backup.keyset", keys)
    elsewhere = str(console.station.home.parent / "another-machine")
    drill = ("backup", "restore", str(backups), "--drill", "--keys", str(keys))
    console.run("from the backup and its keys alone, a forecast", *drill, GRIDWARD_HOME=elsewhere)


def _close(operator: _Caller, liar: str) -> None:
    """Read what went wrong, and close what the recovery settled."""
    listed = operator.ask("what went wrong, and is not closed yet", "GET", "/v1/incidents?state=open", 200)
    for incident in listed.get("incidents", []):
        if incident["subject"] == liar:
            path = f"/v1/incidents/{incident['incident_id']}/close"
            operator.ask("settled: the model was recovered", "POST", path, 200, {"reason": "recovered without it"})


def _environment(station: Station, moment: datetime) -> dict[str, str]:
    """Of every process that works on the station: its settings, and the replayed present."""
    return os.environ | {
        "GRIDWARD_HOME": str(station.home),
        # The story's stations keep to their folders, whatever the machine it is told on is set up for.
        "GRIDWARD_LAKE_URL": "",
        "GRIDWARD_DATABASE_URL": "",
        "GRIDWARD_AUDIT_WITNESS": "",
        "GRIDWARD_FORECASTER": station.forecaster,
        "GRIDWARD_REPLAY_AT": moment.isoformat(),
        # Made for this run, and gone with it.
        "GRIDWARD_BACKUP_PASSPHRASE": secrets.token_urlsafe(24),
    }


@contextlib.contextmanager
def _service(station: Station, environment: Mapping[str, str]) -> Iterator[str]:
    home = station.home
    command = [sys.executable, "-m", "api.cli", "serve", "--host", "127.0.0.1", "--port", "0"]
    with (home / "service.log").open("wb") as log:
        process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603 (our own command)
        try:
            yield f"http://127.0.0.1:{_port_of(process, home)}"
        finally:
            process.terminate()
            process.wait(timeout=30)
            if process.stdout is not None:
                process.stdout.close()


def _port_of(process: subprocess.Popen[str], home: Path) -> int:
    if process.stdout is not None:
        for line in process.stdout:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == "listening":
                    return int(event["port"])
    raise PipelineError("the service did not start", where=str(home / "service.log"), mend="read the last line of that file")


@contextlib.contextmanager
def _tampered(station: Station) -> Iterator[None]:
    """The active model's file with one byte changed, as somebody with access to the disk would; put right afterwards."""
    with transaction(station.engine) as session:
        folder = station.models / registry.active(session).model_id
    path = folder / "model.json.sealed"
    original = path.read_bytes()
    position = len(original) // 2
    path.write_bytes(original[:position] + bytes([original[position] ^ 1]) + original[position + 1 :])
    try:
        yield
    finally:
        path.write_bytes(original)
