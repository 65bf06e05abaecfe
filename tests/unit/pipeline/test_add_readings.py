"""Readings are added to a station that works: what is new as it is, what is corrected as known from now on."""

from __future__ import annotations

import pandas as pd
import pytest

from data.errors import DataError
from data.meters import demand_as_of
from data.weather_fusion import known_at
from pipeline.add_readings import Added, add_readings
from pipeline.ingest import load_readings
from pipeline.station import Station
from tests.unit.api.small_station import DAYS, START, UTILITY

END = START + pd.Timedelta(days=DAYS)
NOW = END + pd.Timedelta(days=10)
HOUR = pd.Timedelta(hours=1)


def add(
    station: Station, demand: pd.DataFrame | None = None, weather: pd.DataFrame | None = None, at: pd.Timestamp = NOW
) -> Added:
    held = load_readings(station)
    drawn = held.demand.iloc[:0] if demand is None else demand
    said = held.weather.iloc[:0] if weather is None else weather
    return add_readings(station, drawn, said, at.to_pydatetime(), "olga")


def drawn_from(start: pd.Timestamp, hours: int, value: float = 1000.0) -> pd.DataFrame:
    index = pd.date_range(start, periods=hours, freq="h", name="timestamp", unit="us")
    return pd.DataFrame({"demand_mw": value, "available_at": index + HOUR}, index=index)


def test_new_demand_follows_what_is_there_and_what_overlaps_is_kept_once(station: Station) -> None:
    before = load_readings(station).demand
    overlapping = pd.concat([before.iloc[-24:], drawn_from(END, 24)])
    assert add(station, overlapping) == Added(new=24, corrections=0, known=24)
    after = load_readings(station).demand
    assert len(after) == len(before) + 24
    pd.testing.assert_frame_equal(after.iloc[:-24], before, check_freq=False)
    assert add(station, overlapping) == Added(new=0, corrections=0, known=48)


def test_corrected_demand_is_known_from_now_on_and_what_was_known_stays(station: Station) -> None:
    hour = END - pd.Timedelta(days=3)
    before = load_readings(station).demand.loc[hour, "demand_mw"]
    assert add(station, drawn_from(hour, 1, before + 5)) == Added(0, 1, 0)
    demand = load_readings(station).demand
    assert demand_as_of(demand, NOW - HOUR).loc[hour] == before
    assert demand_as_of(demand, NOW).loc[hour] == before + 5
    assert add(station, drawn_from(hour, 1, before + 5)) == Added(0, 0, 1)
    later = NOW + pd.Timedelta(days=1)
    assert add(station, drawn_from(hour, 1, before), at=later) == Added(0, 1, 0)
    assert demand_as_of(load_readings(station).demand, later).loc[hour] == before


def said_of(hour: pd.Timestamp, issued_at: pd.Timestamp, celsius: float) -> pd.DataFrame:
    at = [pd.Timestamp(moment).as_unit("us") for moment in (issued_at, hour)]
    row = {"provider": ["boreas"], "issued_at": [at[0]], "valid_at": [at[1]], "temperature_c": [celsius]}
    return pd.DataFrame(row).assign(payload_sha256="ef" * 32)


def test_a_corrected_measurement_is_known_from_now_on_and_what_was_known_stays(station: Station) -> None:
    hour = END - pd.Timedelta(days=3)
    assert add(station, weather=said_of(hour, hour + HOUR, 31.0)) == Added(0, 1, 0)
    assert add(station, weather=said_of(hour, hour + HOUR, 31.0)) == Added(0, 0, 1)
    weather = load_readings(station).weather
    then, now = (known_at(weather, moment, hour, hour, UTILITY.step)["boreas"].iloc[0] for moment in (NOW - HOUR, NOW))
    assert now == 31.0
    assert then != 31.0


def test_a_forecast_is_issued_anew_and_never_changed(station: Station) -> None:
    hour, issued = END + HOUR, END - pd.Timedelta(hours=15)
    assert add(station, weather=said_of(hour, issued, 20.0)) == Added(1, 0, 0)
    assert add(station, weather=said_of(hour, issued + HOUR, 21.0)) == Added(1, 0, 0)
    before = load_readings(station).pins
    with pytest.raises(DataError, match="another thing than when it was issued"):
        add(station, drawn_from(END, 1), said_of(hour, issued, 25.0))
    assert load_readings(station).pins == before
