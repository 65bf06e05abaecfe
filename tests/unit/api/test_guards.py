from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter

from api import admission
from api.audit_reading import entries_after
from api.guards import GuardedRoute
from api.middleware import BODY_LIMIT_BYTES
from pipeline.database import transaction
from security.audit_log import AuditEntry
from security.keyring import revoke_keys_of
from tests.unit.api.small_station import LAST_DAY, Service, endless_body

FORECAST = {"day": str(LAST_DAY)}
# Passes the gates and is then refused for its shape: 422 tells that the caller was admitted, and nothing is done.
UNSHAPED = {"no such member": True}
ROUTES: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "forecast": ("POST", "/v1/forecasts", FORECAST),
    "forecast day": ("GET", "/v1/forecasts/{day}", None),
    "forecast by id": ("GET", "/v1/forecasts/by-id/{forecast_id}", None),
    "what-if": ("POST", "/v1/what-if", UNSHAPED),
    "models": ("GET", "/v1/models", None),
    "model": ("GET", "/v1/models/{model_id}", None),
    "reload": ("POST", "/v1/models/reload", None),
    "propose": ("POST", "/v1/models/{model_id}/promotion", UNSHAPED),
    "approve": ("POST", "/v1/models/{model_id}/approvals", UNSHAPED),
    "retire": ("POST", "/v1/models/{model_id}/retire", UNSHAPED),
    "providers": ("GET", "/v1/providers", None),
    "evidence": ("GET", "/v1/providers/{name}", None),
    "revoke": ("POST", "/v1/providers/{name}/revoke", {"reason": "test"}),
    "readmit": ("POST", "/v1/providers/{name}/readmit", {"reason": "test"}),
    "trust": ("POST", "/v1/providers/{name}/trust", {"reason": "test"}),
    "retrain": ("POST", "/v1/retrain", UNSHAPED),
    "recover": ("POST", "/v1/recoveries", UNSHAPED),
    "backtest": ("POST", "/v1/backtests", UNSHAPED),
    "jobs": ("GET", "/v1/jobs", None),
    "job": ("GET", "/v1/jobs/{job_id}", None),
    "job events": ("GET", "/v1/jobs/{job_id}/events", None),
    "job result": ("GET", "/v1/jobs/{job_id}/result", None),
    "cancel job": ("POST", "/v1/jobs/{job_id}/cancel", None),
    "snapshots": ("GET", "/v1/snapshots", None),
    "snapshot": ("GET", "/v1/snapshots/{snapshot_id}", None),
    "incidents": ("GET", "/v1/incidents", None),
    "incident": ("GET", "/v1/incidents/{incident_id}", None),
    "close incident": ("POST", "/v1/incidents/{incident_id}/close", UNSHAPED),
    "audit": ("GET", "/v1/audit", None),
    "audit head": ("GET", "/v1/audit/head", None),
    "audit inclusion": ("GET", "/v1/audit/inclusion", None),
    "audit consistency": ("GET", "/v1/audit/consistency", None),
    "audit verify": ("POST", "/v1/audit/verify", None),
    "guard": ("GET", "/v1/guard", None),
    "release": ("POST", "/v1/guard/{subject}/release", UNSHAPED),
    "who am I": ("GET", "/v1/whoami", None),
    "exchange": ("POST", "/v1/tokens", None),
    "revoke token": ("POST", "/v1/tokens/revoke", UNSHAPED),
    "API keys": ("GET", "/v1/api-keys", None),
    "new API key": ("POST", "/v1/api-keys", UNSHAPED),
    "revoke API key": ("DELETE", "/v1/api-keys/{key_id}", None),
    "metrics": ("GET", "/metrics", None),
}
OWN_ACCESS = {"who am I", "exchange", "revoke token"}
READS = {"models", "model", "providers", "jobs", "job", "job events", "job result", "snapshots", "snapshot"}
INVESTIGATES = {"evidence", "incidents", "incident", "guard", "metrics"}
FORECASTS = {"forecast", "forecast day", "forecast by id", "what-if", "backtest", "cancel job"}
OPERATES = {
    "reload", "propose", "approve", "retire", "revoke", "readmit", "trust", "retrain", "recover", "close incident",
}  # fmt: skip
AUDITS = {"audit", "audit head", "audit inclusion", "audit consistency", "audit verify"}
ADMINISTERS = {"API keys", "new API key", "revoke API key", "release", "guard", "metrics"}
ALLOWED = {
    "analyst": OWN_ACCESS | READS | FORECASTS,
    "operator": OWN_ACCESS | READS | FORECASTS | INVESTIGATES | OPERATES,
    "auditor": OWN_ACCESS | READS | INVESTIGATES | AUDITS,
    "admin": OWN_ACCESS | ADMINISTERS,
}
# An exchange is for whoever shows an API key: a token is turned away by the route, behind the permission.
FORBIDDEN_BEHIND = {"exchange"}


@pytest.fixture
def limited(built: Path, tmp_path: Path) -> Service:
    """Two requests a minute for each."""
    return Service.at(built, tmp_path / "limited", rate_limit_per_minute=2)


def filled(path: str) -> str:
    """The path with names in it that nothing has."""
    names = {"day": str(LAST_DAY), "forecast_id": "f" * 32, "name": "nobody", "subject": "nobody"}
    return path.format_map(
        {**dict.fromkeys(("model_id", "job_id", "snapshot_id", "incident_id", "key_id"), "0" * 16), **names}
    )


def denied(service: Service) -> list[AuditEntry]:
    return [entry for entry in entries_after(service.station, 0, 1000) if entry.action == "access.denied"]


