"""The whole station on PostgreSQL by the same code: built, asked, lied to, revoked, recovered, its log verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import registry
from pipeline.database import reading
from pipeline.provider_standings import standings_at
from pipeline.station import Station
from security.audit_check import verify_log
from security.audit_heads import read_heads
from security.keyring import key_state, trusted_keys
from tests.unit.api import small_station
from tests.unit.api.small_station import LAST_DAY, Service
from tests.unit.pipeline import small_recovery
from tests.unit.pipeline.small_recovery import AT, LIAR

FORECAST = {"day": str(LAST_DAY)}


@pytest.fixture(autouse=True)
def _on_postgresql(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDWARD_DATABASE_URL", postgresql_url)


def verified_entries(station: Station) -> int:
    with reading(station.engine) as session:
        return verify_log(session, read_heads(station.audit_heads, trusted_keys(session, "audit")))


def test_a_service_answers_revokes_and_accounts(tmp_path: Path) -> None:
    service = Service.at(small_station.build(tmp_path / "built"), tmp_path / "home")
    assert service.station.engine.dialect.name == "postgresql"
    first = service.ask("POST", "/v1/forecasts", role="analyst", json=FORECAST)
    revoked = service.ask("POST", "/v1/providers/aurora/revoke", role="operator", json={"reason": "it lies"})
    second = service.ask("POST", "/v1/forecasts", role="analyst", json=FORECAST)
    assert [answer.status_code for answer in (first, revoked, second)] == [200, 200, 200]
    assert first.json()["intervals"] == second.json()["intervals"]
    entries = verified_entries(service.station)
    assert entries > 3
    again = Service.at(tmp_path / "built", tmp_path / "another worker")
    listed = {one["name"]: one["state"] for one in again.ask("GET", "/v1/providers", role="operator").json()["providers"]}
    assert listed["aurora"] == "revoked"
    assert verified_entries(service.station) > entries
    for opened in (service, again):
        opened.station.engine.dispose()


def test_a_station_recovers_from_a_liar(tmp_path: Path) -> None:
    home = small_recovery.build(tmp_path / "home")
    station = small_recovery.opened(home)
    report = small_recovery.run(station)
    with reading(station.engine) as session:
        assert key_state(session, "provider", LIAR) == "revoked"
        assert standings_at(session, AT)[LIAR].to_state == "revoked"
        assert registry.active_id(session) == report.model_id
    assert verified_entries(station) > 3
    station.engine.dispose()
