"""Long work that survives its worker: asked for in one request, done in the background, looked at in others.

Each process has one worker. A worker takes a job by a lease and says again and again that it lives; when it does not, the
lease runs out and another worker, or the same one restarted, begins the job anew (`pipeline.job_kinds` says why that ends
the same). Who lost the lease may say nothing more of the job. Controls: AML.T0029 (denial of service), AML.T0034 (cost
harvesting): only so many jobs of a caller wait.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError as ConstraintBroken

from pipeline import job_records
from pipeline.database import reading, transaction
from pipeline.errors import JobKept, TooManyJobs
from pipeline.incidents import raise_incident
from pipeline.job_kinds import KINDS, Kind, Task, Told
from pipeline.job_records import CANCELLED, DONE, FAILED, MOST_ATTEMPTS, OVER, QUEUED, JobEvent, JobRecord
from pipeline.keyset import Position
from pipeline.plain_words import without_folders
from pipeline.serving import Clock, Serving, wall_clock
from security.errors import GridwardError, UnavailableError

FOLDER = "jobs"
MOST_QUEUED = 5
LEASE = timedelta(seconds=15)
BEAT_SECONDS = 3.0
POLL_SECONDS = 1.0
CLOSE_SECONDS = 5.0
TELL_SECONDS = 0.5
TELL_SHARE = 0.04

_LOG = logging.getLogger("gridward.jobs")


class _LeaseLost(Exception):
    """Another worker has the job: this one stops."""


class Jobs:
    """The jobs of a station, and this process's worker once it is started.

    kinds: what can be asked for; now: the wall clock, for leases and times. Every verb raises as its store does.
    """

    def __init__(self, serving: Serving, kinds: Mapping[str, Kind] = KINDS, now: Clock = wall_clock) -> None:
        self.folder = serving.station.home / FOLDER
        self._serving, self._kinds, self._now = serving, kinds, now
        self._engine = serving.station.engine
        self._alone = [name for name, kind in kinds.items() if kind.alone]
        self._woken, self._ending = threading.Event(), threading.Event()
        self._worker: threading.Thread | None = None

    def submit(self, kind: str, order: Mapping[str, Any], by: str) -> JobRecord:
        """Enter a job that waits. Raises TooManyJobs when as many of `by` wait already."""
        now = self._now()
        job = JobRecord(
            job_id=f"j-{secrets.token_hex(8)}",
            kind=kind,
            asked=json.dumps(dict(order), sort_keys=True),
            requested_by=by,
            requested_at=now,
            dated=self._serving.clock(),
        )
        with transaction(self._engine) as session:
            if job_records.queued_by(session, by) >= MOST_QUEUED:
                raise TooManyJobs(by, MOST_QUEUED)
            job_records.enter(session, job)
        self._woken.set()
        return job

    def get(self, job_id: str) -> JobRecord | None:
        """A job as it stands; None when there is none of this id."""
        with reading(self._engine) as session:
            return session.get(JobRecord, job_id)

    def page(self, after: Position | None, limit: int, by: str | None = None) -> list[JobRecord]:
        """Jobs, newest first; by: only those of this caller."""
        with reading(self._engine) as session:
            return job_records.page(session, after, limit, by)

    def events(self, job_id: str, after: int) -> tuple[list[JobEvent], bool]:
        """What was told of a job after event `after`, and whether nothing more will be."""
        with reading(self._engine) as session:
            # First the state: what was told until then is all there by the time the events are read.
            job = session.get(JobRecord, job_id)
            told = job_records.events_after(session, job_id, after)
        return told, job is None or job.state in OVER

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job that waits. Raises JobKept when it was begun or is over."""
        with transaction(self._engine) as session:
            job = session.get_one(JobRecord, job_id)
            if job.state != QUEUED or not job_records.end(session, job, CANCELLED, self._now()):
                raise JobKept(job_id, job.state)
        return job

    def start(self) -> None:
        """Begin to work, in a thread of its own."""
        if self._worker is None:
            self._ending.clear()
            self._worker = threading.Thread(target=self._work, name="gridward-jobs", daemon=True)
            self._worker.start()

    def close(self) -> None:
        """Take no more jobs. One under way is waited for shortly; if it lasts, its lease runs out and it is begun anew."""
        self._ending.set()
        self._woken.set()
        if self._worker is not None:
            self._worker.join(CLOSE_SECONDS)
            self._worker = None

    def run_next(self) -> bool:
        """Take one job that waits and do it; answers whether there was one."""
        job = self._taken()
        if job is None:
            return False
        with self._beating(job):
            outcome = self._outcome(job)
        if outcome is not None:
            state, result, problem = outcome
            with transaction(self._engine) as session:
                job_records.end(session, job, state, self._now(), result=result, problem=problem)
        return True

    def _work(self) -> None:
        while not self._ending.is_set():
            try:
                busy = self.run_next()
            except Exception:
                # The store is away, most likely: the job's lease runs out, and whoever finds it then takes it up.
                _LOG.exception("the worker of the jobs goes on after an error")
                busy = False
            if not busy:
                self._woken.wait(POLL_SECONDS)
                self._woken.clear()

    def _taken(self) -> JobRecord | None:
        now = self._now()
        with reading(self._engine) as session:
            # An idle worker looks every second and keeps nobody from writing.
            if not job_records.anything_to_do(session, now):
                return None
        try:
            with transaction(self._engine) as session:
                for job in job_records.given_up(session, now, f"its worker died {MOST_ATTEMPTS} times"):
                    raise_incident(session, "job-given-up", job.job_id, f"{job.kind}: {job.problem}", {}, now)
                return job_records.take(session, secrets.token_hex(8), self._alone, now, now + LEASE)
        except ConstraintBroken:
            return None

    def _outcome(self, job: JobRecord) -> tuple[str, str, str] | None:
        """State, result and problem that a job ends with; None when another worker has it."""
        try:
            result = self._kinds[job.kind].work(Task(self._serving, job, self._teller(job), self.folder / job.job_id))
        except _LeaseLost:
            _LOG.warning("another worker took the job", extra={"fields": {"job": job.job_id}})
            return None
        except GridwardError as error:
            return FAILED, "", without_folders(self._serving.station, str(error))
        except Exception:
            _LOG.exception("a job failed unexpectedly", extra={"fields": {"job": job.job_id}})
            return FAILED, "", f"unexpected error; the log tells more under job {job.job_id}"
        return DONE, json.dumps(dict(result)), ""

    def _teller(self, job: JobRecord) -> Told:
        """Tells the stage and the share done, at most so often: a backtest would tell each day."""
        last_told, last_share = -TELL_SECONDS, -1.0

        def told(stage: str, share: float) -> None:
            nonlocal last_told, last_share
            now = time.monotonic()
            if now - last_told < TELL_SECONDS and share - last_share < TELL_SHARE:
                return
            last_told, last_share = now, share
            try:
                with transaction(self._engine) as session:
                    held = job_records.tell(session, job, stage, min(max(share, 0.0), 1.0), self._now())
            except UnavailableError:
                # It is only told: the work goes on, and the lease says whether it may.
                return
            if not held:
                raise _LeaseLost

        return told

    @contextmanager
    def _beating(self, job: JobRecord) -> Iterator[None]:
        """Hold the lease meanwhile: a worker that lives says so."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(BEAT_SECONDS):
                try:
                    with transaction(self._engine) as session:
                        if not job_records.extend(session, job, self._now() + LEASE):
                            return
                except Exception:
                    _LOG.exception("the lease of a job could not be extended", extra={"fields": {"job": job.job_id}})

        beating = threading.Thread(target=beat, name=f"gridward-job-{job.job_id}", daemon=True)
        beating.start()
        try:
            yield
        finally:
            done.set()
            beating.join()


def position_of(job: JobRecord) -> Position:
    """Where a page that ends with this job ended."""
    return Position(job.requested_at, job.job_id)
