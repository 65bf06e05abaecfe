"""Polling into a station: what is accepted is kept as readings, what is refused with its reason, whoever fails."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta

import pandas as pd
import pytest

from data.lake.pins import pinned
from data.lake.reading import read
from data.lake.tables import WEATHER
from data.providers.met_norway import MetNorway
from data.providers.open_meteo import OpenMeteo
from data.providers.protocol import WeatherProvider
from data.quarantine import QuarantinedItem, quarantined_from
from pipeline.database import transaction
from pipeline.poll import Polled, poll_providers
from pipeline.station import Station
from security.keyring import register_key, revoke_keys_of, trusted_keys
from security.signing import new_signer
from tests.unit.data.weather_server import NOW, WeatherServer, met_norway, open_meteo, sends, serving, settings

HOUR = timedelta(hours=1)


@pytest.fixture
def server() -> Iterator[WeatherServer]:
    with serving() as running:
        yield running


@pytest.fixture
def other() -> Iterator[WeatherServer]:
    with serving() as running:
        yield running


def key_of(station: Station, name: str) -> str:
    with transaction(station.engine) as session:
        record = register_key(
            session,
            purpose="provider",
            owner=name,
            public_key=new_signer().public_key,
            by="ann",
            reason="contract",
            at=NOW,
        )
    return record.key_id


def meteo(station: Station, server: WeatherServer) -> OpenMeteo:
    return OpenMeteo(52.52, 13.41, key_of(station, "open_meteo"), settings(), base_url=server.url, forecast_days=2)


def norway(station: Station, server: WeatherServer) -> MetNorway:
    return MetNorway(59.91, 10.75, key_of(station, "met_norway"), settings(), base_url=server.url)


def weather(station: Station) -> pd.DataFrame:
    """As it stands in the lake, with where each value is from."""
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "snapshot")
    return read(station.lake, WEATHER, pinned(station.lake, WEATHER, trusted))


def refused(station: Station, name: str) -> list[QuarantinedItem]:
    with transaction(station.engine) as session:
        return quarantined_from(session, name)


def test_what_every_provider_answers_becomes_readings_known_from_then_on(
    empty_station: Station, server: WeatherServer, other: WeatherServer
) -> None:
    server.says(sends(open_meteo()))
    other.says(sends(met_norway()))
    polled = poll_providers(empty_station, [meteo(empty_station, server), norway(empty_station, other)], NOW)
    frame = weather(empty_station)
    assert polled == Polled({"open_meteo": 42, "met_norway": 6}, {})
    assert frame.groupby("provider").size().to_dict() == polled.values
    assert (frame["issued_at"] >= pd.Timestamp(NOW)).all()
    payloads = {path.name for path in (empty_station.home / "intake" / "payloads").iterdir()}
    assert set(frame["payload_sha256"]) == payloads
    assert frame.groupby("provider")["key_id"].nunique().to_dict() == {"open_meteo": 1, "met_norway": 1}
    ordered = frame.sort_values(["provider", "valid_at", "issued_at"], ignore_index=True)
    pd.testing.assert_frame_equal(frame, ordered)


def test_a_refused_answer_is_set_aside_with_reason_and_digest_and_the_others_come_in(
    empty_station: Station, server: WeatherServer, other: WeatherServer
) -> None:
    server.says(sends(open_meteo()))
    other.says(sends('{"properties": "down"}'))
    polled = poll_providers(empty_station, [meteo(empty_station, server), norway(empty_station, other)], NOW)
    assert polled == Polled({"open_meteo": 42}, {"met_norway": "malformed"})
    assert set(weather(empty_station)["provider"]) == {"open_meteo"}
    (item,) = refused(empty_station, "met_norway")
    digest = hashlib.sha256(b'{"properties": "down"}').hexdigest()
    assert (item.reason, item.digest, item.received_at) == ("malformed", digest, NOW)
    assert (empty_station.home / "intake" / "payloads" / digest).read_bytes() == b'{"properties": "down"}'


def test_a_dead_provider_leaves_a_reason_and_no_digest(empty_station: Station, server: WeatherServer) -> None:
    dead = meteo(empty_station, server)
    server.server_close()
    assert poll_providers(empty_station, [dead], NOW) == Polled({}, {"open_meteo": "unreachable"})
    assert [item.digest for item in refused(empty_station, "open_meteo")] == [""]
    assert weather(empty_station).empty


def test_an_unchanged_answer_adds_nothing_and_is_asked_for_with_what_was_remembered(
    empty_station: Station, server: WeatherServer
) -> None:
    server.says(sends(met_norway(), headers={"ETag": '"m1"'}), sends(b"", status=304))
    provider: list[WeatherProvider] = [norway(empty_station, server)]
    assert poll_providers(empty_station, provider, NOW).values == {"met_norway": 6}
    assert poll_providers(empty_station, provider, NOW + HOUR) == Polled({"met_norway": 0}, {})
    assert server.headers[1]["if-none-match"] == '"m1"'
    assert len(weather(empty_station)) == 6


def test_an_older_answer_than_the_last_is_a_replay_also_after_a_failure(
    empty_station: Station, server: WeatherServer
) -> None:
    old = met_norway(updated_at=NOW - timedelta(hours=5))
    server.says(sends(met_norway()), sends("busy", status=404), sends(old))
    provider: list[WeatherProvider] = [norway(empty_station, server)]
    outcomes = [poll_providers(empty_station, provider, NOW + n * HOUR).refused for n in range(3)]
    assert outcomes == [{}, {"met_norway": "http_status"}, {"met_norway": "replayed"}]
    assert [item.reason for item in refused(empty_station, "met_norway")] == ["http_status", "replayed"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"met_norway": {"url": 7}}', b"[]"])
def test_a_memory_that_cannot_be_read_is_forgotten_and_polling_goes_on(
    empty_station: Station, server: WeatherServer, content: bytes
) -> None:
    server.says(sends(met_norway()))
    path = empty_station.home / "intake" / "last_answers.json"
    path.parent.mkdir()
    path.write_bytes(content)
    assert poll_providers(empty_station, [norway(empty_station, server)], NOW).refused == {}
    assert list(json.loads(path.read_text())) == ["met_norway"]


def test_a_provider_whose_key_was_revoked_is_not_asked(empty_station: Station, server: WeatherServer) -> None:
    server.says(sends(met_norway()))
    provider = norway(empty_station, server)
    with transaction(empty_station.engine) as session:
        revoke_keys_of(session, "provider", "met_norway", "olga", "compromised", NOW)
    assert poll_providers(empty_station, [provider], NOW).refused == {"met_norway": "revoked"}
    assert server.asked == []
