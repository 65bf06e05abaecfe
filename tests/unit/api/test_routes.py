from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from data.provenance import blast_radius
from data.schema import QUANTILES
from pipeline import serving_state
from pipeline.database import transaction
from pipeline.predict import NO_WEATHER
from pipeline.provider_standings import record_decision
from pipeline.registry import listing
from pipeline.train import train_fallback
from tests.unit.api.small_station import LAST_DAY, PROVIDERS, START, Service, demand_and_weather, order


def model_folder(service: Service) -> Path:
    return service.station.models / service.serving.active_model_id


def newest_snapshot(service: Service) -> str:
    with transaction(service.station.engine) as session:
        return listing(session)[0].snapshot_id


def test_a_forecast_covers_the_day_with_ordered_quantiles_and_says_what_it_was_made_from(shared: Service) -> None:
    answer = shared.ask("POST", "/v1/forecasts", role="analyst", json={"day": str(LAST_DAY)}).json()

    moments = pd.DatetimeIndex([row["timestamp"] for row in answer["intervals"]])
    assert list(moments) == list(pd.date_range(str(LAST_DAY), periods=24, freq="h", tz="UTC"))
    for row in answer["intervals"]:
        assert list(row["quantiles"]) == [str(level) for level in QUANTILES]
        assert list(row["quantiles"].values()) == sorted(row["quantiles"].values())
    assert answer["unit"] == "MW"
    assert answer["weather"] == "multi-source"
    assert answer["sources"] == list(PROVIDERS)
    assert answer["model_id"] == shared.serving.active_model_id
    assert pd.Timestamp(answer["gate_closure"]) == pd.Timestamp(LAST_DAY, tz="UTC") - pd.Timedelta(hours=15)


def test_a_forecast_of_a_day_that_the_model_saw_is_near_what_was_drawn(shared: Service) -> None:
    demand_mw = demand_and_weather()[0]["demand_mw"].iloc[-24:].to_numpy()

    answer = shared.ask("POST", "/v1/forecasts", role="analyst", json={"day": str(LAST_DAY)}).json()

    missed = abs(pd.Series([row["forecast_mw"] for row in answer["intervals"]]) - demand_mw)
    assert missed.mean() / demand_mw.mean() < 0.03


def test_only_the_quantiles_asked_for_are_answered(shared: Service) -> None:
    wanted = {"day": str(LAST_DAY), "quantiles": [0.9, 0.5]}

    answer = shared.ask("POST", "/v1/forecasts", role="analyst", json=wanted).json()

    assert {tuple(row["quantiles"]) for row in answer["intervals"]} == {("0.9", "0.5")}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"day": "2023-13-01"},
        {"day": "1890-01-01"},
        {"day": "9999-12-31"},
        {"day": str(LAST_DAY), "quantiles": []},
        {"day": str(LAST_DAY), "quantiles": [0.995]},
        {"day": str(LAST_DAY), "quantiles": [0.5, 0.5]},
        {"day": str(LAST_DAY), "model": "../../etc/passwd"},
        [],
    ],
)
def test_a_forecast_order_of_another_shape_is_refused_without_being_echoed(shared: Service, body: object) -> None:
    answer = shared.ask("POST", "/v1/forecasts", role="analyst", json=body)

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:gridward:problem:invalid-request"
    assert "passwd" not in answer.text


def test_a_day_outside_the_readings_is_refused_with_the_days_that_can_be_asked_for(shared: Service) -> None:
    answer = shared.ask("POST", "/v1/forecasts", role="analyst", json={"day": "2031-05-01"})

    assert answer.status_code == 422
    assert "ask for a day from 2023-02-08 to 2023-05-31" in answer.json()["detail"]


def test_parallel_forecasts_are_all_answered_and_the_audit_log_still_holds(service: Service) -> None:
    answers = service.ask_together([("POST", "/v1/forecasts")] * 16, role="analyst", json={"day": str(LAST_DAY)})

    assert {answer.status_code for answer in answers} == {200}
    assert service.ask("POST", "/v1/audit/verify", role="auditor").status_code == 200


@pytest.mark.parametrize(
    ("body", "says"),
    [({"weather_policy": "whatever"}, "is no weather policy"), ({"policy": "multi-source"}, "Extra inputs")],
)
def test_an_order_to_retrain_of_another_shape_is_refused(shared: Service, body: dict[str, str], says: str) -> None:
    answer = shared.ask("POST", "/v1/retrain", role="operator", json=body)

    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_a_revoked_provider_is_left_out_of_the_next_forecast(service: Service) -> None:
    answer = service.ask("POST", "/v1/providers/boreas/revoke", role="operator", json={"reason": "lies"})

    assert answer.status_code == 200
    assert answer.json()["provider"] == "boreas"
    listed = {view["name"]: view for view in service.ask("GET", "/v1/providers", role="analyst").json()["providers"]}
    assert (listed["boreas"]["state"], listed["boreas"]["reason"]) == ("revoked", "lies")
    assert listed["aurora"]["state"] == "trusted"


