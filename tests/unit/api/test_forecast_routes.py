"""Forecasts by HTTP: further days, any levels, formats, entity tags, and what is told only if asked for."""

from __future__ import annotations

import io
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pandas as pd
import pytest
from fastapi.openapi.utils import get_openapi

from api.routes import forecasts
from api.schemas.forecasts import ForecastAnswer
from forecasting.explain import EXPLAINED_COLUMNS
from pipeline.predict import NO_WEATHER
from pipeline.train import train_fallback
from tests.unit.api.small_station import LAST_DAY, PROVIDERS, Service, order

DAY = LAST_DAY - timedelta(days=9)
PATH = f"/v1/forecasts/{DAY}"
PARQUET = "application/vnd.apache.parquet"


def asked(service: Service, **changes: Any) -> dict[str, Any]:
    answer = service.ask("POST", "/v1/forecasts", role="analyst", json={"day": str(DAY), **changes})
    assert answer.status_code == HTTPStatus.OK, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_answer_is_as_the_openapi_document_says(shared: Service) -> None:
    body = shared.ask("POST", "/v1/forecasts", role="analyst", json={"day": str(DAY), "explain": True, "trust": True})
    ForecastAnswer.model_validate_json(body.content)
    document = get_openapi(title="forecasts", version="1", routes=forecasts.router.routes)
    operation = document["paths"]["/v1/forecasts"]["post"]["responses"]["200"]["content"]
    assert set(operation) == {"application/json", "text/csv", PARQUET}
    ForecastAnswer.model_validate(operation["application/json"]["example"])


def test_levels_between_and_beyond_the_deciles_are_answered_in_order(shared: Service) -> None:
    levels = [0.01, 0.05, 0.1, 0.15, 0.5, 0.85, 0.9, 0.95, 0.99]
    answer = asked(shared, quantiles=levels)
    deciles = asked(shared)
    for row, plain in zip(answer["intervals"], deciles["intervals"], strict=True):
        told = [row["quantiles"][str(level)] for level in levels]
        assert told == sorted(told)
        assert told[0] < told[-1]
        assert row["quantiles"]["0.1"] == plain["quantiles"]["0.1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"days": 0},
        {"days": 8},
        {"days": "2"},
        {"quantiles": [0.005]},
        {"quantiles": [0.995]},
        {"quantiles": ["0.5"]},
        {"quantiles": [level / 100 for level in range(10, 30)]},
        {"explain": "yes"},
        {"day": 1_400_000_000},
        {"day": "2023-05-21T00:00:00"},
    ],
    ids=str,
)
def test_what_the_schema_does_not_say_is_refused(shared: Service, changes: dict[str, Any]) -> None:
    answer = shared.ask("POST", "/v1/forecasts", role="analyst", json={"day": str(DAY), **changes})
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_a_question_by_get_is_as_strict_and_answers_the_same(shared: Service) -> None:
    answer = shared.ask("GET", PATH, role="analyst", params={"quantiles": [0.25, 0.75]})
    assert answer.json() == asked(shared, quantiles=[0.25, 0.75])
    assert shared.ask("GET", PATH, role="analyst", params={"colour": "blue"}).status_code == 422
    assert shared.ask("GET", "/v1/forecasts/yesterday", role="analyst").status_code == 422


def test_who_holds_this_very_answer_is_not_sent_it_again(shared: Service) -> None:
    first = shared.ask("GET", PATH, role="analyst")
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    held = shared.ask("GET", PATH, role="analyst", headers={"If-None-Match": f'"other", W/{etag}'})
    assert (held.status_code, held.content, held.headers["etag"]) == (HTTPStatus.NOT_MODIFIED, b"", etag)
    other = shared.ask("GET", PATH, role="analyst", params={"quantiles": 0.5}, headers={"If-None-Match": etag})
    assert other.status_code == HTTPStatus.OK
    assert other.headers["etag"] != etag


def test_another_caller_is_shown_another_answer_under_another_tag(shared: Service) -> None:
    mine, yours = (shared.ask("GET", PATH, token=shared.token("analyst", name)) for name in ("ann", "bob"))
    assert mine.headers["etag"] != yours.headers["etag"]
    pairs = zip(mine.json()["intervals"], yours.json()["intervals"], strict=True)
    assert max(abs(a["forecast_mw"] / b["forecast_mw"] - 1) for a, b in pairs) < 0.005


