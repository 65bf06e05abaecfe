"""Operators propose and approve, the station publishes and renews."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from security.errors import GridwardError, KeyringError, UnavailableError
from security.release_repository import STAGED, found, proposal, propose, publish, renew
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
    return SmallRegistry.at(tmp_path)


def test_a_new_repository_runs_nothing(registry: SmallRegistry) -> None:
    releases = registry.refresh()
    assert releases.by_role == {}
    assert releases.versions == Versions(1, 1, 1, 1)


def test_two_operators_who_say_the_same_put_a_model_in_force(registry: SmallRegistry) -> None:
    first = registry.propose("ann", {"main": GOOD, "fallback": OLD})
    assert (first.version, first.signed_by, first.waiting_for, first.approved) == (2, ("ann",), ("bob", "cy"), False)

    second = registry.propose("cy", {"main": GOOD, "fallback": OLD})
    assert (second.signed_by, second.approved) == (("ann", "cy"), True)
    assert proposal(registry.folder, NOW) == second
    assert second.changes == {"main": GOOD, "fallback": OLD}
    assert registry.refresh().by_role == {}

    assert publish(registry.folder, registry.online, NOW) == Versions(1, 2, 2, 2)
    releases = registry.refresh().by_role
    assert {role: release.model for role, release in releases.items()} == {"main": GOOD, "fallback": OLD}
    assert proposal(registry.folder, NOW) is None


def test_one_operator_is_not_enough_and_who_is_missing_is_said(registry: SmallRegistry) -> None:
    registry.propose("ann", {"main": GOOD})
    registry.propose("ann", {"main": GOOD})
    with pytest.raises(ApprovalsMissing) as refusal:
        publish(registry.folder, registry.online, NOW)
    assert (refusal.value.version, refusal.value.signed_by, refusal.value.waiting_for) == (2, ("ann",), ("bob", "cy"))
    assert str(refusal.value) == "releases version 2: approved by ann: not enough — wait for one of bob, cy"


def test_roles_that_a_proposal_does_not_name_stay_as_they_are(registry: SmallRegistry) -> None:
    for name in ("ann", "bob"):
        registry.propose(name, {"fallback": OLD})
    publish(registry.folder, registry.online, NOW)
    registry.promote(GOOD)
    releases = registry.refresh().by_role
    assert (releases["fallback"].model, releases["fallback"].version) == (OLD, 2)
    assert (releases["main"].model, releases["main"].version) == (GOOD, 3)


def test_a_retired_release_is_gone_and_cannot_be_retired_twice(registry: SmallRegistry) -> None:
    registry.promote(GOOD)
    for name in ("ann", "bob"):
        assert registry.propose(name, {"main": None}).changes == {"main": None}
    publish(registry.folder, registry.online, NOW)
    assert registry.refresh().by_role == {}
    with pytest.raises(ReleaseConflict, match="role main: no release to retire"):
        registry.propose("ann", {"main": None})


def test_going_back_on_purpose_is_a_new_version(registry: SmallRegistry) -> None:
    registry.promote(OLD)
    registry.promote(GOOD)
    versions = registry.promote(OLD)
    release = registry.refresh(versions).by_role["main"]
    assert (release.model, release.version) == (OLD, 4)


def test_another_content_is_not_signed_but_may_replace_what_is_staged(registry: SmallRegistry) -> None:
    registry.propose("ann", {"main": GOOD})
    with pytest.raises(ReleaseConflict, match="another proposal for version 2 is staged"):
        registry.propose("bob", {"main": OLD})
    waiting = proposal(registry.folder, NOW)
    assert waiting is not None
    assert waiting.signed_by == ("ann",)

    replaced = registry.propose("bob", {"main": OLD}, replace=True)
    assert (replaced.signed_by, replaced.changes) == (("bob",), {"main": OLD})


def test_what_was_staged_for_a_version_that_passed_is_dropped(registry: SmallRegistry) -> None:
    registry.propose("ann", {"main": OLD})
    staged = (registry.folder / STAGED).read_bytes()
    registry.propose("bob", {"main": GOOD}, replace=True)
    registry.propose("cy", {"main": GOOD})
    publish(registry.folder, registry.online, NOW)

    (registry.folder / STAGED).write_bytes(staged)
    assert proposal(registry.folder, NOW) is None
    with pytest.raises(NothingProposed):
        publish(registry.folder, registry.online, NOW)
    assert registry.propose("cy", {"main": OLD}).signed_by == ("cy",)


def test_a_proposal_that_ran_out_is_dropped(registry: SmallRegistry) -> None:
    registry.propose("ann", {"main": GOOD})
    assert proposal(registry.folder, NOW + 366 * DAY) is None


@pytest.mark.parametrize("apart", [-HOUR, HOUR])
def test_operators_whose_clocks_differ_sign_the_same(registry: SmallRegistry, apart: timedelta) -> None:
    registry.propose("ann", {"main": GOOD}, NOW + apart)
    assert registry.propose("bob", {"main": GOOD}, NOW).approved


def test_an_expiry_far_out_is_not_signed_unread(registry: SmallRegistry) -> None:
    registry.propose("ann", {"main": GOOD}, NOW + 3650 * DAY)
    with pytest.raises(ReleaseConflict):
        registry.propose("bob", {"main": GOOD}, NOW)


def test_a_field_that_was_slipped_into_the_staged_file_is_not_signed(registry: SmallRegistry) -> None:
    registry.propose("ann", {"main": GOOD})
    path = registry.folder / STAGED
    staged = json.loads(path.read_bytes())
    staged["signed"]["targets"]["main.json"]["custom"] = {"run": "anything"}
    path.write_text(json.dumps(staged))
    with pytest.raises(ReleaseConflict):
        registry.propose("bob", {"main": GOOD})


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b'{"signed": {"_type": "root"}, "signatures": []}'])
def test_a_staged_file_that_is_none_is_one_clear_refusal_and_can_be_replaced(
    registry: SmallRegistry, content: bytes
) -> None:
    registry.propose("ann", {"main": GOOD})
    (registry.folder / STAGED).write_bytes(content)
    for attempt in (
        lambda: proposal(registry.folder, NOW),
        lambda: registry.propose("bob", {"main": GOOD}),
        lambda: publish(registry.folder, registry.online, NOW),
    ):
        with pytest.raises(ReleaseRefused):
            attempt()
    assert registry.propose("bob", {"main": GOOD}, replace=True).signed_by == ("bob",)


def test_a_signature_that_does_not_verify_counts_for_nothing(registry: SmallRegistry) -> None:
    registry.propose("ann", {"main": GOOD})
    path = registry.folder / STAGED
    staged = json.loads(path.read_bytes())
    staged["signatures"].append({"keyid": registry.operators["bob"].key_id, "sig": "00" * 64})
    path.write_text(json.dumps(staged))
    waiting = proposal(registry.folder, NOW)
    assert waiting is not None
    assert waiting.signed_by == ("ann",)
    with pytest.raises(ApprovalsMissing):
        publish(registry.folder, registry.online, NOW)
    assert registry.propose("bob", {"main": GOOD}).approved


def test_only_operators_propose_and_only_the_online_key_publishes_and_renews(registry: SmallRegistry) -> None:
    for stranger in (new_signer(), registry.online):
        with pytest.raises(NotAnOperator):
            propose(registry.folder, {"main": GOOD}, stranger, NOW)
    registry.propose("ann", {"main": GOOD})
    registry.propose("bob", {"main": GOOD})
    for act in (publish, renew):
        with pytest.raises(NotAnOperator, match="not the online key"):
            act(registry.folder, registry.operators["ann"], NOW)
    assert registry.refresh().by_role == {}


@pytest.mark.parametrize("changes", [{"main": "a" * 63}, {"main": "A" * 64}, {"other": GOOD}, {"../main": GOOD}])
def test_what_is_no_role_or_no_digest_is_refused(registry: SmallRegistry, changes: dict[str, str | None]) -> None:
    with pytest.raises(ValueError, match="names no role of main, fallback, or no model"):
        registry.propose("ann", changes)


def test_no_change_at_all_approves_the_same_releases_for_another_year(registry: SmallRegistry) -> None:
    registry.promote(GOOD)
    before, later = registry.refresh(), NOW + 350 * DAY
    for name in ("bob", "cy"):
        registry.propose(name, {}, later)
    publish(registry.folder, registry.online, later)
    after = registry.refresh(now=later)
    assert after.by_role == before.by_role
    assert after.expires["targets"] == before.expires["targets"] + 350 * DAY


def test_renewing_does_nothing_while_there_is_time_and_only_what_is_needed_then(registry: SmallRegistry) -> None:
    registry.promote(GOOD)
    assert renew(registry.folder, registry.online, NOW + 11 * HOUR) == Versions(1, 2, 2, 2)
    assert renew(registry.folder, registry.online, NOW + DAY) == Versions(1, 2, 2, 3)
    assert renew(registry.folder, registry.online, NOW + 8 * DAY) == Versions(1, 2, 3, 4)
    assert registry.main(now=NOW + 9 * DAY) == GOOD


def test_a_station_that_was_off_for_a_month_renews_what_ran_out(registry: SmallRegistry) -> None:
    registry.promote(GOOD)
    with pytest.raises(ReleaseRefused):
        registry.refresh(now=NOW + 30 * DAY)
    renew(registry.folder, registry.online, NOW + 30 * DAY)
    assert registry.main(now=NOW + 30 * DAY) == GOOD


def test_a_repository_older_than_the_pinned_one_is_neither_renewed_nor_published(
    registry: SmallRegistry, tmp_path: Path
) -> None:
    registry.promote(OLD)
    copy = registry.copy_to(tmp_path / "copy")
    pinned = registry.promote(GOOD)
    registry.bring_back(copy)
    registry.propose("ann", {"main": OLD})
    registry.propose("bob", {"main": OLD})
    for act in (renew, publish):
        with pytest.raises(ReleaseRefused) as refusal:
            act(registry.folder, registry.online, NOW + DAY, pinned)
        assert refusal.value.why == "rolled back"


@pytest.mark.parametrize("name", ["metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json"])
def test_nothing_is_signed_on_top_of_an_altered_file(registry: SmallRegistry, name: str) -> None:
    registry.promote(GOOD)
    path = registry.folder / name
    path.write_bytes(path.read_bytes().replace(b'"version":2', b'"version":3'))
    for attempt in (
        lambda: renew(registry.folder, registry.online, NOW + DAY),
        lambda: registry.propose("ann", {"main": OLD}),
    ):
        with pytest.raises(ReleaseRefused):
            attempt()


def test_metadata_of_one_kind_does_not_pass_for_another(registry: SmallRegistry) -> None:
    metadata = registry.folder / "metadata"
    (metadata / "timestamp.json").write_bytes((metadata / "1.root.json").read_bytes())
    with pytest.raises(ReleaseRefused, match="expected timestamp, found root"):
        renew(registry.folder, registry.online, NOW + DAY)


def test_a_target_that_was_lost_is_noticed_before_it_is_published(registry: SmallRegistry) -> None:
    registry.propose("ann", {"main": GOOD})
    registry.propose("bob", {"main": GOOD})
    for target in (registry.folder / "targets").iterdir():
        target.unlink()
    with pytest.raises(ReleaseRefused):
        publish(registry.folder, registry.online, NOW)
    registry.propose("cy", {"main": GOOD})
    publish(registry.folder, registry.online, NOW)
    assert registry.main() == GOOD


def test_a_repository_is_founded_once(registry: SmallRegistry) -> None:
    before = sorted(path.read_bytes() for path in registry.folder.rglob("*") if path.is_file())
    keys = {name: signer.public_key for name, signer in registry.operators.items()}
    with pytest.raises(ReleaseConflict, match="here already"):
        found(registry.folder, keys, list(registry.operators.values()), registry.online, NOW)
    assert sorted(path.read_bytes() for path in registry.folder.rglob("*") if path.is_file()) == before


def test_operators_who_could_not_decide_safely_found_nothing(tmp_path: Path) -> None:
    ann, bob, cy, online = (new_signer() for _ in range(4))
    three = {"ann": ann.public_key, "bob": bob.public_key, "cy": cy.public_key}

    def attempt(operators: dict[str, object], signers: list[object], threshold: int = 2) -> GridwardError:
        with pytest.raises(GridwardError) as refusal:
            found(tmp_path / "r", operators, signers, online, NOW, threshold)  # type: ignore[arg-type]
        return refusal.value

    assert "share a key" in str(attempt(three | {"cy": ann.public_key}, [ann, bob]))
    assert "2 of 2 operators is not safe" in str(attempt({"ann": ann.public_key, "bob": bob.public_key}, [ann, bob]))
    assert "1 of 3 operators is not safe" in str(attempt(three, [ann, bob], 1))
    assert "3 of 3 operators is not safe" in str(attempt(three, [ann, bob], 3))
    assert "the online key is an operator's" in str(attempt(three | {"cy": online.public_key}, [ann, bob]))
    assert "not a name" in str(attempt({"Ann!": ann.public_key, "bob": bob.public_key, "cy": cy.public_key}, [ann, bob]))
    assert isinstance(attempt(three, [ann]), ApprovalsMissing)
    assert isinstance(attempt(three, [ann, ann]), ApprovalsMissing)
    assert isinstance(attempt(three, [ann, new_signer()]), NotAnOperator)
    assert isinstance(attempt(three | {"cy": online.public_key}, [ann, bob]), KeyringError)
    assert not (tmp_path / "r").exists()


def test_where_nothing_was_founded_every_verb_says_so(tmp_path: Path) -> None:
    for attempt in (
        lambda: propose(tmp_path / "r", {}, new_signer(), NOW),
        lambda: proposal(tmp_path / "r", NOW),
        lambda: publish(tmp_path / "r", new_signer(), NOW),
        lambda: renew(tmp_path / "r", new_signer(), NOW),
    ):
        with pytest.raises(UnavailableError, match="make the repository first"):
            attempt()


def test_moments_need_a_zone_and_any_zone_will_do(registry: SmallRegistry) -> None:
    with pytest.raises(ValueError, match="naive datetime"):
        registry.propose("ann", {"main": GOOD}, datetime(2026, 3, 2))  # noqa: DTZ001 (what is refused)
    melbourne = NOW.astimezone(timezone(timedelta(hours=11)))
    registry.propose("ann", {"main": GOOD}, melbourne)
    assert registry.propose("bob", {"main": GOOD}).approved


def test_a_repository_holds_no_private_key(registry: SmallRegistry) -> None:
    registry.promote(GOOD)
    secrets = [signer.private_key.private_bytes_raw() for signer in (*registry.operators.values(), registry.online)]
    for path in registry.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret in content or secret.hex().encode() in content for secret in secrets)
