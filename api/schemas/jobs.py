"""Long work: how far it is and how it ended."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Self

from api.schemas.message import Message
from pipeline.job_kinds import BACKTEST
from pipeline.job_records import DONE, JobRecord


class JobLinks(Message):
    """Where to look on. result: the file that resulted, null for none."""

    events: str
    result: str | None


class JobAnswer(Message):
    """A job. state: queued, running, done, failed or cancelled; share: 0 to 1; result: of one that is done; problem: why it
    failed, empty otherwise; attempts: how often it was begun.
    """

    job_id: str
    kind: str
    order: dict[str, Any]
    requested_by: str
    requested_at: datetime
    state: str
    stage: str
    share: float
    attempts: int
    started_at: datetime | None
    finished_at: datetime | None
    result: dict[str, Any] | None
    problem: str
    links: JobLinks

    @classmethod
    def of(cls, job: JobRecord) -> Self:
        """The answer about a job."""
        here = f"/v1/jobs/{job.job_id}"
        with_file = job.kind == BACKTEST and job.state == DONE
        return cls(
            job_id=job.job_id,
            kind=job.kind,
            order=json.loads(job.asked),
            requested_by=job.requested_by,
            requested_at=job.requested_at,
            state=job.state,
            stage=job.stage,
            share=job.share,
            attempts=job.attempts,
            started_at=job.started_at,
            finished_at=job.finished_at,
            result=json.loads(job.result) if job.result else None,
            problem=job.problem,
            links=JobLinks(events=f"{here}/events", result=f"{here}/result" if with_file else None),
        )


class JobsAnswer(Message):
    """A page of jobs, newest first. next: path and query of the following page, null when the list ends."""

    jobs: list[JobAnswer]
    next: str | None
