"""POST /v1/backtests."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request, Response

from api.accepted import accepted
from api.guards import Caller, HouseHere, guarded_router, needs
from api.schemas.backtests import BacktestOrder
from api.schemas.jobs import JobAnswer
from pipeline.job_kinds import BACKTEST
from security.permissions import Permission

router = guarded_router("backtests")


@router.post("/v1/backtests", status_code=HTTPStatus.ACCEPTED, openapi_extra=needs(Permission.BACKTEST, idempotent=True))
def try_on_the_past(
    order: BacktestOrder, house: HouseHere, caller: Caller, request: Request, response: Response
) -> JobAnswer:
    """Forecast past days as they would have been forecast then, and score them: a job, `Location` says which."""
    return accepted(request, response, house.jobs.submit(BACKTEST, order.model_dump(mode="json"), caller.subject))
