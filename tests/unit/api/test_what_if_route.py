from __future__ import annotations

import json
from typing import Any

import pytest

from api.audit_reading import entries_after
from tests.unit.api.small_station import LAST_DAY, Service

DAY = {"day": str(LAST_DAY)}


def test_an_analyst_sees_the_forecast_under_the_own_temperatures_beside_the_one_as_it_is(shared: Service) -> None:
    answer = shared.ask("POST", "/v1/what-if", role="analyst", json={**DAY, "shift_c": 2.0})
    forecast = shared.ask("POST", "/v1/forecasts", role="analyst", json=DAY).json()

    body = answer.json()
    assert answer.status_code == 200
    assert body["judgement"]["verdict"] in {"usual", "unusual"}
    assert body["base_forecast_id"] == forecast["forecast_id"]
    assert [one["base_mw"] for one in body["intervals"]] == [one["forecast_mw"] for one in forecast["intervals"]]
    assert all(
        one["difference_mw"] == pytest.approx(one["forecast_mw"] - one["base_mw"], abs=1e-6) for one in body["intervals"]
    )
    assert any(abs(one["difference_mw"]) > 5 for one in body["intervals"])


def test_the_temperatures_that_were_used_can_be_told_back(shared: Service) -> None:
    moved = shared.ask("POST", "/v1/what-if", role="analyst", json={**DAY, "shift_c": 1.0}).json()
    told_c = [one["temperature_c"] for one in moved["intervals"]]

    told = shared.ask("POST", "/v1/what-if", role="analyst", json={**DAY, "temperatures_c": told_c}).json()

    assert [one["temperature_c"] for one in told["intervals"]] == told_c
    assert told["what_if_id"] == moved["what_if_id"]


def test_the_same_question_has_the_same_answer(shared: Service) -> None:
    first, second = (shared.ask("POST", "/v1/what-if", role="analyst", json={**DAY, "shift_c": -1.5}) for _ in range(2))

    assert first.content == second.content


def test_the_quantiles_asked_for_are_answered_in_order(shared: Service) -> None:
    order = {**DAY, "shift_c": 0.5, "quantiles": [0.05, 0.5, 0.95]}

    intervals = shared.ask("POST", "/v1/what-if", role="analyst", json=order).json()["intervals"]

    assert all(list(one["quantiles"]) == ["0.05", "0.5", "0.95"] for one in intervals)
    assert all(list(one["quantiles"].values()) == sorted(one["quantiles"].values()) for one in intervals)


def test_impossible_temperatures_are_a_422_that_says_why(shared: Service) -> None:
    answer = shared.ask("POST", "/v1/what-if", role="analyst", json={**DAY, "temperatures_c": [20.0] * 24})

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:gridward:problem:weather-impossible"
    assert "only 0.0 °C between the day's extremes" in answer.json()["detail"]


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"shift_c": 1.0, "temperatures_c": [20.0] * 24},
        {"shift_c": None},
        {"shift_c": 1.0, "temperatures_c": None},
        {"shift_c": 16.0},
        {"shift_c": "1"},
        {"shift_c": True},
        {"temperatures_c": [20.0] * 22},
        {"temperatures_c": [20.0] * 301},
        {"temperatures_c": [20.0] * 23 + [60.1]},
        {"temperatures_c": [20.0] * 23 + [None]},
        {"temperatures_c": [20.0] * 23 + ["20"]},
        {"temperatures_c": [20.0] * 23 + [[20.0]]},
        {"temperatures_c": [20.0] * 25},
        {"shift_c": 1.0, "quantiles": [0.5, 0.5]},
        {"shift_c": 1.0, "member": 1},
    ],
    ids=lambda order: json.dumps(order)[:40],
)
def test_anything_but_the_documented_shape_is_refused(shared: Service, order: dict[str, Any]) -> None:
    answer = shared.ask("POST", "/v1/what-if", role="analyst", json={**DAY, **order})

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:gridward:problem:invalid-request"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(shared: Service, number: str) -> None:
    content = f'{{"day": "{LAST_DAY}", "shift_c": {number}}}'

    answer = shared.ask("POST", "/v1/what-if", role="analyst", content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422


def test_a_question_and_what_was_made_of_it_stand_in_the_audit_log(service: Service) -> None:
    served = service.ask("POST", "/v1/what-if", role="analyst", json={**DAY, "shift_c": 1.0}).json()
    service.ask("POST", "/v1/what-if", role="analyst", json={**DAY, "temperatures_c": [20.0] * 24})

    entries = {
        entry.action: entry for entry in entries_after(service.station, 0, 1000) if entry.action.startswith("what_if")
    }

    assert entries["what_if.served"].subject == served["what_if_id"]
    assert json.loads(entries["what_if.served"].details)["judgement"] == served["judgement"]["verdict"]
    assert len(json.loads(entries["what_if.served"].details)["path_sha256"]) == 64
    assert json.loads(entries["what_if.refused"].details)["judgement"] == "impossible"
