"""A station's first day: everything is there afterwards, or nothing is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from data.datasets import EmbeddedDataset
from data.errors import NoTrustedWeather
from data.meters import PROMPT
from data.simulation import PROVIDER_NAMES
from forecasting.errors import TooLittleHistory
from pipeline import initial, registry
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.ingest import Readings, flagged_values, load_readings
from pipeline.initial import build_embedded_station, build_station, register_providers, require_fresh
from pipeline.provider_standings import standings_at
from pipeline.publish import open_model
from pipeline.station import Station
from pipeline.weather_policy import WeatherPolicy
from security.keyring import key_state
from tests.unit.pipeline.small_incident import END, LIAR

MULTI = WeatherPolicy()


def build(station: Station, readings: Readings, policy: WeatherPolicy = MULTI) -> tuple[registry.ModelRecord, object]:
    return build_station(station, readings.utility, readings.demand, readings.weather, policy)


def short(readings: Readings, days: int) -> Readings:
    end = readings.demand.index[0] + pd.Timedelta(days=days)
    return replace(
        readings,
        demand=readings.demand[readings.demand.index < end],
        weather=readings.weather[readings.weather["valid_at"] < end],
    )


def test_ones_own_readings_become_a_station_with_two_models(empty_station: Station, readings: Readings) -> None:
    main, fallback = build(empty_station, readings)
    assert isinstance(fallback, registry.ModelRecord)
    assert (main.role, fallback.role) == ("main", "fallback")
    assert pd.Timestamp(main.as_of) == readings.demand.index[-1] + readings.utility.step
    pd.testing.assert_frame_equal(load_readings(empty_station).weather, readings.weather)
    for published in (main, fallback):
        assert open_model(empty_station, published.model_id).snapshot_id == published.snapshot_id


def test_with_too_little_for_a_fallback_the_main_model_stands_alone(empty_station: Station, readings: Readings) -> None:
    main, fallback = build(empty_station, short(readings, 100))
    assert fallback is None
    assert main.state == registry.ACTIVE


def test_a_liar_in_ones_own_files_is_judged_before_the_first_training(empty_station: Station, incident: Readings) -> None:
    lately = replace(incident, demand=incident.demand.iloc[-100 * 24 :])
    main, _ = build(empty_station, lately)
    with transaction(empty_station.engine) as session:
        assert standings_at(session, END.to_pydatetime())[LIAR].to_state == "quarantined"
    assert list(open_model(empty_station, main.model_id).contract.excluded) == [LIAR]


def test_a_look_at_a_station_without_readings_does_not_make_it_look_full(empty_station: Station, readings: Readings) -> None:
    assert flagged_values(empty_station).empty
    require_fresh(empty_station)
    assert build(empty_station, short(readings, 120))[0].role == "main"


def test_a_second_first_day_is_refused_and_changes_nothing(station: Station, readings: Readings) -> None:
    before = load_readings(station).pins
    with pytest.raises(PipelineError, match="GRIDWARD_HOME"):
        build(station, short(readings, 80))
    with pytest.raises(PipelineError, match="GRIDWARD_HOME"):
        build_embedded_station(station, 1, MULTI)
    assert load_readings(station).pins == before


@pytest.mark.parametrize(
    ("days", "policy", "error"),
    [(40, MULTI, TooLittleHistory), (150, WeatherPolicy("zephyr"), NoTrustedWeather)],
)
def test_a_first_day_that_fails_leaves_the_station_fresh(
    empty_station: Station, readings: Readings, days: int, policy: WeatherPolicy, error: type[Exception]
) -> None:
    with pytest.raises(error):
        build(empty_station, short(readings, days), policy)
    main, _ = build(empty_station, short(readings, 100))
    assert main.state == registry.ACTIVE


def test_the_simulated_providers_keep_their_keys(empty_station: Station, tmp_path: Path) -> None:
    at = datetime(2012, 1, 1, tzinfo=UTC)
    first, again = (register_providers(empty_station, tmp_path / "keys", at) for _ in range(2))
    assert {name: signer.key_id for name, signer in first.items()} == {name: s.key_id for name, s in again.items()}
    with transaction(empty_station.engine) as session:
        assert [key_state(session, "provider", name) for name in PROVIDER_NAMES] == ["active"] * 5


def test_the_embedded_data_pass_through_meters_and_signed_reports(
    empty_station: Station, victoria: EmbeddedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    months = slice(victoria.demand_mw.index[0], victoria.demand_mw.index[48 * 110])
    parts = (series[months] for series in (victoria.demand_mw, victoria.demand_watts, victoria.temperature_c))
    few_months = EmbeddedDataset(victoria.utility, *parts)
    monkeypatch.setattr(initial, "load_victoria", lambda: few_months)
    stages: list[str] = []
    main, fallback = build_embedded_station(empty_station, 1, MULTI, lambda stage, _: stages.append(stage))
    assert stages == ["meter readings", "weather reports", "training", "done"]
    assert main.state == registry.ACTIVE
    assert fallback is None  # three months are too little for it
    taken = load_readings(empty_station)
    assert taken.utility.demand_delay == PROMPT
    assert sorted(taken.weather["provider"].unique()) == sorted(PROVIDER_NAMES)
    final = taken.demand.loc[~taken.demand.index.duplicated(keep="last"), "demand_mw"]
    error = (final - few_months.demand_mw) / few_months.demand_mw
    assert error.abs().mean() < 0.005
