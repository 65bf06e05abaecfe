"""The incident's attacks, each winning with its safeguard off and losing with it on (AML.T0010.002, AML.T0018, AML.T0020).

One provider lies from day 575 on; a training snapshot is altered at rest; an older model is put back in a newer one's place.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlmodel import select

from data.provenance import SnapshotRecord
from data.schema import days_between, is_mild
from data.snapshots import Snapshot, restore
from pipeline import recover, registry
from pipeline.attest import PREDICATE_TYPES
from pipeline.database import transaction
from pipeline.ingest import Readings
from pipeline.monitor import keep_watch
from pipeline.operate import operate
from pipeline.predict import forecast_day
from pipeline.publish import KIND, open_model
from pipeline.recover import retrain_clean, revoke_provider
from pipeline.station import Station
from pipeline.train import train
from pipeline.weather_policy import WeatherPolicy
from security.bundle_keys import bundle_context
from security.encryption import DecryptionRefused
from security.errors import ContentChanged
from security.keyring import trusted_keys
from security.sealed_bundle import KEY_FILE, BundleSwapped, read_bundle
from security.signing import PublicKey
from tests.unit.pipeline.small_incident import (
    BEFORE,
    END,
    FOUND_OUT,
    LIAR,
    ONSET,
    RAMP,
    incident,
    order,
    station_at,
    true_temperature,
)

# Within one month, so that no retraining unlearns the lie.
AT_FULL_STRENGTH = ((ONSET + RAMP).date(), (ONSET + RAMP + pd.Timedelta(days=9)).date())


@pytest.fixture(scope="module")
def honest() -> Readings:
    return incident(lie=False)


@pytest.fixture(scope="module")
def lied_to() -> Readings:
    return incident(lie=True)


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return station_at(tmp_path / "home")


def mild_bias_percent(station: Station, readings: Readings, policy: str) -> float:
    """Ten days of operations with a model from before the lie: the bias in hours that really were mild."""
    trained = train(station, readings, order(BEFORE, policy))
    made = operate(station, readings, WeatherPolicy.parse(policy), AT_FULL_STRENGTH, trained=trained).frame()
    mild = is_mild(true_temperature().loc[made.index])
    actual = readings.demand["demand_mw"].loc[made.index][mild]
    assert mild.mean() > 0.2
    return float((made["forecast_mw"][mild] - actual).sum() / actual.sum() * 100)


def test_one_lying_provider_wins_where_it_is_trusted_alone_and_loses_among_four(
    tmp_path: Path, honest: Readings, lied_to: Readings
) -> None:
    single = f"single:{LIAR}"
    yardstick = mild_bias_percent(station_at(tmp_path / "honest"), honest, single)
    assert abs(yardstick) < 1

    # Off: its forecasts are the weather.
    assert mild_bias_percent(station_at(tmp_path / "undefended"), lied_to, single) > yardstick + 1.5

    # On: it is held against the others, found out and left out.
    defended = station_at(tmp_path / "defended")
    keep_watch(defended, lied_to, END)
    assert abs(mild_bias_percent(defended, lied_to, "multi-source") - yardstick) < 0.5


def test_standings_alone_keep_the_liar_out_of_the_very_forecasts(tmp_path: Path, lied_to: Readings) -> None:
    station = station_at(tmp_path / "home")
    trained = train(station, lied_to, order(BEFORE))
    # Off: nobody looks; the liar is a quarter of the sources.
    unjudged = operate(station, lied_to, WeatherPolicy(), AT_FULL_STRENGTH, trained=trained)
    assert all(LIAR in made.sources for made in unjudged.forecasts if made.model_id == trained.model_id)
    # On.
    keep_watch(station, lied_to, END)
    judged = operate(station, lied_to, WeatherPolicy(), AT_FULL_STRENGTH, trained=trained)
    assert len(judged.forecasts) == len(days_between(*AT_FULL_STRENGTH))
    assert not any(LIAR in made.sources for made in judged.forecasts)


def unverified(store: Path, snapshot_id: str, _: Mapping[str, PublicKey]) -> Snapshot:
    """The safeguard off: what stands on the disk is the backup."""
    training, readings = (
        pd.read_parquet(io.BytesIO((store / snapshot_id / f"{name}.parquet").read_bytes())).set_index("timestamp")
        for name in ("training", "readings")
    )
    return Snapshot(snapshot_id, training, readings, {})


def test_a_poisoned_backup_teaches_the_recovered_model_unless_it_is_verified(
    station: Station, lied_to: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = train(station, lied_to, order(BEFORE, f"single:{LIAR}"))
    revoke_provider(station, lied_to, LIAR, by="olga", reason="compromised", at=FOUND_OUT.to_pydatetime())
    path = station.snapshots / backup.snapshot_id / "training.parquet"
    altered = pd.read_parquet(path)
    altered["demand_mw"] *= 1.1
    altered.to_parquet(path, index=False)

    # Off: ten percent more demand ever since, and nobody the wiser.
    with monkeypatch.context() as off:
        off.setattr(recover, "restore", unverified)
        poisoned, _ = retrain_clean(station, lied_to, order(FOUND_OUT))
    assert poisoned.state == registry.ACTIVE
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "snapshot")
        snapshots = len(session.exec(select(SnapshotRecord)).all())
    learned = restore(station.snapshots, poisoned.snapshot_id, trusted).training["demand_mw"]
    real = lied_to.demand["demand_mw"].loc[learned.index]
    np.testing.assert_allclose((learned / real).loc[: BEFORE - pd.Timedelta(hours=1)], 1.1)

    # On: recovery stops, naming the file; nothing is frozen, trained or activated.
    with pytest.raises(ContentChanged, match=r"training\.parquet"):
        retrain_clean(station, lied_to, order(FOUND_OUT + pd.Timedelta(days=1)))
    with transaction(station.engine) as session:
        assert registry.active(session).model_id == poisoned.model_id
        assert len(session.exec(select(SnapshotRecord)).all()) == snapshots


def unbound(station: Station, folder: Path, model_id: str, other: str) -> None:
    """Read one model's folder as if the key of another one were its own and every file were encrypted for it."""
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "model")
    cipher = station.chest.cipher_of(folder / KEY_FILE, bundle_context(other))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("security.sealed_bundle.bundle_context", lambda _: bundle_context(other))
        read_bundle(folder, model_id, KIND, tuple(PREDICATE_TYPES), trusted, cipher)


