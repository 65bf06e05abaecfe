from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine
from sqlmodel import select

from data.trust.standing import TrustEvent, TrustState
from pipeline.database import make_engine, transaction
from pipeline.errors import IncidentClosed
from pipeline.incidents import Incident, close_incident, page, position_of, raise_incident
from pipeline.provider_standings import record_decision, record_events

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[Engine]:
    made = make_engine(database_url, tmp_path / "home")
    yield made
    made.dispose()


def all_of(engine: Engine) -> list[Incident]:
    with transaction(engine) as session:
        return list(session.exec(select(Incident).order_by(Incident.kind, Incident.subject)))


def test_the_same_thing_again_is_counted_while_it_is_open(engine: Engine) -> None:
    for number in range(3):
        with transaction(engine) as session:
            at = AT + timedelta(hours=number)
            raise_incident(session, "model-refused", "main", f"the {number}. time", {"number": number}, at)

    [incident] = all_of(engine)
    assert (incident.times, incident.summary, json.loads(incident.facts)) == (3, "the 2. time", {"number": 2})
    assert (incident.first_at, incident.last_at) == (AT, AT + timedelta(hours=2))


def test_twice_in_one_transaction_is_counted_too(engine: Engine) -> None:
    with transaction(engine) as session:
        first = raise_incident(session, "model-refused", "main", "x", {}, AT)
        again = raise_incident(session, "model-refused", "main", "x", {}, AT)

    assert first.incident_id == again.incident_id
    assert [incident.times for incident in all_of(engine)] == [2]


def test_another_subject_is_another_incident(engine: Engine) -> None:
    with transaction(engine) as session:
        raise_incident(session, "query-guard", "ann", "x", {}, AT)
        raise_incident(session, "query-guard", "bob", "x", {}, AT)

    assert [(incident.subject, incident.times) for incident in all_of(engine)] == [("ann", 1), ("bob", 1)]


def test_workers_that_find_the_same_thing_at_once_enter_it_once(engine: Engine) -> None:
    def find() -> None:
        for _ in range(5):
            with transaction(engine) as session:
                raise_incident(session, "audit-log-broken", "audit", "x", {}, AT)

    threads = [threading.Thread(target=find) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [incident.times for incident in all_of(engine)] == [20]


def test_what_happens_after_an_incident_was_closed_is_a_new_one(engine: Engine) -> None:
    with transaction(engine) as session:
        first = raise_incident(session, "model-refused", "main", "x", {}, AT)
    with transaction(engine) as session:
        closed = close_incident(session, first.incident_id, by="olga", reason="restored", at=AT)
    with transaction(engine) as session:
        second = raise_incident(session, "model-refused", "main", "x", {}, AT)

    assert (closed.state, closed.closed_by, closed.reason) == ("closed", "olga", "restored")
    assert second.incident_id != first.incident_id
    assert sorted((incident.state, incident.times) for incident in all_of(engine)) == [("closed", 1), ("open", 1)]


def test_an_incident_is_closed_once_and_who_closed_it_stands(engine: Engine) -> None:
    with transaction(engine) as session:
        incident = raise_incident(session, "model-refused", "main", "x", {}, AT)
    with transaction(engine) as session:
        close_incident(session, incident.incident_id, by="olga", reason="restored", at=AT)

    with pytest.raises(IncidentClosed, match="olga closed it before"), transaction(engine) as session:
        close_incident(session, incident.incident_id, by="oleg", reason="mine", at=AT)

    assert [found.reason for found in all_of(engine)] == ["restored"]


def test_an_incident_stands_only_if_what_it_tells_of_does(engine: Engine) -> None:
    with suppress(RuntimeError), transaction(engine) as session:
        raise_incident(session, "provider-revoked", "aurora", "x", {}, AT)
        raise RuntimeError("rolled back")

    assert all_of(engine) == []


def test_a_page_follows_the_one_before_and_shows_only_what_is_asked_for(engine: Engine) -> None:
    with transaction(engine) as session:
        made = [
            raise_incident(session, "query-guard", f"subject {number}", "x", {}, AT + timedelta(hours=number // 2))
            for number in range(6)
        ]
        close_incident(session, made[0].incident_id, by="olga", reason="seen", at=AT)
        first = page(session, None, 4)
        rest = page(session, position_of(first[-1]), 4)

        assert {incident.incident_id for incident in [*first, *rest]} == {incident.incident_id for incident in made}
        assert (len(first), len(rest)) == (4, 2)
        assert [incident.incident_id for incident in page(session, None, 10, "closed")] == [made[0].incident_id]
        assert len(page(session, None, 10, "open")) == 5


@pytest.mark.parametrize(("to_state", "raised"), [("revoked", True), ("quarantined", True), ("probation", False)])
def test_a_provider_that_an_operator_cuts_off_is_an_incident(engine: Engine, to_state: TrustState, *, raised: bool) -> None:
    with transaction(engine) as session:
        record_decision(session, provider="aurora", to_state=to_state, at=AT, onset=AT, by="olga", reason="lies")

    incidents = [(incident.kind, incident.subject) for incident in all_of(engine)]
    assert incidents == ([(f"provider-{to_state}", "aurora")] if raised else [])


def test_a_provider_that_the_watch_cuts_off_is_an_incident_and_told_again_it_is_not(engine: Engine) -> None:
    moment = pd.Timestamp(AT)
    found = [
        TrustEvent("aurora", moment, "trusted", "suspect", 2, "drifts", moment, 4.0),
        TrustEvent("aurora", moment + pd.Timedelta(days=1), "suspect", "quarantined", 3, "drifts", moment, 12.5),
    ]
    for _ in range(2):
        with transaction(engine) as session:
            record_events(session, found)

    [incident] = all_of(engine)
    assert (incident.kind, incident.subject, incident.times) == ("provider-quarantined", "aurora", 1)
    assert json.loads(incident.facts)["statistic"] == 12.5
    assert "weather watch" in incident.summary
