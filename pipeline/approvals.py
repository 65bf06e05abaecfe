"""Promotion over the wire: one person proposes, two approve, and no private key leaves its owner.

    propose_promotion   the model is verified, and the next list of releases staged: these are the bytes to sign
    approve_promotion   an operator's signature over them comes back, with the person who sent it; nobody sends two
    `promotion.promote` then publishes what enough operators approved

TUF counts keys, and would let one person with two keys approve alone; here people are counted too. Who proposed may be one
of the two. A station that keeps demo operators' keys itself signs with one of them for each person who approves, and says
so: there, two accounts are all that stands between a model and its service. Controls: AML.T0010.003, AML.T0018.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tuf.api.metadata import Targets  # type: ignore[attr-defined]  # public, the module has no __all__

from pipeline.approval_records import NotTwoPeople, enter_person, people_by_key, person_of
from pipeline.database import reading, transaction
from pipeline.errors import PipelineError
from pipeline.promotion import (
    DEMO_OPERATORS,
    chest_name,
    ensure_founded,
    good_enough,
    keeps_demo_operators,
)
from pipeline.publish import role_of
from pipeline.releases import repository_of
from pipeline.station import Station, note
from security.errors import IntegrityError, PermissionDenied
from security.identity import Identity
from security.release_files import read_roots
from security.release_repository import Proposal, add_approval, check_approval, proposal, put_forward
from security.release_root import operators_in
from security.release_signing import sign_proposal
from security.releases import NothingProposed, Release
from security.sealed_bundle import id_of
from security.signing import Signer


class NotProposed(PipelineError):
    """A model whose promotion nobody proposed, or another proposal took its place: `model_id`."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id
        super().__init__(
            "its promotion does not wait for approval",
            where=f"model {model_id}",
            mend=f"propose it: POST /v1/models/{model_id}/promotion",
        )


@dataclass(frozen=True)
class Candidate:
    """A model whose promotion waits. content: the bytes to sign; operators: key ids by name, of who may; needed: how many
    do; demo: the station keeps these operators' keys itself.
    """

    model_id: str
    version: int
    content: bytes = field(repr=False)
    releases: tuple[Release, ...]
    signed_by: tuple[str, ...]
    operators: Mapping[str, str]
    needed: int
    approved: bool
    demo: bool


def propose_promotion(station: Station, model_id: str, *, by: Identity, at: datetime, replace: bool = False) -> Candidate:
    """Stage the release that puts a model in service, for operators to sign. replace: drop what they were asked before.

    Raises ReleaseConflict when something else waits, and as `good_enough`.
    """
    ensure_founded(station, by=by.subject, at=at)
    bundle = good_enough(station, model_id)
    changes = {role_of(bundle): bundle.digest}
    staged = put_forward(repository_of(station), changes, datetime.now(UTC), replace=replace)
    details = {"role": role_of(bundle), "version": staged.version, "content": _digest(staged.content)}
    note(station, actor=by.subject, action="model.proposed", subject=model_id, details=details, at=at)
    return _candidate(station, model_id, staged)


def waiting_promotion(station: Station, model_id: str) -> Candidate:
    """The promotion of this model that waits. Raises NotProposed."""
    staged = proposal(repository_of(station), datetime.now(UTC))
    if staged is None or not any(model is not None and id_of(model) == model_id for model in staged.changes.values()):
        raise NotProposed(model_id)
    return _candidate(station, model_id, staged)


def approve_promotion(
    station: Station, model_id: str, *, by: Identity, key_id: str, signature: bytes, at: datetime
) -> Candidate:
    """Add an operator's signature, sent by the person `by`, to the promotion that waits; sent again, it changes nothing.

    Raises NotTwoPeople for a program, a person who approved with another key before, and a key that approved for another
    person; NotAnOperator; SignatureInvalid for a signature over anything else, as over another model's proposal: all of
    them noted. NotProposed, and as `good_enough`.
    """
    candidate = waiting_promotion(station, model_id)
    # The model may have changed, or been found wanting, since it was proposed.
    good_enough(station, model_id)
    folder, now = repository_of(station), datetime.now(UTC)
    try:
        check_approval(folder, candidate.content, key_id, signature, now)
        # Entered before the signature is added: killed in between, the same person sends it again.
        with transaction(station.engine) as session:
            enter_person(session, _digest(candidate.content), by, key_id, at)
        staged = add_approval(folder, candidate.content, key_id, signature, now)
    except NothingProposed:
        raise NotProposed(model_id) from None
    except (PermissionDenied, IntegrityError) as error:
        denied = {"why": error.problem, "key": key_id, "token_id": by.token_id}
        note(station, actor=by.subject, action="access.denied", subject=f"promotion of {model_id}", details=denied, at=at)
        raise
    details = {"key": key_id, "signed_by": list(staged.signed_by), "version": staged.version, "demo": candidate.demo}
    note(station, actor=by.subject, action="model.approved", subject=model_id, details=details, at=at)
    return _candidate(station, model_id, staged)


def approve_for_demo(station: Station, model_id: str, *, by: Identity, at: datetime) -> Candidate:
    """Approve with a demo operator's key that the station keeps, one for each person. Raises as `approve_promotion`, and
    PipelineError where real operators decide.
    """
    candidate = waiting_promotion(station, model_id)
    if not candidate.demo:
        raise PipelineError(
            "operators decide here, and their keys are not the station's",
            where=f"model {model_id}",
            mend="sign the proposal with `gridward registry sign`, and send key_id and signature",
        )
    signer = _demo_signer(station, candidate, by)
    signature = sign_proposal(candidate.content, signer)
    return approve_promotion(station, model_id, by=by, key_id=signer.key_id, signature=signature, at=at)


def _demo_signer(station: Station, candidate: Candidate, by: Identity) -> Signer:
    """The demo key that this person signed with before, else one that nobody did."""
    kept = [station.chest.signer(chest_name(name)) for name in DEMO_OPERATORS if name in candidate.operators]
    with reading(station.engine) as session:
        people = people_by_key(session, _digest(candidate.content))
    mine = [signer for signer in kept if people.get(signer.key_id) == person_of(by)]
    signed = {candidate.operators[name] for name in candidate.signed_by}
    free = [signer for signer in kept if signer.key_id not in people and signer.key_id not in signed]
    if not mine and not free:
        raise NotTwoPeople(by.subject, "every demo operator's key was used already")
    return (mine or free)[0]


def _candidate(station: Station, model_id: str, staged: Proposal) -> Candidate:
    roots = read_roots(repository_of(station))
    root = roots[max(roots)]
    return Candidate(
        model_id=model_id,
        version=staged.version,
        content=staged.content,
        releases=tuple(staged.releases[role] for role in sorted(staged.releases)),
        signed_by=staged.signed_by,
        operators={name: key_id for key_id, name in sorted(operators_in(root).items(), key=lambda item: item[1])},
        needed=root.roles[Targets.type].threshold,
        approved=staged.approved,
        demo=keeps_demo_operators(station),
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
