"""GET /v1/audit."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from api.audit_reading import entries_after, verified_entries
from api.guards import ServingHere, guarded_router, needs
from api.schemas.audit import AuditAnswer, AuditEntryAnswer
from security.permissions import Permission

router = guarded_router("audit")


@router.get("/v1/audit", openapi_extra=needs(Permission.READ_AUDIT))
def read_audit(
    serving: ServingHere,
    after: Annotated[int, Query(ge=0, le=2**62, description="answer the entries that follow this one")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="at most so many")] = 100,
) -> AuditAnswer:
    """Verify the whole audit log against its signed heads, and read some of it. A log that does not hold: 409."""
    verified = verified_entries(serving.station)
    entries = [AuditEntryAnswer.model_validate(entry) for entry in entries_after(serving.station, after, limit)]
    return AuditAnswer(verified=verified, entries=entries)
