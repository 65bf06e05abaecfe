"""What is thought of each weather provider, since when and why. Events are added, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pandas as pd
from sqlmodel import Field, Session, SQLModel, col, select

from data.weather_trust import TrustEvent, TrustState
from security.keyring import UtcDateTime

SAFETY_MARGIN = pd.Timedelta(days=14)


class StandingEvent(SQLModel, table=True):
    """One change of a provider's standing. at: decided (UTC); onset: since when its values are not to be used (UTC)."""

    __tablename__ = "standing_event"

    id: int | None = Field(default=None, primary_key=True)
    provider: str = Field(index=True)
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    to_state: str
    onset: datetime = Field(sa_type=UtcDateTime)
    by: str
    reason: str
    statistic: float


def record_events(session: Session, events: list[TrustEvent]) -> list[StandingEvent]:
    """Enter what the drift watch decided; what is already there is not entered twice. Answers the new ones."""
    known = {(event.provider, event.at, event.to_state) for event in session.exec(select(StandingEvent))}
    fresh = [
        StandingEvent(
            provider=event.provider,
            at=event.at.to_pydatetime(),
            to_state=event.to_state,
            onset=event.onset.to_pydatetime(),
            by="drift watch",
            reason=event.reason,
            statistic=event.statistic,
        )
        for event in events
        if (event.provider, event.at.to_pydatetime(), event.to_state) not in known
    ]
    session.add_all(fresh)
    session.flush()
    return fresh


def record_decision(
    session: Session, *, provider: str, to_state: TrustState, at: datetime, onset: datetime, by: str, reason: str
) -> StandingEvent:
    """Enter what a person decided."""
    event = StandingEvent(provider=provider, at=at, to_state=to_state, onset=onset, by=by, reason=reason, statistic=0.0)
    session.add(event)
    session.flush()
    return event


def standings_at(session: Session, moment: datetime) -> dict[str, StandingEvent]:
    """The last word on each provider that was ever judged, as of `moment`."""
    events = session.exec(
        select(StandingEvent).where(StandingEvent.at <= moment).order_by(col(StandingEvent.at), col(StandingEvent.id))
    )
    return {event.provider: event for event in events}


def all_events(session: Session) -> list[StandingEvent]:
    """Every change of standing, oldest first."""
    return list(session.exec(select(StandingEvent).order_by(col(StandingEvent.at), col(StandingEvent.id))))


def excluded(standings: Mapping[str, StandingEvent]) -> dict[str, pd.Timestamp]:
    """Providers whose values are refused, with the moment from which they are refused backwards.

    A drift is noticed late and its onset estimated late: the safety margin goes before it.
    """
    refused = ("quarantined", "revoked")
    return {
        name: pd.Timestamp(event.onset) - SAFETY_MARGIN for name, event in standings.items() if event.to_state in refused
    }
