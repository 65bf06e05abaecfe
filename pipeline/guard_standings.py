"""Whom the query guard slowed, coarsened, challenged or blocked: a row each, for people and for a service that starts.

The guard itself decides from the shared state, within microseconds; this table is written when a standing changes. It is
what `GET /v1/guard` lists, and what a service reads once when it starts: blocks outlive every process and wiped store.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Text
from sqlmodel import Field, Session, SQLModel, col, select

from pipeline.incidents import raise_incident
from security.keyring import UtcDateTime
from security.query_guard import BLOCKED_SECONDS, Level, Standing

ALERT_FROM = Level.CHALLENGE
INCIDENT = "query-guard"


class GuardStanding(SQLModel, table=True):
    """level: the name of the level; since: when it was reached; released_at, released_by: by whom it was lifted since."""

    __tablename__ = "guard_standing"

    subject: str = Field(primary_key=True)
    role: str
    level: str = Field(index=True)
    why: str = Field(sa_type=Text)
    since: datetime = Field(sa_type=UtcDateTime, index=True)
    released_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    released_by: str = ""
    reason: str = Field(default="", sa_type=Text)


def enter_standing(session: Session, subject: str, role: str, standing: Standing, at: datetime) -> None:
    """Enter a caller's new standing; from `ALERT_FROM` on with an incident. at: the station's present moment."""
    row = session.get(GuardStanding, subject) or GuardStanding(subject=subject, role=role, level="", why="", since=at)
    blocked = row.level == Level.BLOCKED.name.lower() and row.released_at is None
    if blocked and standing.level < Level.BLOCKED and standing.since < row.since.timestamp() + BLOCKED_SECONDS:
        # Two questions at once: the one that was judged before the block is written after it.
        return
    row.role, row.level, row.why = role, standing.level.name.lower(), standing.why
    row.since = datetime.fromtimestamp(standing.since, UTC)
    row.released_at, row.released_by, row.reason = None, "", ""
    session.add(row)
    if standing.level >= ALERT_FROM:
        summary = f"{subject} asks for more of the model than its work can need: {row.level}, {standing.why}"
        raise_incident(session, INCIDENT, subject, summary, {"level": row.level, "why": standing.why, "role": role}, at)


def enter_release(session: Session, subject: str, *, by: str, reason: str, at: datetime) -> GuardStanding | None:
    """Enter that a caller was released; None for one that never stood here."""
    row = session.get(GuardStanding, subject)
    if row is not None:
        row.released_at, row.released_by, row.reason = at, by, reason
        session.add(row)
        session.flush()
    return row


def guard_standings(session: Session, limit: int) -> list[GuardStanding]:
    """The callers that ever rose above open, the latest first."""
    return list(session.exec(select(GuardStanding).order_by(col(GuardStanding.since).desc()).limit(limit)))


def blocks_standing(session: Session) -> dict[str, Standing]:
    """The blocks that nobody lifted, by subject; some may be over by now."""
    blocked = GuardStanding.level == Level.BLOCKED.name.lower()
    rows = session.exec(select(GuardStanding).where(blocked, col(GuardStanding.released_at).is_(None)))
    return {row.subject: Standing(Level.BLOCKED, row.since.timestamp(), row.why) for row in rows}
