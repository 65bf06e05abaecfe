from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from sqlmodel import Session

from data.trust.standing import TrustEvent, TrustState
from data.weather_fusion import Exclusion
from pipeline.provider_standings import (
    SAFETY_MARGIN,
    all_events,
    decisions,
    exclusions_at,
    record_decision,
    record_events,
    standings_at,
)

MARCH = datetime(2014, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def found(provider: str, days: int, to_state: TrustState, onset_days: int = 0) -> TrustEvent:
    return TrustEvent(
        provider=provider,
        at=pd.Timestamp(MARCH + days * DAY),
        from_state="trusted",
        to_state=to_state,
        level=3,
        reason="measured: reads too cold against the others",
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
        session, [found("aurora", 10, "suspect"), found("aurora", 12, "quarantined"), found("boreas", 11, "suspect")]
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


def test_what_the_watch_says_again_is_entered_once(session: Session) -> None:
    first = [found("aurora", 10, "suspect"), found("aurora", 12, "trusted")]
    assert len(record_events(session, first)) == 2
    assert record_events(session, first) == []
    assert [event.to_state for event in record_events(session, [*first, found("aurora", 15, "suspect")])] == ["suspect"]
    assert [event.to_state for event in all_events(session)] == ["suspect", "trusted", "suspect"]


def test_an_event_keeps_what_it_was_decided_on(session: Session) -> None:
    (event,) = record_events(session, [found("aurora", 12, "quarantined", onset_days=7)])
    assert (event.provider, event.by, event.statistic) == ("aurora", "weather watch", 12.3)
    assert (event.at, event.onset) == (MARCH + 12 * DAY, MARCH + 7 * DAY)
    assert "too cold" in event.reason


@pytest.mark.parametrize("to_state", ["quarantined", "revoked", "probation"])
def test_a_refused_provider_is_refused_from_a_fortnight_before_its_onset(session: Session, to_state: TrustState) -> None:
    record_events(session, [found("aurora", 30, to_state, onset_days=20)])
    assert pd.Timedelta(days=14) == SAFETY_MARGIN
    assert exclusions_at(session, MARCH + 30 * DAY) == {"aurora": Exclusion(pd.Timestamp(MARCH + 6 * DAY))}
    assert exclusions_at(session, MARCH + 29 * DAY) == {}


def test_a_provider_that_is_merely_suspected_is_heard(session: Session) -> None:
    record_events(session, [found("aurora", 10, "suspect"), found("aurora", 12, "trusted")])
    for days in (10, 12):
        assert exclusions_at(session, MARCH + days * DAY) == {}


def test_what_a_provider_said_before_it_was_trusted_again_stays_refused(session: Session) -> None:
    record_events(session, [found("aurora", 30, "quarantined", onset_days=20)])
    decide(session, "aurora", 40, "probation")
    decide(session, "aurora", 60, "trusted")
    since = pd.Timestamp(MARCH + 6 * DAY)
    assert exclusions_at(session, MARCH + 59 * DAY) == {"aurora": Exclusion(since)}
    assert exclusions_at(session, MARCH + 99 * DAY) == {"aurora": Exclusion(since, pd.Timestamp(MARCH + 60 * DAY))}


def test_who_lies_again_is_refused_from_the_first_onset_on(session: Session) -> None:
    record_events(session, [found("aurora", 30, "quarantined", onset_days=20)])
    decide(session, "aurora", 40, "probation")
    decide(session, "aurora", 60, "trusted")
    record_events(session, [found("aurora", 90, "quarantined", onset_days=80)])
    assert exclusions_at(session, MARCH + 90 * DAY) == {"aurora": Exclusion(pd.Timestamp(MARCH + 6 * DAY))}


@pytest.mark.parametrize("to_state", ["trusted", "suspect"])
def test_the_watch_never_leads_a_provider_back_whatever_it_says_with_late_values(
    session: Session, to_state: TrustState
) -> None:
    record_events(session, [found("aurora", 10, "suspect"), found("aurora", 12, "quarantined")])
    # Judged anew with values that came in late: a suspicion before, and no quarantine.
    fresh = record_events(session, [found("aurora", 8, "suspect"), found("aurora", 20, to_state)])
    assert [(event.at, event.to_state) for event in fresh] == [(MARCH + 8 * DAY, "suspect")]
    assert states_at(session, 30) == {"aurora": "quarantined"}


def test_a_decision_remembers_where_it_came_from_and_who_made_it(session: Session) -> None:
    record_events(session, [found("aurora", 12, "quarantined", onset_days=7)])
    decide(session, "aurora", 20, "probation")
    decide(session, "boreas", 21, "revoked")
    (first, second) = decisions(session)
    assert (first.provider, first.from_state, first.to_state, first.level) == ("aurora", "quarantined", "probation", 0)
    assert (second.provider, second.from_state, second.to_state) == ("boreas", "trusted", "revoked")
    assert first.at == pd.Timestamp(MARCH + 20 * DAY)
