"""Who lied, since when, what did it touch; and a model trained again without a word of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sqlmodel import select

from data.provenance import SnapshotRecord
from data.snapshots import restore
from data.weather_fusion import Exclusion
from pipeline import registry
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.ingest import Readings
from pipeline.predict import forecast_day, record
from pipeline.provider_standings import SAFETY_MARGIN, standings_at
from pipeline.publish import open_model
from pipeline.recover import Revocation, estimated_onset, last_clean_snapshot, retrain_clean, revoke_provider
from pipeline.station import Station
from security.audit_log import AuditEntry
from security.errors import ContentChanged, SignatureInvalid
from security.keyring import key_state, register_key, revoke_keys_of, trusted_keys
from security.signing import new_signer
from tests.unit.pipeline.small_incident import AMID, BEFORE, END, FOUND_OUT, LIAR, ONSET, PROVIDERS, UTILITY, order

NEAR = pd.Timedelta(days=5)


def revoke(station: Station, readings: Readings, provider: str = LIAR) -> Revocation:
    at = FOUND_OUT.to_pydatetime()
    return revoke_provider(station, readings, provider, by="olga", reason="compromised", at=at)


def states(station: Station) -> dict[pd.Timestamp, str]:
    """Each model's state by the moment it was trained for."""
    with transaction(station.engine) as session:
        return {pd.Timestamp(entry.as_of): entry.state for entry in registry.listing(session)}


def snapshot_ids(station: Station) -> dict[pd.Timestamp, str]:
    with transaction(station.engine) as session:
        return {pd.Timestamp(entry.as_of): entry.snapshot_id for entry in session.exec(select(SnapshotRecord))}


def logged(station: Station, action: str) -> list[AuditEntry]:
    with transaction(station.engine) as session:
        return [entry for entry in session.exec(select(AuditEntry)) if entry.action == action]


def test_the_onset_of_a_lie_is_found_within_days(incident: Readings) -> None:
    onset, evidence = estimated_onset(incident, LIAR, FOUND_OUT)
    assert abs(onset - ONSET) <= NEAR
    assert "too cold in mild weather" in evidence
    assert f"{onset:%Y-%m-%d}" in evidence


def test_the_onset_does_not_depend_on_how_long_one_waits(incident: Readings) -> None:
    waited, _ = estimated_onset(incident, LIAR, END + pd.Timedelta(days=400))
    assert waited == estimated_onset(incident, LIAR, FOUND_OUT)[0]


def test_without_a_lie_found_a_provider_is_refused_from_the_moment_of_the_decision(incident: Readings) -> None:
    assert estimated_onset(incident, "cirrus", FOUND_OUT) == (FOUND_OUT, "no lie found")
    assert estimated_onset(incident, LIAR, BEFORE)[1] == "no lie found"


def test_revoking_ends_the_key_the_standing_and_the_trust_since_the_onset(
    incident_station: Station, incident: Readings
) -> None:
    at = FOUND_OUT.to_pydatetime()
    with transaction(incident_station.engine) as session:
        register_key(
            session,
            purpose="provider",
            owner=LIAR,
            public_key=new_signer().public_key,
            by="ann",
            reason="contract",
            at=BEFORE.to_pydatetime(),
        )
    done = revoke(incident_station, incident)
    with transaction(incident_station.engine) as session:
        assert key_state(session, "provider", LIAR) == "revoked"
        standing = standings_at(session, at)[LIAR]
    assert (standing.to_state, standing.by, standing.reason) == ("revoked", "olga", "compromised")
    assert standing.onset == done.onset.to_pydatetime()
    assert abs(done.onset - ONSET) <= NEAR
    (entry,) = logged(incident_station, "provider.revoked")
    assert (entry.actor, entry.subject, entry.at) == ("olga", LIAR, at)
    assert "too cold in mild weather" in entry.details


def test_a_provider_without_a_key_can_be_revoked_and_that_is_said(incident_station: Station, incident: Readings) -> None:
    assert revoke(incident_station, incident).evidence.endswith("it has no active key")


