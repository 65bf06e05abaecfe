"""Attacks on what decides which model runs (AML.T0010.003, AML.T0018, AML.T0031): off they win, on they lose.

The attacker writes to the disk, and where a test says so holds one operator's key or the station's online key. Off is what
a reader does without that one safeguard; on is `trusted_releases`, which keeps to the model that two operators approved.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from securesystemslib.signer import Signature  # type: ignore[attr-defined]
from tuf.api.metadata import Metadata, Root, Targets  # type: ignore[attr-defined]

from security import release_files
from security._primitives import sha256_of_bytes
from security.errors import UnavailableError
from security.release_client import trusted_releases
from security.release_files import commit, read_releases, read_state, target_name
from security.release_repository import propose, publish, renew
from security.release_rotation import propose_root, publish_root
from security.releases import (
    NO_MINIMUM,
    ApprovalsMissing,
    NotAnOperator,
    NothingProposed,
    Release,
    ReleaseRefused,
    Versions,
    read_release,
    release_content,
)
from security.signing import Signer, new_signer
from tests.unit.security.small_registry import DAY, EVIL, GOOD, NOW, OLD, SmallRegistry

FAR = 3650 * DAY


@pytest.fixture
def registry(tmp_path: Path) -> SmallRegistry:
    """OLD was in force, then GOOD; the client has seen both."""
    small = SmallRegistry.at(tmp_path)
    small.promote(OLD)
    small.refresh()
    return small


def why(attempt: Callable[[], object]) -> str:
    with pytest.raises(ReleaseRefused) as refusal:
        attempt()
    return refusal.value.why


def test_a_rollback_of_everything_wins_on_a_client_without_memory_and_loses_on_one_with(
    registry: SmallRegistry, tmp_path: Path
) -> None:
    copy = registry.copy_to(tmp_path / "copy")
    registry.promote(GOOD)
    registry.refresh()
    registry.bring_back(copy)

    assert trusted_releases(registry.folder, tmp_path / "fresh", registry.bootstrap, now=NOW).by_role["main"].model == OLD

    assert why(registry.refresh) == "rolled back"


def test_a_rollback_after_the_clients_folder_was_wiped_fools_tuf_and_not_the_pinned_minimum(
    registry: SmallRegistry, tmp_path: Path
) -> None:
    copy = registry.copy_to(tmp_path / "copy")
    registry.promote(GOOD)
    pinned = registry.refresh().versions
    registry.bring_back(copy)

    registry.wipe_client()
    assert registry.main() == OLD

    registry.wipe_client()
    assert why(lambda: registry.refresh(pinned)) == "rolled back"


def test_older_releases_under_a_stolen_online_key_fool_who_looks_at_the_newest_timestamp_only(
    registry: SmallRegistry,
) -> None:
    targets = read_state(registry.folder).targets
    registry.promote(GOOD)
    pinned = registry.refresh().versions
    commit(registry.folder, targets, read_state(registry.folder).versions, [registry.online], NOW)

    # Newer timestamp, newer snapshot, rightly signed: the old releases come back to whoever keeps no version of them.
    registry.wipe_client()
    newest = Versions(timestamp=pinned.timestamp, snapshot=pinned.snapshot)
    assert registry.main(newest) == OLD

    registry.wipe_client()
    assert why(lambda: registry.refresh(pinned)) == "rolled back"


def test_a_freeze_wins_on_a_stopped_clock_and_loses_when_the_timestamp_has_expired(registry: SmallRegistry) -> None:
    frozen = registry.folder.with_name("frozen")
    shutil.copytree(registry.folder, frozen)
    registry.promote(GOOD, NOW + 3 * DAY)

    def served_by_the_attacker(now: object) -> str:
        place = registry.client.with_name("victim")
        return trusted_releases(frozen, place, registry.bootstrap, now=now).by_role["main"].model  # type: ignore[arg-type]

    assert served_by_the_attacker(NOW) == OLD

    assert why(lambda: served_by_the_attacker(NOW + 3 * DAY)) == "expired"


def test_the_station_does_not_help_a_freeze_by_renewing_an_old_copy(registry: SmallRegistry, tmp_path: Path) -> None:
    copy = registry.copy_to(tmp_path / "copy")
    registry.promote(GOOD)
    pinned = registry.refresh().versions
    registry.bring_back(copy)

    renewed = tmp_path / "renewed without a minimum"
    shutil.copytree(copy, renewed)
    renew(renewed, registry.online, NOW + 3 * DAY)
    release = trusted_releases(renewed, tmp_path / "fresh", registry.bootstrap, now=NOW + 3 * DAY).by_role["main"]
    assert release.model == OLD

    assert why(lambda: renew(registry.folder, registry.online, NOW + 3 * DAY, pinned)) == "rolled back"


def test_mix_and_match_wins_where_files_are_believed_one_by_one_and_loses_on_the_snapshot(registry: SmallRegistry) -> None:
    registry.promote(GOOD)
    metadata = registry.folder / "metadata"
    (metadata / "3.targets.json").write_bytes((metadata / "2.targets.json").read_bytes())

    alone = Metadata[Targets].from_bytes((metadata / "3.targets.json").read_bytes())
    root = Metadata[Root].from_bytes(registry.bootstrap).signed
    root.verify_delegate("targets", alone.signed_bytes, alone.signatures)
    assert read_releases(registry.folder, alone.signed)["main"].model == OLD

    assert why(registry.refresh) == "mixed"


def test_one_operator_alone_wins_where_any_trusted_signature_will_do_and_loses_at_the_threshold(
    registry: SmallRegistry,
) -> None:
    ann = registry.operators["ann"]
    propose(registry.folder, {"main": EVIL}, ann, NOW)
    with pytest.raises(ApprovalsMissing):
        publish(registry.folder, registry.online, NOW)

    # With the station's online key too, the same operator gets past `publish`, and still not past a client.
    forced = registry.force(EVIL, (ann,))
    root = Metadata[Root].from_bytes(registry.bootstrap).signed
    assert ann.key_id in root.get_verification_result("targets", forced.signed_bytes, forced.signatures).signed

    assert why(registry.refresh) == "not approved"


def test_one_operator_who_signs_twice_is_still_one(registry: SmallRegistry) -> None:
    ann, bob = registry.operators["ann"], registry.operators["bob"]
    before = read_state(registry.folder).versions
    forced = registry.force(EVIL, (ann,))
    forced.signatures[bob.key_id] = Signature(bob.key_id, forced.signatures[ann.key_id].signature)
    commit(registry.folder, forced, before, [registry.online], NOW)

    assert len(forced.signatures) == 2
    assert why(registry.refresh) == "not approved"


def test_a_revoked_operator_wins_on_who_never_heard_of_it_and_loses_on_the_new_root(
    registry: SmallRegistry, tmp_path: Path
) -> None:
    before = registry.copy_to(tmp_path / "before")
    dee = new_signer()
    for name in ("ann", "bob"):
        propose_root(registry.folder, registry.operators[name], NOW, out=["cy"], into={"dee": dee.public_key})
    publish_root(registry.folder, registry.online, NOW)
    pinned = registry.refresh().versions
    assert registry.main(pinned) == OLD

    # cy, who was sent away, and a careless bob, with the online key.
    pair = (registry.operators["bob"], registry.operators["cy"])
    deaf = SmallRegistry(before, tmp_path / "deaf", registry.operators, registry.online, registry.bootstrap)
    for _ in range(3):
        deaf.force(EVIL, pair)
    assert deaf.main() == EVIL

    registry.force(EVIL, pair)
    assert why(lambda: registry.refresh(pinned)) == "not approved"
    shutil.rmtree(registry.folder)
    shutil.copytree(before, registry.folder)
    registry.wipe_client()
    assert why(lambda: registry.refresh(pinned)) == "rolled back"


def test_a_forged_root_wins_on_who_trusts_the_first_root_it_sees_and_loses_on_the_one_that_was_given(
    registry: SmallRegistry, tmp_path: Path
) -> None:
    mallory = SmallRegistry.at(tmp_path / "mallory")
    mallory.promote(EVIL)
    first_seen = (mallory.folder / "metadata" / "1.root.json").read_bytes()
    assert trusted_releases(mallory.folder, tmp_path / "trusting", first_seen, now=NOW).by_role["main"].model == EVIL

    registry.bring_back(mallory.folder)
    assert why(registry.refresh) in {"not approved", "rolled back"}
    registry.wipe_client()
    assert why(registry.refresh) == "not approved"


def test_a_second_root_that_mallory_alone_signed_is_not_followed(registry: SmallRegistry, tmp_path: Path) -> None:
    mallory = SmallRegistry.at(tmp_path / "mallory")
    for name in ("ann", "bob"):
        propose_root(mallory.folder, mallory.operators[name], NOW)
    publish_root(mallory.folder, mallory.online, NOW)
    forged = (mallory.folder / "metadata" / "2.root.json").read_bytes()
    by_itself = Metadata[Root].from_bytes(forged)
    by_itself.signed.verify_delegate("root", by_itself.signed_bytes, by_itself.signatures)

    (registry.folder / "metadata" / "2.root.json").write_bytes(forged)
    assert why(registry.refresh) == "not approved"


def test_a_swapped_release_wins_where_its_digest_is_not_compared_and_loses_where_it_is(registry: SmallRegistry) -> None:
    listed = read_state(registry.folder).targets.signed.targets["main.json"]
    path = registry.folder / target_name(listed)
    path.write_bytes(release_content(Release("main", EVIL, 2)))

    assert read_release(path.read_bytes(), "main").model == EVIL

    assert why(registry.refresh) == "mixed"


def test_a_release_of_one_role_does_not_pass_for_anothers(registry: SmallRegistry) -> None:
    registry.propose("ann", {"fallback": GOOD})
    registry.propose("bob", {"fallback": GOOD})
    publish(registry.folder, registry.online, NOW)
    listed = read_state(registry.folder).targets.signed.targets
    content = (registry.folder / target_name(listed["fallback.json"])).read_bytes()
    digest = sha256_of_bytes(content)
    (registry.folder / target_name(listed["main.json"])).write_bytes(content)
    assert digest == listed["fallback.json"].hashes["sha256"]

    assert why(registry.refresh) == "mixed"


def test_a_fast_forward_by_a_stolen_online_key_locks_clients_out_until_the_key_is_replaced(
    registry: SmallRegistry, tmp_path: Path
) -> None:
    copy = registry.copy_to(tmp_path / "copy")
    state = read_state(registry.folder)
    far_ahead = Versions(1, 2, 10**6, 10**6)
    commit(registry.folder, state.targets, far_ahead, [registry.online], NOW + FAR)
    pinned = registry.refresh().versions
    assert pinned.timestamp > 10**6

    # The attacker's state is removed and the real one goes on: every client now takes it for a rollback.
    registry.bring_back(copy)
    registry.promote(GOOD)
    assert why(lambda: registry.refresh(pinned)) == "rolled back"

    new = new_signer()
    for name in ("ann", "bob"):
        propose_root(registry.folder, registry.operators[name], NOW, online=new.public_key)
    publish_root(registry.folder, new, NOW, retiring=registry.online, minimum=pinned)
    releases = registry.refresh(pinned)
    assert releases.by_role["main"].model == GOOD
    assert releases.versions.root == 2
    assert releases.versions.timestamp < 100

    # The stolen key is worth nothing any more, with the old pins or the new.
    commit(registry.folder, read_state(registry.folder).targets, far_ahead, [registry.online], NOW)
    for minimum in (pinned, releases.versions, NO_MINIMUM):
        assert why(lambda minimum=minimum: registry.refresh(minimum)) == "not approved"  # type: ignore[misc]


Act = Callable[[SmallRegistry], object]


def publishing(registry: SmallRegistry) -> object:
    return publish(registry.folder, registry.online, NOW)


def rotating(registry: SmallRegistry) -> object:
    return publish_root(registry.folder, registry.operators["new online"], NOW, retiring=registry.online)


def prepared(act: Act, home: Path) -> SmallRegistry:
    """OLD in force and seen; GOOD approved, or a rotation of an operator and of the online key."""
    registry = SmallRegistry.at(home)
    registry.promote(OLD)
    registry.refresh()
    if act is publishing:
        registry.propose("ann", {"main": GOOD})
        registry.propose("cy", {"main": GOOD})
    else:
        registry.operators["new online"] = new_signer()
        dee, online = new_signer().public_key, registry.operators["new online"].public_key
        for name in ("ann", "bob"):
            propose_root(registry.folder, registry.operators[name], NOW, out=["cy"], into={"dee": dee}, online=online)
    return registry


class Killed(BaseException):
    """What no handler catches, as a kill would not be."""


def stopping_at(step: int, call: Callable[..., object], stop: BaseException) -> Callable[..., object]:
    """`call`, until it is called for the `step`th time."""
    calls = iter(range(10**6))

    def stopped(*arguments: object, **more: object) -> object:
        if next(calls) == step:
            raise stop
        return call(*arguments, **more)

    return stopped


@pytest.mark.parametrize("act", [publishing, rotating])
@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("stop", [Killed(), OSError(errno.ENOSPC, "No space left on device")], ids=["killed", "disk full"])
def test_a_publication_stopped_at_any_step_leaves_the_old_state_or_the_new_one(
    act: Act, call: str, stop: BaseException, tmp_path: Path
) -> None:
    outcomes = []
    untouched = prepared(act, tmp_path / "untouched")
    pinned = untouched.refresh().versions
    for step in range(100):
        registry = untouched.twin(tmp_path / str(step))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, call, stopping_at(step, getattr(os, call), stop))
            try:
                act(registry)
                break
            except (Killed, UnavailableError):
                pass
        seen = registry.refresh(pinned)
        outcomes.append((seen.by_role["main"].model, seen.versions.root))
        assert outcomes[-1] in {(OLD, 1), (GOOD, 1) if act is publishing else (OLD, 2)}

        act(registry)
        done = registry.refresh(seen.versions)
        assert (done.by_role["main"].model, done.versions.root) == ((GOOD, 1) if act is publishing else (OLD, 2))
    assert len(outcomes) >= 3
    assert len(set(outcomes)) == 2 or call == "replace"


def test_without_the_timestamp_last_a_publication_that_is_killed_leaves_neither_state(tmp_path: Path) -> None:
    """Off: metadata written in another order, the snapshot's name first in the timestamp."""
    registry = prepared(publishing, tmp_path)
    state = read_state(registry.folder)
    next_snapshot = release_files.MetaFile(state.versions.snapshot + 1)
    release_files.commit_timestamp(registry.folder, next_snapshot, state.versions.timestamp + 1, [registry.online], NOW)
    assert why(registry.refresh) == "missing"


def test_a_rotation_without_the_retiring_key_is_refused_in_between_and_ends_when_it_is_run_again(tmp_path: Path) -> None:
    """What the two signatures on the state in between are for: off, clients refuse until somebody comes back to it."""
    registry = prepared(rotating, tmp_path)
    new = registry.operators["new online"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", stopping_at(3, os.replace, Killed()))
        with pytest.raises(Killed):
            publish_root(registry.folder, new, NOW)
    assert why(registry.refresh) == "not approved"

    publish_root(registry.folder, new, NOW)
    assert registry.main() == OLD


@pytest.mark.parametrize("holder", ["ann", "online", "stranger"])
def test_no_single_key_puts_a_model_in_force(registry: SmallRegistry, holder: str) -> None:
    key: Signer = {**registry.operators, "online": registry.online, "stranger": new_signer()}[holder]
    with contextlib.suppress(NotAnOperator):
        propose(registry.folder, {"main": EVIL}, key, NOW)
    with pytest.raises((ApprovalsMissing, NothingProposed)):
        publish(registry.folder, registry.online, NOW)
    registry.force(EVIL, (key,))
    assert why(registry.refresh) == "not approved"
