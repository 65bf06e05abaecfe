from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlmodel import select

from pipeline import kept_answers
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.job_records import JobRecord
from pipeline.kept_answers import Claim, KeptAnswer
from security.errors import UnavailableError
from tests.unit.api.small_station import Service

RETRAIN = {"as_of_day": "2023-05-01"}


def retrain(service: Service, key: str | None = "k-1", body: Any = RETRAIN, **more: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return service.ask("POST", "/v1/retrain", headers=headers, json=body, **{"role": "operator", **more})


def jobs_of(service: Service) -> int:
    with transaction(service.station.engine) as session:
        return len(session.exec(select(JobRecord)).all())


def kept_of(service: Service) -> list[KeptAnswer]:
    with transaction(service.station.engine) as session:
        return list(session.exec(select(KeptAnswer)).all())


def test_a_write_sent_twice_is_done_once_and_answered_alike(service: Service) -> None:
    first, second = retrain(service), retrain(service)

    assert first.status_code == second.status_code == 202
    assert second.content == first.content
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["content-type"] == first.headers["content-type"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert jobs_of(service) == 1


def test_without_a_key_each_request_is_done(service: Service) -> None:
    retrain(service, key=None)
    retrain(service, key=None)

    assert jobs_of(service) == 2
    assert kept_of(service) == []


def test_another_request_with_the_same_key_is_refused(service: Service) -> None:
    retrain(service)

    answer = retrain(service, body={"as_of_day": "2023-05-02"})

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gridward:problem:idempotency-mismatch")
    assert jobs_of(service) == 1


def test_a_key_belongs_to_its_caller_and_its_route(service: Service) -> None:
    retrain(service)

    another = retrain(service, token=service.token("operator", "oleg"))
    assert (another.status_code, "idempotent-replayed" in another.headers) == (202, False)
    other = service.ask(
        "POST", "/v1/providers/nobody/revoke", role="operator", json={"reason": "x"}, headers={"Idempotency-Key": "k-1"}
    )
    assert other.status_code == 404
    assert jobs_of(service) == 2


def test_a_replay_needs_the_permission_that_the_first_needed(service: Service) -> None:
    subject = "somebody"
    retrain(service, token=service.token("operator", subject))

    assert retrain(service, token=service.token("analyst", subject)).status_code == 403


def test_a_refusal_is_kept_too(service: Service) -> None:
    first, second = (
        service.ask(
            "POST", "/v1/providers/boreas/trust", role="operator", json={"reason": "x"}, headers={"Idempotency-Key": "k"}
        )
        for _ in range(2)
    )

    assert (first.status_code, second.status_code) == (409, 409)
    assert second.json() == first.json()
    assert second.headers["content-type"] == "application/problem+json"
    assert second.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("error", [UnavailableError("x"), RuntimeError("x")], ids=["a store is away", "our own fault"])
def test_an_answer_of_5xx_is_not_kept(service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    with monkeypatch.context() as broken:

        def refuse(*_: object) -> None:
            raise error

        broken.setattr(type(service.app.state.house.jobs), "submit", refuse)
        assert retrain(service).status_code in (500, 503)

    assert kept_of(service) == []
    assert retrain(service).status_code == 202


def test_too_much_asked_now_may_be_asked_again_with_the_same_key(service: Service) -> None:
    for number in range(5):
        retrain(service, key=f"k-{number}")

    assert retrain(service, key="one-too-many").status_code == 429
    assert len(kept_of(service)) == 5


def test_while_the_first_is_being_answered_the_same_request_is_told_to_come_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = service.app.state.house.jobs
    real, begun, go_on = jobs.submit, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(30)
        return real(*arguments)

    monkeypatch.setattr(type(jobs), "submit", lambda _self, *arguments: slow(*arguments))
    answers: list[httpx.Response] = []
    first = threading.Thread(target=lambda: answers.append(retrain(service)))
    first.start()
    assert begun.wait(30)

    meanwhile = retrain(service)

    go_on.set()
    first.join()
    assert (meanwhile.status_code, meanwhile.json()["type"]) == (409, "urn:gridward:problem:idempotency-in-flight")
    assert int(meanwhile.headers["retry-after"]) >= 1
    assert answers[0].status_code == 202
    assert retrain(service).content == answers[0].content
    assert jobs_of(service) == 1


def test_the_same_key_for_another_thing_of_the_same_route_is_refused(service: Service) -> None:
    headers, reason = {"Idempotency-Key": "k-1"}, {"reason": "lies"}
    first = service.ask("POST", "/v1/providers/boreas/revoke", role="operator", json=reason, headers=headers)

    other = service.ask("POST", "/v1/providers/cirrus/revoke", role="operator", json=reason, headers=headers)

    assert (first.status_code, other.status_code) == (200, 422)


@pytest.mark.parametrize("key", ["", "x" * 129, "two words", "tab\there"])
def test_a_key_of_another_shape_is_refused(service: Service, key: str) -> None:
    answer = retrain(service, key=key)

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gridward:problem:invalid-request")
    assert jobs_of(service) == 0


@pytest.mark.parametrize("age", [timedelta(hours=23), timedelta(hours=25)], ids=["kept", "forgotten"])
def test_an_answer_is_kept_for_a_day(service: Service, age: timedelta) -> None:
    retrain(service)
    with transaction(service.station.engine) as session:
        kept = session.exec(select(KeptAnswer)).one()
        kept.claimed_at -= age
        session.add(kept)

    retrain(service)

    assert jobs_of(service) == (1 if age < kept_answers.KEPT else 2)


def test_a_key_whose_worker_died_before_it_answered_is_free_again_after_a_while(service: Service) -> None:
    claim = Claim("operator-1", "POST /v1/retrain", "k-1")
    with transaction(service.station.engine) as session:
        kept_answers.put_claim(session, claim, "0" * 64, datetime.now(UTC) - kept_answers.LONGEST_ANSWER)

    assert retrain(service).status_code == 202


def test_of_several_workers_that_claim_a_key_at_once_one_gets_it(database_url: str, tmp_path: Any) -> None:
    from api.idempotency import _claimed  # noqa: PLC0415 (what is tried is a step inside)
    from pipeline.database import make_engine  # noqa: PLC0415

    engine = make_engine(database_url, tmp_path / "home")
    claim, got = Claim("olga", "POST /v1/retrain", "k-1"), []

    def try_it() -> None:
        try:
            got.append(_claimed(engine, claim, "0" * 64))
        except PipelineError as error:
            got.append(error)

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()

    assert got.count(None) == 1
    assert all(isinstance(one, KeptAnswer) and one.status == 0 for one in got if one is not None)
