"""A model learns from what was known and trusted at one moment, and everything it learned from is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from sqlmodel import select

from data.errors import NoTrustedWeather
from data.provenance import SnapshotRecord
from data.snapshots import Snapshot, restore
from data.trust.readings import Flag
from data.weather_fusion import Exclusion
from forecasting.errors import TooLittleHistory
from pipeline import registry
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.ingest import Readings, keep_flags, with_newest_flags
from pipeline.provider_standings import record_decision
from pipeline.publish import open_model
from pipeline.station import Station
from pipeline.train import TrainingOrder, train, train_fallback, weather_known
from pipeline.weather_policy import WeatherPolicy
from security.audit_log import AuditEntry
from security.keyring import trusted_keys
from tests.unit.api.small_station import PROVIDERS, START, UTILITY

AS_OF = START + pd.Timedelta(days=100, hours=9)


def order(policy: str = "multi-source", as_of: pd.Timestamp = AS_OF, **changes: object) -> TrainingOrder:
    given = TrainingOrder(WeatherPolicy.parse(policy), as_of, as_of.to_pydatetime(), by="ann")
    return replace(given, **changes)  # type: ignore[arg-type]  # named in each test


def snapshot_of(station: Station, trained: registry.ModelRecord) -> Snapshot:
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "snapshot")
    return restore(station.snapshots, trained.snapshot_id, trusted)


def sources_of(station: Station, trained: registry.ModelRecord) -> dict[str, pd.Timestamp]:
    with transaction(station.engine) as session:
        record = session.exec(select(SnapshotRecord).where(SnapshotRecord.snapshot_id == trained.snapshot_id)).one()
    return {name: pd.Timestamp(last) for name, last in json.loads(record.sources).items()}


def refuse(station: Station, provider: str, onset: pd.Timestamp, at: pd.Timestamp) -> None:
    with transaction(station.engine) as session:
        record_decision(
            session,
            provider=provider,
            to_state="quarantined",
            at=at.to_pydatetime(),
            onset=onset.to_pydatetime(),
            by="olga",
            reason="drift",
        )


def test_a_trained_model_is_active_logged_and_tied_to_its_snapshot(station: Station, readings: Readings) -> None:
    trained = train(station, readings, order())
    with transaction(station.engine) as session:
        assert registry.active(session).model_id == trained.model_id
        last = session.exec(select(AuditEntry).order_by(AuditEntry.seq.desc())).first()  # type: ignore[attr-defined]
    assert last is not None
    assert (last.action, last.actor, last.subject) == ("model.activated", "ann", trained.model_id)
    assert (trained.role, trained.forecaster, trained.weather_policy) == ("main", "ensemble", "multi-source")
    assert trained.as_of == AS_OF.to_pydatetime()
    opened = open_model(station, trained.model_id)
    assert opened.snapshot_id == trained.snapshot_id
    assert str(opened.contract.policy) == "multi-source"


def test_nothing_known_later_is_learned(station: Station, readings: Readings) -> None:
    later_demand = readings.demand["demand_mw"].mask(readings.demand["available_at"] > AS_OF, -1e6)
    later_weather = readings.weather["temperature_c"].mask(readings.weather["issued_at"] > AS_OF, 55.0)
    garbled = replace(
        readings,
        demand=readings.demand.assign(demand_mw=later_demand),
        weather=readings.weather.assign(temperature_c=later_weather),
    )
    one, two = (snapshot_of(station, train(station, given, order())) for given in (readings, garbled))
    assert one.snapshot_id == two.snapshot_id
    assert one.training.index[-1] == AS_OF - UTILITY.step
    assert one.training.notna().all(axis=None)


def test_ordered_once_more_it_is_another_publication_of_the_same_snapshot(station: Station, readings: Readings) -> None:
    first, same = (train(station, readings, order()) for _ in range(2))
    assert first.model_id == same.model_id
    later = train(station, readings, order(at=(AS_OF + pd.Timedelta(hours=1)).to_pydatetime()))
    assert later.model_id != first.model_id
    assert later.snapshot_id == first.snapshot_id


def test_a_policy_can_be_gone_back_to_by_ordering_it_anew(station: Station, readings: Readings) -> None:
    states = []
    for hour, policy in enumerate(["single:boreas", "multi-source", "single:boreas"]):
        at = AS_OF.to_pydatetime() + timedelta(hours=hour)
        states.append(train(station, readings, order(policy, at=at)))
    assert [trained.state for trained in states] == ["active"] * 3
    with pytest.raises(PipelineError, match="was retired before"):
        train(station, readings, order("single:boreas"))


def test_the_ledger_names_each_source_with_the_last_moment_that_was_used(station: Station, readings: Readings) -> None:
    last = AS_OF - UTILITY.step
    assert sources_of(station, train(station, readings, order())) == dict.fromkeys(PROVIDERS, last)
    assert sources_of(station, train(station, readings, order("single:boreas"))) == {"boreas": last}


def test_a_refused_provider_is_left_out_from_its_onset_on(station: Station, readings: Readings) -> None:
    onset = START + pd.Timedelta(days=60)
    refuse(station, "boreas", onset, at=AS_OF)
    refused_from = onset - pd.Timedelta(days=14)
    trained = train(station, readings, order())
    assert sources_of(station, trained)["boreas"] == refused_from - UTILITY.step
    assert open_model(station, trained.model_id).contract.excluded == {"boreas": Exclusion(refused_from)}

    lying = (readings.weather["provider"] == "boreas") & (readings.weather["valid_at"] >= refused_from)
    lied_to = readings.weather.assign(temperature_c=readings.weather["temperature_c"].mask(lying, 50.0))
    again = train(station, replace(readings, weather=lied_to), order())
    pd.testing.assert_series_equal(
        snapshot_of(station, trained).training["temperature_c"], snapshot_of(station, again).training["temperature_c"]
    )


def test_a_provider_that_was_refused_later_than_the_order_is_heard(station: Station, readings: Readings) -> None:
    refuse(station, "boreas", START + pd.Timedelta(days=60), at=AS_OF + pd.Timedelta(seconds=1))
    assert sources_of(station, train(station, readings, order()))["boreas"] == AS_OF - UTILITY.step


def test_a_sole_trusted_provider_that_is_refused_from_the_start_leaves_nothing(station: Station, readings: Readings) -> None:
    refuse(station, "boreas", START, at=AS_OF)
    with pytest.raises(NoTrustedWeather, match="boreas"):
        train(station, readings, order("single:boreas"))


def test_the_fallback_learns_from_demand_alone(station: Station, readings: Readings) -> None:
    as_of = START + pd.Timedelta(days=150)
    trained = train_fallback(station, readings, order(as_of=as_of))
    assert (trained.role, trained.forecaster, trained.weather_policy) == ("fallback", "prophet", "none")
    snapshot = snapshot_of(station, trained)
    assert snapshot.readings.columns.empty
    assert snapshot.training["temperature_c"].isna().all()
    assert sources_of(station, trained) == {}


def test_a_fallback_needs_no_weather_and_four_months(station: Station, readings: Readings) -> None:
    with pytest.raises(TooLittleHistory):
        train_fallback(station, readings, order())


def test_the_main_model_is_not_trained_on_too_little_or_on_no_weather(station: Station, readings: Readings) -> None:
    with transaction(station.engine) as session:
        before = registry.active(session).model_id
    with pytest.raises(TooLittleHistory):
        train(station, readings, order(as_of=START + pd.Timedelta(days=40)))
    with pytest.raises(NoTrustedWeather, match="no weather was known on 2022-12-31"):
        train(station, readings, order(as_of=START - pd.Timedelta(days=1)))
    with pytest.raises(NoTrustedWeather, match="no provider delivered"):
        train(station, replace(readings, weather=readings.weather.iloc[:0]), order())
    with transaction(station.engine) as session:
        assert registry.active(session).model_id == before


def test_what_is_known_of_the_past_has_one_column_a_provider_and_ends_at_the_moment(
    station: Station, readings: Readings
) -> None:
    wide = weather_known(station, readings, AS_OF)
    assert list(wide.columns) == list(PROVIDERS)
    assert (wide.index[0], wide.index[-1]) == (START, AS_OF - UTILITY.step)
    assert np.isfinite(wide.to_numpy()).all()


def test_values_that_were_flagged_are_kept_as_readings_and_not_trained_on(station: Station, readings: Readings) -> None:
    hours = [START + pd.Timedelta(hours=1000), START + pd.Timedelta(hours=1001)]
    keep_flags(
        station,
        pd.DataFrame({"provider": ["boreas", "zephyr"], "valid_at": hours, "flags": [int(Flag.SPIKE)] * 2}),
        AS_OF.to_pydatetime(),
    )
    wide = weather_known(station, with_newest_flags(station, readings), AS_OF)
    assert np.isnan(wide.loc[hours[0], "boreas"])
    assert wide.isna().to_numpy().sum() == 1
    snapshot = snapshot_of(station, train(station, readings, order()))
    assert np.isnan(snapshot.readings.loc[hours[0], "boreas"])
    assert snapshot.training["temperature_c"].notna().all()
    # What is judged anew takes the place of what was judged before.
    keep_flags(
        station, pd.DataFrame({"provider": [], "valid_at": [], "flags": []}), AS_OF.to_pydatetime() + timedelta(days=1)
    )
    assert weather_known(station, with_newest_flags(station, readings), AS_OF).notna().to_numpy().all()
