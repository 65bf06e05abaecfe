"""What a recovery has done so far: one row each, changed in the very transaction that does the step.

    planned → revoked → trained → judged → promoted → done

`outcome` is empty until it is over: `done`; `refused`, when a gate failed; `failed`, when a step could not be done.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Text
from sqlmodel import Field, Session, SQLModel, col, select

from pipeline.errors import PipelineError, RecoveryUnfinished
from security.keyring import UtcDateTime

PLANNED, REVOKED, TRAINED, JUDGED, PROMOTED, FINISHED = "planned", "revoked", "trained", "judged", "promoted", "done"
UNFINISHED, DONE, REFUSED, FAILED = "", "done", "refused", "failed"


class RecoveryRecord(SQLModel, table=True):
    """One recovery. state: the last step done; asked: what makes a request the same one; golden, gates, withdrawn: JSON;
    judged_against: the model in service then; seconds: JSON, step → seconds of work; problem: why it failed.
    """

    __tablename__ = "recovery_record"

    recovery_id: str = Field(primary_key=True)
    provider: str = Field(index=True)
    asked: str
    state: str
    outcome: str = Field(index=True)
    plan: str = Field(sa_type=Text)
    model_id: str = ""
    golden: str = Field(default="{}", sa_type=Text)
    gates: str = Field(default="[]", sa_type=Text)
    judged_against: str = ""
    withdrawn: str = Field(default="[]", sa_type=Text)
    seconds: str = Field(default="{}", sa_type=Text)
    problem: str = ""
    started_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


def begin(session: Session, record: RecoveryRecord) -> RecoveryRecord:
    """Enter a plan before anything is changed. Raises RecoveryUnfinished while another recovery is under way."""
    require_none_else(session, record.asked)
    session.add(record)
    session.flush()
    return record


def unfinished(session: Session) -> RecoveryRecord | None:
    """The recovery that was begun and not brought to an end, if there is one."""
    begun = select(RecoveryRecord).where(RecoveryRecord.outcome == UNFINISHED)
    return session.exec(begun.order_by(col(RecoveryRecord.started_at))).first()


def require_none_else(session: Session, asked: str) -> RecoveryRecord | None:
    """The unfinished recovery, None without any. Raises RecoveryUnfinished when it was asked for in another way."""
    found = unfinished(session)
    if found is not None and found.asked != asked:
        raise RecoveryUnfinished(found.recovery_id, found.provider, json.loads(found.plan)["since"])
    return found


def advance(session: Session, recovery_id: str, step: tuple[str, str], seconds: float, **found: Any) -> RecoveryRecord:
    """Bring a recovery from one state to the next, with what the step found. Raises PipelineError from any other state."""
    before, after = step
    record = session.get_one(RecoveryRecord, recovery_id)
    if record.state != before or record.outcome != UNFINISHED:
        raise PipelineError(f"it is {record.state}, not {before}", where=f"recovery {recovery_id}", mend="run it again")
    record.state = after
    spent: dict[str, float] = json.loads(record.seconds)
    record.seconds = json.dumps(spent | {after: round(spent.get(after, 0.0) + seconds, 3)})
    for name, value in found.items():
        setattr(record, name, value)
    session.add(record)
    session.flush()
    return record


def close(session: Session, recovery_id: str, outcome: str, at: datetime, problem: str = "") -> RecoveryRecord:
    """Say how a recovery ended."""
    record = session.get_one(RecoveryRecord, recovery_id)
    record.outcome, record.problem, record.finished_at = outcome, problem, at
    session.add(record)
    session.flush()
    return record


def reopen(session: Session, recovery_id: str, state: str) -> RecoveryRecord:
    """Take up a recovery again that failed or was refused. Raises RecoveryUnfinished while another is under way."""
    record = session.get_one(RecoveryRecord, recovery_id)
    require_none_else(session, record.asked)
    record.state, record.outcome, record.problem, record.finished_at = state, UNFINISHED, "", None
    session.add(record)
    session.flush()
    return record


def failed_gates(session: Session, model_id: str) -> list[str]:
    """The gates that a recovered model failed when it was last judged, `not judged yet` before that; none for one that no
    recovery made.
    """
    records = list(session.exec(select(RecoveryRecord).where(RecoveryRecord.model_id == model_id)))
    failed = [gate["name"] for record in records for gate in json.loads(record.gates) if gate["verdict"] == "failed"]
    return failed + ["not judged yet" for record in records if record.state in (PLANNED, REVOKED, TRAINED)]
