"""Rotation: an operator leaves, comes, or lost a key; the online key is replaced; root itself is about to run out.

A rotation is signed by enough of the operators before it and enough of those after it, and so are the current releases:
metadata that a leaving operator signed would otherwise count one signature too few. `publish_root` first puts state in
force that holds under both roots, then renames the new root: killed anywhere, a client finds the old state or the new.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Metadata, Root, Targets  # type: ignore[attr-defined]  # public, the module has no __all__

from security.release_files import (
    OPERATORS_LIFETIME,
    State,
    commit,
    locked,
    online_keys,
    read_roots,
    read_state,
    require_at_least,
    require_online,
    write_whole,
)
from security.release_root import Approval, approval, keep_valid_signatures, next_root, operator_name, operators_in
from security.release_staging import read_staged, stage
from security.releases import NO_MINIMUM, NothingProposed, Versions, utc
from security.signing import PublicKey, Signer

STAGED_ROOT = "staged/root.json"
STAGED_TARGETS = "staged/root.targets.json"


@dataclass(frozen=True)
class Rotation:
    """The next root: who leaves, who comes, whether the online key changes, names of who signed and who still may."""

    version: int
    out: tuple[str, ...]
    into: tuple[str, ...]
    new_online_key: bool
    signed_by: tuple[str, ...]
    waiting_for: tuple[str, ...]
    approved: bool


def operators(folder: Path) -> tuple[str, ...]:
    """The operators of the root in force, by name. Raises ReleaseRefused."""
    roots = read_roots(folder)
    return tuple(sorted(operators_in(roots[max(roots)]).values()))


def propose_root(
    folder: Path,
    signer: Signer,
    now: datetime,
    *,
    out: Collection[str] = (),
    into: Mapping[str, PublicKey] | None = None,
    online: PublicKey | None = None,
    replace: bool = False,
) -> Rotation:
    """Sign, as an operator of today or of the new root, that `out` leave, `into` come, `online` replaces the online key.

    No change at all makes root last another year. The same name may leave and come: a new key for a lost one. Raises
    NotAnOperator, KeyringError for operators that could not decide safely or a key that was revoked, ReleaseConflict when
    another rotation is staged (`replace` drops it), ReleaseRefused.
    """
    moment = utc(now)
    with locked(folder):
        state = read_state(folder)
        expires = moment + OPERATORS_LIFETIME
        root = next_root(state.roots, out, into or {}, online, expires)
        judges = (state.root, root)
        operator_name(signer, *judges)
        current = state.targets.signed
        targets = Targets(current.version + 1, expires=expires, targets=dict(current.targets))
        staged = stage(folder / STAGED_ROOT, root, signer, judges, moment, replace=replace)
        resigned = stage(folder / STAGED_TARGETS, targets, signer, judges, moment, replace=replace)
        return _rotation_of(state.root, staged, _approval(state.root, staged, resigned))


def rotation(folder: Path, now: datetime) -> Rotation | None:
    """The rotation that waits, if any. Raises ReleaseRefused."""
    moment = utc(now)
    with locked(folder):
        roots = read_roots(folder)
        root = roots[max(roots)]
        staged = read_staged(folder / STAGED_ROOT, Root, root.version + 1, moment)
        if staged is None:
            return None
        state = read_state(folder, also=_if_approved(root, staged))
        return _rotation_of(root, staged, _approval(root, staged, _resigned(folder, state, moment)))


def publish_root(
    folder: Path, online: Signer, now: datetime, *, retiring: Signer | None = None, minimum: Versions = NO_MINIMUM
) -> Versions:
    """Put the staged rotation in force; answers the versions now current. Releases that were staged are proposed anew.

    `online` is the online key of the new root. Where it replaces another, `retiring` is that one, so that the state in
    between holds under both; without it (the key is lost) clients refuse until this function is through. Killed anywhere,
    running it again ends it. Raises as `release_repository.publish` does.
    """
    moment = utc(now)
    with locked(folder):
        roots = read_roots(folder)
        root = roots[max(roots)]
        if _is_in_force(folder, root, moment):
            _clear(folder)
            return read_state(folder).versions
        staged = read_staged(folder / STAGED_ROOT, Root, root.version + 1, moment)
        if staged is None:
            raise NothingProposed(folder)
        state = read_state(folder, also=_if_approved(root, staged))
        require_at_least(roots.get(minimum.root), staged.signed, state.versions, minimum, folder)
        resigned = _resigned(folder, state, moment)
        if resigned is None:
            # Releases were published since: the operators sign those for the new root.
            raise NothingProposed(folder)
        _approval(root, staged, resigned).require("root", staged.signed.version)
        require_online(staged.signed, online)
        if retiring is not None:
            require_online(root, retiring)
        judges = (root, staged.signed)
        keep_valid_signatures(staged, *judges)
        keep_valid_signatures(resigned, *judges)
        signers = [online] if retiring is None else [online, retiring]
        versions = commit(folder, resigned, state.versions, signers, moment)
        write_whole(folder / "metadata" / f"{staged.signed.version}.root.json", staged.to_bytes())
        _clear(folder)
        return Versions(staged.signed.version, versions.targets, versions.snapshot, versions.timestamp)


def _is_in_force(folder: Path, root: Root, now: datetime) -> bool:
    """Whether the staged rotation was published by a process that was killed before it could clear up."""
    staged = read_staged(folder / STAGED_ROOT, Root, root.version, now)
    return staged is not None and staged.signed == root


def _clear(folder: Path) -> None:
    for name in (STAGED_TARGETS, STAGED_ROOT):
        (folder / name).unlink(missing_ok=True)


def _if_approved(root: Root, staged: Metadata[Root]) -> Root | None:
    """The staged root once enough operators signed it: what its online key signed is then no stranger's."""
    return staged.signed if approval(staged, root, staged.signed).complete else None


def _resigned(folder: Path, state: State, now: datetime) -> Metadata[Targets] | None:
    """The current releases, signed for the new root: one version on, or in force already by a try that was killed."""
    current = state.targets.signed
    following = read_staged(folder / STAGED_TARGETS, Targets, current.version + 1, now)
    if following is not None:
        return following if following.signed.targets == current.targets else None
    same = read_staged(folder / STAGED_TARGETS, Targets, current.version, now)
    return same if same is not None and same.signed_bytes == state.targets.signed_bytes else None


def _approval(root: Root, staged: Metadata[Root], resigned: Metadata[Targets] | None) -> Approval:
    """Who signed both, and whether that is enough before and after."""
    judges = (root, staged.signed)
    of_root = approval(staged, *judges)
    if resigned is None:
        # As in `publish_root`: everybody signs once more.
        return Approval((), tuple(sorted({*of_root.signed_by, *of_root.waiting_for})), False)
    of_targets = approval(resigned, *judges)
    return Approval(
        tuple(sorted(set(of_root.signed_by) & set(of_targets.signed_by))),
        tuple(sorted({*of_root.waiting_for, *of_targets.waiting_for})),
        of_root.complete and of_targets.complete,
    )


def _rotation_of(root: Root, staged: Metadata[Root], said: Approval) -> Rotation:
    before, after = operators_in(root), operators_in(staged.signed)
    return Rotation(
        version=staged.signed.version,
        out=tuple(sorted(before[key_id] for key_id in before.keys() - after.keys())),
        into=tuple(sorted(after[key_id] for key_id in after.keys() - before.keys())),
        new_online_key=online_keys(root) != online_keys(staged.signed),
        signed_by=said.signed_by,
        waiting_for=said.waiting_for,
        approved=said.complete,
    )
