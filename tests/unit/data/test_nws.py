"""The National Weather Service's answers: merged hours, three units, and observations that come in any order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pandas as pd
import pytest

from data.errors import ProviderFailed
from data.providers.nws import NwsForecast, NwsObservations
from data.providers.protocol import ProviderAnswer
from tests.unit.data.weather_server import (
    NOW,
    Document,
    WeatherServer,
    nws_grid,
    nws_observations,
    sends,
    serving,
    settings,
)


@pytest.fixture
def server() -> Iterator[WeatherServer]:
    with serving() as running:
        yield running


def forecast(server: WeatherServer, document: Document) -> ProviderAnswer:
    server.says(sends(document, content_type="application/geo+json"))
    return NwsForecast("TOP", 31, 80, "k1", settings(), base_url=server.url).fetch(NOW)


def observed(server: WeatherServer, document: Document) -> ProviderAnswer:
    server.says(sends(document, content_type="application/geo+json"))
    return NwsObservations("KTOP", "k1", settings(), base_url=server.url).fetch(NOW)


def why_not(server: WeatherServer, document: Document) -> str:
    with pytest.raises(ProviderFailed) as caught:
        (observed if "features" in document else forecast)(server, document)
    return caught.value.reason


# The forecast of a grid square


def test_one_value_for_many_hours_is_written_out_from_the_present_hour_on(server: WeatherServer) -> None:
    answer = forecast(server, nws_grid())
    assert server.asked == ["/gridpoints/TOP/31,80"]
    # 8.0 was for 04:00 to 07:00, of which 06:00 has not ended; 7.0 is for 26 hours.
    assert list(answer.frame["temperature_c"]) == [8.0, 9.5] + [7.0] * 26
    assert list(answer.frame["valid_at"]) == list(pd.date_range("2026-01-01T06:00Z", periods=28, freq="h"))
    assert answer.updated_at == NOW - timedelta(hours=2)


@pytest.mark.parametrize(("unit", "value"), [("wmoUnit:degC", 8.0), ("wmoUnit:degF", 46.4), ("wmoUnit:K", 281.15)])
def test_documented_units_become_celsius(server: WeatherServer, unit: str, value: float) -> None:
    document = nws_grid(unit=unit, values=[("2026-01-01T06:00:00+00:00/PT1H", value)])
    assert forecast(server, document).frame["temperature_c"].to_list() == pytest.approx([8.0])


@pytest.mark.parametrize("unit", ["degF", "F", "wmoUnit:degR", "wmoUnit:percent", ""])
def test_any_other_unit_is_refused(server: WeatherServer, unit: str) -> None:
    assert why_not(server, nws_grid(unit=unit)) == "wrong_unit"


def test_an_interval_may_start_in_another_zone_and_hold_no_value(server: WeatherServer) -> None:
    values = [("2026-01-01T00:00:00-06:00/PT1H", 1.0), ("2026-01-01T07:00:00+00:00/P1D", None)]
    frame = forecast(server, nws_grid(values=values)).frame
    assert list(frame["valid_at"]) == [pd.Timestamp("2026-01-01T06:00Z")]


@pytest.mark.parametrize(
    "times",
    [
        ["2026-01-01T06:00:00+00:00/PT2H", "2026-01-01T07:00:00+00:00/PT1H"],
        ["2026-01-01T07:00:00+00:00/PT1H", "2026-01-01T06:00:00+00:00/PT1H"],
        ["2026-01-01T06:00:00+00:00/PT1H", "2026-01-01T06:00:00+00:00/PT1H"],
        ["2026-01-01T06:30:00+00:00/PT1H"],
        ["2026-01-01T06:00:00/PT1H"],
        ["2026-01-01T06:00:00+00:00"],
        ["2026-01-01T06:00:00+00:00/PT30M"],
        ["2026-01-01T06:00:00+00:00/PT0H"],
        ["2026-01-01T06:00:00+00:00/P"],
        ["2026-01-01T06:00:00+00:00/P1Y"],
        ["2026-01-01T06:00:00+00:00/PT1H\n"],
        ["2026-13-01T06:00:00+00:00/PT1H"],
        ["0001-01-01T06:00:00+14:00/PT1H"],
        ["2026-01-01T06:00:00+00:00/P99D"],
        ["2026-01-01T06:00:00+00:00/P20D"],
    ],
)
def test_intervals_are_whole_hours_that_grow_and_do_not_overlap(server: WeatherServer, times: list[str]) -> None:
    assert why_not(server, nws_grid(values=[(time, 5.0) for time in times])) == "malformed"


@pytest.mark.parametrize("change", [{"gridId": "EAX"}, {"gridX": 32}, {"gridY": "81"}])
def test_another_grid_square_is_refused(server: WeatherServer, change: Document) -> None:
    document = nws_grid()
    document["properties"] |= change
    assert why_not(server, document) == "wrong_place"


def test_the_grid_may_be_numbered_in_numbers_or_in_text(server: WeatherServer) -> None:
    document = nws_grid()
    document["properties"] |= {"gridX": 31, "gridY": "80"}
    assert len(forecast(server, document).frame) == 28


def test_thousands_of_degrees_are_refused(server: WeatherServer) -> None:
    assert why_not(server, nws_grid(values=[("2026-01-01T06:00:00+00:00/PT1H", 5537.8)])) == "out_of_physics"


# What a station measured


def test_an_hour_that_has_ended_is_the_mean_of_its_observations_in_any_order(server: WeatherServer) -> None:
    document = nws_observations(("05:53", 4.0, "V"), ("06:10", 9.0, "V"), ("04:53", 2.0, "V"), ("05:15", 3.0, "Z"))
    answer = observed(server, document)
    assert server.asked == ["/stations/KTOP/observations?limit=500"]
    assert list(answer.frame["valid_at"]) == [pd.Timestamp("2026-01-01T04:00Z"), pd.Timestamp("2026-01-01T05:00Z")]
    assert list(answer.frame["temperature_c"]) == [2.0, 3.5]
    assert (answer.frame["issued_at"] >= answer.frame["valid_at"] + pd.Timedelta(hours=1)).all()
    assert answer.updated_at == pd.Timestamp("2026-01-01T06:10Z")


@pytest.mark.parametrize("quality", ["X", "Q", "B"])
def test_observations_that_the_service_itself_doubts_are_left_out(server: WeatherServer, quality: str) -> None:
    document = nws_observations(("05:53", 40.0, quality), ("05:15", 3.0, "V"), ("04:15", None, "Z"))
    assert list(observed(server, document).frame["temperature_c"]) == [3.0]


def test_two_observations_of_one_moment_are_refused(server: WeatherServer) -> None:
    assert why_not(server, nws_observations(("05:53", 4.0, "V"), ("05:53", 14.0, "V"))) == "malformed"


def test_observations_in_fahrenheit_become_celsius_and_mixed_ones_are_refused(server: WeatherServer) -> None:
    document = nws_observations(("05:53", 50.0, "V"), ("05:15", 50.0, "V"), unit="wmoUnit:degF")
    assert observed(server, document).frame["temperature_c"].to_list() == pytest.approx([10.0])
    document["features"][0]["properties"]["temperature"]["unitCode"] = "wmoUnit:degC"
    assert why_not(server, document) == "wrong_unit"


def test_an_observation_of_the_future_is_refused(server: WeatherServer) -> None:
    assert why_not(server, nws_observations(("06:26", 4.0, "V"), ("05:15", 3.0, "V"))) == "from_the_future"


def test_another_station_is_refused(server: WeatherServer) -> None:
    document = nws_observations(("05:53", 4.0, "V"))
    document["features"][0]["properties"]["station"] = "https://api.weather.gov/stations/KMCI"
    assert why_not(server, document) == "wrong_place"


def test_no_observation_at_all_is_refused(server: WeatherServer) -> None:
    assert why_not(server, nws_observations()) == "malformed"