def test_revoking_somebody_unknown_changes_nothing_and_names_the_known(
    incident_station: Station, incident: Readings
) -> None:
    with pytest.raises(PipelineError, match=", ".join(PROVIDERS)):
        revoke(incident_station, incident, "zephyr")
    with transaction(incident_station.engine) as session:
        assert standings_at(session, END.to_pydatetime()) == {}
    assert logged(incident_station, "provider.revoked") == []


def test_the_blast_radius_holds_what_was_trained_or_forecast_on_the_lie(
    incident_station: Station, incident: Readings
) -> None:
    models = {}
    with transaction(incident_station.engine) as session:
        for entry in registry.listing(session):
            models[pd.Timestamp(entry.as_of)] = entry.model_id
    opened = {moment: open_model(incident_station, model_id) for moment, model_id in models.items()}
    forecasts = {
        "honest": forecast_day(incident, opened[BEFORE], None, {}, (ONSET - pd.Timedelta(days=9)).date()),
        "fed": forecast_day(incident, opened[BEFORE], None, {}, (AMID - pd.Timedelta(days=1)).date()),
        "taught": forecast_day(incident, opened[AMID], None, {}, (AMID + pd.Timedelta(days=1)).date()),
    }
    record(incident_station, UTILITY, list(forecasts.values()), "ann")
    touched = revoke(incident_station, incident).touched
    assert touched.snapshots == (snapshot_ids(incident_station)[AMID],)
    assert touched.models == (models[AMID],)
    assert set(touched.forecasts) == {forecasts["fed"].forecast_id, forecasts["taught"].forecast_id}
    both = forecasts["fed"].energy_mwh(UTILITY) + forecasts["taught"].energy_mwh(UTILITY)
    assert touched.energy_mwh == pytest.approx(both)


def test_the_last_clean_snapshot_is_the_newest_from_before_the_onset(incident_station: Station) -> None:
    ids = snapshot_ids(incident_station)
    assert set(ids) == {BEFORE, AMID}
    with transaction(incident_station.engine) as session:
        for onset, wanted in ((BEFORE, BEFORE), (AMID - UTILITY.step, BEFORE), (AMID, AMID), (END, AMID)):
            clean = last_clean_snapshot(session, onset)
            assert clean is not None
            assert clean.snapshot_id == ids[wanted]
        assert last_clean_snapshot(session, BEFORE - UTILITY.step) is None


def test_a_snapshot_without_weather_is_no_backup(station: Station) -> None:
    # The small station's fallback was trained at the same moment as its main model.
    with transaction(station.engine) as session:
        kinds = {entry.sources == "{}": entry.snapshot_id for entry in session.exec(select(SnapshotRecord))}
        clean = last_clean_snapshot(session, END)
        assert len(kinds) == 2
        assert clean is not None
        assert clean.snapshot_id == kinds[False]


def test_the_recovered_model_knows_nothing_of_what_the_liar_said_since_shortly_before_the_onset(
    incident_station: Station, incident: Readings
) -> None:
    done = revoke(incident_station, incident)
    trained, backup = retrain_clean(incident_station, incident, order(FOUND_OUT))
    refused_from = done.onset - SAFETY_MARGIN
    assert backup is not None
    assert backup.snapshot_id == snapshot_ids(incident_station)[BEFORE]
    with transaction(incident_station.engine) as session:
        trusted = trusted_keys(session, "snapshot")
    learned = restore(incident_station.snapshots, trained.snapshot_id, trusted)
    said_by_liar = learned.readings[LIAR].dropna()
    assert said_by_liar.index[-1] == refused_from - UTILITY.step
    assert learned.readings["boreas"].dropna().index[-1] == FOUND_OUT - UTILITY.step
    contract = open_model(incident_station, trained.model_id).contract
    assert (str(contract.policy), contract.excluded) == ("multi-source", {LIAR: Exclusion(refused_from)})

    # As if the liar had never been heard since: another lie leads to the very same training data.
    lying = (incident.weather["provider"] == LIAR) & (incident.weather["valid_at"] >= refused_from)
    louder = incident.weather.assign(temperature_c=incident.weather["temperature_c"].mask(lying, 50.0))
    again, _ = retrain_clean(incident_station, replace(incident, weather=louder), order(FOUND_OUT))
    assert again.snapshot_id == trained.snapshot_id


