"""Operators leave, come and lose keys; the online key is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from security.errors import KeyringError
from security.release_repository import propose, publish, renew
from security.release_rotation import STAGED_ROOT, STAGED_TARGETS, propose_root, publish_root, rotation
from security.releases import (
    ApprovalsMissing,
    NotAnOperator,
    NothingProposed,
    ReleaseConflict,
    ReleaseRefused,
    Versions,
)
from security.signing import new_signer
from tests.unit.security.small_registry import DAY, GOOD, HOUR, NOW, OLD, SmallRegistry


@pytest.fixture
def registry(tmp_path: Path) -> SmallRegistry:
    small = SmallRegistry.at(tmp_path)
    small.promote(GOOD)
    return small


def test_two_operators_replace_the_key_that_the_third_lost(registry: SmallRegistry) -> None:
    new_cy = new_signer()
    first = propose_root(registry.folder, registry.operators["ann"], NOW, out=["cy"], into={"cy": new_cy.public_key})
    assert (first.version, first.out, first.into, first.new_online_key) == (2, ("cy",), ("cy",), False)
    assert (first.signed_by, first.approved) == (("ann",), False)
    with pytest.raises(ApprovalsMissing) as refusal:
        publish_root(registry.folder, registry.online, NOW)
    assert refusal.value.signed_by == ("ann",)

    bob = registry.operators["bob"]
    assert propose_root(registry.folder, bob, NOW + HOUR, out=["cy"], into={"cy": new_cy.public_key}).approved
    assert publish_root(registry.folder, registry.online, NOW) == Versions(2, 3, 3, 3)
    assert rotation(registry.folder, NOW) is None
    assert registry.main() == GOOD

    registry.operators["cy"] = new_cy
    registry.promote(OLD, by=("ann", "cy"))
    assert registry.main() == OLD


def test_an_operator_who_left_proposes_nothing_more(registry: SmallRegistry) -> None:
    dee = new_signer()
    for name in ("ann", "bob"):
        propose_root(registry.folder, registry.operators[name], NOW, out=["cy"], into={"dee": dee.public_key})
    publish_root(registry.folder, registry.online, NOW)
    for attempt in (
        lambda: propose(registry.folder, {"main": OLD}, registry.operators["cy"], NOW),
        lambda: propose_root(
            registry.folder, registry.operators["cy"], NOW, out=["ann"], into={"eve": new_signer().public_key}
        ),
    ):
        with pytest.raises(NotAnOperator):
            attempt()
    assert propose(registry.folder, {"main": OLD}, dee, NOW).signed_by == ("dee",)


def test_a_revoked_key_never_comes_back(registry: SmallRegistry) -> None:
    dee = new_signer()
    for name in ("ann", "bob"):
        propose_root(registry.folder, registry.operators[name], NOW, out=["cy"], into={"dee": dee.public_key})
    publish_root(registry.folder, registry.online, NOW)
    with pytest.raises(KeyringError, match="or was revoked"):
        propose_root(
            registry.folder, registry.operators["ann"], NOW, out=["dee"], into={"cy": registry.operators["cy"].public_key}
        )


def test_two_newcomers_need_one_of_them_and_two_of_the_old(registry: SmallRegistry) -> None:
    dee, eve = new_signer(), new_signer()
    change = {"out": ["bob", "cy"], "into": {"dee": dee.public_key, "eve": eve.public_key}}
    propose_root(registry.folder, registry.operators["ann"], NOW, **change)  # type: ignore[arg-type]
    of_the_old = propose_root(registry.folder, registry.operators["bob"], NOW, **change)  # type: ignore[arg-type]
    assert not of_the_old.approved
    assert propose_root(registry.folder, dee, NOW, **change).approved  # type: ignore[arg-type]
    publish_root(registry.folder, registry.online, NOW)
    assert registry.main() == GOOD


def test_the_online_key_is_replaced_and_the_old_one_signs_nothing_more(registry: SmallRegistry) -> None:
    old, new = registry.online, new_signer()
    for name in ("ann", "cy"):
        assert propose_root(registry.folder, registry.operators[name], NOW, online=new.public_key).new_online_key
    with pytest.raises(NotAnOperator):
        publish_root(registry.folder, old, NOW)
    publish_root(registry.folder, new, NOW, retiring=old)
    assert registry.main() == GOOD
    with pytest.raises(NotAnOperator):
        renew(registry.folder, old, NOW + DAY)
    renew(registry.folder, new, NOW + DAY)
    assert registry.main(now=NOW + DAY) == GOOD


def test_a_lost_online_key_is_replaced_without_it(registry: SmallRegistry) -> None:
    new = new_signer()
    for name in ("ann", "cy"):
        propose_root(registry.folder, registry.operators[name], NOW + 30 * DAY, online=new.public_key)
    publish_root(registry.folder, new, NOW + 30 * DAY)
    assert registry.main(now=NOW + 30 * DAY) == GOOD


def test_root_lasts_another_year_by_a_rotation_without_a_change(registry: SmallRegistry) -> None:
    later = NOW + 360 * DAY
    for name in ("ann", "bob"):
        propose_root(registry.folder, registry.operators[name], later)
    publish_root(registry.folder, registry.online, later)
    assert registry.refresh(now=later).expires["root"] == later + 365 * DAY


def test_a_release_that_comes_between_makes_the_rotation_be_signed_again(registry: SmallRegistry) -> None:
    into = {"dee": new_signer().public_key}
    for name in ("ann", "bob"):
        propose_root(registry.folder, registry.operators[name], NOW, out=["cy"], into=into)
    registry.promote(OLD)
    waiting = rotation(registry.folder, NOW)
    assert waiting is not None
    assert (waiting.signed_by, waiting.waiting_for, waiting.approved) == ((), ("ann", "bob"), False)
    with pytest.raises(NothingProposed):
        publish_root(registry.folder, registry.online, NOW)
    for name in ("ann", "bob"):
        propose_root(registry.folder, registry.operators[name], NOW, out=["cy"], into=into)
    publish_root(registry.folder, registry.online, NOW)
    assert registry.main() == OLD


def test_releases_that_were_staged_before_a_rotation_are_proposed_anew(registry: SmallRegistry) -> None:
    registry.propose("cy", {"main": OLD})
    registry.propose("ann", {"main": OLD})
    dee = new_signer()
    for name in ("ann", "bob"):
        propose_root(registry.folder, registry.operators[name], NOW, out=["cy"], into={"dee": dee.public_key})
    publish_root(registry.folder, registry.online, NOW)
    with pytest.raises(NothingProposed):
        publish(registry.folder, registry.online, NOW)
    assert registry.main() == GOOD


def test_another_rotation_is_not_signed_but_may_replace_what_is_staged(registry: SmallRegistry) -> None:
    propose_root(registry.folder, registry.operators["ann"], NOW, out=["cy"], into={"dee": new_signer().public_key})
    other = {"out": ["ann"], "into": {"eve": new_signer().public_key}}
    with pytest.raises(ReleaseConflict):
        propose_root(registry.folder, registry.operators["bob"], NOW, **other)  # type: ignore[arg-type]
    replaced = propose_root(registry.folder, registry.operators["bob"], NOW, **other, replace=True)  # type: ignore[arg-type]
    assert (replaced.out, replaced.signed_by) == (("ann",), ("bob",))


def test_a_rotation_that_would_leave_nobody_to_decide_is_not_signed(registry: SmallRegistry) -> None:
    ann, bob = registry.operators["ann"], registry.operators["bob"]

    def refused(**change: object) -> str:
        with pytest.raises(KeyringError) as refusal:
            propose_root(registry.folder, ann, NOW, **change)  # type: ignore[arg-type]
        return str(refusal.value)

    assert "2 of 2 operators is not safe" in refused(out=["cy"])
    assert "no such operator" in refused(out=["dee"])
    assert "an operator of this name stays" in refused(into={"bob": new_signer().public_key})
    assert "stands in root already" in refused(out=["cy"], into={"dee": bob.public_key})
    assert "stands in root already" in refused(online=bob.public_key)
    newcomer = new_signer().public_key
    assert "share a key" in refused(into={"dee": newcomer, "eve": newcomer})
    assert not (registry.folder / STAGED_ROOT).exists()


def test_a_stranger_signs_no_rotation_and_nothing_proposed_is_nothing_published(registry: SmallRegistry) -> None:
    with pytest.raises(NotAnOperator):
        propose_root(registry.folder, new_signer(), NOW)
    assert rotation(registry.folder, NOW) is None
    with pytest.raises(NothingProposed):
        publish_root(registry.folder, registry.online, NOW)


def test_a_rotation_whose_releases_were_lost_or_altered_is_not_published(registry: SmallRegistry) -> None:
    for name in ("ann", "bob"):
        propose_root(registry.folder, registry.operators[name], NOW)
    (registry.folder / STAGED_TARGETS).unlink()
    with pytest.raises(NothingProposed):
        publish_root(registry.folder, registry.online, NOW)
    (registry.folder / STAGED_TARGETS).write_bytes((registry.folder / "metadata" / "1.targets.json").read_bytes())
    with pytest.raises(NothingProposed):
        publish_root(registry.folder, registry.online, NOW)


def test_a_repository_older_than_the_pinned_one_is_not_rotated(registry: SmallRegistry, tmp_path: Path) -> None:
    copy = registry.copy_to(tmp_path / "copy")
    pinned = registry.promote(OLD)
    registry.bring_back(copy)
    for name in ("ann", "bob"):
        propose_root(registry.folder, registry.operators[name], NOW)
    with pytest.raises(ReleaseRefused) as refusal:
        publish_root(registry.folder, registry.online, NOW, minimum=pinned)
    assert refusal.value.why == "rolled back"


def test_a_root_that_another_signed_for_itself_is_not_read(registry: SmallRegistry, tmp_path: Path) -> None:
    other = SmallRegistry.at(tmp_path / "other")
    for name in ("ann", "bob"):
        propose_root(other.folder, other.operators[name], NOW)
    publish_root(other.folder, other.online, NOW)
    (registry.folder / "metadata" / "2.root.json").write_bytes((other.folder / "metadata" / "2.root.json").read_bytes())
    with pytest.raises(ReleaseRefused) as refusal:
        registry.propose("ann", {"main": OLD})
    assert refusal.value.why == "not approved"


def test_a_root_under_another_number_is_not_read(registry: SmallRegistry) -> None:
    first = registry.folder / "metadata" / "1.root.json"
    (registry.folder / "metadata" / "2.root.json").write_bytes(first.read_bytes())
    with pytest.raises(ReleaseRefused):
        registry.propose("ann", {"main": OLD})
