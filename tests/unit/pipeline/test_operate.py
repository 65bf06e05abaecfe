"""A stretch of operations: a model a month, a forecast a day, nothing known too early."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from sqlmodel import select

from data.provenance import ForecastRecord
from pipeline import registry
from pipeline.database import transaction
from pipeline.ingest import Readings
from pipeline.operate import Operation, known_demand, operate
from pipeline.predict import forecast_day
from pipeline.provider_standings import record_decision
from pipeline.publish import OpenedModel, open_model
from pipeline.station import Station, open_station
from pipeline.weather_policy import WeatherPolicy
from tests.unit.api.small_station import PROVIDERS, START, UTILITY, settings_for

Operated = tuple[Station, Operation, list[int]]

MULTI = WeatherPolicy()
APRIL = (date(2023, 4, 28), date(2023, 5, 3))
DAYS = [APRIL[0] + timedelta(days=number) for number in range(6)]


@pytest.fixture(scope="module")
def operated(built: Path, readings: Readings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """A station after six days of operations, and the months that were told."""
    home = tmp_path_factory.mktemp("operated") / "home"
    shutil.copytree(built, home)
    station = open_station(settings_for(home))
    months: list[int] = []
    yield station, operate(station, readings, MULTI, APRIL, month_done=lambda: months.append(1)), months
    station.engine.dispose()


def trained_models(station: Station) -> dict[str, registry.ModelRecord]:
    with transaction(station.engine) as session:
        return {entry.model_id: entry for entry in registry.listing(session) if entry.published_by == "monthly schedule"}


def test_a_model_is_trained_on_the_first_day_and_at_the_start_of_each_month(operated: Operated) -> None:
    station, operation, _ = operated
    assert [made.day for made in operation.forecasts] == DAYS
    models = trained_models(station)
    assert {pd.Timestamp(entry.as_of) for entry in models.values()} == {
        UTILITY.gate_closure_of(day) for day in (date(2023, 4, 28), date(2023, 5, 1))
    }
    used = [models[made.model_id].as_of.date() for made in operation.forecasts]
    assert used == [date(2023, 4, 27)] * 3 + [date(2023, 4, 30)] * 3


def test_each_forecast_is_what_would_have_been_made_on_its_own(operated: Operated, readings: Readings) -> None:
    station, operation, _ = operated
    for made in operation.forecasts:
        alone = forecast_day(readings, open_model(station, made.model_id), None, {}, made.day)
        assert made.forecast_id == alone.forecast_id
        pd.testing.assert_frame_equal(made.frame, alone.frame, check_exact=True)
    frame = operation.frame()
    assert len(frame) == 6 * 24
    assert frame.index.is_monotonic_increasing


def test_a_model_trained_before_is_used_to_the_end_of_its_month(station: Station, readings: Readings) -> None:
    with transaction(station.engine) as session:
        trained = registry.active(session)
    operation = operate(station, readings, MULTI, APRIL, trained=trained)
    assert [made.model_id for made in operation.forecasts[:3]] == [trained.model_id] * 3
    (may,) = trained_models(station).values()
    assert [made.model_id for made in operation.forecasts[3:]] == [may.model_id] * 3


def test_stopped_it_ends_before_that_day_and_keeps_what_it_has(station: Station, readings: Readings) -> None:
    asked: list[tuple[int, date]] = []

    def stop(operation: Operation, day: date) -> bool:
        asked.append((len(operation.forecasts), day))
        return day == DAYS[2]

    operation = operate(station, readings, MULTI, APRIL, stop=stop)
    assert [made.day for made in operation.forecasts] == DAYS[:2]
    assert asked == list(enumerate(DAYS[:3]))
    assert len(trained_models(station)) == 1
    with transaction(station.engine) as session:
        assert {entry.day for entry in session.exec(select(ForecastRecord))} == set(DAYS[:2])


def test_every_forecast_stands_in_the_ledger_and_every_month_is_told(operated: Operated) -> None:
    station, operation, months = operated
    assert len(months) == 2
    with transaction(station.engine) as session:
        entries = {entry.forecast_id: entry.requested_by for entry in session.exec(select(ForecastRecord))}
    assert entries == {made.forecast_id: "daily schedule" for made in operation.forecasts}


def test_a_provider_is_refused_from_the_gate_closure_on_at_which_it_is_known_to_lie(
    station: Station, readings: Readings
) -> None:
    known_from = UTILITY.gate_closure_of(DAYS[1])
    with transaction(station.engine) as session:
        record_decision(
            session,
            provider="boreas",
            to_state="quarantined",
            at=known_from.to_pydatetime(),
            onset=START.to_pydatetime(),
            by="olga",
            reason="drift",
        )
    operation = operate(station, readings, MULTI, (DAYS[0], DAYS[2]))
    assert [made.sources for made in operation.forecasts] == [PROVIDERS, ("aurora", "cirrus"), ("aurora", "cirrus")]


def test_days_without_trusted_weather_are_the_fallbacks(
    station: Station, readings: Readings, models: dict[str, OpenedModel]
) -> None:
    with transaction(station.engine) as session:
        trained = registry.active(session)
        for provider in PROVIDERS:
            record_decision(
                session,
                provider=provider,
                to_state="revoked",
                at=UTILITY.gate_closure_of(DAYS[1]).to_pydatetime(),
                onset=START.to_pydatetime(),
                by="olga",
                reason="all of them",
            )
    operation = operate(station, readings, MULTI, (DAYS[0], DAYS[1]), trained=trained)
    assert [made.model_id for made in operation.forecasts] == [trained.model_id, models["fallback"].model_id]


def test_forecasts_are_scored_against_demand_as_finally_measured(readings: Readings) -> None:
    hour = readings.demand.index[5]
    row = pd.DataFrame({"demand_mw": 4321.0, "available_at": hour + pd.Timedelta(days=3)}, index=[hour])
    both = pd.concat([readings.demand, row]).sort_index(kind="stable")
    final = known_demand(Readings(readings.utility, both, readings.weather))
    assert final.index.is_unique
    assert final.loc[hour] == 4321.0
    assert len(final) == len(readings.demand)