def test_a_revocation_counts_all_it_touched_and_lists_the_first_hundred(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = service.serving.revoke

    def since_the_beginning(provider: str, **arguments: str) -> object:
        revocation = real(provider, **arguments)
        with transaction(service.station.engine) as session:
            touched = blast_radius(session, provider, START.to_pydatetime())
        return replace(revocation, touched=replace(touched, forecasts=tuple(f"f-{n}" for n in range(250))))

    monkeypatch.setattr(service.serving, "revoke", since_the_beginning)
    answer = service.ask("POST", "/v1/providers/boreas/revoke", role="operator", json={"reason": "lies"}).json()

    assert answer["forecasts"]["count"] == 250
    assert len(answer["forecasts"]["ids"]) == 100
    assert answer["snapshots"] == {"count": 1, "ids": [newest_snapshot(service)]}


def test_a_provider_is_revoked_once_and_only_if_it_exists(service: Service) -> None:
    reason = {"reason": "lies"}

    codes = [
        service.ask("POST", f"/v1/providers/{name}/revoke", role="operator", json=reason).status_code
        for name in ("nobody", "boreas", "boreas", "x" * 101)
    ]

    assert codes == [404, 200, 409, 422]


def test_a_revocation_needs_a_reason(shared: Service) -> None:
    answer = shared.ask("POST", "/v1/providers/boreas/revoke", role="operator", json={"reason": ""})

    assert answer.status_code == 422


def test_a_tampered_model_is_refused_at_reload_and_the_last_good_one_keeps_serving(service: Service) -> None:
    before = service.ask("POST", "/v1/forecasts", role="analyst", json={"day": str(LAST_DAY)}).json()
    victim = model_folder(service) / "model.json.sealed"
    victim.write_bytes(victim.read_bytes() + b"\n")

    answer = service.ask("POST", "/v1/models/reload", role="operator")

    assert answer.status_code == 409
    assert victim.name in answer.json()["detail"]
    assert str(service.station.home) not in answer.text
    assert service.ask("GET", "/readyz").json() == {"status": "ready", "active_model_id": before["model_id"]}
    assert service.ask("POST", "/v1/forecasts", role="analyst", json={"day": str(LAST_DAY)}).json() == before


def test_a_sound_model_is_reloaded(shared: Service) -> None:
    answer = shared.ask("POST", "/v1/models/reload", role="operator")

    assert answer.json() == {"active_model_id": shared.serving.active_model_id}


# Prophet reads its own model files with a keyword that pandas 4 will drop.
@pytest.mark.filterwarnings("ignore:The 'convert_dates' keyword")
def test_without_any_trusted_weather_the_fallback_answers(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    # The standings are changed beside the service: it looks at each request, where it would within a second.
    monkeypatch.setattr(serving_state, "TRUE_FOR_SECONDS", -1.0)
    train_fallback(service.station, service.serving.readings, order())
    service.ask("POST", "/v1/models/reload", role="operator")
    for name in PROVIDERS:
        service.ask("POST", f"/v1/providers/{name}/revoke", role="operator", json={"reason": "lies"})
    beginning = datetime(2023, 1, 1, tzinfo=UTC)
    with transaction(service.station.engine) as session:
        for name in PROVIDERS:
            record_decision(
                session, provider=name, to_state="revoked", at=datetime.now(UTC), onset=beginning, by="test", reason="lies"
            )

    answer = service.ask("POST", "/v1/forecasts", role="analyst", json={"day": str(LAST_DAY)}).json()

    assert answer["weather"] == NO_WEATHER
    assert answer["sources"] == []


def test_health_needs_no_token_and_tells_only_the_model(shared: Service) -> None:
    assert shared.ask("GET", "/healthz").json() == {"status": "alive"}
    assert shared.ask("GET", "/readyz").json() == {"status": "ready", "active_model_id": shared.serving.active_model_id}


def test_a_service_whose_store_is_gone_is_alive_but_not_ready(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("disk gone at /secret/place")

    monkeypatch.setattr(service.serving, "models", broken)

    assert service.ask("GET", "/healthz").status_code == 200
    answer = service.ask("GET", "/readyz")
    assert answer.status_code == 503
    assert "secret" not in answer.text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/v1/models", 405)])
def test_a_route_that_is_not_there_is_a_problem_too(shared: Service, method: str, path: str, status: int) -> None:
    answer = shared.ask(method, path)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_the_openapi_document_names_each_routes_permission_and_gives_examples(shared: Service) -> None:
    document = shared.ask("GET", "/openapi.json").json()

    assert document["paths"]["/v1/retrain"]["post"]["x-permission"] == "retrain"
    assert document["paths"]["/v1/retrain"]["post"]["security"] == [{"HTTPBearer": []}]
    assert document["components"]["schemas"]["ForecastOrder"]["properties"]["day"]["examples"] == ["2014-12-20"]
    assert "security" not in document["paths"]["/healthz"]["get"]
