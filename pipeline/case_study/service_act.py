"""The response, over HTTP on loopback, against the real service in a process of its own.

An analyst asks, an operator acts, an auditor reads; a model file is tampered with in between. Every exchange is kept with
its status, so that the report shows what happened and not what should have.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from pipeline import registry
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.station import Station
from security.identity import Role, issue_token

START_SECONDS = 60


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. act: what it shows; wanted: the status the story needs; answer: the part that matters."""

    act: str
    role: str
    request: str
    wanted: int
    status: int
    answer: dict[str, Any]


class _Caller:
    """One person with a token, keeping a record of every exchange."""

    def __init__(self, client: httpx.Client, station: Station, role: Role, log: list[Exchange]) -> None:
        token = issue_token(station.signers["token"], f"demo-{role}", role, timedelta(minutes=30), datetime.now(UTC))
        self._headers = {"Authorization": f"Bearer {token}"}
        self._client, self._role, self._log = client, role, log

    def ask(self, act: str, method: str, path: str, wanted: int, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._client.request(method, path, json=body, headers=self._headers)
        content: dict[str, Any] = answer.json()
        shown = {key: value for key, value in content.items() if isinstance(value, str | int | float)}
        if "intervals" in content:
            shown["energy_mwh"] = round(sum(interval["forecast_mw"] for interval in content["intervals"]) / 2, 1)
        self._log.append(Exchange(act, str(self._role), f"{method} {path}", wanted, answer.status_code, shown))
        return content


def respond(station: Station, liar: str, day: date, moment: datetime) -> list[Exchange]:
    """Play the response of the morning before `day`; answers every exchange.

    moment: the replayed present (UTC), the gate closure of `day`. Raises PipelineError when the service does not start.
    """
    log: list[Exchange] = []
    with _service(station, moment) as address, httpx.Client(base_url=address, timeout=120) as client:
        analyst = _Caller(client, station, Role.ANALYST, log)
        operator = _Caller(client, station, Role.OPERATOR, log)
        auditor = _Caller(client, station, Role.AUDITOR, log)
        ask_day = {"day": day.isoformat()}
        analyst.ask("the poisoned model still answers", "POST", "/v1/forecasts", 200, ask_day)
        analyst.ask("an analyst may not retrain", "POST", "/v1/retrain", 403, {})
        reason = {"reason": "drifts from every other provider; supply chain compromise confirmed"}
        operator.ask("the provider's key is revoked", "POST", f"/v1/providers/{liar}/revoke", 200, reason)
        analyst.ask("no trusted weather left: the weather-free fallback answers", "POST", "/v1/forecasts", 200, ask_day)
        retrained = operator.ask(
            "the operator retrains from the clean backup, all sources compared",
            "POST",
            "/v1/retrain",
            200,
            {"weather_policy": "multi-source", "as_of_day": day.isoformat()},
        )
        analyst.ask("the recovered model answers", "POST", "/v1/forecasts", 200, ask_day)
        with _tampered(station):
            operator.ask("a model file with one changed byte is refused", "POST", "/v1/models/reload", 409, None)
            analyst.ask("the last good model keeps serving", "POST", "/v1/forecasts", 200, ask_day)
        operator.ask("the file restored, the model loads again", "POST", "/v1/models/reload", 200, None)
        analyst.ask("models and their states", "GET", "/v1/models", 200)
        auditor.ask("the audit log holds together", "GET", "/v1/audit", 200)
    if not retrained:
        raise PipelineError("the service answered nothing to the retrain", where=str(station.home))
    return log


@contextlib.contextmanager
def _service(station: Station, moment: datetime) -> Iterator[str]:
    home = station.home
    environment = os.environ | {
        "GRIDWARD_HOME": str(home),
        "GRIDWARD_FORECASTER": station.forecaster,
        "GRIDWARD_REPLAY_AT": moment.isoformat(),
    }
    command = [sys.executable, "-m", "api.cli", "serve", "--host", "127.0.0.1", "--port", "0"]
    with (home / "service.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603 (our own command)
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
    path = folder / "model.json"
    original = path.read_bytes()
    position = original.index(b'"base64":"') + len(b'"base64":"') + 3
    path.write_bytes(original[:position] + bytes([original[position] ^ 1]) + original[position + 1 :])
    try:
        yield
    finally:
        path.write_bytes(original)
