"""The operational view of the models: candidate → active → retired or revoked, with what is known of each.

What may run is decided by the releases (`pipeline.releases`); this table follows them. A retired model comes back to active
only as a newly approved release, a revoked one never.
"""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, Session, SQLModel, col, select

from data.provenance import record_model
from pipeline.errors import NoActiveModel, PipelineError
from security.keyring import UtcDateTime

CANDIDATE, ACTIVE, RETIRED, REVOKED = "candidate", "active", "retired", "revoked"


class ModelRecord(SQLModel, table=True):
    """The operational view of a published bundle. role: `main`, or `fallback` (needs no weather)."""

    __tablename__ = "model_record"

    model_id: str = Field(primary_key=True)
    role: str = Field(index=True)
    forecaster: str
    state: str = Field(index=True)
    snapshot_id: str = Field(index=True)
    weather_policy: str
    as_of: datetime = Field(sa_type=UtcDateTime)
    published_at: datetime = Field(sa_type=UtcDateTime)
    published_by: str


def enter(session: Session, record: ModelRecord) -> None:
    """Enter a candidate; raises PipelineError when the very same bundle was entered and withdrawn before."""
    known = session.get(ModelRecord, record.model_id)
    if known is None:
        session.add(record)
        record_model(session, record.model_id, record.snapshot_id)
    elif known.state in (RETIRED, REVOKED):
        raise PipelineError(f"model {record.model_id} was {known.state} before", where="registry", mend="train a new one")
    session.flush()


def require_known(session: Session, model_id: str) -> ModelRecord:
    """The record of a model. Raises PipelineError for one that was never entered."""
    record = session.get(ModelRecord, model_id)
    if record is None:
        raise PipelineError(f"model {model_id} is unknown", where="registry", mend="see `gridward registry list`")
    return record


def require_releasable(session: Session, model_id: str) -> ModelRecord:
    """The record of a model that may be put in service. Raises PipelineError for an unknown or a revoked one."""
    record = require_known(session, model_id)
    if record.state == REVOKED:
        raise PipelineError(f"model {model_id} is revoked, not a candidate", where="registry", mend="publish a new model")
    return record


def activate(session: Session, model_id: str) -> ModelRecord:
    """Make a released model the active one of its role; the one before is retired. Raises as `require_releasable`."""
    record = require_releasable(session, model_id)
    for other in session.exec(select(ModelRecord).where(ModelRecord.role == record.role, ModelRecord.state == ACTIVE)):
        other.state = RETIRED
        session.add(other)
    record.state = ACTIVE
    session.add(record)
    session.flush()
    return record


def revoke(session: Session, model_ids: list[str]) -> list[str]:
    """Withdraw models for good: they learned from something that should not be believed. Answers those newly withdrawn.

    An active model is not withdrawn but replaced: something has to answer until then.
    """
    withdrawn = []
    for model_id in model_ids:
        record = session.get(ModelRecord, model_id)
        if record is not None and record.state not in (ACTIVE, REVOKED):
            record.state = REVOKED
            session.add(record)
            withdrawn.append(model_id)
    session.flush()
    return withdrawn


def withdraw(session: Session, model_id: str, state: str) -> ModelRecord:
    """Retire or revoke a model that is not in service. Raises PipelineError for one that is, or as `require_releasable`."""
    record = require_releasable(session, model_id)
    if record.state == ACTIVE:
        raise PipelineError(f"model {model_id} is in service", where="registry", mend="promote another one in its place")
    record.state = state
    session.add(record)
    session.flush()
    return record


def active(session: Session, role: str = "main") -> ModelRecord:
    """The active model of a role. Raises NoActiveModel."""
    record = session.exec(select(ModelRecord).where(ModelRecord.role == role, ModelRecord.state == ACTIVE)).first()
    if record is None:
        raise NoActiveModel
    return record


def active_id(session: Session, role: str = "main") -> str:
    """The id of the active model of a role, empty for none."""
    chosen = select(ModelRecord.model_id).where(ModelRecord.role == role, ModelRecord.state == ACTIVE)
    return session.exec(chosen).first() or ""


def listing(session: Session) -> list[ModelRecord]:
    """Every model, newest first."""
    return list(session.exec(select(ModelRecord).order_by(col(ModelRecord.published_at).desc(), col(ModelRecord.model_id))))
