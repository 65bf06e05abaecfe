"""What is known of long work: one row a job, and a row for each thing that was told of it.

    queued → running → done, failed
    queued → cancelled

Whoever works on a job holds its lease, and only the holder may say how it ended. Every change names the state and the
lease it was decided upon, so that of several workers that want the same job one gets it, on SQLite and on PostgreSQL.
Times are the wall clock's, in UTC; `dated` is the station's own moment, which a replay sets elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, func, or_, update
from sqlmodel import Field, Session, SQLModel, col, select

from pipeline.keyset import Position, newest_first
from security.keyring import UtcDateTime

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
OVER = frozenset({DONE, FAILED, CANCELLED})
MOST_ATTEMPTS = 3
ALONE = "station"


class JobRecord(SQLModel, table=True):
    """One job. asked, result: JSON objects; dated: the moment its decisions are dated by; stage, share: how far it is (0 to
    1); lease: who works on it, believed until `lease_until`; slot: held while it runs by what must run alone, so unique.
    """

    __tablename__ = "job_record"

    job_id: str = Field(primary_key=True)
    kind: str
    asked: str = Field(sa_type=Text)
    requested_by: str = Field(index=True)
    requested_at: datetime = Field(sa_type=UtcDateTime, index=True)
    dated: datetime = Field(sa_type=UtcDateTime)
    state: str = Field(default=QUEUED, index=True)
    stage: str = ""
    share: float = 0.0
    result: str = Field(default="", sa_type=Text)
    problem: str = Field(default="", sa_type=Text)
    attempts: int = 0
    lease: str = ""
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    slot: str | None = Field(default=None, unique=True)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class JobEvent(SQLModel, table=True):
    """Something that was told of a job; number: 1, 2, … of each job."""

    __tablename__ = "job_event"

    job_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=UtcDateTime)
    state: str
    stage: str
    share: float


def enter(session: Session, job: JobRecord) -> None:
    """Enter a job that waits."""
    session.add(job)
    _tell(session, job, job.requested_at)


def queued_by(session: Session, by: str) -> int:
    """How many jobs of a caller wait."""
    mine = select(func.count()).select_from(JobRecord).where(JobRecord.requested_by == by, JobRecord.state == QUEUED)
    return session.exec(mine).one()


def page(session: Session, after: Position | None, limit: int, by: str | None = None) -> list[JobRecord]:
    """Jobs, newest first; by: only those of this caller."""
    rows = select(JobRecord)
    if by is not None:
        rows = rows.where(JobRecord.requested_by == by)
    return list(session.exec(newest_first(rows, JobRecord.requested_at, JobRecord.job_id, after, limit)))


def events_after(session: Session, job_id: str, number: int) -> list[JobEvent]:
    """What was told of a job after event `number`, in order."""
    later = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.number > number)
    return list(session.exec(later.order_by(col(JobEvent.number))))


def anything_to_do(session: Session, now: datetime) -> bool:
    """Whether a job waits, or one's worker died."""
    return session.exec(select(JobRecord.job_id).where(_untended(now)).limit(1)).first() is not None


def given_up(session: Session, now: datetime, problem: str) -> list[JobRecord]:
    """End those that were begun as often as may be, and whose workers died every time; answers them."""
    dead = select(JobRecord).where(
        JobRecord.state == RUNNING, col(JobRecord.lease_until) < now, JobRecord.attempts >= MOST_ATTEMPTS
    )
    return [job for job in session.exec(dead).all() if end(session, job, FAILED, now, problem=problem)]


def take(session: Session, lease: str, alone: Collection[str], now: datetime, until: datetime) -> JobRecord | None:
    """Take the oldest job that waits, or whose worker died, until `until`; None when there is nothing to do.

    alone: kinds of which, together, one may run at a time. Raises SQLAlchemy's IntegrityError when another worker took such
    a job at the same moment: roll back, and try again.
    """
    waiting = and_(_untended(now), col(JobRecord.attempts) < MOST_ATTEMPTS)
    held = session.exec(select(JobRecord.job_id).where(JobRecord.slot == ALONE)).first()
    for job in session.exec(select(JobRecord).where(waiting).order_by(col(JobRecord.requested_at), col(JobRecord.job_id))):
        if job.kind in alone and held not in (None, job.job_id):
            continue
        taken = {
            "state": RUNNING,
            "lease": lease,
            "lease_until": until,
            "attempts": job.attempts + 1,
            "started_at": job.started_at or now,
            "slot": ALONE if job.kind in alone else None,
        }
        if _changed(session, job, **taken):
            _tell(session, job, now)
            return job
    return None


def extend(session: Session, job: JobRecord, until: datetime) -> bool:
    """Hold the lease until `until`; False when another worker holds it."""
    return _changed(session, job, lease_until=until)


def tell(session: Session, job: JobRecord, stage: str, share: float, at: datetime) -> bool:
    """Say how far it is; False when another worker holds the lease."""
    if not _changed(session, job, stage=stage, share=share):
        return False
    _tell(session, job, at)
    return True


def end(session: Session, job: JobRecord, state: str, at: datetime, *, result: str = "", problem: str = "") -> bool:
    """Say how it ended; False, and nothing is changed, when it is no more as `job` says: another worker took it."""
    ended: dict[str, Any] = {"state": state, "result": result, "problem": problem, "finished_at": at}
    if state == DONE:
        ended["share"] = 1.0
    if not _changed(session, job, **ended, lease="", lease_until=None, slot=None):
        return False
    _tell(session, job, at)
    return True


def _untended(now: datetime) -> ColumnElement[bool]:
    dead = and_(col(JobRecord.state) == RUNNING, col(JobRecord.lease_until) < now)
    return or_(col(JobRecord.state) == QUEUED, dead)


def _changed(session: Session, job: JobRecord, **values: Any) -> bool:
    """Change a row if it is in the state, and under the lease, that `job` says; then `job` is changed likewise."""
    unchanged = (
        col(JobRecord.job_id) == job.job_id,
        col(JobRecord.state) == job.state,
        col(JobRecord.lease) == job.lease,
        col(JobRecord.attempts) == job.attempts,
    )
    # Never through the session's own objects: these speak of what was read, the row of what is.
    statement = update(JobRecord).where(*unchanged).values(**values).execution_options(synchronize_session=False)
    if session.connection().execute(statement).rowcount != 1:
        return False
    if job in session:
        session.refresh(job)
    else:
        for name, value in values.items():
            setattr(job, name, value)
    return True


def _tell(session: Session, job: JobRecord, at: datetime) -> None:
    session.flush()
    last = session.exec(select(func.max(JobEvent.number)).where(JobEvent.job_id == job.job_id)).one()
    session.add(
        JobEvent(job_id=job.job_id, number=(last or 0) + 1, at=at, state=job.state, stage=job.stage, share=job.share)
    )
    session.flush()
