"""POST /v1/recoveries."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request, Response

from api.accepted import accepted
from api.guards import Caller, HouseHere, account, guarded_router, needs
from api.schemas.jobs import JobAnswer
from api.schemas.recoveries import RecoveryOrder, RecoveryPlanAnswer
from pipeline.ingest import load_readings
from pipeline.job_kinds import RECOVER, recovery_request
from pipeline.recovery.run import preview
from security.permissions import Permission

router = guarded_router("recoveries")


@router.post(
    "/v1/recoveries",
    responses={HTTPStatus.ACCEPTED: {"model": JobAnswer, "description": "a job; `Location` says which"}},
    openapi_extra=needs(Permission.RECOVER, idempotent=True),
)
def recover(
    order: RecoveryOrder, house: HouseHere, caller: Caller, request: Request, response: Response
) -> RecoveryPlanAnswer | JobAnswer:
    """Recover from a provider that lies: a job, which goes on with a recovery that was begun. `dry_run`: the plan, now."""
    asked = order.model_dump(mode="json", exclude={"dry_run"})
    station = house.serving.station
    # Also of one that is to be carried out: what cannot be planned is said now and not by a job that fails.
    plan = preview(station, load_readings(station), recovery_request(asked, caller.subject), house.serving.clock())
    if order.dry_run:
        account(request, action="recovery.previewed", subject=plan.recovery_id, provider=plan.provider)
        return RecoveryPlanAnswer.of(plan)
    return accepted(request, response, house.jobs.submit(RECOVER, asked, caller.subject))
