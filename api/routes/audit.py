"""GET /v1/audit, /v1/audit/head, /v1/audit/inclusion, /v1/audit/consistency; POST /v1/audit/verify."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated

from fastapi import Query, Response
from starlette.exceptions import HTTPException

from api.audit_reading import entries_after, newest_signed, proof_of_entry, proof_of_growth, verified_log
from api.guards import ServingHere, guarded_router, needs
from api.schemas.audit import (
    AuditAnswer,
    AuditEntryAnswer,
    ConsistencyAnswer,
    ConsistencyProofAnswer,
    InclusionAnswer,
    InclusionProofAnswer,
    SignedHeadAnswer,
    VerifiedLogAnswer,
)
from security.permissions import Permission

router = guarded_router("audit")

# What fits a database's integer.
_LARGEST = 2**62
Entry = Annotated[int, Query(ge=1, le=_LARGEST, description="the entry's number", examples=[1])]
Size = Annotated[int, Query(ge=1, le=_LARGEST, description="of a log: how many entries", examples=[1])]
SizeOrNewest = Annotated[int | None, Query(ge=1, le=_LARGEST, description="of a log; default: the newest signed one")]


@router.get("/v1/audit", openapi_extra=needs(Permission.READ_AUDIT))
def read_audit(
    serving: ServingHere,
    response: Response,
    after: Annotated[int, Query(ge=0, le=_LARGEST, description="answer the entries that follow this one")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="at most so many")] = 100,
) -> AuditAnswer:
    """Read some entries, and the newest signed head. Nothing else is verified: `POST /v1/audit/verify` does that."""
    head = newest_signed(serving.station)
    entries = [AuditEntryAnswer.model_validate(entry) for entry in entries_after(serving.station, after, limit)]
    following = f"/v1/audit?after={entries[-1].seq}&limit={limit}" if len(entries) == limit else None
    if following is not None:
        response.headers["Link"] = f'<{following}>; rel="next"'
    return AuditAnswer(entries=entries, next=following, head=SignedHeadAnswer.model_validate(head))


@router.get("/v1/audit/head", openapi_extra=needs(Permission.READ_AUDIT))
def read_head(serving: ServingHere) -> SignedHeadAnswer:
    """The newest signed head. Keep it: a log of later has to be consistent with it."""
    return SignedHeadAnswer.model_validate(newest_signed(serving.station))


@router.get("/v1/audit/inclusion", openapi_extra=needs(Permission.READ_AUDIT))
def read_inclusion(serving: ServingHere, seq: Entry, tree_size: SizeOrNewest = None) -> InclusionAnswer:
    """Prove that an entry stands in the log. 404 for one that does not, or is not signed yet."""
    with _not_found():
        proof, head = proof_of_entry(serving.station, seq, tree_size)
    return InclusionAnswer(proof=InclusionProofAnswer.model_validate(proof), head=SignedHeadAnswer.model_validate(head))


@router.get("/v1/audit/consistency", openapi_extra=needs(Permission.READ_AUDIT))
def read_consistency(serving: ServingHere, first: Size, second: SizeOrNewest = None) -> ConsistencyAnswer:
    """Prove that the log only grew between two sizes. 404 for a size it never had."""
    with _not_found():
        proof, head = proof_of_growth(serving.station, first, second)
    return ConsistencyAnswer(proof=ConsistencyProofAnswer.model_validate(proof), head=SignedHeadAnswer.model_validate(head))


@router.post("/v1/audit/verify", openapi_extra=needs(Permission.READ_AUDIT))
def verify(serving: ServingHere) -> VerifiedLogAnswer:
    """Recompute the whole log and hold it to every signed head, here and at the witness. One that does not hold: 409."""
    return VerifiedLogAnswer.model_validate(verified_log(serving.station, serving.clock()))


@contextmanager
def _not_found() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"{error}") from None
