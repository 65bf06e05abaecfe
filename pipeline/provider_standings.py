"""What is thought of each weather provider, since when and why. Events are added, never changed.

trusted → suspect → quarantined     by the weather watch (`pipeline.monitor`)
any → revoked                       by an operator (`pipeline.recover`)
quarantined, revoked → probation    by an operator (`pipeline.readmit`), and from there to trusted again
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
from sqlmodel import Field, Session, SQLModel, col, select

from data.trust.standing import HEARD, TrustEvent, TrustState
from data.weather_fusion import Exclusion
from pipeline.incidents import raise_incident
from security.keyring import UtcDateTime

SAFETY_MARGIN = pd.Timedelta(days=14)
WATCH = "weather watch"
CUT_OFF = ("quarantined", "revoked")


class StandingEvent(SQLModel, table=True):
    """One change of a provider's standing. at: decided (UTC); onset: since when its values are not to be used (UTC).

    level: of the check that decided, 0 for a person's decision; statistic: its evidence, as in `data.trust.standing`.
    """

    __tablename__ = "standing_event"

    id: int | None = Field(default=None, primary_key=True)
    provider: str = Field(index=True)
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    from_state: str
    to_state: str
    level: int
    onset: datetime = Field(sa_type=UtcDateTime)
    by: str
    reason: str
    statistic: float


def record_events(session: Session, events: Sequence[TrustEvent]) -> list[StandingEvent]:
    """Enter what the weather watch decided; answers the new ones.

    What is already there is not entered twice. Who is not heard any more stays so, whatever the watch says of it when it
    judges anew with values that came in late: the way back is an operator's.
    """
    known = all_events(session)
    entered = {(event.provider, event.at, event.to_state) for event in known}
    fresh: list[StandingEvent] = []
    for event in sorted(events, key=lambda event: event.at):
        at = event.at.to_pydatetime()
        words = sorted((other for other in [*known, *fresh] if other.provider == event.provider), key=lambda other: other.at)
        earlier = [word.to_state for word in words if word.at <= at]
        if (event.provider, at, event.to_state) in entered or (earlier and earlier[-1] not in HEARD):
            continue
        fresh.append(
            StandingEvent(
                provider=event.provider,
                at=at,
                from_state=event.from_state,
                to_state=event.to_state,
                level=event.level,
                onset=event.onset.to_pydatetime(),
                by=WATCH,
                reason=event.reason,
                statistic=event.statistic,
            )
        )
    session.add_all(fresh)
    session.flush()
    for entry in fresh:
        _raise_if_cut_off(session, entry)
    return fresh


def record_decision(
    session: Session, *, provider: str, to_state: TrustState, at: datetime, onset: datetime, by: str, reason: str
) -> StandingEvent:
    """Enter what a person decided."""
    standing = standings_at(session, at).get(provider)
    event = StandingEvent(
        provider=provider,
        at=at,
        from_state=standing.to_state if standing is not None else "trusted",
        to_state=to_state,
        level=0,
        onset=onset,
        by=by,
        reason=reason,
        statistic=0.0,
    )
    session.add(event)
    session.flush()
    _raise_if_cut_off(session, event)
    return event


def standings_at(session: Session, moment: datetime) -> dict[str, StandingEvent]:
    """The last word on each provider that was ever judged, as of `moment`."""
    return {event.provider: event for event in _events_until(session, moment)}


def all_events(session: Session) -> list[StandingEvent]:
    """Every change of standing, oldest first."""
    return list(session.exec(select(StandingEvent).order_by(col(StandingEvent.at), col(StandingEvent.id))))


def decisions(session: Session) -> list[TrustEvent]:
    """What persons decided, oldest first: the watch goes on from there."""
    return [
        TrustEvent(
            provider=event.provider,
            at=pd.Timestamp(event.at),
            from_state=event.from_state,  # type: ignore[arg-type]  # written from a TrustState
            to_state=event.to_state,  # type: ignore[arg-type]
            level=event.level,
            reason=event.reason,
            onset=pd.Timestamp(event.onset),
            statistic=event.statistic,
        )
        for event in all_events(session)
        if event.by != WATCH
    ]


def exclusions_at(session: Session, moment: datetime) -> dict[str, Exclusion]:
    """Providers whose values are refused as of `moment`, and for which times: one period a provider.

    It begins the safety margin before the earliest onset, since a lie is noticed late and its onset estimated late, and ends
    with trust regained. Who lied twice is refused from the first onset on (AML.T0020: an attacker does not get a second
    baseline).
    """
    excluded: dict[str, Exclusion] = {}
    for event in _events_until(session, moment):
        known = excluded.get(event.provider)
        if event.to_state not in HEARD:
            since = pd.Timestamp(event.onset) - SAFETY_MARGIN
            excluded[event.provider] = Exclusion(since if known is None else min(since, known.since))
        elif known is not None and known.until is None:
            excluded[event.provider] = Exclusion(known.since, pd.Timestamp(event.at))
    return excluded


def _raise_if_cut_off(session: Session, event: StandingEvent) -> None:
    """A provider that is not heard any more is an incident, whoever decided it."""
    if event.to_state not in CUT_OFF:
        return
    summary = f"{event.provider} is {event.to_state} by {event.by}: {event.reason}"
    facts = {"onset": event.onset.isoformat(), "level": event.level, "statistic": event.statistic}
    raise_incident(session, f"provider-{event.to_state}", event.provider, summary, facts, event.at)


def _events_until(session: Session, moment: datetime) -> list[StandingEvent]:
    until = select(StandingEvent).where(StandingEvent.at <= moment)
    return list(session.exec(until.order_by(col(StandingEvent.at), col(StandingEvent.id))))
