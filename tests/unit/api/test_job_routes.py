from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from sqlmodel import Session, select

from api import events as events_module
from data.lake.tables import WEATHER
from pipeline import job_records
from pipeline import jobs as jobs_module
from pipeline.database import transaction
from pipeline.job_records import JobRecord
from pipeline.jobs import Jobs
from pipeline.registry import ModelRecord
from pipeline.weather_policy import WeatherPolicy
from tests.unit.api.small_station import LAST_DAY, PROVIDERS, Service
from tests.unit.pipeline import small_recovery

BACKTEST = {"start": "2023-05-01", "end": "2023-05-03", "forecaster": "seasonal-naive"}


def jobs_of(service: Service) -> Jobs:
    jobs: Jobs = service.app.state.house.jobs
    return jobs


def ordered(service: Service, path: str, body: dict[str, Any], role: str = "operator") -> str:
    """Where the job is that was ordered."""
    answer = service.ask("POST", path, role=role, json=body)
    assert answer.status_code == 202, answer.text
    location: str = answer.headers["location"]
    assert location == f"/v1/jobs/{answer.json()['job_id']}"
    return location


def done(service: Service, path: str, body: dict[str, Any], role: str = "operator") -> dict[str, Any]:
    """The job that was ordered, once it is over."""
    location = ordered(service, path, body, role)
    while jobs_of(service).run_next():
        pass
    job: dict[str, Any] = service.ask("GET", location, role=role).json()
    return job


class Killed(BaseException):
    """The process ends here."""


def killed_at_work(service: Service) -> None:
    with pytest.raises(Killed):
        jobs_of(service).run_next()


def let_the_lease_run_out(service: Service) -> None:
    with transaction(service.station.engine) as session:
        job = session.exec(select(JobRecord)).one()
        assert job.state == "running"
        job.lease_until = job.requested_at
        session.add(job)


def test_an_order_to_retrain_is_accepted_at_once_and_done_by_a_job(service: Service) -> None:
    before = service.serving.active_model_id
    location = ordered(service, "/v1/retrain", {"as_of_day": "2023-05-01"})
    waiting = service.ask("GET", location, role="operator").json()
    assert (waiting["kind"], waiting["state"], waiting["result"]) == ("retrain", "queued", None)
    assert waiting["order"] == {"as_of_day": "2023-05-01", "weather_policy": "multi-source"}
    assert service.serving.active_model_id == before

    jobs_of(service).run_next()

    job = service.ask("GET", location, role="operator").json()
    models = service.ask("GET", "/v1/models", role="analyst").json()
    made = job["result"]["model"]
    assert (job["state"], job["problem"], job["share"]) == ("done", "", 1.0)
    assert made["model_id"] == job["result"]["active_model_id"] == models["active_model_id"] != before
    assert (made["published_by"], made["as_of"]) == ("operator-1", "2023-04-30T09:00:00Z")
    assert {model["model_id"]: model["state"] for model in models["models"]} == {
        made["model_id"]: "active",
        before: "retired",
    }


def test_a_retraining_that_was_cut_off_and_is_done_again_makes_no_second_model(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = ordered(service, "/v1/retrain", {"as_of_day": "2023-05-01"})

    def cut_off(*_: object, **__: object) -> str:
        raise Killed

    with monkeypatch.context() as cut:
        cut.setattr(type(service.serving), "reload", cut_off)
        killed_at_work(service)
    let_the_lease_run_out(service)
    published = models_of(service)
    assert jobs_of(service).run_next()

    assert service.ask("GET", location, role="operator").json()["state"] == "done"
    assert models_of(service) == published == 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"weather_policy": "single:nobody"}, "nobody, has no usable values"),
        ({"as_of_day": "2023-01-20"}, "usable days of history"),
    ],
)
def test_a_retraining_that_cannot_be_done_says_why_and_leaves_the_model_as_it_was(
    service: Service, body: dict[str, str], says: str
) -> None:
    before = service.serving.active_model_id

    job = done(service, "/v1/retrain", body)

    assert job["state"] == "failed"
    assert says in job["problem"]
    assert str(service.station.home) not in job["problem"]
    assert service.ask("GET", "/readyz").json()["active_model_id"] == before


