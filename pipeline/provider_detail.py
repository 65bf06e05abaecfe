"""All that speaks for and against one weather provider: its standing, what the watch found, its keys, what it touched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from data.provenance import BlastRadius, blast_radius
from data.schema import PROVIDER
from pipeline.database import reading
from pipeline.ingest import flagged_values
from pipeline.provider_standings import WATCH, StandingEvent
from pipeline.station import Station
from pipeline.weather_standing import ProviderView
from security.keyring import KeyRecord


@dataclass(frozen=True)
class ProviderDetail:
    """A provider. evidence: the last thing that the weather watch found, None for nothing; history: every change of
    standing, oldest first; flagged: values that may not be used; touched: what its values went into from a moment on, None
    for one that is believed when no moment was asked for.
    """

    view: ProviderView
    evidence: StandingEvent | None
    history: tuple[StandingEvent, ...]
    keys: tuple[KeyRecord, ...]
    flagged: int
    touched: BlastRadius | None


def provider_detail(station: Station, view: ProviderView, since: datetime | None = None) -> ProviderDetail:
    """What the station knows of a provider; the watch's evidence is as it was entered, nothing is judged anew.

    since: count what its values touched from this moment (UTC) on instead of from the onset.
    """
    flagged, onset = flagged_values(station), view.onset if since is None else since
    with reading(station.engine) as session:
        history, keys = _history(session, view.name), _keys(session, view.name)
        touched = None if onset is None else blast_radius(session, view.name, onset)
    found = [event for event in history if event.by == WATCH]
    return ProviderDetail(
        view=view,
        evidence=found[-1] if found else None,
        history=tuple(history),
        keys=tuple(keys),
        flagged=int((flagged[PROVIDER] == view.name).sum()),
        touched=touched,
    )


def _history(session: Session, provider: str) -> list[StandingEvent]:
    events = select(StandingEvent).where(StandingEvent.provider == provider)
    return list(session.exec(events.order_by(col(StandingEvent.at), col(StandingEvent.id))))


def _keys(session: Session, provider: str) -> list[KeyRecord]:
    keys = select(KeyRecord).where(KeyRecord.purpose == "provider", KeyRecord.owner == provider)
    return list(session.exec(keys.order_by(col(KeyRecord.created_at), col(KeyRecord.key_id))))
