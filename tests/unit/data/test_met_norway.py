"""MET Norway's answers: format, unit, issue time, and what stands when nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from data.errors import ProviderFailed
from data.providers.met_norway import MetNorway
from data.providers.protocol import LastAnswer
from tests.unit.data.weather_server import NOW, Document, WeatherServer, met_norway, sends, serving, settings


@pytest.fixture
def server() -> Iterator[WeatherServer]:
    with serving() as running:
        running.says(sends(met_norway()))
        yield running


def provider(server: WeatherServer) -> MetNorway:
    return MetNorway(59.913333, 10.75, "k1", settings(), base_url=server.url)


def refused(server: WeatherServer, document: Document | None = None, last: LastAnswer | None = None) -> ProviderFailed:
    if document is not None:
        server.says(sends(document))
    with pytest.raises(ProviderFailed) as caught:
        provider(server).fetch(NOW, last)
    return caught.value


def altered(path: str, value: Any) -> Document:
    document = met_norway()
    *steps, name = path.split(".")
    place: Any = document
    for step in steps:
        place = place[int(step)] if step.isdigit() else place[step]
    place[int(name) if name.isdigit() else name] = value
    return document


def test_coordinates_are_asked_for_with_four_decimals_at_most(server: WeatherServer) -> None:
    provider(server).fetch(NOW)
    assert server.asked == ["/weatherapi/locationforecast/2.0/compact?lat=59.9133&lon=10.75"]


def test_instantaneous_values_stand_for_the_hours_they_start(server: WeatherServer) -> None:
    answer = provider(server).fetch(NOW)
    clocks = [f"2026-01-01T{hour:02}:00Z" for hour in (6, 7, 8, 9, 14, 20)]
    assert list(answer.frame["valid_at"]) == [pd.Timestamp(clock) for clock in clocks]
    assert list(answer.frame["temperature_c"]) == [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0]
    assert answer.updated_at == NOW - timedelta(minutes=50)
    assert (answer.frame["issued_at"] == answer.received_at).all()


def test_an_offset_in_a_time_is_reckoned_with(server: WeatherServer) -> None:
    server.says(sends(altered("properties.timeseries.0.time", "2026-01-01T07:00:00+01:00")))
    assert provider(server).fetch(NOW).frame["valid_at"].iloc[0] == pd.Timestamp("2026-01-01T06:00Z")


def test_an_entry_without_a_temperature_is_left_out(server: WeatherServer) -> None:
    server.says(sends(altered("properties.timeseries.1.data.instant.details", {"wind_speed": 3.0})))
    assert len(provider(server).fetch(NOW).frame) == 5


@pytest.mark.parametrize("unit", ["fahrenheit", "K", "Celsius", ""])
def test_any_unit_but_the_documented_one_is_refused(server: WeatherServer, unit: str) -> None:
    assert refused(server, altered("properties.meta.units.air_temperature", unit)).reason == "wrong_unit"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("properties.timeseries.1.time", "2026-01-01T06:00:00Z"),
        ("properties.timeseries.1.time", "2026-01-01T05:00:00Z"),
        ("properties.timeseries.1.time", "2026-01-01T07:00:00"),
        ("properties.timeseries.1.time", 1767250800),
        ("properties.timeseries.1.time", "0001-01-01T00:00:00+14:00"),
        ("properties.timeseries.1.data.instant.details.air_temperature", "5"),
        ("properties.timeseries.1.data.instant.details.air_temperature", True),
        ("properties.timeseries.1.data", {}),
        ("properties.timeseries", []),
        ("properties.meta.updated_at", "yesterday"),
        ("properties.meta.units", {}),
        ("geometry.coordinates", [10.75]),
    ],
)
def test_what_is_not_as_documented_is_malformed(server: WeatherServer, path: str, value: Any) -> None:
    assert refused(server, altered(path, value)).reason == "malformed"


def test_kelvin_under_the_name_of_celsius_is_out_of_physics(server: WeatherServer) -> None:
    path = "properties.timeseries.0.data.instant.details.air_temperature"
    assert refused(server, altered(path, 270.15)).reason == "out_of_physics"


def test_the_weather_of_another_place_is_refused(server: WeatherServer) -> None:
    assert refused(server, altered("geometry.coordinates", [59.91, 10.75])).reason == "wrong_place"


# Issue times


@pytest.mark.parametrize(
    ("updated_at", "reason"),
    [
        (NOW + timedelta(minutes=6), "from_the_future"),
        (NOW - timedelta(hours=25), "stale"),
    ],
)
def test_an_answer_is_issued_now_give_or_take(server: WeatherServer, updated_at: datetime, reason: str) -> None:
    assert refused(server, met_norway(updated_at=updated_at)).reason == reason


@pytest.mark.parametrize("updated_at", [NOW + timedelta(minutes=4), NOW - timedelta(hours=23)])
def test_a_clock_may_be_a_little_off_and_a_forecast_a_day_old(server: WeatherServer, updated_at: datetime) -> None:
    server.says(sends(met_norway(updated_at=updated_at)))
    assert provider(server).fetch(NOW).updated_at == updated_at


def test_an_answer_issued_before_the_last_accepted_one_is_replayed(server: WeatherServer) -> None:
    last = provider(server).fetch(NOW).last
    error = refused(server, met_norway(updated_at=NOW - timedelta(hours=3)), last)
    assert error.reason == "replayed"
    assert "issued at 2026-01-01 05:30" in error.problem


def test_the_same_answer_again_is_no_replay(server: WeatherServer) -> None:
    last = provider(server).fetch(NOW).last
    assert len(provider(server).fetch(NOW, last).frame) == 6


# Nothing new


def test_unchanged_leaves_the_last_answer_standing_and_its_validators_remembered(server: WeatherServer) -> None:
    stamp = "Thu, 01 Jan 2026 05:30:00 GMT"
    server.says(sends(met_norway(), headers={"Last-Modified": stamp}), sends(b"", status=304))
    first = provider(server).fetch(NOW)
    second = provider(server).fetch(NOW + timedelta(hours=1), first.last)
    assert second.not_modified
    assert second.frame.empty
    assert list(second.frame.columns) == list(first.frame.columns)
    assert second.last == first.last
    assert server.headers[1]["if-modified-since"] == stamp


def test_unchanged_for_more_than_a_day_is_stale(server: WeatherServer) -> None:
    server.says(sends(b"", status=304))
    last = LastAnswer(provider(server).url, NOW - timedelta(hours=25), etag='"a1"')
    assert refused(server, last=last).reason == "stale"