@pytest.mark.parametrize("role", ALLOWED)
@pytest.mark.parametrize("route", ROUTES)
def test_each_role_may_use_each_route_as_the_table_says(shared: Service, role: str, route: str) -> None:
    method, path, body = ROUTES[route]

    answer = shared.ask(method, filled(path), role=role, json=body)

    admitted = route in ALLOWED[role]
    # 404, 409 and 422 come from behind the gates: the caller was admitted, what it asked for is not there.
    assert answer.status_code in ({200, 202, 400, 404, 409, 422} if admitted else {403}) or (
        route in FORBIDDEN_BEHIND and answer.status_code == 403 and "may not" not in answer.json()["detail"]
    )


@pytest.mark.parametrize("route", ROUTES)
def test_no_guarded_route_answers_without_a_token(shared: Service, route: str) -> None:
    method, path, body = ROUTES[route]

    answer = shared.ask(method, filled(path), json=body)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_table_of_this_test_knows_every_route_and_none_of_v1_is_open(shared: Service) -> None:
    documented = {
        (method.upper(), path): facts
        for path, methods in shared.app.openapi()["paths"].items()
        for method, facts in methods.items()
    }

    guarded = {route for route, facts in documented.items() if "x-permission" in facts}

    assert guarded == {(method, path) for method, path, _ in ROUTES.values()}
    assert {route for route in documented if route[1].startswith("/v1")} <= guarded


def test_a_route_without_a_permission_is_refused_when_the_service_is_made() -> None:
    router = APIRouter(route_class=GuardedRoute)

    with pytest.raises(KeyError, match="x-permission"):
        router.get("/v1/forgotten")(lambda: {})


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer", "Bearer  ", "Bearer a.b.c", "Bearer " + "x" * 5000])
def test_anything_but_one_of_our_tokens_is_refused_alike(shared: Service, header: str) -> None:
    answer = shared.ask("GET", "/v1/models", headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer.json()["detail"] == "the token was refused — ask an operator for a new one"


def test_an_expired_token_is_refused(shared: Service) -> None:
    token = shared.token("analyst", now=datetime.now(UTC) - timedelta(hours=1))

    assert shared.ask("GET", "/v1/models", token=token).status_code == 401


def test_a_revoked_signing_key_closes_the_door_to_its_tokens_within_two_seconds(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = service.token("analyst")
    assert service.ask("GET", "/v1/models", token=token).status_code == 200
    with transaction(service.station.engine) as session:
        revoke_keys_of(session, "token", "station", "test", "leaked", datetime.now(UTC))

    later = SimpleNamespace(monotonic=lambda: time.monotonic() + admission.LONGEST_BELIEVED_SECONDS)
    monkeypatch.setattr(admission, "time", later)

    assert service.ask("GET", "/v1/models", token=token).status_code == 401


def test_denied_attempts_stand_in_the_audit_log_without_the_token(service: Service) -> None:
    forged = service.token("operator")[:-10] + "AAAAAAAAAA"
    service.ask("POST", "/v1/retrain", role="analyst", json={})
    service.ask("POST", "/v1/retrain", token=forged, address="198.51.100.7", json={})

    forbidden, refused = denied(service)

    assert (forbidden.actor, forbidden.subject) == ("analyst-1", "POST /v1/retrain")
    assert json.loads(forbidden.details)["why"] == "the role analyst may not retrain"
    assert (refused.actor, json.loads(refused.details)["network"]) == ("unknown", "198.51.100.0/24")
    assert forged not in refused.details
    assert forged.rpartition(".")[2] not in refused.details


def test_each_subject_has_its_own_budget(limited: Service) -> None:
    first = [limited.ask("GET", "/v1/models", token=limited.token("analyst", "ann")) for _ in range(3)]

    assert [answer.status_code for answer in first] == [200, 200, 429]
    assert 1 <= int(first[2].headers["retry-after"]) <= 60
    assert limited.ask("GET", "/v1/models", token=limited.token("analyst", "bob")).status_code == 200


def test_bad_tokens_spend_the_budget_of_their_address_and_of_nobody_else(limited: Service) -> None:
    guess = "a.b.c"
    guesses = [limited.ask("GET", "/v1/models", token=guess).status_code for _ in range(4)]

    assert guesses == [401, 401, 429, 429]
    assert len(denied(limited)) == 2, "a flood of guesses must not fill the audit log"
    assert limited.ask("GET", "/v1/models", token=guess, address="198.51.100.9").status_code == 401
    assert limited.ask("GET", "/v1/models", role="analyst").status_code == 200


def test_the_permission_is_judged_before_the_body_is_read(shared: Service) -> None:
    broken = {"content": b"{not json", "headers": {"Content-Type": "application/json"}}

    assert shared.ask("POST", "/v1/retrain", **broken).status_code == 401
    assert shared.ask("POST", "/v1/retrain", role="analyst", **broken).status_code == 403
    assert shared.ask("POST", "/v1/retrain", role="operator", **broken).status_code == 422


@pytest.mark.parametrize("length", [str(BODY_LIMIT_BYTES + 1), "9" * 30, "-1", "many"])
def test_an_announced_length_above_the_limit_is_refused_before_the_token_is_looked_at(shared: Service, length: str) -> None:
    answer = shared.ask("POST", "/v1/forecasts", headers={"Content-Length": length})

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_runs_over_the_limit_without_announcing_it_is_cut_off(shared: Service) -> None:
    over = endless_body(BODY_LIMIT_BYTES // 4096 + 1)

    assert shared.ask("POST", "/v1/forecasts", role="analyst", content=over).status_code == 413


def test_a_body_of_the_limit_passes_the_gate(shared: Service) -> None:
    padded = json.dumps(FORECAST).encode().ljust(BODY_LIMIT_BYTES)
    headers = {"Content-Type": "application/json"}

    assert shared.ask("POST", "/v1/forecasts", role="analyst", content=padded, headers=headers).status_code == 200
