"""A station of 150 days, and the small incident's; built once, copied for every test that changes something."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.database import transaction
from pipeline.ingest import Readings, load_readings
from pipeline.publish import OpenedModel, open_model
from pipeline.registry import active
from pipeline.station import Station, open_station
from pipeline.train import train, train_fallback
from tests.unit.api import small_station
from tests.unit.pipeline import small_incident


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three providers, 150 days of 2023, a main model on 140 of them and a fallback."""
    home = small_station.build(tmp_path_factory.mktemp("small") / "built")
    station = open_station(small_station.settings_for(home))
    train_fallback(station, load_readings(station), small_station.order())
    station.engine.dispose()
    return home


@pytest.fixture
def station(built: Path, tmp_path: Path) -> Iterator[Station]:
    """A copy of `built`."""
    shutil.copytree(built, tmp_path / "home")
    opened = open_station(small_station.settings_for(tmp_path / "home"))
    yield opened
    opened.engine.dispose()


@pytest.fixture
def empty_station(tmp_path: Path) -> Iterator[Station]:
    """Keys and a schema, nothing else."""
    opened = small_incident.station_at(tmp_path / "empty")
    yield opened
    opened.engine.dispose()


@pytest.fixture(scope="session")
def readings(built: Path) -> Readings:
    station = open_station(small_station.settings_for(built))
    taken = load_readings(station)
    station.engine.dispose()
    return taken


@pytest.fixture(scope="session")
def models(built: Path) -> dict[str, OpenedModel]:
    """By role: `main` and `fallback` of the small station."""
    station = open_station(small_station.settings_for(built))
    with transaction(station.engine) as session:
        ids = {role: active(session, role).model_id for role in ("main", "fallback")}
    opened = {role: open_model(station, model_id) for role, model_id in ids.items()}
    station.engine.dispose()
    return opened


@pytest.fixture(scope="session")
def built_linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small station with one linear model in service: its bundle is quickly published again."""
    return small_station.build(tmp_path_factory.mktemp("linear") / "built", forecaster="linear")


@pytest.fixture
def linear(built_linear: Path, tmp_path: Path) -> Iterator[Station]:
    """A copy of `built_linear`."""
    shutil.copytree(built_linear, tmp_path / "linear")
    opened = open_station(small_station.settings_for(tmp_path / "linear", forecaster="linear"))
    yield opened
    opened.engine.dispose()


@pytest.fixture(scope="session")
def linear_model(built_linear: Path) -> OpenedModel:
    """The model in service in `built_linear`."""
    station = open_station(small_station.settings_for(built_linear, forecaster="linear"))
    with transaction(station.engine) as session:
        model_id = active(session).model_id
    opened = open_model(station, model_id)
    station.engine.dispose()
    return opened


@pytest.fixture(scope="session")
def incident() -> Readings:
    """Four providers over 660 days; aurora lies from day 575 on."""
    return small_incident.incident()


@pytest.fixture(scope="session")
def built_incident(tmp_path_factory: pytest.TempPathFactory, incident: Readings) -> Path:
    """The utility that trusts the liar alone: one model and snapshot from before the lie, one from amid it."""
    home = tmp_path_factory.mktemp("incident") / "built"
    station = small_incident.station_at(home, incident)
    for moment in (small_incident.BEFORE, small_incident.AMID):
        train(station, incident, small_incident.order(moment, f"single:{small_incident.LIAR}"))
    station.engine.dispose()
    return home


@pytest.fixture
def incident_station(built_incident: Path, tmp_path: Path) -> Iterator[Station]:
    """A copy of `built_incident`."""
    shutil.copytree(built_incident, tmp_path / "incident")
    opened = small_incident.station_at(tmp_path / "incident")
    yield opened
    opened.engine.dispose()
