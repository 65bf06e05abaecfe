"""GET /v1/jobs, /v1/jobs/{id}, …/events, …/result, POST …/cancel. Who may not read all jobs reads those of its own."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated, Literal

import pandas as pd
from fastapi import Header, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.exceptions import HTTPException

from api.events import EventStream
from api.guards import Caller, HouseHere, account, guarded_router, needs
from api.pages import PageAsked, next_page, rows_of
from api.schemas.jobs import JobAnswer, JobsAnswer
from api.schemas.message import PLAIN_ID
from pipeline.job_kinds import PREDICTIONS
from pipeline.job_records import DONE, JobRecord
from pipeline.jobs import Jobs, position_of
from security.identity import Identity
from security.permissions import GRANTS, Permission

router = guarded_router("jobs")

JobId = Annotated[str, Path(max_length=40, pattern=PLAIN_ID, examples=["j-0123456789abcdef"])]
LastEvent = Annotated[int, Header(ge=0, le=2**31 - 1, description="go on after this event")]
Format = Annotated[Literal["csv", "parquet"], Query(alias="format", description="of the file")]
FORMATS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


@router.get("/v1/jobs", openapi_extra=needs(Permission.READ_JOBS))
def list_jobs(house: HouseHere, caller: Caller, page: PageAsked, request: Request, response: Response) -> JobsAnswer:
    """Jobs, newest first."""
    jobs, more = rows_of(page, lambda after, limit: house.jobs.page(after, limit, _whose(caller)))
    following = next_page(request, response, page, position_of(jobs[-1]) if more else None)
    return JobsAnswer(jobs=[JobAnswer.of(job) for job in jobs], next=following)


@router.get("/v1/jobs/{job_id}", openapi_extra=needs(Permission.READ_JOBS))
def read_job(job_id: JobId, house: HouseHere, caller: Caller) -> JobAnswer:
    """How far a job is, and how it ended."""
    return JobAnswer.of(_visible(house.jobs, job_id, caller))


@router.get(
    "/v1/jobs/{job_id}/events",
    openapi_extra=needs(Permission.READ_JOBS),
    response_class=StreamingResponse,
    status_code=HTTPStatus.OK,
    responses={HTTPStatus.OK: {"content": {"text/event-stream": {}}}},
)
def follow_job(
    job_id: JobId, house: HouseHere, caller: Caller, request: Request, last_event_id: LastEvent = 0
) -> EventStream:
    """What is told of a job, as it happens: server-sent events until it ends. `Last-Event-ID` goes on after that event."""
    job = _visible(house.jobs, job_id, caller)
    return EventStream(request, caller.subject, partial(house.jobs.events, job.job_id), last_event_id)


@router.post("/v1/jobs/{job_id}/cancel", openapi_extra=needs(Permission.CANCEL_JOBS, idempotent=True))
def cancel_job(job_id: JobId, house: HouseHere, caller: Caller, request: Request) -> JobAnswer:
    """Cancel a job that waits; one that was begun goes on: 409."""
    job = house.jobs.cancel(_visible(house.jobs, job_id, caller).job_id)
    account(request, action="job.cancelled", subject=job.job_id)
    return JobAnswer.of(job)


@router.get(
    "/v1/jobs/{job_id}/result",
    openapi_extra=needs(Permission.READ_JOBS),
    response_class=Response,
    responses={HTTPStatus.OK: {"content": {kind: {"schema": {"type": "string"}} for kind in FORMATS.values()}}},
)
def read_result(job_id: JobId, house: HouseHere, caller: Caller, file_format: Format = "csv") -> Response:
    """The forecasts of a backtest that is done, as a file: one row an interval, MW. 404 for a job that leaves none."""
    job = _visible(house.jobs, job_id, caller)
    path = house.jobs.folder / job.job_id / PREDICTIONS
    if job.state != DONE or not path.is_file():
        raise HTTPException(HTTPStatus.NOT_FOUND, "no file resulted from this job; its answer links to one where there is")
    headers = {"Content-Disposition": f'attachment; filename="{job.job_id}.{file_format}"'}
    if file_format == "csv":
        return Response(_as_csv(path), media_type=FORMATS["csv"], headers=headers)
    return FileResponse(path, media_type=FORMATS["parquet"], headers=headers)


def _whose(caller: Identity) -> str | None:
    """Only whose jobs a caller may see; None for everybody's."""
    return None if Permission.READ_ALL_JOBS in GRANTS.get(caller.role, frozenset()) else caller.subject


def _visible(jobs: Jobs, job_id: str, caller: Identity) -> JobRecord:
    job = jobs.get(job_id)
    # Another's job is answered like none: whether it exists is not told (CWE-203).
    if job is None or _whose(caller) not in (None, job.requested_by):
        raise HTTPException(HTTPStatus.NOT_FOUND, "no job of this id; GET /v1/jobs lists them")
    return job


def _as_csv(path: FilePath) -> str:
    text: str = pd.read_parquet(path).to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ", float_format="%.6f")
    return text
