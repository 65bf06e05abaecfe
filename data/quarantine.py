"""Where refused input goes: kept as evidence, with a reason, never deleted, never trained on (AML.T0059)."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, Session, SQLModel, col, select

from security.keyring import UtcDateTime


class QuarantinedItem(SQLModel, table=True):
    """One refused delivery or one group of refused readings. source: provider or meter; digest: of the bytes refused."""

    __tablename__ = "quarantined_item"

    id: int | None = Field(default=None, primary_key=True)
    source: str = Field(index=True)
    reason: str
    detail: str
    digest: str
    received_at: datetime = Field(sa_type=UtcDateTime)


def quarantine(
    session: Session, *, source: str, reason: str, detail: str, digest: str, received_at: datetime
) -> QuarantinedItem:
    """Record what was refused and why."""
    item = QuarantinedItem(source=source, reason=reason, detail=detail, digest=digest, received_at=received_at)
    session.add(item)
    session.flush()
    return item


def quarantined_from(session: Session, source: str) -> list[QuarantinedItem]:
    """What was refused from one source, oldest first."""
    refused = select(QuarantinedItem).where(QuarantinedItem.source == source)
    return list(session.exec(refused.order_by(col(QuarantinedItem.received_at), col(QuarantinedItem.id))))
