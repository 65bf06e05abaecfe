"""Open-Meteo's answers: what of them becomes a weather frame, and what refuses them whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from data.errors import ProviderFailed
from data.providers.open_meteo import OpenMeteo
from data.providers.protocol import ProviderAnswer
from tests.unit.data.weather_server import NOW, Document, WeatherServer, open_meteo, sends, serving, settings


@pytest.fixture
def server() -> Iterator[WeatherServer]:
    with serving() as running:
        running.says(sends(open_meteo()))
        yield running


def provider(server: WeatherServer, **changes: object) -> OpenMeteo:
    return OpenMeteo(52.52, 13.41, "k1", settings(), base_url=server.url, forecast_days=2, **changes)  # type: ignore[arg-type]


def fetch(server: WeatherServer, now: datetime = NOW, **changes: object) -> ProviderAnswer:
    return provider(server, **changes).fetch(now)


def refused(server: WeatherServer, document: Document | str, now: datetime = NOW) -> ProviderFailed:
    server.says(sends(document))
    with pytest.raises(ProviderFailed) as caught:
        fetch(server, now)
    assert caught.value.payload
    return caught.value


def altered(**hourly: object) -> Document:
    document = open_meteo()
    document["hourly"] |= hourly
    return document


def test_the_question_leaves_neither_zone_nor_unit_open(server: WeatherServer) -> None:
    fetch(server)
    path, _, question = server.asked[0].partition("?")
    assert path == "/v1/forecast"
    assert question.split("&") == [
        "latitude=52.52",
        "longitude=13.41",
        "hourly=temperature_2m",
        "temperature_unit=celsius",
        "timeformat=unixtime",
        "timezone=UTC",
        "forecast_days=2",
        "past_days=0",
    ]


def test_hours_still_ahead_become_a_weather_frame_known_from_its_receipt(server: WeatherServer) -> None:
    answer = fetch(server)
    frame = answer.frame
    assert list(frame.columns) == ["provider", "issued_at", "valid_at", "temperature_c"]
    assert str(frame["valid_at"].dtype) == str(frame["issued_at"].dtype) == "datetime64[us, UTC]"
    assert set(frame["provider"]) == {"open_meteo"}
    # 06:20: the hour that began at 06:00 has not ended.
    assert frame["valid_at"].iloc[0] == pd.Timestamp("2026-01-01T06:00Z")
    assert frame["valid_at"].iloc[-1] == pd.Timestamp("2026-01-02T23:00Z")
    assert frame["temperature_c"].iloc[0] == pytest.approx(10.6)
    assert (frame["issued_at"] == answer.received_at).all()
    assert answer.updated_at == answer.received_at


def test_past_days_asked_for_count_as_measured(server: WeatherServer) -> None:
    server.says(sends(open_meteo(past_days=1)))
    frame = fetch(server, past_days=1).frame
    measured = frame[frame["issued_at"] >= frame["valid_at"] + pd.Timedelta(hours=1)]
    assert len(measured) == 24 + 6
    assert "past_days=1" in server.asked[0]


@pytest.mark.parametrize("days", [{"past_days": 8}, {"past_days": -1}])
def test_the_past_cannot_be_rewritten_further_back_than_a_report_may_speak(
    server: WeatherServer, days: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match="past_days"):
        provider(server, **days)


def test_hours_without_a_value_are_left_out(server: WeatherServer) -> None:
    server.says(sends(altered(temperature_2m=[None] * 8 + [5] * 40)))
    frame = fetch(server).frame
    assert len(frame) == 40
    assert set(frame["temperature_c"]) == {5.0}


def test_fields_that_services_add_do_no_harm(server: WeatherServer) -> None:
    server.says(sends(open_meteo(current={"time": 1, "temperature_2m": 3.0})))
    assert len(fetch(server).frame) == 42


def test_the_key_of_a_commercial_plan_is_sent_but_not_kept(server: WeatherServer) -> None:
    chosen = provider(server, api_key="s3cret")
    answer = chosen.fetch(NOW)
    assert server.asked[0].endswith("&apikey=s3cret")
    assert "s3cret" not in answer.url + repr(chosen) + repr(answer)


def test_a_unit_that_was_not_asked_for_refuses_the_whole_answer(server: WeatherServer) -> None:
    units = {"time": "unixtime", "temperature_2m": "°F"}
    error = refused(server, open_meteo(hourly_units=units))
    assert (error.reason, error.problem) == ("wrong_unit", "unit '°F', known are °C")


@pytest.mark.parametrize("value", [61.0, -90.5, 1e300, 288.15])
def test_one_value_outside_physics_refuses_the_whole_answer(server: WeatherServer, value: float) -> None:
    error = refused(server, altered(temperature_2m=[10.0] * 47 + [value]))
    assert error.reason == "out_of_physics"
    assert error.problem.startswith("value 48 is")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "true", '"12.5"', "[12.5]", "1" + "0" * 400])
def test_what_is_no_finite_number_refuses_the_whole_answer(server: WeatherServer, value: str) -> None:
    text = json.dumps(altered(temperature_2m=[10.0] * 47 + [-12345.0])).replace("-12345.0", value)
    assert refused(server, text).reason == "malformed"


@pytest.mark.parametrize(
    "change",
    [
        {"utc_offset_seconds": 3600},
        {"hourly_units": {"time": "iso8601", "temperature_2m": "°C"}},
        {"hourly_units": {"time": "unixtime"}},
        {"hourly": {"time": [], "temperature_2m": []}},
        {"hourly": {"time": ["2026-01-01T00:00"], "temperature_2m": [1.0]}},
        {"hourly": {"time": [1767225600.0], "temperature_2m": [1.0]}},
        {"hourly": {"time": [10**30], "temperature_2m": [1.0]}},
        {"hourly": None},
        {"latitude": "52.52"},
    ],
)
def test_what_is_not_as_documented_is_malformed(server: WeatherServer, change: Document) -> None:
    assert refused(server, open_meteo(**change)).reason == "malformed"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"error": true, "reason": "no"}', "[" * 5000, "\xff\xfe"])
def test_what_is_no_forecast_at_all_is_malformed(server: WeatherServer, text: str) -> None:
    server.says(sends(text.encode("latin-1")))
    with pytest.raises(ProviderFailed) as caught:
        fetch(server)
    assert caught.value.reason == "malformed"


def test_the_field_to_blame_is_named(server: WeatherServer) -> None:
    error = refused(server, altered(temperature_2m=[10.0] * 47 + ["warm"]))
    assert error.problem.startswith("hourly.temperature_2m.47")
    assert "warm" not in str(error)


def midnight(*offsets: int) -> list[int]:
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    return [start + offset for offset in offsets]


@pytest.mark.parametrize(
    ("seconds", "problem"),
    [
        ([0, 3600, 3600], "a time stands twice or out of order"),
        ([0, 7200, 3600], "a time stands twice or out of order"),
        ([0, 3600, 5400], "times that are not full hours"),
        ([0, 3600, 3600 * 24 * 40], "speaks of 2026-02-10"),
        ([3600, 7200, 10800], "starts at 2026-01-01 01:00"),
    ],
)
def test_times_are_full_hours_from_midnight_on_that_grow(server: WeatherServer, seconds: list[int], problem: str) -> None:
    error = refused(server, altered(time=midnight(*seconds), temperature_2m=[1.0] * 3))
    assert error.reason == "malformed"
    assert error.problem.startswith(problem)


def test_times_and_values_are_as_many(server: WeatherServer) -> None:
    assert refused(server, altered(temperature_2m=[1.0] * 47)).problem == "not one value for each time"


def test_more_values_than_a_forecast_has_are_refused(server: WeatherServer) -> None:
    document = altered(time=midnight(*range(0, 3600 * 601, 3600)), temperature_2m=[1.0] * 601)
    assert refused(server, document).reason == "malformed"


def test_yesterdays_answer_sent_again_is_stale(server: WeatherServer) -> None:
    error = refused(server, open_meteo(NOW - timedelta(days=1)))
    assert error.reason == "stale"


@pytest.mark.parametrize("clock", ["2026-01-01T23:57", "2026-01-02T00:03"])
@pytest.mark.parametrize("day", ["2026-01-01T12:00", "2026-01-02T12:00"])
def test_within_five_minutes_of_midnight_either_day_will_do(server: WeatherServer, clock: str, day: str) -> None:
    server.says(sends(open_meteo(datetime.fromisoformat(f"{day}+00:00"))))
    assert len(fetch(server, datetime.fromisoformat(f"{clock}+00:00")).frame) > 0


@pytest.mark.parametrize("place", [{"latitude": 53.1}, {"longitude": 14.0}, {"latitude": -52.52}])
def test_the_weather_of_another_place_is_refused(server: WeatherServer, place: Document) -> None:
    assert refused(server, open_meteo(**place)).reason == "wrong_place"


def test_a_place_across_the_date_line_is_near(server: WeatherServer) -> None:
    server.says(sends(open_meteo(latitude=-17.0, longitude=179.9)))
    assert len(OpenMeteo(-17.0, -179.9, "k1", settings(), base_url=server.url).fetch(NOW).frame) == 42


def test_an_answer_without_any_value_is_refused(server: WeatherServer) -> None:
    assert refused(server, altered(temperature_2m=[None] * 48)).problem == "no value for any hour asked for"