def test_an_older_model_put_in_the_active_ones_place_passes_a_signature_check_and_not_the_opening(
    station: Station, lied_to: Readings
) -> None:
    old = train(station, lied_to, order(BEFORE, f"single:{LIAR}"))
    active = train(station, lied_to, order(BEFORE + pd.Timedelta(days=5)))
    folder = station.models / active.model_id
    shutil.rmtree(folder)
    shutil.copytree(station.models / old.model_id, folder)

    # Off: the signature is ours and every file is as sealed. It is the model that trusts the liar.
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "model")
    cipher = station.chest.cipher_of(folder / KEY_FILE, bundle_context(old.model_id))
    manifest = read_bundle(folder, old.model_id, KIND, tuple(PREDICATE_TYPES), trusted, cipher).manifest
    assert manifest.predicate["weather"]["policy"] == f"single:{LIAR}"

    # On: the name binds which bundle was registered, and its key.
    with pytest.raises(DecryptionRefused):
        open_model(station, active.model_id)
    with pytest.raises(BundleSwapped, match=active.model_id):
        unbound(station, folder, active.model_id, old.model_id)
    day = (BEFORE + pd.Timedelta(days=7)).date()
    assert forecast_day(lied_to, open_model(station, old.model_id), None, {}, day).sources == (LIAR,)