def test_the_recovered_training_data_is_the_backup_as_it_was_and_then_the_store(
    incident_station: Station, incident: Readings
) -> None:
    revoke(incident_station, incident)
    # The store was altered before the backup's end as well: the backup does not know.
    early = incident.demand.index < BEFORE
    altered = incident.demand.assign(
        demand_mw=incident.demand["demand_mw"].where(~early, incident.demand["demand_mw"] * 1.2)
    )
    trained, backup = retrain_clean(incident_station, replace(incident, demand=altered), order(FOUND_OUT))
    with transaction(incident_station.engine) as session:
        trusted = trusted_keys(session, "snapshot")
    learned = restore(incident_station.snapshots, trained.snapshot_id, trusted).training["demand_mw"]
    assert backup is not None
    np.testing.assert_array_equal(learned.loc[: BEFORE - UTILITY.step], backup.training["demand_mw"])
    np.testing.assert_array_equal(learned.loc[BEFORE:], incident.demand["demand_mw"].loc[BEFORE : FOUND_OUT - UTILITY.step])


def test_recovery_revokes_what_learned_from_the_liar_and_only_that(incident_station: Station, incident: Readings) -> None:
    revoke(incident_station, incident)
    assert states(incident_station) == {BEFORE: registry.RETIRED, AMID: registry.ACTIVE}
    retrain_clean(incident_station, incident, order(FOUND_OUT))
    assert states(incident_station) == {
        BEFORE: registry.RETIRED,
        AMID: registry.REVOKED,
        FOUND_OUT: registry.ACTIVE,
    }
    (entry,) = logged(incident_station, "models.revoked")
    assert LIAR in entry.details


def test_with_nobody_refused_there_is_nothing_to_restore(incident_station: Station, incident: Readings) -> None:
    _, backup = retrain_clean(incident_station, incident, order(FOUND_OUT, f"single:{LIAR}"))
    assert backup is None
    assert registry.REVOKED not in states(incident_station).values()
    assert logged(incident_station, "models.revoked") == []


def test_without_a_clean_backup_the_store_without_the_liar_has_to_do(incident: Readings, empty_station: Station) -> None:
    revoke(empty_station, incident)
    trained, backup = retrain_clean(empty_station, incident, order(FOUND_OUT))
    assert backup is None
    assert trained.state == registry.ACTIVE


@pytest.mark.parametrize("name", ["training.parquet", "readings.parquet"])
def test_a_tampered_backup_stops_the_recovery_with_the_files_name(
    incident_station: Station, incident: Readings, name: str
) -> None:
    revoke(incident_station, incident)
    path = incident_station.snapshots / snapshot_ids(incident_station)[BEFORE] / name
    content = path.read_bytes()
    path.write_bytes(content[:5000] + bytes([content[5000] ^ 4]) + content[5001:])
    with pytest.raises(ContentChanged, match=name):
        retrain_clean(incident_station, incident, order(FOUND_OUT))
    assert states(incident_station)[AMID] == registry.ACTIVE
    assert FOUND_OUT not in states(incident_station)


def test_a_backup_whose_key_was_revoked_is_no_longer_believed(incident_station: Station, incident: Readings) -> None:
    revoke(incident_station, incident)
    with transaction(incident_station.engine) as session:
        revoke_keys_of(session, "snapshot", "station", "ops", "stolen", FOUND_OUT.to_pydatetime())
    with pytest.raises(SignatureInvalid):
        retrain_clean(incident_station, incident, order(FOUND_OUT))
