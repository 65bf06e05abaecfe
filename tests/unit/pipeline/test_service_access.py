from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.rotate_token_key import rotate_token_key
from pipeline.service_access import ServiceAccess
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from security.identity import SERVICE_LIFETIME, Identity, Role, verify_token
from tests.unit.pipeline.republish import AT


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return open_station(Settings(home=tmp_path / "home"))


def seen(station: Station, headers: dict[str, str], now: datetime) -> Identity:
    signer = station.chest.signer("token")
    return verify_token(headers["Authorization"].removeprefix("Bearer "), {signer.key_id: signer.public_key}, now)


def test_our_own_program_asks_under_its_name_with_the_shortest_token(station: Station) -> None:
    now = datetime.now(UTC)

    identity = seen(station, ServiceAccess(station, "schedule", Role.OPERATOR).headers(now), now)

    assert (identity.subject, identity.role, identity.is_service) == ("service:schedule", Role.OPERATOR, True)
    assert identity.expires_at - now <= SERVICE_LIFETIME == timedelta(minutes=2)


def test_its_token_is_renewed_before_it_runs_out_and_not_sooner(station: Station) -> None:
    access, now = ServiceAccess(station, "schedule", Role.OPERATOR), datetime.now(UTC)
    first = access.headers(now)

    assert access.headers(now + timedelta(seconds=80)) == first
    assert access.headers(now + timedelta(seconds=95)) != first


def test_it_signs_with_the_key_that_is_the_stations_now(station: Station) -> None:
    access, now = ServiceAccess(station, "schedule", Role.OPERATOR), datetime.now(UTC)
    access.headers(now)
    rotate_token_key(station, leaked=True, by="olga", at=AT)

    later = now + timedelta(minutes=2)

    assert seen(station, access.headers(later), later).subject == "service:schedule"
