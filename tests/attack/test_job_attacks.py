"""A caller who orders long work without end, and one who sends a captured order again (AML.T0034, AML.T0029)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import jobs as jobs_module
from pipeline.job_records import JobRecord
from pipeline.jobs import Jobs
from tests.unit.api.small_station import Service, build

ORDERS = 30
BACKTEST = {"start": "2023-05-01", "end": "2023-05-01", "forecaster": "seasonal-naive"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("station") / "built")


@pytest.fixture
def service(built: Path, tmp_path: Path) -> Service:
    return Service.at(built, tmp_path / "home")


def waiting_before(jobs: Jobs, mine: str) -> int:
    """How many jobs are done before this one is begun."""
    waiting: list[JobRecord] = jobs.page(None, 1000)
    return next(number for number, job in enumerate(reversed(waiting)) if job.job_id == mine)


@pytest.mark.parametrize(("most_queued", "before"), [(10_000, ORDERS), (jobs_module.MOST_QUEUED, jobs_module.MOST_QUEUED)])
def test_a_flood_of_orders_holds_a_colleague_up_only_where_nobody_counts(
    service: Service, monkeypatch: pytest.MonkeyPatch, most_queued: int, before: int
) -> None:
    monkeypatch.setattr(jobs_module, "MOST_QUEUED", most_queued)
    flood, colleague = service.token("analyst", "mallory"), service.token("analyst", "ann")
    for _ in range(ORDERS):
        service.ask("POST", "/v1/backtests", token=flood, json=BACKTEST)

    answer = service.ask("POST", "/v1/backtests", token=colleague, json=BACKTEST)

    assert answer.status_code == 202
    assert waiting_before(service.app.state.house.jobs, answer.json()["job_id"]) == before


@pytest.mark.parametrize(("headers", "done"), [({}, 3), ({"Idempotency-Key": "monday"}, 1)], ids=["no key", "a key"])
def test_an_order_that_is_sent_again_and_again_is_done_again_only_without_a_key(
    service: Service, headers: dict[str, str], done: int
) -> None:
    captured = service.token("analyst", "ann")

    for _ in range(3):
        service.ask("POST", "/v1/backtests", token=captured, json=BACKTEST, headers=headers)

    assert len(service.app.state.house.jobs.page(None, 10)) == done
