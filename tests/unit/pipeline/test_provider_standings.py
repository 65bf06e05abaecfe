from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from sqlmodel import Session

from data.weather_trust import TrustEvent, TrustState
from pipeline.provider_standings import (
    SAFETY_MARGIN,
    all_events,
    excluded,
    record_decision,
    record_events,
    standings_at,
)

MARCH = datetime(2014, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def drift(provider: str, days: int, to_state: TrustState, onset_days: int = 0) -> TrustEvent:
    return TrustEvent(
        provider=provider,
        at=pd.Timestamp(MARCH + days * DAY),
        from_state="trusted",
        to_state=to_state,
        level=3,
        reason="measured temperatures drift below the other providers",
        onset=pd.Timestamp(MARCH + onset_days * DAY),
        statistic=12.3,
    )


def decide(session: Session, provider: str, days: int, to_state: TrustState) -> None:
    at = MARCH + days * DAY
    record_decision(session, provider=provider, to_state=to_state, at=at, onset=at, by="olga", reason="looked into it")


def states_at(session: Session, days: float) -> dict[str, str]:
    return {name: event.to_state for name, event in standings_at(session, MARCH + days * DAY).items()}


def test_a_standing_is_the_last_word_as_of_a_moment(session: Session) -> None:
    record_events(
        session, [drift("aurora", 10, "suspect"), drift("aurora", 12, "quarantined"), drift("boreas", 11, "suspect")]
    )
    decide(session, "aurora", 20, "revoked")
    assert states_at(session, 9.99) == {}
    assert states_at(session, 10) == {"aurora": "suspect"}
    assert states_at(session, 12) == {"aurora": "quarantined", "boreas": "suspect"}
    assert states_at(session, 99) == {"aurora": "revoked", "boreas": "suspect"}


def test_of_two_words_at_one_moment_the_later_entered_counts(session: Session) -> None:
    decide(session, "aurora", 5, "quarantined")
    decide(session, "aurora", 5, "trusted")
    assert states_at(session, 5) == {"aurora": "trusted"}


def test_what_the_drift_watch_says_again_is_entered_once(session: Session) -> None:
    first = [drift("aurora", 10, "suspect"), drift("aurora", 12, "quarantined")]
    assert len(record_events(session, first)) == 2
    assert record_events(session, first) == []
    assert [event.to_state for event in record_events(session, [*first, drift("aurora", 15, "trusted")])] == ["trusted"]
    assert [event.to_state for event in all_events(session)] == ["suspect", "quarantined", "trusted"]


def test_an_event_keeps_what_it_was_decided_on(session: Session) -> None:
    (event,) = record_events(session, [drift("aurora", 12, "quarantined", onset_days=7)])
    assert (event.provider, event.by, event.statistic) == ("aurora", "drift watch", 12.3)
    assert (event.at, event.onset) == (MARCH + 12 * DAY, MARCH + 7 * DAY)
    assert "drift below" in event.reason


@pytest.mark.parametrize("to_state", ["quarantined", "revoked"])
def test_a_refused_provider_is_refused_from_a_fortnight_before_its_onset(session: Session, to_state: TrustState) -> None:
    record_events(session, [drift("aurora", 30, to_state, onset_days=20)])
    assert pd.Timedelta(days=14) == SAFETY_MARGIN
    assert excluded(standings_at(session, MARCH + 30 * DAY)) == {"aurora": pd.Timestamp(MARCH + 6 * DAY)}
    assert excluded(standings_at(session, MARCH + 29 * DAY)) == {}


@pytest.mark.parametrize("to_state", ["trusted", "suspect"])
def test_a_provider_that_is_merely_suspected_or_trusted_again_is_heard(session: Session, to_state: TrustState) -> None:
    record_events(session, [drift("aurora", 10, "quarantined"), drift("aurora", 30, to_state)])
    assert excluded(standings_at(session, MARCH + 30 * DAY)) == {}
