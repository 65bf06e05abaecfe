"""GET /v1/guard, POST /v1/guard/{subject}/release."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api.guards import Caller, HouseHere, account, guarded_router, needs
from api.house import House
from api.schemas.guard import GuardAnswer, GuardStandingAnswer, ReleaseOrder
from api.schemas.message import ONE_LINE
from pipeline.database import transaction
from pipeline.guard_standings import enter_release, guard_standings
from security.permissions import Permission

router = guarded_router("guard")

Subject = Annotated[str, Path(max_length=200, pattern=ONE_LINE)]
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/v1/guard", openapi_extra=needs(Permission.READ_GUARD))
def list_guard_standings(house: HouseHere, limit: Limit = 100) -> GuardAnswer:
    """The callers that the query guard held back, why, and who released them."""
    with transaction(house.serving.station.engine) as session:
        rows = guard_standings(session, limit)
        return GuardAnswer(standings=[GuardStandingAnswer.model_validate(row) for row in rows])


@router.post("/v1/guard/{subject}/release", openapi_extra=needs(Permission.RELEASE_GUARD, idempotent=True))
async def release_subject(
    subject: Subject, order: ReleaseOrder, house: HouseHere, caller: Caller, request: Request
) -> GuardStandingAnswer:
    """Give a caller that was held back its whole budget again, at once in every worker but for a second."""
    answer = await run_in_threadpool(_entered, house, subject, caller.subject, order.reason)
    if answer is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "the query guard never held this caller back; GET /v1/guard lists them")
    await house.query_guard.release(subject)
    account(request, action="guard.released", subject=subject, reason=order.reason)
    return answer


def _entered(house: House, subject: str, by: str, reason: str) -> GuardStandingAnswer | None:
    with transaction(house.serving.station.engine) as session:
        row = enter_release(session, subject, by=by, reason=reason, at=house.clock())
        return None if row is None else GuardStandingAnswer.model_validate(row)
