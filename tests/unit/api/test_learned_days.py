"""Days that the model in service learned from: no forecast is made of them by HTTP, whoever asks in which way."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from sqlmodel import select

from api.audit_reading import entries_after
from data.provenance import ForecastRecord
from pipeline import serving_state
from pipeline.database import reading, transaction
from pipeline.provider_standings import record_decision
from pipeline.train import train_fallback
from pipeline.weather_policy import WeatherPolicy
from tests.unit.api.small_station import DAYS, FIRST_ASKED, LAST_DAY, PROVIDERS, START, Service, order

LEARNED = FIRST_ASKED - timedelta(days=1)
REFUSAL = "urn:gridward:problem:day-learned"


def asked_for(service: Service, day: date, **more: Any) -> tuple[int, str]:
    answer = service.ask("POST", "/v1/forecasts", role="analyst", json={"day": str(day), **more})
    return answer.status_code, answer.json().get("type", "")


def test_the_last_day_that_was_learned_from_is_refused_and_the_next_one_answered(shared: Service) -> None:
    assert asked_for(shared, LEARNED) == (422, REFUSAL)
    assert asked_for(shared, FIRST_ASKED) == (200, "")


def test_the_refusal_says_until_when_and_what_forecasts_the_past(shared: Service) -> None:
    told = shared.ask("POST", "/v1/forecasts", role="analyst", json={"day": str(LEARNED)}).json()["detail"]

    assert str(LEARNED) in told
    assert shared.serving.active_model_id in told
    assert "POST /v1/backtests" in told


@pytest.mark.parametrize("headers", [{}, {"If-None-Match": "*"}], ids=["plain", "conditional"])
def test_a_learned_day_is_refused_by_get_as_well(shared: Service, headers: dict[str, str]) -> None:
    answer = shared.ask("GET", f"/v1/forecasts/{LEARNED}", role="analyst", headers=headers)

    assert (answer.status_code, answer.json()["type"]) == (422, REFUSAL)


def test_of_several_days_the_first_decides(shared: Service) -> None:
    assert asked_for(shared, LEARNED, days=2) == (422, REFUSAL)


def test_a_what_if_of_a_learned_day_is_refused(shared: Service) -> None:
    answer = shared.ask("POST", "/v1/what-if", role="analyst", json={"day": str(LEARNED), "shift_c": 1.0})

    assert (answer.status_code, answer.json()["type"]) == (422, REFUSAL)


def test_a_refusal_costs_no_budget_is_accounted_and_leaves_no_forecast_behind(service: Service) -> None:
    # Whatever asked the query guard would fail.
    service.app.state.house = replace(service.app.state.house, query_guard=None)
    asked_for(service, LEARNED)
    service.ask("POST", "/v1/what-if", role="analyst", json={"day": str(LEARNED), "shift_c": 1.0})

    told = [entry for entry in entries_after(service.station, 0, 1000) if entry.action == "request.refused"]
    with reading(service.station.engine) as session:
        entered = session.exec(select(ForecastRecord)).all()
    assert [json.loads(entry.details)["status"] for entry in told] == [422, 422]
    assert not entered


def test_what_was_answered_is_refused_once_a_model_that_learned_from_it_is_in_service(service: Service) -> None:
    before = asked_for(service, LAST_DAY)
    service.serving.retrain(by="olga", policy=WeatherPolicy())

    assert (before, asked_for(service, LAST_DAY)) == ((200, ""), (422, REFUSAL))


def test_a_day_that_was_known_only_in_part_is_no_learned_day(service: Service) -> None:
    service.serving.retrain(by="olga", policy=WeatherPolicy(), as_of_day=LAST_DAY)

    # The gate of the last day closed amid the one before.
    assert asked_for(service, LAST_DAY - timedelta(days=2)) == (422, REFUSAL)
    assert asked_for(service, LAST_DAY - timedelta(days=1)) == (200, "")


def test_whoever_runs_the_station_is_still_answered_and_finds_it_in_the_ledger(service: Service) -> None:
    made = service.serving.forecast(LEARNED, "olga")

    with reading(service.station.engine) as session:
        (entered,) = session.exec(select(ForecastRecord)).all()
    assert (made.day, entered.forecast_id) == (LEARNED, made.forecast_id)


def test_the_model_that_answers_decides_and_nothing_of_the_refused_day_is_entered(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_state, "TRUE_FOR_SECONDS", -1.0)
    everything = replace(order(), as_of=START + pd.Timedelta(days=DAYS))
    train_fallback(service.station, service.serving.readings, everything)
    service.serving.reload(by="olga")
    by_the_main_model = asked_for(service, LAST_DAY)
    at, onset = datetime.now(UTC), START.to_pydatetime()
    with transaction(service.station.engine) as session:
        for name in PROVIDERS:
            record_decision(session, provider=name, to_state="revoked", at=at, onset=onset, by="test", reason="lies")

    by_the_fallback = asked_for(service, LAST_DAY - timedelta(days=1))

    with reading(service.station.engine) as session:
        entered = [one.day for one in session.exec(select(ForecastRecord))]
    assert (by_the_main_model, by_the_fallback) == ((200, ""), (422, REFUSAL))
    assert entered == [LAST_DAY]
