"""Attacks on where trust in releases begins: each wins where only the database is asked, and loses where the chest is too.

The attacker writes to the whole home folder, database included, and cannot open the key chest (AML.T0010.003).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline import releases
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.found_again import found_again, refound
from pipeline.promotion import approve, ensure_founded, promote, publish_release, withdraw
from pipeline.publish import OpenedModel, open_model, read_model
from pipeline.recovery import journal
from pipeline.recovery.journal import RecoveryRecord
from pipeline.registry import REVOKED, active_id
from pipeline.release_pins import pinned
from pipeline.releases import believed, repository_of
from pipeline.serving import Serving
from pipeline.station import Station, open_station
from security.release_repository import found, propose, publish
from security.releases import ReleaseRefused
from security.sealed_bundle import id_of
from security.signing import new_signer
from tests.unit.api import small_station
from tests.unit.pipeline.republish import AT, BY, acts, candidate_again, hand_over, in_service_again, sealed_again


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_station.build(tmp_path_factory.mktemp("trusting") / "built", forecaster="linear")


@pytest.fixture
def linear(built: Path, tmp_path: Path) -> Iterator[Station]:
    shutil.copytree(built, tmp_path / "home")
    station = open_station(small_station.settings_for(tmp_path / "home", forecaster="linear"))
    yield station
    station.engine.dispose()


@pytest.fixture
def linear_model(linear: Station) -> OpenedModel:
    with transaction(linear.engine) as session:
        model_id = active_id(session)
    return open_model(linear, model_id)


def found_ones_own(station: Station, digest: str) -> None:
    """Another repository with one's own operators, which releases what one likes, and the row that trusts it."""
    folder = repository_of(station)
    operators, online, now = {name: new_signer() for name in ("ann", "bob", "cy")}, new_signer(), datetime.now(UTC)
    shutil.rmtree(folder)
    shutil.rmtree(station.release_client, ignore_errors=True)
    publics = {name: signer.public_key for name, signer in operators.items()}
    bootstrap = found(folder, publics, [operators["ann"], operators["bob"]], online, now)
    for name in ("ann", "bob"):
        propose(folder, {"main": digest}, operators[name], now)
    publish(folder, online, now)
    with transaction(station.engine) as session:
        pin = pinned(session)
        assert pin is not None
        pin.bootstrap = bootstrap.decode()
        pin.root, pin.targets, pin.snapshot, pin.timestamp = 1, 2, 2, 2
        session.add(pin)


