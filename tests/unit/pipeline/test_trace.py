"""The ledger is read both ways: from a forecast to the messages behind it, from a message to what it went into."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.ingest import keep_flags, load_readings, take_weather
from pipeline.predict import forecast_day, record
from pipeline.publish import open_model
from pipeline.registry import active
from pipeline.station import Station
from pipeline.trace import deliveries_of, trace_delivery, trace_forecast
from pipeline.train import train
from tests.unit.api import small_station
from tests.unit.api.small_station import DAYS, LAST_DAY, LEARNED_DAYS, PROVIDERS, START

DIGEST = "cd" * 32
MESSAGE_DAY = START + pd.Timedelta(days=LEARNED_DAYS - 3)
NOW = datetime(2023, 6, 1, tzinfo=UTC)


def delivered(station: Station) -> None:
    """One message of boreas', of a day that its later words do not speak of, and a model that learned from it."""
    index = pd.date_range(MESSAGE_DAY, periods=24, freq="h", unit="us")
    message = {
        "provider": "boreas",
        "issued_at": MESSAGE_DAY + pd.Timedelta(days=2),
        "valid_at": index,
        "temperature_c": 15.0,
    }
    take_weather(station, pd.DataFrame({**message, "key_id": "key-1", "payload_sha256": DIGEST}))
    train(station, load_readings(station), small_station.order(seed=2))


def served(station: Station) -> str:
    readings = load_readings(station)
    with transaction(station.engine) as session:
        model_id = active(session).model_id
    forecast = forecast_day(readings, open_model(station, model_id), None, {}, LAST_DAY)
    record(station, readings.utility, [forecast], "ann")
    return forecast.forecast_id


def test_a_forecast_names_the_lakes_versions_and_what_each_provider_had_delivered(station: Station) -> None:
    delivered(station)
    traced = trace_forecast(station, served(station), NOW)
    assert traced.lake["weather"] == load_readings(station).pins["weather"].version
    sources = {source.provider: source for source in traced.sources}
    assert set(sources) == set(PROVIDERS)
    boreas = sources["boreas"].delivered
    assert boreas is not None
    assert (boreas.key_ids, boreas.payloads) == (("key-1",), 1)
    aurora = sources["aurora"].delivered
    assert aurora is not None
    assert (aurora.key_ids, aurora.payloads, aurora.readings) == ((), 0, 2 * 24 * DAYS)


def test_what_came_after_the_snapshot_is_not_counted_as_behind_the_forecast(station: Station) -> None:
    delivered(station)
    before = served(station)
    told = trace_forecast(station, before, NOW)
    index = pd.date_range(START, periods=24, freq="h", unit="us")
    late = {"provider": "boreas", "issued_at": index[-1] + pd.Timedelta(days=99), "valid_at": index, "temperature_c": 1.0}
    take_weather(station, pd.DataFrame(late))
    assert trace_forecast(station, before, NOW) == told
    assert deliveries_of(station, "boreas").readings == 24 + 24 + 2 * 24 * DAYS


def test_a_providers_deliveries_are_counted_from_the_moment_they_were_received(station: Station) -> None:
    delivered(station)
    everything = deliveries_of(station, "boreas")
    since = (MESSAGE_DAY + pd.Timedelta(days=1)).to_pydatetime()
    lately = deliveries_of(station, "boreas", since)
    assert lately.readings < everything.readings == 24 + 2 * 24 * DAYS
    assert lately.first_received is not None
    assert lately.first_received >= since
    nothing = deliveries_of(station, "nobody")
    assert (nothing.readings, nothing.first_received) == (0, None)


def test_flagged_readings_are_counted(station: Station) -> None:
    flagged = pd.DataFrame({"provider": ["boreas"], "valid_at": [START.as_unit("us")], "flags": [8]})
    keep_flags(station, flagged, NOW)
    assert deliveries_of(station, "boreas").flagged == 2  # the hour as it was forecast, and as it was measured
    assert deliveries_of(station, "aurora").flagged == 0


def test_a_message_leads_to_every_snapshot_model_and_forecast_that_learned_from_it(station: Station) -> None:
    delivered(station)
    made = served(station)
    traced = trace_delivery(station, DIGEST)
    with transaction(station.engine) as session:
        learned = active(session)
    assert traced.delivered.provider == "boreas"
    assert traced.delivered.readings == 24
    assert traced.speaks_of[0] == MESSAGE_DAY.to_pydatetime()
    assert learned.snapshot_id in traced.snapshots
    assert learned.model_id in traced.models
    assert made in traced.forecasts


def test_a_message_that_was_never_taken_in_cannot_be_traced(station: Station) -> None:
    for digest in ("00" * 32, "", "cd"):
        with pytest.raises(PipelineError, match="no delivery"):
            trace_delivery(station, digest)