def test_json_csv_and_parquet_tell_the_same(shared: Service) -> None:
    as_json, as_csv, as_parquet = (
        shared.ask("GET", PATH, role="analyst", headers={"Accept": kind})
        for kind in ("application/json", "text/csv", PARQUET)
    )
    rows = as_json.json()["intervals"]
    csv, parquet = pd.read_csv(io.BytesIO(as_csv.content)), pd.read_parquet(io.BytesIO(as_parquet.content))
    for table in (csv, parquet):
        assert table["forecast_mw"].tolist() == [row["forecast_mw"] for row in rows]
        assert table["q90"].tolist() == [row["quantiles"]["0.9"] for row in rows]
        assert pd.to_datetime(table["timestamp"]).tolist() == [pd.Timestamp(row["timestamp"]) for row in rows]
    assert as_csv.headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/html, */*;q=0.8", "application/json"),
        ("text/*", "text/csv"),
        ("application/json;q=0.1, text/csv", "text/csv"),
        (f"{PARQUET}, application/json;q=0.9", PARQUET),
        ("application/json;q=high, text/csv;q=0.2", "text/csv"),
    ],
    ids=str,
)
def test_the_format_that_the_caller_likes_best_is_answered(shared: Service, accept: str, kind: str) -> None:
    answer = shared.ask("GET", PATH, role="analyst", headers={"Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == kind


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "nonsense"])
def test_a_format_that_there_is_not_is_refused(shared: Service, accept: str) -> None:
    assert shared.ask("GET", PATH, role="analyst", headers={"Accept": accept}).status_code == HTTPStatus.NOT_ACCEPTABLE


def test_an_explanation_adds_up_to_what_the_caller_is_shown_and_is_told_only_if_asked_for(shared: Service) -> None:
    assert {row["explained"] for row in asked(shared)["intervals"]} == {None}
    for row in asked(shared, explain=True)["intervals"]:
        assert tuple(row["explained"]) == EXPLAINED_COLUMNS
        assert sum(row["explained"].values()) == pytest.approx(row["forecast_mw"], abs=0.01)


def test_the_trust_in_the_weather_is_told_then_and_now(service: Service) -> None:
    before = asked(service, trust=True, day=str(LAST_DAY))["days"][0]["trust"]
    assert [(one["name"], one["used"], one["then"], one["now"]) for one in before["providers"]] == [
        (name, True, "trusted", "trusted") for name in PROVIDERS
    ]
    assert before["uncertainty_c"] > 0
    service.serving.revoke("boreas", by="olga", reason="drill")
    after = asked(service, trust=True, day=str(LAST_DAY))["days"][0]["trust"]["providers"]
    # What it said of that day was from before it began to lie, as far as anybody knows, and still goes in.
    assert [(one["used"], one["then"], one["now"]) for one in after][1] == (True, "trusted", "revoked")


def test_a_certificate_is_null_for_a_forecaster_that_promises_nothing(shared: Service) -> None:
    assert {row["certified"] for row in asked(shared, certificate=True)["intervals"]} == {None}


def test_a_week_is_answered_from_one_gate_closure_and_begins_with_the_day_ahead(service: Service) -> None:
    train_fallback(service.station, service.serving.readings, order())
    service.serving.reload(by="olga")
    alone, week = asked(service), asked(service, days=3)
    assert week["intervals"][:24] == alone["intervals"]
    assert week["gate_closure"] == alone["gate_closure"]
    assert [(day["day"], day["days_ahead"]) for day in week["days"]] == [
        (str(DAY + timedelta(days=number)), number + 1) for number in range(3)
    ]
    # The small station's providers forecast one day ahead: further on, the weather-free fallback answers, and says so.
    assert [day["weather"] for day in week["days"]] == ["multi-source", NO_WEATHER, NO_WEATHER]
    starts = [row["timestamp"] for row in week["intervals"]]
    assert starts == sorted(set(starts))
    assert len(starts) == 72


def test_a_forecast_id_leads_back_to_model_snapshot_and_providers_and_not_to_who_asked(shared: Service) -> None:
    answer = asked(shared)
    told = shared.ask("GET", f"/v1/forecasts/by-id/{answer['forecast_id']}", role="analyst").json()
    assert (told["model_id"], told["snapshot_id"]) == (answer["model_id"], answer["snapshot_id"])
    assert [source["provider"] for source in told["sources"] if source["forecast"]] == answer["sources"]
    assert "requested_by" not in told
    assert shared.ask("GET", "/v1/forecasts/by-id/f-0", role="analyst").status_code == HTTPStatus.NOT_FOUND


def test_a_model_is_shown_with_its_card_gates_and_provenance_or_why_it_does_not_hold(service: Service) -> None:
    model_id = service.serving.active_model_id
    told = service.ask("GET", f"/v1/models/{model_id}", role="auditor").json()
    assert told["verified"]
    assert told["card"].startswith("# Model card")
    assert {gate["name"]: gate["verdict"] for gate in told["gates"]}["tried"] == "passed"
    assert told["provenance"]["runDetails"]["metadata"]["invocationId"] == model_id
    path = service.station.models / model_id / "card.md.sealed"
    path.write_bytes(path.read_bytes()[:-1])
    spoilt = service.ask("GET", f"/v1/models/{model_id}", role="auditor").json()
    assert (spoilt["verified"], spoilt["card"], spoilt["gates"]) == (False, "", [])
    assert "card.md" in spoilt["problem"]
    assert str(service.station.home) not in spoilt["problem"]
    assert service.ask("GET", "/v1/models/nobody", role="auditor").status_code == HTTPStatus.NOT_FOUND


def test_models_come_in_pages_that_together_are_all_of_them(service: Service) -> None:
    train_fallback(service.station, service.serving.readings, order())
    whole = service.ask("GET", "/v1/models", role="analyst").json()
    first = service.ask("GET", "/v1/models?limit=1", role="analyst").json()
    second = service.ask("GET", first["next"], role="analyst").json()
    assert first["models"] + second["models"] == whole["models"]
    assert (whole["next"], second["next"]) == (None, None)


@pytest.mark.parametrize("day", ["2014-W01-1", "20141120AB", "2014-11-2x"])
def test_a_day_is_year_month_and_day_and_nothing_else(shared: Service, day: str) -> None:
    assert shared.ask("POST", "/v1/forecasts", role="analyst", json={"day": day}).status_code == 422
