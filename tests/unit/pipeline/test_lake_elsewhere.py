"""A lake that is not in the station's folder: read, backed up, and never emptied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from data.weather_providers import to_frame
from forecasting.errors import TooLittleHistory
from pipeline.backup.contents import contents_of
from pipeline.errors import PipelineError
from pipeline.ingest import load_readings, set_utility, take_demand, take_weather
from pipeline.initial import build_station
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from pipeline.weather_policy import WeatherPolicy
from tests.unit.pipeline.small_incident import UTILITY, demand_of, true_temperature, weather_of

DEMAND = demand_of(true_temperature()).iloc[:240]


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    opened = open_station(Settings(home=tmp_path / "home", lake_url=(tmp_path / "store").as_uri()))
    yield opened
    opened.engine.dispose()


def test_readings_are_kept_there_and_nowhere_else(station: Station, tmp_path: Path) -> None:
    set_utility(station, UTILITY)
    take_demand(station, DEMAND)
    take_weather(station, to_frame([]))
    assert len(load_readings(station).demand) == len(DEMAND)
    assert list((tmp_path / "store").rglob("*.parquet"))
    assert not list((tmp_path / "home").rglob("*.parquet"))


def test_it_is_backed_up_under_the_names_it_would_have_in_the_station(station: Station, tmp_path: Path) -> None:
    set_utility(station, UTILITY)
    take_demand(station, DEMAND)
    taken = {name: stream.read() for name, stream in contents_of(station)}
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file():
            assert taken[f"lake/{path.relative_to(tmp_path / 'store').as_posix()}"] == path.read_bytes()
    assert "lake/utility.json" in taken


def test_a_first_training_that_fails_empties_no_store_and_the_next_is_told(station: Station, tmp_path: Path) -> None:
    temperature = true_temperature().iloc[:240]
    attempt = (station, UTILITY, DEMAND, weather_of(temperature, lie=False), WeatherPolicy())
    with pytest.raises(TooLittleHistory):
        build_station(*attempt)
    assert list((tmp_path / "store").rglob("*.parquet"))
    with pytest.raises(PipelineError, match="holds readings already"):
        build_station(*attempt)
