"""The way back for a provider that was cut off: an operator puts it on probation, and later trusts it again.

On probation it is held against the others without being heard. What it said before it was trusted again is never used.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pandas as pd

from data.schema import ISSUED_AT, PROVIDER, VALID_AT, providers_of
from data.trust.standing import TrustEvent
from data.trust.verdict import ACCUSED
from pipeline.database import transaction
from pipeline.errors import PipelineError, StandingKept
from pipeline.ingest import Readings
from pipeline.monitor import judge, note_standing
from pipeline.provider_standings import StandingEvent, decisions, record_decision, standings_at
from pipeline.station import Station
from security.keyring import key_state

PROBATION_DAYS = 14
TOO_MUCH_EVIDENCE = ACCUSED / 2


def readmit(station: Station, readings: Readings, provider: str, *, by: str, reason: str, at: datetime) -> StandingEvent:
    """Put a quarantined or revoked provider on probation.

    Raises PipelineError for a name nobody delivers under, StandingKept for one that was not cut off, or whose keys were all
    revoked: the compromised key is not the way back (AML.T0010.002).
    """
    require_provider(readings, provider)
    with transaction(station.engine) as session:
        standing = standings_at(session, at).get(provider)
        if standing is None or standing.to_state not in ("quarantined", "revoked"):
            state = "trusted" if standing is None else standing.to_state
            raise StandingKept(provider, state, "it was not cut off", "readmit those that are quarantined or revoked")
        if key_state(session, "provider", provider) == "revoked":
            raise StandingKept(provider, standing.to_state, "it has no active key", "register a new key of it first")
        onset = standing.onset
        event = record_decision(session, provider=provider, to_state="probation", at=at, onset=onset, by=by, reason=reason)
    note_standing(station, event)
    return event


def trust_again(station: Station, readings: Readings, provider: str, *, by: str, reason: str, at: datetime) -> StandingEvent:
    """End a probation of at least 14 days in which the provider was heard every day and little speaks against it.

    Raises PipelineError for a name nobody delivers under, StandingKept when it is not so.
    """
    require_provider(readings, provider)
    with transaction(station.engine) as session:
        standing, decided = standings_at(session, at).get(provider), decisions(session)
    if standing is None or standing.to_state != "probation":
        state = "trusted" if standing is None else standing.to_state
        raise StandingKept(provider, state, "it is not on probation", "readmit it first")
    days = _days_heard(readings, provider, pd.Timestamp(standing.at), pd.Timestamp(at))
    if at - standing.at < timedelta(days=PROBATION_DAYS) or days < PROBATION_DAYS:
        problem = f"heard on {days} days since {standing.at:%Y-%m-%d}, {PROBATION_DAYS} are needed"
        raise StandingKept(provider, "probation", problem, "wait, and see that it delivers")
    score = _evidence_since(readings, provider, standing, pd.Timestamp(at), decided)
    if score >= TOO_MUCH_EVIDENCE:
        problem = f"the evidence against it is {score:.1f}; {ACCUSED:g} accuses, it must be below {TOO_MUCH_EVIDENCE:g}"
        raise StandingKept(provider, "probation", problem, "wait until it agrees with the others, or revoke it")
    with transaction(station.engine) as session:
        why = f"{reason} (heard on {days} days of probation, evidence {score:.1f})"
        event = record_decision(session, provider=provider, to_state="trusted", at=at, onset=at, by=by, reason=why)
    note_standing(station, event)
    return event


def require_provider(readings: Readings, provider: str) -> None:
    """Raise PipelineError, naming the known ones, unless somebody delivers under this name."""
    if provider not in providers_of(readings.weather):
        names = ", ".join(providers_of(readings.weather))
        raise PipelineError(f"no provider {provider!r}", mend=f"the providers are {names}")


def _evidence_since(
    readings: Readings, provider: str, readmitted: StandingEvent, at: pd.Timestamp, decided: Sequence[TrustEvent]
) -> float:
    """What would speak against the provider now, had it been heard again from its readmission on; 10 accuses.

    The lie it was cut off for is not held against it, a quarantine that it would have earned since then is.
    """
    moment = pd.Timestamp(readmitted.at)
    trusted = TrustEvent(provider, moment, "probation", "trusted", 0, "as if", moment, 0.0)
    found = judge(readings, at, [*decided, trusted])
    earned = [event for event in found.events if event.provider == provider and event.at > moment]
    again = any(event.to_state == "quarantined" for event in earned)
    return max(found.scores.get(provider, 0.0), ACCUSED if again else 0.0)


def _days_heard(readings: Readings, provider: str, since: pd.Timestamp, at: pd.Timestamp) -> int:
    """Local days since then of which the provider had said something by `at`."""
    weather = readings.weather
    valid, issued = weather[VALID_AT], weather[ISSUED_AT]
    said = valid[(weather[PROVIDER] == provider) & (issued >= since) & (issued <= at) & (valid >= since) & (valid < at)]
    return int(readings.utility.local(pd.DatetimeIndex(said)).normalize().nunique())
