"""Put models in service: two of three operators approve, then a release is published.

    approve    an operator signs that a model shall run in its role; the next operator who says the same adds a signature
    promote    the release that enough operators approved is published, entered in the registry and in the audit log
    retire, revoke   of models that are not in service: the registry and the audit log say so, no release names them

Who may approve stands in the root of the releases and nowhere else; everybody else is denied, and the denial is noted. A
station that was set up for a demonstration keeps three demo operators' keys of its own: with them, training promotes
unattended. Once real operators stand in their place, what is trained waits (`ModelWaits`).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlmodel import Session, select

from pipeline import registry
from pipeline.database import transaction
from pipeline.errors import ModelWaits, PipelineError
from pipeline.publish import attested, read_model, role_of
from pipeline.recovery.journal import failed_gates
from pipeline.registry import ModelRecord
from pipeline.release_pins import least_versions, pin_bootstrap, pinned, raise_pin
from pipeline.releases import believed, follow_releases, online_signer, repository_of
from pipeline.station import Station, note, witness
from security.audit_log import AuditEntry, append
from security.release_files import read_roots
from security.release_repository import Proposal, found, proposal, propose, publish
from security.release_root import operators_in
from security.releases import ApprovalsMissing, NotAnOperator, NothingProposed
from security.sealed_bundle import SealedBundle, id_of
from security.signing import Signer

DEMO_OPERATORS = ("demo-1", "demo-2", "demo-3")
THRESHOLD = 2
FOUNDED = "registry.founded"


@dataclass(frozen=True)
class Approval:
    """A model on its way into service. waiting_for: operators of whom enough have yet to sign; approved: enough did."""

    model_id: str
    role: str
    signed_by: tuple[str, ...]
    waiting_for: tuple[str, ...]
    approved: bool


def ensure_founded(station: Station, *, by: str, at: datetime) -> None:
    """Make the release repository at a station's first model, with demo operators, whose keys the station itself keeps.

    It is noted in the audit log that they are demo operators. A repository or a trust that is gone is never made again
    silently: raises PipelineError.
    """
    with transaction(station.engine) as session:
        if pinned(session) is not None:
            return
        if session.exec(select(AuditEntry.seq).where(AuditEntry.action == FOUNDED)).first() is not None:
            raise PipelineError(
                "the releases were founded before, and the database does not know them any more",
                where="table release_pin",
                mend="restore the database from a backup",
            )
    folder = repository_of(station)
    # Never pinned, so nothing was ever released from it: left by a killed process, or put there by somebody else.
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(station.release_client, ignore_errors=True)
    bootstrap = found_in(station, folder)
    with transaction(station.engine) as session:
        note_founded(session, station, bootstrap, by=by, at=at)
    witness(station, at)


def found_in(station: Station, folder: Path) -> bytes:
    """Make a repository with demo operators and no release; answers root version 1."""
    signers = demo_operators(station, DEMO_OPERATORS)
    operators = {name: signer.public_key for name, signer in zip(DEMO_OPERATORS, signers, strict=True)}
    return found(folder, operators, signers[:THRESHOLD], online_signer(station), datetime.now(UTC), THRESHOLD)


def note_founded(session: Session, station: Station, bootstrap: bytes, *, by: str, at: datetime) -> None:
    """Trust a repository from now on, and write to the audit log whose operators it has."""
    pin_bootstrap(session, station.chest, bootstrap)
    details = {
        "operators": list(DEMO_OPERATORS),
        "kept_by": "the station itself: a demonstration",
        "root": hashlib.sha256(bootstrap).hexdigest(),
    }
    append(session, actor=by, action=FOUNDED, subject="registry", details=details, at=at)


def approve(station: Station, model_id: str, signer: Signer, *, at: datetime, replace: bool = False) -> Approval:
    """Sign, as an operator, that a model shall run in its role.

    The bundle and what is attested of it are verified first: an operator signs nothing that could not be opened.
    replace: drop what other operators were asked to sign. Raises NotAnOperator (noted), PipelineError for an unknown or
    revoked model, AttestationRefused, ReleaseConflict, and as `read_model`.
    """
    bundle = good_enough(station, model_id)
    try:
        proposed = propose(
            repository_of(station), {role_of(bundle): bundle.digest}, signer, datetime.now(UTC), replace=replace
        )
    except NotAnOperator as error:
        denied = {"why": error.problem, "key": signer.key_id}
        note(station, actor=f"key {signer.key_id}", action="access.denied", subject=model_id, details=denied, at=at)
        raise
    found_out = _approval(model_id, role_of(bundle), proposed)
    details = {
        "role": found_out.role,
        "key": signer.key_id,
        "signed_by": list(found_out.signed_by),
        "version": proposed.version,
    }
    note(station, actor=f"key {signer.key_id}", action="model.approved", subject=model_id, details=details, at=at)
    return found_out


def good_enough(station: Station, model_id: str) -> SealedBundle:
    """The bundle of a model that may be approved, verified with what is attested of it.

    Raises PipelineError for a model that is unknown or revoked, or failed its gates, AttestationRefused, and as
    `read_model`.
    """
    with transaction(station.engine) as session:
        registry.require_releasable(session, model_id)
        judged = failed_gates(session, model_id)
    bundle = read_model(station, model_id)
    # The journal is asked too: who can write to the disk could put an older statement back, from before the gates.
    failed = sorted({*judged, *attested(station, bundle).gates["failedTests"]})
    if failed:
        raise _not_good_enough(model_id, failed)
    return bundle


def waiting(station: Station) -> Approval | None:
    """The model that operators were asked to approve and that is not in service yet, if any."""
    with transaction(station.engine) as session:
        if pinned(session) is None:
            return None
    proposed = proposal(repository_of(station), datetime.now(UTC))
    if proposed is None:
        return None
    models = [(role, model) for role, model in proposed.changes.items() if model is not None]
    return _approval(id_of(models[0][1]), models[0][0], proposed) if models else None


def promote(station: Station, model_id: str, *, by: str, at: datetime) -> ModelRecord:
    """Publish the release that puts an approved model in service; one that is in service already stays so.

    Raises ModelWaits without enough approvals, PipelineError for a model that is unknown or revoked, or failed its gates.
    """
    publish_release(station, model_id)
    with transaction(station.engine) as session:
        record = registry.require_releasable(session, model_id)
        if record.state == registry.ACTIVE:
            return record
        activated = activate_noted(session, model_id, by=by, at=at)
    witness(station, at)
    return activated


def publish_release(station: Station, model_id: str) -> None:
    """Publish an approved model's release; the caller enters it in the registry (`activate_noted`). Raises as `promote`."""
    with transaction(station.engine) as session:
        record = registry.require_releasable(session, model_id)
        failed, pin = failed_gates(session, model_id), pinned(session)
    if failed:
        raise _not_good_enough(model_id, failed)
    if pin is None:
        raise ModelWaits(model_id, (), THRESHOLD)
    staged = waiting(station)
    if staged is None or staged.model_id != model_id:
        if not _in_force(station, model_id):
            raise ModelWaits(model_id, (), THRESHOLD)
        return
    folder, wanted = repository_of(station), {record.role: read_model(station, model_id).digest}
    try:
        versions = publish(folder, online_signer(station), datetime.now(UTC), least_versions(station.chest, pin), wanted)
    except (ApprovalsMissing, NothingProposed):
        raise ModelWaits(model_id, staged.signed_by, THRESHOLD) from None
    with transaction(station.engine) as session:
        raise_pin(session, station.chest, versions)