def test_the_plan_of_a_recovery_is_answered_at_once_and_changes_nothing(service: Service) -> None:
    order = {"provider": "boreas", "reason": "lies", "since": "2023-05-01", "dry_run": True}

    answer = service.ask("POST", "/v1/recoveries", role="operator", json=order)

    assert answer.status_code == 200
    plan = answer.json()
    assert (plan["provider"], plan["onset"]) == ("boreas", "2023-05-01T00:00:00Z")
    assert plan["refused_from"] == "2023-04-17T00:00:00Z"
    assert plan["discarded_days"] > 14
    assert plan["model_in_service"] == service.serving.active_model_id
    assert jobs_of(service).page(None, 10) == []
    states = {
        view["name"]: view["state"] for view in service.ask("GET", "/v1/providers", role="analyst").json()["providers"]
    }
    assert states["boreas"] == "trusted"


@pytest.fixture(scope="module")
def lied_to(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A station whose model in service learned from a liar."""
    return small_recovery.build(tmp_path_factory.mktemp("lied to") / "home")


FROM_THE_LIAR = {"provider": small_recovery.LIAR, "reason": "lies", "since": small_recovery.ONSET}


def models_of(service: Service) -> int:
    with transaction(service.station.engine) as session:
        return len(session.exec(select(ModelRecord)).all())


def test_a_recovery_is_a_job_that_revokes_trains_judges_and_promotes(lied_to: Path, tmp_path: Path) -> None:
    service = Service.at(lied_to, tmp_path / "home", forecaster="linear")
    before = service.serving.active_model_id

    job = done(service, "/v1/recoveries", {**FROM_THE_LIAR, "as_of_day": str(LAST_DAY)})

    result = job["result"]
    assert (job["state"], job["problem"]) == ("done", "")
    assert result["active_model_id"] == result["model_id"] == service.serving.active_model_id != before
    assert "failed" not in {gate["verdict"] for gate in result["gates"]}
    assert before in result["withdrawn"]
    forecast = service.ask("POST", "/v1/forecasts", role="analyst", json={"day": str(LAST_DAY)}).json()
    assert small_recovery.LIAR not in forecast["sources"]
    incidents = service.ask("GET", "/v1/incidents?state=open", role="operator").json()["incidents"]
    assert [(incident["kind"], incident["subject"]) for incident in incidents] == [("provider-revoked", small_recovery.LIAR)]


@pytest.mark.parametrize("reached", ["revoking", "asking the gates", "promoting", "taking the model up"])
def test_a_recovery_that_was_cut_off_goes_on_and_trains_nothing_twice(
    lied_to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: str
) -> None:
    service = Service.at(lied_to, tmp_path / "home", forecaster="linear")
    before = models_of(service)
    location = ordered(service, "/v1/recoveries", FROM_THE_LIAR)
    real = job_records.tell

    def cut_off(session: Session, job: JobRecord, stage: str, *more: Any) -> bool:
        if stage == reached:
            raise Killed
        return real(session, job, stage, *more)

    with monkeypatch.context() as cut:
        cut.setattr(jobs_module, "TELL_SECONDS", 0.0)
        cut.setattr(job_records, "tell", cut_off)
        killed_at_work(service)
    let_the_lease_run_out(service)
    assert jobs_of(service).run_next()

    job = service.ask("GET", location, role="operator").json()
    assert (job["state"], job["problem"], job["attempts"]) == ("done", "", 2)
    assert models_of(service) == before + 1
    assert job["result"]["active_model_id"] == job["result"]["model_id"]


def test_a_recovery_whose_model_does_not_pass_fails_and_becomes_an_incident(service: Service) -> None:
    # What serves then has seen the days that it is judged by: no honest model comes near it.
    service.serving.retrain(by="olga", policy=WeatherPolicy())
    before = service.serving.active_model_id

    job = done(service, "/v1/recoveries", {"provider": "boreas", "reason": "lies", "since": "2023-05-01"})

    assert job["state"] == "failed"
    assert "did not pass: backtest" in job["problem"]
    assert service.serving.active_model_id == before
    incidents = service.ask("GET", "/v1/incidents", role="auditor").json()["incidents"]
    assert {(incident["kind"], incident["subject"]) for incident in incidents} == {
        ("provider-revoked", "boreas"),
        ("recovery-refused", "boreas"),
    }


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"provider": "nobody"}, 409),
        ({"since": "whenever"}, 409),
        ({"reason": ""}, 422),
        ({"reason": "two\nlines"}, 422),
        ({"provider": "nul\x00"}, 422),
        ({"seed": -1}, 422),
    ],
    ids=["no such provider", "no moment", "no reason", "a forged line", "no text that a store takes", "no seed"],
)
def test_a_recovery_that_cannot_be_planned_is_refused_at_once(
    service: Service, changed: dict[str, Any], status: int
) -> None:
    order = {"provider": "boreas", "reason": "lies", "since": "2023-05-01", **changed}

    assert service.ask("POST", "/v1/recoveries", role="operator", json=order).status_code == status
    assert jobs_of(service).page(None, 10) == []


def test_a_backtest_scores_past_days_and_leaves_its_forecasts_as_csv_and_parquet(service: Service) -> None:
    job = done(service, "/v1/backtests", BACKTEST, role="analyst")

    assert (job["state"], job["problem"], job["result"]["predictions"]) == ("done", "", 72)
    assert job["result"]["scores"]["mape_percent"] > 0
    link = job["links"]["result"]
    table = service.ask("GET", link, role="analyst")
    rows = pd.read_csv(io.StringIO(table.text))
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert len(rows) == 72
    assert {"origin", "timestamp", "actual_mw", "forecast_mw", "q10", "q90"} <= set(rows.columns)
    columns = service.ask("GET", f"{link}?format=parquet", role="analyst")
    assert columns.headers["content-type"] == "application/vnd.apache.parquet"
    there = pd.read_parquet(io.BytesIO(columns.content))
    assert there["forecast_mw"].to_numpy() == pytest.approx(rows["forecast_mw"].to_numpy(), abs=1e-6)


def test_a_backtest_hears_only_whom_its_policy_believes_and_nobody_who_was_cut_off(service: Service) -> None:
    order = {**BACKTEST, "forecaster": "linear"}
    blind = done(service, "/v1/backtests", {**order, "weather_policy": f"single:{PROVIDERS[0]}"})
    everybody = done(service, "/v1/backtests", order)
    service.ask("POST", f"/v1/providers/{PROVIDERS[1]}/revoke", role="operator", json={"reason": "lies"})
    without = done(service, "/v1/backtests", order)

    assert blind["result"]["scores"] != everybody["result"]["scores"]
    assert f"3 weather sources were fused: {', '.join(PROVIDERS)}" in everybody["result"]["notes"]
    assert any(note.startswith(f"{PROVIDERS[1]} is not believed from") for note in without["result"]["notes"])
    unknown = done(service, "/v1/backtests", {**order, "weather_policy": "single:nobody"})
    assert "no provider 'nobody'" in unknown["problem"]


@pytest.mark.parametrize(
    "changed",
    [
        {"end": "2023-04-30"},
        {"end": "2024-05-01"},
        {"forecaster": "oracle"},
        {"weather_policy": "whatever"},
        {"start": "yesterday"},
        {"files": "/etc/passwd"},
    ],
    ids=["ends before it begins", "longer than a year", "no such forecaster", "no such policy", "no day", "unknown member"],
)
def test_a_backtest_of_another_shape_is_refused(shared: Service, changed: dict[str, str]) -> None:
    answer = shared.ask("POST", "/v1/backtests", role="analyst", json={**BACKTEST, **changed})

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gridward:problem:invalid-request")
    assert "passwd" not in answer.text


def test_a_backtest_outside_the_readings_fails_and_says_what_there_is(service: Service) -> None:
    job = done(service, "/v1/backtests", {**BACKTEST, "start": "2020-01-01", "end": "2020-01-02"})

    assert job["state"] == "failed"
    assert "demand covers 2023-01-01 to 2023-05-30" in job["problem"]
    assert service.ask("GET", f"/v1/jobs/{job['job_id']}/result", role="operator").status_code == 404


def test_an_analyst_sees_its_own_jobs_and_who_answers_for_the_station_sees_all(service: Service) -> None:
    ann, bob = (service.token("analyst", name) for name in ("ann", "bob"))
    job = service.ask("POST", "/v1/backtests", token=ann, json=BACKTEST).json()
    here = f"/v1/jobs/{job['job_id']}"

    seen = {who: service.ask("GET", here, token=token).status_code for who, token in (("ann", ann), ("bob", bob))}

    assert seen == {"ann": 200, "bob": 404}
    assert service.ask("GET", "/v1/jobs", token=bob).json()["jobs"] == []
    assert [service.ask(*ask, token=bob).status_code for ask in (("POST", f"{here}/cancel"), ("GET", f"{here}/events"))] == [
        404,
        404,
    ]
    for role in ("operator", "auditor"):
        assert [found["job_id"] for found in service.ask("GET", "/v1/jobs", role=role).json()["jobs"]] == [job["job_id"]]
    assert service.ask("POST", f"{here}/cancel", role="auditor").status_code == 403
    assert service.ask("POST", f"{here}/cancel", token=ann).json()["state"] == "cancelled"
    assert service.ask("POST", f"{here}/cancel", token=ann).status_code == 409


def test_jobs_are_read_page_by_page_by_the_links_that_the_answers_give(service: Service) -> None:
    names = [ordered(service, "/v1/backtests", BACKTEST).rpartition("/")[2] for _ in range(5)]

    def pages() -> Iterator[httpx.Response]:
        there = "/v1/jobs?limit=2"
        while there:
            answer = service.ask("GET", there, role="operator")
            yield answer
            there = answer.json()["next"]

    answers = list(pages())
    read = [job["job_id"] for answer in answers for job in answer.json()["jobs"]]
    assert [len(answer.json()["jobs"]) for answer in answers] == [2, 2, 1]
    assert read == names[::-1]
    assert answers[0].headers["link"] == f'<{answers[0].json()["next"]}>; rel="next"'
    assert "link" not in answers[-1].headers


@pytest.mark.parametrize("name", ["j-%00", "j%20x", "x" * 65, "%C3%A4"])
def test_an_id_that_is_none_of_ours_reaches_no_store(shared: Service, name: str) -> None:
    for path in (f"/v1/jobs/{name}", f"/v1/snapshots/{name}", f"/v1/incidents/{name}"):
        assert shared.ask("GET", path, role="operator").status_code == 422


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=x", f"after={'A' * 201}"])
def test_a_page_outside_the_bounds_is_refused(shared: Service, query: str) -> None:
    for path in ("/v1/jobs", "/v1/snapshots", "/v1/incidents"):
        assert shared.ask("GET", f"{path}?{query}", role="operator").status_code == 422


def test_a_caller_with_many_jobs_waiting_is_told_to_wait(service: Service) -> None:
    for _ in range(5):
        ordered(service, "/v1/backtests", BACKTEST)

    answer = service.ask("POST", "/v1/backtests", role="operator", json=BACKTEST)

    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) == 60


def messages(answer: httpx.Response) -> list[dict[str, Any]]:
    """Server-sent events, each with its id, name and data."""
    found = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in fields:
            found.append({"id": int(fields["id"]), "event": fields["event"], **json.loads(fields["data"])})
    return found


def test_what_is_told_of_a_job_is_streamed_until_it_ends(service: Service) -> None:
    location = ordered(service, "/v1/backtests", BACKTEST)
    jobs_of(service).start()

    answer = service.ask("GET", f"{location}/events", role="operator")

    jobs_of(service).close()
    told = messages(answer)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [message["id"] for message in told] == list(range(1, len(told) + 1))
    assert (told[0]["event"], told[-1]["event"]) == ("queued", "done")
    assert told[-1]["share"] == 1.0
    assert [message["share"] for message in told] == sorted(message["share"] for message in told)


def test_a_reader_that_comes_again_goes_on_where_it_was(service: Service) -> None:
    location = ordered(service, "/v1/backtests", BACKTEST)
    jobs_of(service).run_next()
    everything = messages(service.ask("GET", f"{location}/events", role="operator"))

    later = service.ask("GET", f"{location}/events", role="operator", headers={"Last-Event-ID": "2"})
    nothing = service.ask("GET", f"{location}/events", role="operator", headers={"Last-Event-ID": str(len(everything))})

    assert messages(later) == everything[2:]
    assert messages(nothing) == []
    assert service.ask("GET", f"{location}/events", role="operator", headers={"Last-Event-ID": "x"}).status_code == 422


def test_a_stream_with_nothing_to_tell_shows_that_it_lives_and_ends_in_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("HEARTBEAT_SECONDS", 0.0), ("LONGEST_SECONDS", 0.3), ("LOOK_SECONDS", 0.05)):
        monkeypatch.setattr(events_module, name, seconds)
    location = ordered(service, "/v1/backtests", BACKTEST)

    answer = service.ask("GET", f"{location}/events", role="operator")

    assert [message["event"] for message in messages(answer)] == ["queued"]
    assert "\n\n: still at it\n\n" in answer.text


def test_of_each_caller_only_so_many_streams_are_open(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "LONGEST_SECONDS", 2.0)
    location = ordered(service, "/v1/backtests", BACKTEST)

    answers = service.ask_together([("GET", f"{location}/events")] * (events_module.MOST_STREAMS + 2), role="operator")

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * events_module.MOST_STREAMS + [429, 429]
    assert service.app.state.open_streams == {}
    assert service.ask("GET", f"{location}/events", role="operator").status_code == 200


def test_a_stream_whose_store_went_away_ends_and_tells_nothing_of_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = ordered(service, "/v1/backtests", BACKTEST)

    def broken(*_: object) -> None:
        raise OSError("disk gone at /secret/place")

    monkeypatch.setattr(type(jobs_of(service)), "events", broken)
    answer = service.ask("GET", f"{location}/events", role="operator")

    assert answer.status_code == 200
    assert messages(answer) == []
    assert "secret" not in answer.text


def test_a_snapshot_is_listed_and_opened_with_what_it_was_made_from(shared: Service) -> None:
    listed = shared.ask("GET", "/v1/snapshots", role="analyst").json()
    newest = listed["snapshots"][0]

    found = shared.ask("GET", f"/v1/snapshots/{newest['snapshot_id']}", role="analyst").json()

    assert listed["next"] is None
    assert set(newest["sources"]) == set(PROVIDERS)
    assert (found["verified"], found["problem"]) == (True, "")
    assert found["sources"] == newest["sources"]
    assert found["models"]["ids"] == [shared.serving.active_model_id]
    assert found["lake"][WEATHER.name] >= 0
    assert found["rows"] > 0
    assert shared.ask("GET", "/v1/snapshots/0123456789abcdef", role="analyst").status_code == 404
    assert shared.ask("GET", "/v1/snapshots/..%2F..%2Fkeys", role="analyst").status_code == 404


def test_a_snapshot_that_does_not_hold_says_which_file(service: Service) -> None:
    newest = service.ask("GET", "/v1/snapshots", role="analyst").json()["snapshots"][0]["snapshot_id"]
    victim = service.station.snapshots / newest / "training.parquet"
    victim.write_bytes(victim.read_bytes() + b"\n")

    answer = service.ask("GET", f"/v1/snapshots/{newest}", role="auditor")

    found = answer.json()
    assert (answer.status_code, found["verified"], found["rows"], found["facts"]) == (200, False, 0, {})
    assert "training.parquet" in found["problem"]
    assert str(service.station.home) not in answer.text


def test_a_provider_is_shown_with_its_history_its_keys_and_what_it_touched(service: Service) -> None:
    before = service.ask("GET", "/v1/providers/boreas", role="auditor").json()
    since = service.ask("GET", "/v1/providers/boreas?since=2023-01-01T00:00:00Z", role="operator").json()
    service.ask("POST", "/v1/providers/boreas/revoke", role="operator", json={"reason": "lies"})

    after = service.ask("GET", "/v1/providers/boreas", role="auditor").json()

    assert (before["provider"]["state"], before["history"], before["evidence"], before["touched"]) == (
        "trusted",
        [],
        None,
        None,
    )
    assert since["touched"]["models"]["ids"] == [service.serving.active_model_id]
    assert after["provider"]["state"] == "revoked"
    assert [(event["to_state"], event["by"], event["reason"]) for event in after["history"]] == [
        ("revoked", "operator-1", "lies")
    ]
    assert after["touched"]["since"] == after["provider"]["onset"]
    assert service.ask("GET", "/v1/providers/nobody", role="auditor").status_code == 404
    assert service.ask("GET", "/v1/providers/boreas?since=2023-01-01", role="auditor").status_code == 422
    assert service.ask("GET", "/v1/providers/boreas", role="analyst").status_code == 403


def test_an_incident_is_read_and_closed_with_a_reason(service: Service) -> None:
    service.ask("POST", "/v1/providers/boreas/revoke", role="operator", json={"reason": "lies"})
    [listed] = service.ask("GET", "/v1/incidents", role="operator").json()["incidents"]
    here = f"/v1/incidents/{listed['incident_id']}"

    closed = service.ask("POST", f"{here}/close", role="operator", json={"reason": "a new key is registered"})

    assert (listed["kind"], listed["subject"], listed["state"]) == ("provider-revoked", "boreas", "open")
    assert closed.status_code == 200
    read = service.ask("GET", here, role="auditor").json()
    assert read == closed.json()
    assert (read["state"], read["closed_by"], read["reason"]) == ("closed", "operator-1", "a new key is registered")
    assert service.ask("GET", "/v1/incidents?state=open", role="auditor").json()["incidents"] == []
    again = service.ask("POST", f"{here}/close", role="operator", json={"reason": "again"})
    assert (again.status_code, again.json()["type"]) == (409, "urn:gridward:problem:pipeline")
    assert service.ask("POST", f"{here}/close", role="operator", json={"reason": ""}).status_code == 422
    assert service.ask("POST", f"{here}/close", role="auditor", json={"reason": "x"}).status_code == 403
    assert service.ask("GET", "/v1/incidents/i-0", role="operator").status_code == 404
    assert service.ask("GET", "/v1/incidents?state=lost", role="operator").status_code == 422
