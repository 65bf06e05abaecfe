"""The answer to an order of long work: 202, where to look, and the job as it stands."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request, Response

from api.guards import account
from api.schemas.jobs import JobAnswer
from pipeline.job_records import JobRecord


def accepted(request: Request, response: Response, job: JobRecord) -> JobAnswer:
    """The job that was entered, with `Location`; the audit entry of the request names it."""
    response.status_code = int(HTTPStatus.ACCEPTED)
    response.headers["Location"] = f"/v1/jobs/{job.job_id}"
    account(request, action="job.submitted", subject=job.job_id, kind=job.kind)
    return JobAnswer.of(job)
