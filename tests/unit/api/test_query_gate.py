from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

from api import query_gate
from api.audit_reading import entries_after
from api.query_gate import AskedForecast, AskedWhatIf, cost_of, question_of
from pipeline import incidents
from pipeline.database import transaction
from pipeline.guard_standings import INCIDENT
from pipeline.open_guard import open_query_guard
from security.query_budget import Limits
from security.query_guard import CELL, LONGEST_DELAY_SECONDS, NEAR, PAST, REGION, Level, QueryGuard
from tests.unit.api.small_station import LAST_DAY, Service

NEWEST = date(2014, 6, 1)
BASE = 20 + 5 * np.sin(np.arange(48) / 8)
TIGHT = Limits(MappingProxyType({NEAR: 1.0, PAST: 2.0, REGION: 5.0, CELL: 1.0}), frozenset({REGION}), 10.0, 10.0, 1e6, 1.0)


@pytest.fixture
def tight(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A caller may learn five past days, and all are past."""
    house = service.app.state.house
    guard = QueryGuard(house.state, b"s" * 32, limits=TIGHT)
    service.app.state.house = replace(house, query_guard=guard)
    monkeypatch.setattr(query_gate, "RECENT_DAYS", 0)
    monkeypatch.setattr(query_gate, "anyio", SimpleNamespace(sleep=waited))
    return service


async def waited(seconds: float) -> None:
    """The delay of a slowed caller, without waiting."""
    assert 0.0 < seconds <= LONGEST_DELAY_SECONDS


def ask_past(service: Service, count: int, **asked: str) -> list[int]:
    days = [LAST_DAY - timedelta(days=number) for number in range(count)]
    return [
        service.ask("POST", "/v1/forecasts", json={"day": str(day)}, **(asked or {"role": "analyst"})).status_code
        for day in days
    ]


def test_a_forecast_of_the_last_week_teaches_nothing():
    for ago in range(7):
        assert not question_of(AskedForecast(NEWEST - timedelta(days=ago)), NEWEST).cells

    assert set(question_of(AskedForecast(NEWEST - timedelta(days=7)), NEWEST).cells) == {PAST}


def test_each_day_of_a_long_forecast_of_the_past_is_charged():
    assert len(question_of(AskedForecast(NEWEST - timedelta(days=30), days=7), NEWEST).cells[PAST]) == 7


@pytest.mark.parametrize(
    ("asked", "cost"),
    [
        (AskedForecast(NEWEST), 1),
        (AskedForecast(NEWEST, days=7), 7),
        (AskedForecast(NEWEST, quantiles=19), 3),
        (AskedForecast(NEWEST, explained=True), 2),
        (AskedForecast(NEWEST, days=7, quantiles=19, explained=True), 42),
        (AskedWhatIf(NEWEST, BASE, BASE), 1),
    ],
)
def test_an_order_costs_by_its_size(asked: AskedForecast | AskedWhatIf, cost: int):
    assert cost_of(asked) == cost


def test_a_what_if_of_the_coming_day_is_a_scenario_and_one_of_the_past_explores():
    past = NEWEST - timedelta(days=100)

    assert set(question_of(AskedWhatIf(NEWEST, BASE + 1, BASE), NEWEST).cells) == {NEAR}
    assert set(question_of(AskedWhatIf(past, BASE + 1, BASE), NEWEST).cells) == {REGION, CELL}


def test_scenarios_too_alike_to_tell_apart_have_one_randomisation_and_are_counted_apart():
    first, second = (question_of(AskedWhatIf(NEWEST, BASE + shift, BASE), NEWEST) for shift in (1.0, 1.05))

    assert first.digest == second.digest
    assert first.cells != second.cells
    assert first.digest != question_of(AskedWhatIf(NEWEST, BASE + 2, BASE), NEWEST).digest


def test_who_asks_for_too_much_is_challenged_then_blocked_by_a_problem_that_says_what_to_do(tight: Service):
    assert ask_past(tight, 3) == [200] * 3

    blocked = ask_past(tight, 9)[-1]
    answer = tight.ask("POST", "/v1/forecasts", role="analyst", json={"day": str(LAST_DAY)})

    assert (blocked, answer.status_code) == (403, 403)
    assert answer.json()["type"] == "urn:gridward:problem:query-blocked"
    assert "administrator" in answer.json()["detail"]


def test_a_blocked_caller_stands_in_the_list_in_the_incidents_and_in_the_audit_log(tight: Service):
    ask_past(tight, 9)

    (standing,) = tight.ask("GET", "/v1/guard", role="auditor").json()["standings"]
    with transaction(tight.station.engine) as session:
        (incident,) = [one for one in incidents.page(session, None, 10) if one.kind == INCIDENT]
    told = [json.loads(one.details).get("guard") for one in entries_after(tight.station, 0, 1000)]

    assert (standing["subject"], standing["level"]) == ("analyst-1", "blocked")
    assert incident.subject == "analyst-1"
    assert "blocked" in told


def test_an_administrator_releases_a_caller_and_nobody_else_may(tight: Service):
    ask_past(tight, 9)
    release = "/v1/guard/analyst-1/release"
    reason = {"reason": "agreed"}

    refused = [tight.ask("POST", release, role=role, json=reason).status_code for role in ("analyst", "operator", "auditor")]
    answer = tight.ask("POST", release, role="admin", json=reason)

    assert refused == [403, 403, 403]
    assert (answer.status_code, answer.json()["released_by"]) == (200, "admin-1")
    assert ask_past(tight, 3) == [200] * 3


def test_releasing_somebody_who_was_never_held_back_is_404(service: Service):
    assert service.ask("POST", "/v1/guard/nobody/release", role="admin", json={"reason": "x"}).status_code == 404


def test_a_block_outlives_the_service(tight: Service):
    ask_past(tight, 9)

    again = open_query_guard(tight.station, tight.app.state.house.state)

    assert again._blocked["analyst-1"].level is Level.BLOCKED


def test_an_order_larger_than_the_rate_budget_is_refused(service: Service):
    house = service.app.state.house
    order = {"day": str(LAST_DAY - timedelta(days=8)), "days": 7, "explain": True}
    limiter = type(house.limiter)(per_minute=10)
    service.app.state.house = replace(house, limiter=limiter)

    assert service.ask("POST", "/v1/forecasts", role="analyst", json=order).status_code == 429
