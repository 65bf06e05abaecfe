"""Attacks on the service. Each wins with its safeguard off and loses with it on."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

import api.admission
import api.guards
import api.middleware
import security.sealed_bundle
from pipeline.database import transaction
from security.bundle_keys import bundle_context
from security.keyring import revoke_keys_of
from security.permissions import Permission
from security.rate_limit import OwnCounts
from tests.unit.api.small_station import LAST_DAY, Service, build, endless_body

FORECAST = {"day": str(LAST_DAY)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("station") / "built")


@pytest.fixture
def service(built: Path, tmp_path: Path) -> Service:
    return Service.at(built, tmp_path / "home")


def test_an_analyst_retrains_only_where_permissions_are_not_asked_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = service.serving.active_model_id
    body = {"as_of_day": "2023-05-01"}

    assert service.ask("POST", "/v1/retrain", role="analyst", json=body).status_code == 403
    assert service.serving.active_model_id == before

    monkeypatch.setattr(api.guards, "require", lambda _identity, _permission: None)
    assert service.ask("POST", "/v1/retrain", role="analyst", json=body).status_code == 202
    service.app.state.house.jobs.run_next()
    assert service.serving.active_model_id != before


def test_a_stolen_token_key_opens_the_door_until_two_seconds_after_it_is_revoked(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    stolen = service.token("operator", "thief")

    assert service.ask("POST", "/v1/models/reload", token=stolen).status_code == 200

    with transaction(service.station.engine) as session:
        revoke_keys_of(session, "token", "station", "operator-1", "stolen", datetime.now(UTC))
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + api.admission.LONGEST_BELIEVED_SECONDS)
    monkeypatch.setattr(api.admission, "time", later)
    assert service.ask("POST", "/v1/models/reload", token=stolen).status_code == 401


def test_a_flood_from_one_caller_is_answered_only_where_nobody_counts(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = Service.at(built, tmp_path / "home", rate_limit_per_minute=5)
    token = limited.token("analyst")

    def flood() -> list[int]:
        return [limited.ask("GET", "/v1/models", token=token).status_code for _ in range(12)]

    assert flood() == [200] * 5 + [429] * 7

    async def uncounted(_key: str, _cost: int = 1) -> None:
        return

    monkeypatch.setattr(limited.app.state.house.limiter, "charge", uncounted)
    assert flood() == [200] * 12


def test_a_broken_limiter_lets_nobody_through(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> bool:
        raise ConnectionError("store gone")

    monkeypatch.setattr(OwnCounts, "acquire_entry", broken)

    answer = service.ask("POST", "/v1/forecasts", role="analyst", json=FORECAST)

    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert service.ask("GET", "/v1/models", headers={"Authorization": "Bearer a.b.c"}).status_code == 503


def test_a_huge_body_is_read_whole_only_where_there_is_no_limit(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def send() -> int:
        headers = {"Content-Type": "application/json"}
        return service.ask("POST", "/v1/forecasts", role="analyst", content=endless_body(64), headers=headers).status_code

    assert send() == 413

    monkeypatch.setattr(api.middleware, "BODY_LIMIT_BYTES", 2**40)
    assert send() == 422, "a quarter of a megabyte of blanks was read and parsed"


def test_a_tampered_model_is_served_only_where_bundles_are_not_verified(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = _energy(service)
    _double_the_scale(service)

    assert service.ask("POST", "/v1/models/reload", role="operator").status_code == 409
    assert _energy(service) == honest, "the last good model keeps serving"

    monkeypatch.setattr(security.sealed_bundle, "require_content", lambda _file, _content: None)
    assert service.ask("POST", "/v1/models/reload", role="operator").status_code == 200
    assert _energy(service) != honest, "without verification the changed model answers"


def test_an_attackers_forwarded_address_does_not_give_a_fresh_budget(built: Path, tmp_path: Path) -> None:
    limited = Service.at(built, tmp_path / "home", rate_limit_per_minute=2)

    codes = [
        limited.ask(
            "GET", "/v1/models", headers={"Authorization": "Bearer a.b.c", "X-Forwarded-For": f"203.0.113.{n}"}
        ).status_code
        for n in range(4)
    ]

    assert codes == [401, 401, 429, 429]


def test_a_new_permission_is_granted_to_nobody_by_default(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("security.permissions.GRANTS", {})

    for permission, (method, path) in {
        Permission.READ_FORECAST: ("POST", "/v1/forecasts"),
        Permission.READ_AUDIT: ("GET", "/v1/audit"),
    }.items():
        assert service.ask(method, path, role="operator", json=FORECAST).status_code == 403, permission


def _energy(service: Service) -> float:
    answer = service.ask("POST", "/v1/forecasts", role="analyst", json=FORECAST).json()
    return sum(row["forecast_mw"] for row in answer["intervals"])


def _double_the_scale(service: Service) -> None:
    """What somebody can who stole the keys around the bundles, and not the one that signs."""
    model_id = service.serving.active_model_id
    folder, context = service.station.models / model_id, bundle_context(model_id)
    cipher, bound = service.station.chest.cipher_of(folder / "key.json", context), context + b"\0model.json"
    path = folder / "model.json.sealed"
    content = json.loads(cipher.decrypt(path.read_bytes(), bound))
    doubled = json.dumps(content | {"scale_mw": 2 * content["scale_mw"]}, separators=(",", ":"))
    path.write_bytes(cipher.encrypt(doubled.encode(), bound))
