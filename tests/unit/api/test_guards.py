from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi import APIRouter

from api.audit_reading import entries_after
from api.guards import GuardedRoute
from api.middleware import BODY_LIMIT_BYTES
from pipeline.database import transaction
from security.audit_log import AuditEntry
from security.keyring import revoke_keys_of
from tests.unit.api.small_station import LAST_DAY, Service, endless_body

FORECAST = {"day": str(LAST_DAY)}
ROUTES = {
    "forecast": ("POST", "/v1/forecasts", FORECAST),
    "models": ("GET", "/v1/models", None),
    "reload": ("POST", "/v1/models/reload", None),
    "providers": ("GET", "/v1/providers", None),
    "revoke": ("POST", "/v1/providers/nobody/revoke", {"reason": "test"}),
    "readmit": ("POST", "/v1/providers/nobody/readmit", {"reason": "test"}),
    "trust": ("POST", "/v1/providers/nobody/trust", {"reason": "test"}),
    "retrain": ("POST", "/v1/retrain", {"weather_policy": "single:nobody"}),
    "audit": ("GET", "/v1/audit", None),
}
ALLOWED = {
    "analyst": {"forecast", "models", "providers"},
    "operator": {"forecast", "models", "providers", "reload", "revoke", "readmit", "trust", "retrain"},
    "auditor": {"models", "providers", "audit"},
}


@pytest.fixture
def limited(built: Path, tmp_path: Path) -> Service:
    """Two requests a minute for each."""
    return Service.at(built, tmp_path / "limited", rate_limit_per_minute=2)


def denied(service: Service) -> list[AuditEntry]:
    return [entry for entry in entries_after(service.station, 0, 1000) if entry.action == "access.denied"]


@pytest.mark.parametrize("role", ALLOWED)
@pytest.mark.parametrize("route", ROUTES)
def test_each_role_may_use_each_route_as_the_table_says(shared: Service, role: str, route: str) -> None:
    method, path, body = ROUTES[route]

    answer = shared.ask(method, path, role=role, json=body)

    # 404 and 409 come from behind the gates: the caller was admitted, what it asked for is not there.
    assert (answer.status_code in {200, 404, 409}) == (route in ALLOWED[role])
    assert (answer.status_code == 403) == (route not in ALLOWED[role])


@pytest.mark.parametrize("route", ROUTES)
def test_no_v1_route_answers_without_a_token(shared: Service, route: str) -> None:
    method, path, body = ROUTES[route]

    answer = shared.ask(method, path, json=body)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_table_of_this_test_knows_every_v1_route(shared: Service) -> None:
    documented = {(method.upper(), path) for path, methods in shared.app.openapi()["paths"].items() for method in methods}

    tested = {(method, path.replace("nobody", "{name}")) for method, path, _ in ROUTES.values()}

    assert {route for route in documented if route[1].startswith("/v1")} == tested


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


def test_a_revoked_signing_key_closes_the_door_to_its_tokens_at_once(service: Service) -> None:
    token = service.token("analyst")
    assert service.ask("GET", "/v1/models", token=token).status_code == 200

    with transaction(service.station.engine) as session:
        revoke_keys_of(session, "token", "station", "test", "leaked", datetime.now(UTC))

    assert service.ask("GET", "/v1/models", token=token).status_code == 401


def test_denied_attempts_stand_in_the_audit_log_without_the_token(service: Service) -> None:
    forged = service.token("operator")[:-10] + "AAAAAAAAAA"
    service.ask("POST", "/v1/retrain", role="analyst", json={})
    service.ask("POST", "/v1/retrain", token=forged, address="198.51.100.7", json={})

    forbidden, refused = denied(service)

    assert (forbidden.actor, forbidden.subject) == ("analyst-1", "POST /v1/retrain")
    assert json.loads(forbidden.details)["why"] == "the role analyst may not retrain"
    assert (refused.actor, json.loads(refused.details)["address"]) == ("unknown", "198.51.100.7")
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
