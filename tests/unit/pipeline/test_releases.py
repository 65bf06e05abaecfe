"""What runs is what the releases say: the registry follows, and what was rolled back, frozen or altered is refused."""

from __future__ import annotations

import errno
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from pipeline import registry, releases
from pipeline.database import transaction
from pipeline.errors import NoActiveModel, PipelineError
from pipeline.promotion import approve, promote_unattended, publish_release
from pipeline.publish import OpenedModel, read_model
from pipeline.release_pins import pinned
from pipeline.releases import believed, follow_releases, online_signer, open_released, repository_of
from pipeline.serving import Serving
from pipeline.station import Station
from security import release_repository
from security.audit_check import verify_log
from security.audit_heads import read_heads
from security.audit_log import AuditEntry
from security.keyring import trusted_keys
from security.releases import Release, ReleaseRefused, Versions
from security.sealed_bundle import BundleSwapped, id_of
from tests.unit.pipeline.republish import (
    AT,
    BY,
    candidate_again,
    demo_operators,
    in_service_again,
    no_release,
    sealed_again,
    states,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def pin_of(station: Station) -> Versions:
    with transaction(station.engine) as session:
        pin = pinned(session)
    assert pin is not None
    return pin.versions


def set_state(station: Station, model_id: str, state: str) -> None:
    """What somebody can who writes to the database."""
    with transaction(station.engine) as session:
        record = session.get_one(registry.ModelRecord, model_id)
        record.state = state
        session.add(record)


def activations(station: Station) -> list[str]:
    with transaction(station.engine) as session:
        return [entry.subject for entry in session.exec(select(AuditEntry)) if entry.action == "model.activated"]


def why(station: Station, now: datetime | None = None) -> str:
    with pytest.raises(ReleaseRefused) as refusal:
        believed(station, now)
    assert refusal.value.mend
    return refusal.value.why


@pytest.fixture
def frozen(linear: Station, monkeypatch: pytest.MonkeyPatch) -> Station:
    """The station where the online key is somewhere else: nothing is renewed."""
    monkeypatch.setattr(releases, "renew", lambda *_: None)
    return linear


def test_the_release_in_force_names_all_64_digits_of_the_model_in_service(
    linear: Station, linear_model: OpenedModel
) -> None:
    released = follow_releases(linear, AT)
    assert set(released) == {"main"}
    assert len(released["main"].model) == 64
    assert id_of(released["main"].model) == linear_model.model_id
    assert open_released(linear, released["main"]).model_id == linear_model.model_id


def test_before_the_first_release_nothing_may_run(empty_station: Station) -> None:
    with pytest.raises(NoActiveModel, match="gridward train"):
        believed(empty_station)


def test_killed_between_a_release_and_its_entry_the_registry_follows_later(
    linear: Station, linear_model: OpenedModel
) -> None:
    newest = candidate_again(linear, linear_model, "s-2")
    assert promote_unattended(linear, newest, by=BY, at=AT)  # and here it ends: nothing was entered
    assert states(linear) == {linear_model.model_id: registry.ACTIVE, newest: registry.CANDIDATE}
    assert id_of(follow_releases(linear, AT)["main"].model) == newest
    assert states(linear) == {linear_model.model_id: registry.RETIRED, newest: registry.ACTIVE}
    # Once, with a signed head; asked again, nothing is left to follow.
    assert activations(linear).count(newest) == 1
    follow_releases(linear, AT)
    assert activations(linear).count(newest) == 1
    with transaction(linear.engine) as session:
        heads = read_heads(linear.audit_heads, trusted_keys(session, "audit"))
        assert verify_log(session, heads) == heads[-1].seq


def test_a_state_that_was_flipped_in_the_database_does_not_change_what_runs(
    linear: Station, linear_model: OpenedModel
) -> None:
    newest = in_service_again(linear, linear_model, "s-2")
    for mine, theirs in ((registry.RETIRED, registry.ACTIVE), (registry.CANDIDATE, registry.ACTIVE)):
        set_state(linear, newest, mine)
        set_state(linear, linear_model.model_id, theirs)
        assert id_of(follow_releases(linear, AT)["main"].model) == newest
        assert states(linear)[newest] == registry.ACTIVE
        assert states(linear)[linear_model.model_id] == registry.RETIRED
    assert Serving(linear).active_model_id == newest


def test_a_model_that_was_revoked_does_not_run_whatever_is_released(linear: Station, linear_model: OpenedModel) -> None:
    set_state(linear, linear_model.model_id, registry.REVOKED)
    with pytest.raises(PipelineError, match="is revoked"):
        follow_releases(linear, AT)
    assert states(linear) == {linear_model.model_id: registry.REVOKED}


def test_a_release_of_a_model_that_nobody_entered_is_refused(linear: Station, linear_model: OpenedModel) -> None:
    unknown = sealed_again(linear, linear_model, "unknown")
    digest = read_model(linear, unknown).digest
    for signer in demo_operators(linear)[:2]:
        release_repository.propose(repository_of(linear), {"main": digest}, signer, datetime.now(UTC))
    release_repository.publish(repository_of(linear), online_signer(linear), datetime.now(UTC))
    with pytest.raises(PipelineError, match=f"{unknown} is unknown"):
        follow_releases(linear, AT)
    assert states(linear) == {linear_model.model_id: registry.ACTIVE}


def test_the_pin_rises_with_every_release_and_with_what_another_process_released(
    linear: Station, linear_model: OpenedModel
) -> None:
    first = pin_of(linear)
    in_service_again(linear, linear_model, "s-2")
    second = pin_of(linear)
    assert second.targets == first.targets + 1
    no_release(linear, "main")
    assert pin_of(linear) == second
    assert believed(linear).by_role == {}
    assert pin_of(linear).targets == second.targets + 1


def test_a_rolled_back_repository_is_refused_though_the_clients_folder_was_wiped(
    linear: Station, linear_model: OpenedModel, tmp_path: Path
) -> None:
    shutil.copytree(repository_of(linear), tmp_path / "older")
    newest = in_service_again(linear, linear_model, "s-2")
    assert id_of(believed(linear).by_role["main"].model) == newest
    pin = pin_of(linear)
    shutil.rmtree(repository_of(linear))
    shutil.copytree(tmp_path / "older", repository_of(linear))
    # Known to the client, and to the database once the client was wiped.
    assert why(linear) == "rolled back"
    shutil.rmtree(linear.release_client)
    assert why(linear) == "rolled back"
    assert pin_of(linear) == pin
    # Nothing is published on top of it, and nothing signed anew.
    before = {path: path.read_bytes() for path in repository_of(linear).rglob("*.json")}
    with pytest.raises(ReleaseRefused):
        publish_release(linear, linear_model.model_id)
    assert {path: path.read_bytes() for path in repository_of(linear).rglob("*.json")} == before


def test_without_the_pin_the_wiped_client_would_believe_the_older_release(
    linear: Station, linear_model: OpenedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(repository_of(linear), tmp_path / "older")
    in_service_again(linear, linear_model, "s-2")
    shutil.rmtree(repository_of(linear))
    shutil.rmtree(linear.release_client)
    shutil.copytree(tmp_path / "older", repository_of(linear))
    monkeypatch.setattr(releases, "least_versions", lambda *_: Versions(1, 1, 1, 1))
    assert id_of(believed(linear).by_role["main"].model) == linear_model.model_id


def test_a_repository_that_is_gone_is_refused_and_not_made_again(linear: Station, linear_model: OpenedModel) -> None:
    shutil.rmtree(repository_of(linear))
    assert why(linear) == "missing"
    with pytest.raises(ReleaseRefused):
        promote_unattended(linear, linear_model.model_id, by=BY, at=AT)
    assert not repository_of(linear).exists()


def test_a_state_that_ran_out_is_refused_where_nobody_can_renew_it(frozen: Station) -> None:
    now = datetime.now(UTC)
    assert believed(frozen, now + DAY).by_role
    assert why(frozen, now + 3 * DAY) == "expired"


def test_a_state_that_ran_out_is_renewed_where_the_online_key_is_kept(linear: Station, linear_model: OpenedModel) -> None:
    now = datetime.now(UTC)
    before = pin_of(linear)
    for days in (3, 30, 200):
        assert id_of(believed(linear, now + days * DAY).by_role["main"].model) == linear_model.model_id
    after = pin_of(linear)
    assert after.timestamp > before.timestamp
    assert (after.root, after.targets) == (before.root, before.targets)


def test_what_the_operators_signed_is_not_renewed_without_them(linear: Station) -> None:
    assert why(linear, datetime.now(UTC) + 366 * DAY) == "expired"


@pytest.mark.parametrize("wrong", [-HOUR, HOUR])
def test_a_clock_an_hour_wrong_refuses_nothing(linear: Station, linear_model: OpenedModel, wrong: timedelta) -> None:
    now = datetime.now(UTC)
    for moment in (now + wrong, now, now + wrong + DAY, now + DAY):
        assert id_of(believed(linear, moment).by_role["main"].model) == linear_model.model_id


def test_a_full_disk_stops_no_renewal_that_can_wait(linear: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    now, before = datetime.now(UTC), pin_of(linear)
    believed(linear)  # the client has its copy

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("security.release_files.os.fsync", full)
        assert believed(linear, now + DAY).by_role
    assert pin_of(linear) == before
    assert believed(linear, now + DAY).versions.timestamp == before.timestamp + 1


def test_a_release_of_another_digest_or_role_than_the_bundles_opens_nothing(
    linear: Station, linear_model: OpenedModel
) -> None:
    released = believed(linear).by_role["main"]
    other = released.model[:-1] + ("0" if released.model[-1] != "0" else "1")
    for wrong in (Release("main", other, 2), Release("fallback", released.model, 2)):
        assert id_of(wrong.model) == linear_model.model_id
        with pytest.raises(BundleSwapped):
            open_released(linear, wrong)


def test_an_approval_alone_changes_nothing_that_runs(linear: Station, linear_model: OpenedModel) -> None:
    waits = candidate_again(linear, linear_model, "s-2")
    for signer in demo_operators(linear)[:2]:
        approve(linear, waits, signer, at=AT)
    assert id_of(follow_releases(linear, AT)["main"].model) == linear_model.model_id
    assert states(linear)[waits] == registry.CANDIDATE
