"""What the benchmarks of artifacts work on: a station with one model in service, copies of it, and rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import SecretStr

from benchmarks.kills import DAYS, everything
from pipeline import registry
from pipeline.database import transaction
from pipeline.ingest import load_readings, set_utility, take_demand, take_weather
from pipeline.promotion import activate_noted, promote_unattended
from pipeline.publish import OpenedModel, publish, read_model
from pipeline.registry import ModelRecord
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from pipeline.train import TrainingOrder, train
from pipeline.weather_policy import WeatherPolicy

BY = "benchmark"
DAY = date(2013, 2, 20)


@dataclass(frozen=True)
class Row:
    """One bar, what was found, and whether it is met."""

    bar: str
    asked: str
    found: str
    met: bool


def build(home: Path, forecaster: Literal["quantile-trees", "linear"]) -> Station:
    """Fourteen months of real demand and three providers, and one model in service."""
    station = open_station(Settings(home=home, forecaster=forecaster, lake_url="", database_url=SecretStr("")))
    given = everything()
    set_utility(station, given.utility)
    take_demand(station, given.demand)
    take_weather(station, given.weather)
    end = given.demand.index[0] + pd.Timedelta(days=DAYS - 1)
    train(station, load_readings(station), TrainingOrder(WeatherPolicy(), end, datetime.now(UTC), by=BY))
    return station


def copy_of(station: Station, model: OpenedModel, number: int) -> str:
    """The same model as another bundle, entered as a candidate; answers its id."""
    assert model.golden is not None  # noqa: S101 (it was published)
    like = read_model(station, model.model_id).manifest.predicate
    model_id = publish(station, model.forecaster, "main", model.golden.known, {**like, "copy": number}, {})
    with transaction(station.engine) as session:
        record = session.get_one(ModelRecord, model.model_id)
        registry.enter(session, ModelRecord(**{**record.model_dump(), "model_id": model_id, "state": registry.CANDIDATE}))
    return model_id


def release(station: Station, model_id: str) -> None:
    """Put a candidate in service, as training does."""
    now = datetime.now(UTC)
    if not promote_unattended(station, model_id, by=BY, at=now):
        raise SystemExit("this station's operators are no demo operators any more")
    with transaction(station.engine) as session:
        activate_noted(session, model_id, by=BY, at=now)