def promote_unattended(station: Station, model_id: str, *, by: str, at: datetime) -> bool:
    """Approve with the demo operators' keys, where they still decide, and publish; answers whether the model is released.

    The caller enters it in the registry (`activate_noted`).
    """
    ensure_founded(station, by=by, at=at)
    if _in_force(station, model_id):
        # Killed after the release was published: there is nothing to approve twice.
        return True
    if not keeps_demo_operators(station):
        return False
    for number, signer in enumerate(demo_operators(station, DEMO_OPERATORS[:THRESHOLD])):
        approve(station, model_id, signer, at=at, replace=number == 0)
    publish_release(station, model_id)
    return True


def activate_noted(session: Session, model_id: str, *, by: str, at: datetime) -> ModelRecord:
    """Enter a released model as active, and in the audit log, both or neither; `witness` the log after the commit."""
    activated = registry.activate(session, model_id)
    details = {"snapshot": activated.snapshot_id, "weather_policy": activated.weather_policy, "role": activated.role}
    append(session, actor=by, action="model.activated", subject=model_id, details=details, at=at)
    return activated


def withdraw(station: Station, model_id: str, state: str, *, by: str, reason: str, at: datetime) -> ModelRecord:
    """Retire or revoke a model that is not in service. Raises PipelineError for one that is, or is unknown.

    state: `retired` (it may be approved again) or `revoked` (never).
    """
    with transaction(station.engine) as session:
        founded = pinned(session) is not None
    if founded:
        # A release that a killed process did not enter is in service all the same.
        follow_releases(station, at)
    with transaction(station.engine) as session:
        record = registry.withdraw(session, model_id, state)
        append(session, actor=by, action=f"model.{state}", subject=model_id, details={"reason": reason}, at=at)
    witness(station, at)
    return record


def keeps_demo_operators(station: Station) -> bool:
    """Whether this station promotes by itself: it keeps the keys of demo operators, and they stand in root."""
    if not all(station.chest.has(chest_name(name)) for name in DEMO_OPERATORS[:THRESHOLD]):
        return False
    roots = read_roots(repository_of(station))
    kept = {signer.key_id for signer in demo_operators(station, DEMO_OPERATORS[:THRESHOLD])}
    return kept <= operators_in(roots[max(roots)]).keys()


def demo_operators(station: Station, names: Sequence[str]) -> list[Signer]:
    """The demo operators' keys, made on first use."""
    return [station.chest.signer(chest_name(name)) for name in names]


def _not_good_enough(model_id: str, failed: Sequence[str]) -> PipelineError:
    return PipelineError(f"failed: {', '.join(failed)}", where=f"model {model_id}", mend="train a new model")


def chest_name(operator: str) -> str:
    """What the chest calls the key of a demo operator."""
    return f"operator-{operator}"


def _in_force(station: Station, model_id: str) -> bool:
    return model_id in {id_of(release.model) for release in believed(station).by_role.values()}


def _approval(model_id: str, role: str, proposed: Proposal) -> Approval:
    return Approval(model_id, role, proposed.signed_by, proposed.waiting_for, proposed.approved)