def test_a_repository_of_ones_own_wins_where_the_database_alone_is_trusted_and_loses_against_the_chest(
    linear: Station, linear_model: OpenedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = candidate_again(linear, linear_model, "s-2")
    found_ones_own(linear, read_model(linear, candidate).digest)
    with pytest.raises(ReleaseRefused, match="another root than the key chest"):
        Serving(linear)
    monkeypatch.setattr(releases, "least_versions", lambda _chest, pin: pin.versions)
    assert Serving(linear).active_model_id == candidate


def test_versions_that_the_database_forgot_are_remembered_by_the_chest(
    linear: Station, linear_model: OpenedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = linear.home / "older"
    shutil.copytree(repository_of(linear), older)
    with transaction(linear.engine) as session:
        before = pinned(session)
        assert before is not None
        then = before.versions
    in_service_again(linear, linear_model, "s-2")
    believed(linear)
    shutil.rmtree(repository_of(linear))
    shutil.rmtree(linear.release_client)
    older.rename(repository_of(linear))
    with transaction(linear.engine) as session:
        pin = pinned(session)
        assert pin is not None
        pin.targets, pin.snapshot, pin.timestamp = then.targets, then.snapshot, then.timestamp
        session.add(pin)
    with pytest.raises(ReleaseRefused, match="rolled back"):
        believed(linear)
    with monkeypatch.context() as off:
        off.setattr(releases, "least_versions", lambda _chest, pin: pin.versions)
        assert id_of(believed(linear).by_role["main"].model) == linear_model.model_id
    # Where it was a restored backup, whoever may open the chest says so, and the audit log keeps it.
    releases.trust_restored(linear, by=BY, reason="restored from the backup of Monday", at=AT)
    assert id_of(believed(linear).by_role["main"].model) == linear_model.model_id
    assert len(acts(linear, "registry.restored")) == 1


def test_a_trust_that_was_deleted_is_not_begun_anew_by_the_next_training(linear: Station) -> None:
    with transaction(linear.engine) as session:
        session.delete(pinned(session))
    with pytest.raises(PipelineError, match="founded before"):
        ensure_founded(linear, by=BY, at=AT)


def test_real_operators_are_not_thrown_out_by_one_command(linear: Station) -> None:
    hand_over(linear)
    with pytest.raises(PipelineError, match="ann, bob, cy decide here"):
        found_again(linear, by=BY, reason="drill", at=AT)


def test_nothing_is_given_up_for_a_model_that_does_not_open(linear: Station, linear_model: OpenedModel) -> None:
    path = linear.models / linear_model.model_id / "model.json.sealed"
    sealed = path.read_bytes()
    path.write_bytes(sealed + b"x")
    with pytest.raises(Exception, match=r"model\.json"):
        found_again(linear, by=BY, reason="drill", at=AT)
    path.write_bytes(sealed)
    assert Serving(linear).active_model_id == linear_model.model_id
    assert not acts(linear, "registry.given-up")


def test_releases_founded_again_release_what_was_in_service_and_say_so(linear: Station, linear_model: OpenedModel) -> None:
    refound(linear, by=BY, reason="restored without its keys", at=AT)
    assert Serving(linear).active_model_id == linear_model.model_id
    assert [len(acts(linear, f"registry.{act}")) for act in ("given-up", "founded")] == [1, 2]
    shutil.move(repository_of(linear), repository_of(linear).with_name(".registry.given-up"))
    found_again(linear, by=BY, reason="killed between the two renames", at=AT)
    assert Serving(linear).active_model_id == linear_model.model_id


def test_a_recovered_model_is_not_approved_before_its_gates_were_asked(linear: Station, linear_model: OpenedModel) -> None:
    operators = hand_over(linear)
    model_id = candidate_again(linear, linear_model, "s-2")
    with transaction(linear.engine) as session:
        session.add(
            RecoveryRecord(
                recovery_id="r",
                provider="aurora",
                asked="",
                state=journal.TRAINED,
                outcome=journal.UNFINISHED,
                plan="{}",
                model_id=model_id,
                started_at=AT,
            )
        )
    with pytest.raises(PipelineError, match="not judged yet"):
        approve(linear, model_id, operators["ann"], at=AT)
    with pytest.raises(PipelineError, match="not judged yet"):
        publish_release(linear, model_id)


def test_a_released_model_that_was_not_entered_yet_is_not_revoked(linear: Station, linear_model: OpenedModel) -> None:
    operators = hand_over(linear)
    model_id = candidate_again(linear, linear_model, "s-2")
    for name in ("ann", "bob"):
        approve(linear, model_id, operators[name], at=AT)
    publish_release(linear, model_id)  # and the process was killed
    with pytest.raises(PipelineError, match="is in service"):
        withdraw(linear, model_id, REVOKED, by=BY, reason="wrong one", at=AT)
    assert promote(linear, model_id, by=BY, at=AT).model_id == model_id


def test_another_model_than_the_one_named_is_not_published(
    linear: Station, linear_model: OpenedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    operators, folder = hand_over(linear), repository_of(linear)
    model_id = candidate_again(linear, linear_model, "s-2")
    for name in ("ann", "bob"):
        approve(linear, model_id, operators[name], at=AT)
    other = read_model(linear, sealed_again(linear, linear_model, "s-3")).digest

    def meanwhile(*arguments: object) -> object:
        for number, name in enumerate(("ann", "bob")):
            propose(folder, {"main": other}, operators[name], datetime.now(UTC), replace=number == 0)
        return publish(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("pipeline.promotion.publish", meanwhile)
    with pytest.raises(PipelineError, match="waits for 2 operators"):
        promote(linear, model_id, by=BY, at=AT)
    assert id_of(believed(linear).by_role["main"].model) == linear_model.model_id
