"""What went wrong and a person should look at: one row an incident, open until somebody closes it and says why.

What happens again while it is open is counted, not entered again: an attacker who tries a thousand times fills no list
(AML.T0029). Raised in the transaction of what it tells of, so that one does not stand without the other.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Text, update
from sqlalchemy.exc import IntegrityError as ConstraintBroken
from sqlmodel import Field, Session, SQLModel, col, select

from pipeline.errors import IncidentClosed
from pipeline.keyset import Position, newest_first
from security.keyring import UtcDateTime

OPEN, CLOSED = "open", "closed"
LONGEST_SUMMARY = 500


class Incident(SQLModel, table=True):
    """kind, subject: what happened to what; facts: JSON object, of the last time; times: how often; moments in UTC, the
    station's; open_as: kind and subject while it is open, so that there is one; reason: why it was closed.
    """

    __tablename__ = "incident"

    incident_id: str = Field(primary_key=True)
    kind: str = Field(index=True)
    subject: str
    state: str = Field(default=OPEN, index=True)
    summary: str = Field(sa_type=Text)
    facts: str = Field(default="{}", sa_type=Text)
    times: int = 1
    first_at: datetime = Field(sa_type=UtcDateTime, index=True)
    last_at: datetime = Field(sa_type=UtcDateTime)
    open_as: str | None = Field(default=None, unique=True)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_by: str = ""
    reason: str = Field(default="", sa_type=Text)


def raise_incident(
    session: Session, kind: str, subject: str, summary: str, facts: Mapping[str, object], at: datetime
) -> Incident:
    """Enter an incident, or count it up where the same one is open. facts: anything JSON, no secret."""
    open_as, told = f"{kind}|{subject}", json.dumps(dict(facts), sort_keys=True, default=str)
    summary = summary[:LONGEST_SUMMARY]
    again = _counted_up(session, open_as, summary, told, at)
    if again is not None:
        return again
    incident = Incident(
        incident_id=f"i-{secrets.token_hex(8)}",
        kind=kind,
        subject=subject,
        summary=summary,
        facts=told,
        first_at=at,
        last_at=at,
        open_as=open_as,
    )
    try:
        with session.begin_nested():
            session.add(incident)
    except ConstraintBroken:
        # Another worker entered it between the two: it stands there now.
        again = _counted_up(session, open_as, summary, told, at)
        if again is None:
            raise
        return again
    return incident


def close_incident(session: Session, incident_id: str, *, by: str, reason: str, at: datetime) -> Incident:
    """Close an incident; what happens after that is another one. Raises IncidentClosed."""
    closed = {"state": CLOSED, "open_as": None, "closed_by": by, "reason": reason, "closed_at": at}
    still_open = (col(Incident.incident_id) == incident_id, col(Incident.state) == OPEN)
    changed = session.connection().execute(update(Incident).where(*still_open).values(**closed)).rowcount
    incident = session.get_one(Incident, incident_id, populate_existing=True)
    if changed != 1:
        raise IncidentClosed(incident_id, incident.closed_by)
    return incident


def page(session: Session, after: Position | None, limit: int, state: str | None = None) -> list[Incident]:
    """Incidents, by when they first happened, newest first; state: only those."""
    rows = select(Incident)
    if state is not None:
        rows = rows.where(Incident.state == state)
    return list(session.exec(newest_first(rows, Incident.first_at, Incident.incident_id, after, limit)))


def position_of(incident: Incident) -> Position:
    """Where a page that ends with this incident ended."""
    return Position(incident.first_at, incident.incident_id)


def _counted_up(session: Session, open_as: str, summary: str, facts: str, at: datetime) -> Incident | None:
    """The open one, once more; counted in the database, so that two workers that find it at once both count."""
    session.flush()
    again = {"times": col(Incident.times) + 1, "summary": summary, "facts": facts, "last_at": at}
    changed = session.connection().execute(update(Incident).where(col(Incident.open_as) == open_as).values(**again))
    if changed.rowcount != 1:
        return None
    found = select(Incident).where(Incident.open_as == open_as).execution_options(populate_existing=True)
    return session.exec(found).one()
