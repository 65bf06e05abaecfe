"""The signing side of the releases: operators propose, a threshold of them approves, the station publishes.

    found     once: the first operators and the online key, and no release yet
    propose   an operator signs the next version of the releases; another who proposes the same adds a signature
    put_forward, add_approval   the same for operators who sign elsewhere: what they sign, and a signature that comes back
    publish   where enough operators signed: the version is in force
    renew     the online key says that this is still the newest state, before clients stop believing it

Nobody signs what somebody else wrote: each operator says what shall change, and a signature is added only where that
gives exactly the metadata that is staged. Rotation of the operators and of the online key: `release_rotation`. The
terms (Release, Versions, the errors): `releases`. Reading what may run: `release_client`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from securesystemslib.signer import Signature  # type: ignore[attr-defined]  # public, but the package has no __all__
from tuf.api.metadata import Metadata, Targets  # type: ignore[attr-defined]  # public, the module has no __all__

from security.errors import SignatureInvalid
from security.release_files import (
    OPERATORS_LIFETIME,
    State,
    commit,
    commit_timestamp,
    locked,
    read_releases,
    read_state,
    require_at_least,
    require_online,
    signed_by,
    write_release,
    write_whole,
)
from security.release_root import approval, first_root, keep_valid_signatures, operator_name, operators_in
from security.release_staging import read_staged, stage
from security.releases import NO_MINIMUM, NotAnOperator, NothingProposed, Release, ReleaseConflict, Versions, utc
from security.signing import PublicKey, Signer

# Renewed when this much is left or less: asked once a day, nothing runs out, nor by clocks hours apart.
TIMESTAMP_MARGIN = timedelta(hours=36)
SNAPSHOT_MARGIN = timedelta(days=7)

STAGED = "staged/targets.json"


@dataclass(frozen=True)
class Proposal:
    """The next version of the releases: `changes` by role (None retires it), names of who signed and of who still may.

    content: what operators sign; releases: what it puts in force, by role.
    """

    version: int
    changes: Mapping[str, str | None]
    signed_by: tuple[str, ...]
    waiting_for: tuple[str, ...]
    approved: bool
    content: bytes = field(repr=False)
    releases: Mapping[str, Release]


def found(
    folder: Path,
    operators: Mapping[str, PublicKey],
    signers: Sequence[Signer],
    online: Signer,
    now: datetime,
    threshold: int = 2,
) -> bytes:
    """Make the repository, with no release in it; answers root version 1, which clients must be given to start from.

    `signers` are at least `threshold` of the operators. Raises ReleaseConflict where there is one already, KeyringError
    for operators that could not decide safely, NotAnOperator, ApprovalsMissing.
    """
    moment = utc(now)
    root = first_root(operators, online.public_key, threshold, moment + OPERATORS_LIFETIME)
    for signer in signers:
        operator_name(signer, root)
    signed_root = signed_by(root, signers)
    approval(signed_root, root).require("root", 1)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if (folder / "metadata" / "timestamp.json").exists():
            raise ReleaseConflict(
                "a release repository is here already", where=str(folder), mend="use it, or another folder"
            )
        content = signed_root.to_bytes()
        write_whole(folder / "metadata" / "1.root.json", content)
        targets = signed_by(Targets(1, expires=moment + OPERATORS_LIFETIME), signers)
        commit(folder, targets, Versions(root=1), [online], moment)
    return content


def propose(
    folder: Path, changes: Mapping[str, str | None], signer: Signer, now: datetime, *, replace: bool = False
) -> Proposal:
    """Sign, as an operator, the next version of the releases: `changes` gives each role a model's 64 hex digits, or None.

    No change at all approves the same releases for another year. Raises NotAnOperator, ValueError for an unknown role or
    a malformed digest, ReleaseConflict when another proposal is staged (`replace` drops it), ReleaseRefused.
    """
    moment = utc(now)
    with locked(folder):
        state = read_state(folder)
        operator_name(signer, state.root)
        wanted = _next_targets(folder, state, changes, moment)
        staged = stage(folder / STAGED, wanted, signer, (state.root,), moment, replace=replace)
        return _proposal_of(folder, state, staged)


def put_forward(folder: Path, changes: Mapping[str, str | None], now: datetime, *, replace: bool = False) -> Proposal:
    """Stage the next version of the releases unsigned. Clients believe none of it; whoever may write here may stage.

    Raises as `propose`, but for the operator.
    """
    moment = utc(now)
    with locked(folder):
        state = read_state(folder)
        wanted = _next_targets(folder, state, changes, moment)
        staged = stage(folder / STAGED, wanted, None, (state.root,), moment, replace=replace)
        return _proposal_of(folder, state, staged)


def check_approval(folder: Path, content: bytes, key_id: str, signature: bytes, now: datetime) -> None:
    """Whether `add_approval` would take this signature: raises as it does, and changes nothing."""
    with locked(folder):
        _approved(folder, read_state(folder), content, Signature(key_id, signature.hex()), now)


def add_approval(folder: Path, content: bytes, key_id: str, signature: bytes, now: datetime) -> Proposal:
    """Add an operator's signature over `content` to the proposal that waits, which has to be that content.

    Raises NothingProposed when another or none waits, NotAnOperator for another's key, SignatureInvalid for a signature
    that is not that operator's over these bytes.
    """
    with locked(folder):
        state = read_state(folder)
        staged = _approved(folder, state, content, Signature(key_id, signature.hex()), now)
        write_whole(folder / STAGED, staged.to_bytes())
        return _proposal_of(folder, state, staged)


def proposal(folder: Path, now: datetime) -> Proposal | None:
    """The proposal that waits, if any. Raises ReleaseRefused."""
    with locked(folder):
        state = read_state(folder)
        staged = _waiting(folder, state, utc(now))
        return None if staged is None else _proposal_of(folder, state, staged)


def publish(
    folder: Path,
    online: Signer,
    now: datetime,
    minimum: Versions = NO_MINIMUM,
    expected: Mapping[str, str] | None = None,
) -> Versions:
    """Put the staged proposal in force; answers the versions now current.

    expected: the models by role that shall be in force afterwards; another proposal than that is not published. Killed
    anywhere, either the old state or the new one is in force, and publishing again ends it. Raises NothingProposed,
    ApprovalsMissing, NotAnOperator for another online key, ReleaseRefused for a repository older than `minimum`.
    """
    moment = utc(now)
    with locked(folder):
        state = read_state(folder)
        require_at_least(state.roots.get(minimum.root), state.root, state.versions, minimum, folder)
        require_online(state.root, online)
        if _is_in_force(folder, state, moment):
            _require_expected(folder, state.targets.signed, expected)
            (folder / STAGED).unlink()
            return state.versions
        staged = _waiting(folder, state, moment)
        if staged is None:
            raise NothingProposed(folder)
        approval(staged, state.root).require("releases", staged.signed.version)
        keep_valid_signatures(staged, state.root)
        _require_expected(folder, staged.signed, expected)
        versions = commit(folder, staged, state.versions, [online], moment)
        (folder / STAGED).unlink()
        return versions


def renew(folder: Path, online: Signer, now: datetime, minimum: Versions = NO_MINIMUM) -> Versions:
    """Sign the current state anew where it is about to run out; answers the versions now current.

    Raises NotAnOperator for another online key, and ReleaseRefused for a repository that is altered or older than
    `minimum`: the key must not make an old state look new.
    """
    moment = utc(now)
    with locked(folder):
        state = read_state(folder)
        require_at_least(state.roots.get(minimum.root), state.root, state.versions, minimum, folder)
        require_online(state.root, online)
        before = state.versions
        if state.snapshot.expires - moment <= SNAPSHOT_MARGIN:
            return commit(folder, state.targets, before, [online], moment)
        if state.timestamp.expires - moment > TIMESTAMP_MARGIN:
            return before
        timestamp = commit_timestamp(folder, state.timestamp.snapshot_meta, before.timestamp + 1, [online], moment)
        return Versions(before.root, before.targets, before.snapshot, timestamp)


def _next_targets(folder: Path, state: State, changes: Mapping[str, str | None], now: datetime) -> Targets:
    current = state.targets.signed
    targets = dict(current.targets)
    for role, model in changes.items():
        if model is not None:
            targets[f"{role}.json"] = write_release(folder, Release(role, model, current.version + 1))
        elif targets.pop(f"{role}.json", None) is None:
            raise ReleaseConflict("no release to retire", where=f"role {role}", mend="see which releases are in force")
    return Targets(current.version + 1, expires=now + OPERATORS_LIFETIME, targets=targets)


def _require_expected(folder: Path, targets: Targets, expected: Mapping[str, str] | None) -> None:
    models = {role: release.model for role, release in read_releases(folder, targets).items()}
    if not (expected or {}).items() <= models.items():
        raise NothingProposed(folder)


def _waiting(folder: Path, state: State, now: datetime) -> Metadata[Targets] | None:
    return read_staged(folder / STAGED, Targets, state.targets.signed.version + 1, now)


def _approved(folder: Path, state: State, content: bytes, signature: Signature, now: datetime) -> Metadata[Targets]:
    """What waits, with one more signature that counts."""
    if signature.keyid not in operators_in(state.root):
        raise NotAnOperator(signature.keyid, "not the key of one of today's operators")
    staged = _waiting(folder, state, utc(now))
    if staged is None or staged.signed_bytes != content:
        raise NothingProposed(folder)
    staged.signatures[signature.keyid] = signature
    keep_valid_signatures(staged, state.root)
    if signature.keyid not in staged.signatures:
        raise SignatureInvalid(
            "the signature is not this operator's over these bytes",
            where=f"key {signature.keyid}",
            mend="sign the very bytes of the proposal: `gridward registry sign`",
        )
    return staged


def _is_in_force(folder: Path, state: State, now: datetime) -> bool:
    """Whether the staged proposal was published by a process that was killed before it could clear up."""
    staged = read_staged(folder / STAGED, Targets, state.targets.signed.version, now)
    return staged is not None and staged.signed_bytes == state.targets.signed_bytes


def _proposal_of(folder: Path, state: State, staged: Metadata[Targets]) -> Proposal:
    before, after = state.targets.signed.targets, staged.signed.targets
    releases = read_releases(folder, staged.signed)
    models = {role: release.model for role, release in releases.items()}
    changed = [name.removesuffix(".json") for name in {*before, *after} if before.get(name) != after.get(name)]
    said = approval(staged, state.root)
    return Proposal(
        version=staged.signed.version,
        changes={role: models.get(role) for role in sorted(changed)},
        signed_by=said.signed_by,
        waiting_for=said.waiting_for,
        approved=said.complete,
        content=staged.signed_bytes,
        releases=releases,
    )
