"""POST /v1/retrain."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request, Response

from api.accepted import accepted
from api.guards import Caller, HouseHere, guarded_router, needs
from api.schemas.jobs import JobAnswer
from api.schemas.retraining import RetrainOrder
from pipeline.job_kinds import RETRAIN
from security.permissions import Permission

router = guarded_router("retraining")


@router.post("/v1/retrain", status_code=HTTPStatus.ACCEPTED, openapi_extra=needs(Permission.RETRAIN, idempotent=True))
def retrain(order: RetrainOrder, house: HouseHere, caller: Caller, request: Request, response: Response) -> JobAnswer:
    """Train from the last clean backup and what came later, publish, and serve the new model: a job, named by `Location`."""
    return accepted(request, response, house.jobs.submit(RETRAIN, order.model_dump(mode="json"), caller.subject))
