from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from pipeline import jobs as jobs_module
from pipeline.database import make_engine, transaction
from pipeline.errors import JobKept, PipelineError, TooManyJobs
from pipeline.incidents import Incident
from pipeline.job_kinds import Kind, Task
from pipeline.job_records import JobRecord
from pipeline.jobs import LEASE, MOST_QUEUED, Jobs, position_of
from pipeline.serving import Serving

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A wall clock that goes when it is told to."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment

    def pass_by(self, span: timedelta) -> None:
        self.moment += span


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[Engine]:
    made = make_engine(database_url, tmp_path / "home")
    yield made
    made.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def jobs_on(engine: Engine, home: Path, clock: Clock, **works: Any) -> Jobs:
    """A process's jobs; each work stands for a kind, which runs alone if its name begins with `alone`."""
    serving = SimpleNamespace(station=SimpleNamespace(home=home, engine=engine), clock=clock)
    kinds = {name: Kind(work, alone=name.startswith("alone")) for name, work in works.items()}
    return Jobs(cast(Serving, serving), kinds, clock)


def double(task: Task) -> Mapping[str, object]:
    return {"twice": 2 * task.order["number"]}


def state_of(jobs: Jobs, job: JobRecord) -> str:
    found = jobs.get(job.job_id)
    assert found is not None
    return found.state


def test_a_job_is_done_in_the_background_and_its_result_is_kept(engine: Engine, tmp_path: Path, clock: Clock) -> None:
    jobs = jobs_on(engine, tmp_path, clock, double=double)
    job = jobs.submit("double", {"number": 21}, by="olga")
    assert state_of(jobs, job) == "queued"

    assert jobs.run_next()

    done = jobs.get(job.job_id)
    assert done is not None
    assert (done.state, json.loads(done.result), done.share, done.attempts) == ("done", {"twice": 42}, 1.0, 1)
    assert (done.requested_by, done.started_at, done.finished_at) == ("olga", START, START)
    assert not jobs.run_next(), "there is nothing left to do"


def test_the_worker_of_a_process_takes_what_is_submitted_and_ends_when_it_is_closed(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    done = threading.Event()

    def work(_task: Task) -> dict[str, object]:
        done.set()
        return {}

    jobs = jobs_on(engine, tmp_path, clock, work=work)
    jobs.start()
    jobs.submit("work", {}, by="olga")

    assert done.wait(30)
    jobs.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gridward-job")]


def test_a_job_that_cannot_be_done_says_why_in_one_line_without_folders(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    def refuse(_task: Task) -> dict[str, object]:
        raise PipelineError("nothing\nhere", where=str(tmp_path / "models" / "x"), mend="look elsewhere")

    jobs = jobs_on(engine, tmp_path, clock, refuse=refuse)
    job = jobs.submit("refuse", {}, by="olga")
    jobs.run_next()

    failed = jobs.get(job.job_id)
    assert failed is not None
    assert (failed.state, failed.problem) == ("failed", "models/x: nothing here — look elsewhere")


def test_an_unexpected_error_of_a_job_is_told_by_the_log_alone(engine: Engine, tmp_path: Path, clock: Clock) -> None:
    def break_down(_task: Task) -> dict[str, object]:
        raise RuntimeError("the passphrase is 1234")

    jobs = jobs_on(engine, tmp_path, clock, break_down=break_down)
    job = jobs.submit("break_down", {}, by="olga")
    jobs.run_next()

    failed = jobs.get(job.job_id)
    assert failed is not None
    assert failed.state == "failed"
    assert "1234" not in failed.problem
    assert job.job_id in failed.problem


def test_several_workers_do_each_job_once(engine: Engine, tmp_path: Path, clock: Clock) -> None:
    did: list[int] = []

    def work(task: Task) -> dict[str, object]:
        did.append(task.order["number"])
        return {}

    processes = [jobs_on(engine, tmp_path, clock, work=work) for _ in range(3)]
    for number in range(12):
        processes[0].submit("work", {"number": number}, by=f"caller {number}")

    def until_all_is_done(jobs: Jobs) -> None:
        while jobs.run_next():
            pass

    threads = [threading.Thread(target=until_all_is_done, args=(jobs,)) for jobs in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(did) == list(range(12))
    assert {job.state for job in processes[0].page(None, 100)} == {"done"}


def test_of_what_changes_the_model_one_runs_at_a_time_and_other_work_goes_on(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    meanwhile: list[str] = []

    def long_work(_task: Task) -> dict[str, object]:
        other = jobs_on(engine, tmp_path, clock, alone_too=double, double=double)
        while other.run_next():
            meanwhile.extend(job.kind for job in other.page(None, 10) if job.state == "done")
        return {}

    jobs = jobs_on(engine, tmp_path, clock, alone=long_work, alone_too=double, double=double)
    for kind in ("alone", "alone_too", "double"):
        jobs.submit(kind, {"number": 1}, by="olga")
        clock.pass_by(timedelta(seconds=1))
    jobs.run_next()

    assert meanwhile == ["double"]
    assert jobs.run_next(), "its turn came"
    assert {job.state for job in jobs.page(None, 10)} == {"done"}


def test_a_job_whose_worker_died_is_begun_anew_and_the_dead_one_says_nothing_more(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    def overtaken(_task: Task) -> dict[str, object]:
        # Held up for longer than its lease, as a process that is stopped would be.
        clock.pass_by(LEASE + timedelta(seconds=1))
        other = jobs_on(engine, tmp_path, clock, alone=lambda _task: {"by": "the second"})
        assert other.run_next()
        return {"by": "the first"}

    jobs = jobs_on(engine, tmp_path, clock, alone=overtaken)
    job = jobs.submit("alone", {}, by="olga")
    jobs.run_next()

    done = jobs.get(job.job_id)
    assert done is not None
    assert (json.loads(done.result), done.attempts, done.state) == ({"by": "the second"}, 2, "done")
    assert done.slot is None, "the next one may run"


def test_who_lost_the_lease_stops_at_the_next_word_about_its_progress(engine: Engine, tmp_path: Path, clock: Clock) -> None:
    reached: list[str] = []

    def overtaken(task: Task) -> dict[str, object]:
        clock.pass_by(LEASE + timedelta(seconds=1))
        assert jobs_on(engine, tmp_path, clock, work=lambda _task: {}).run_next()
        task.told("on and on", 0.5)
        reached.append("the end")
        return {}

    jobs = jobs_on(engine, tmp_path, clock, work=overtaken)
    jobs.submit("work", {}, by="olga")
    jobs.run_next()

    assert reached == []


def test_a_worker_that_lives_keeps_its_lease(
    engine: Engine, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "BEAT_SECONDS", 0.01)
    taken_by_another: list[bool] = []

    def long_work(task: Task) -> dict[str, object]:
        clock.pass_by(LEASE * 0.9)
        _wait_for_beat(engine, task.job.job_id, clock() + LEASE)
        clock.pass_by(LEASE * 0.9)
        taken_by_another.append(jobs_on(engine, tmp_path, clock, work=double).run_next())
        return {}

    jobs = jobs_on(engine, tmp_path, clock, work=long_work)
    jobs.submit("work", {}, by="olga")
    jobs.run_next()

    assert taken_by_another == [False]


def _wait_for_beat(engine: Engine, job_id: str, until: datetime) -> None:
    for _ in range(1000):
        with transaction(engine) as session:
            job = session.get(JobRecord, job_id)
        if job is not None and job.lease_until == until:
            return
        threading.Event().wait(0.01)
    raise AssertionError("no sign of life")


def test_a_job_whose_worker_died_three_times_is_given_up_and_becomes_an_incident(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    class Killed(BaseException):
        """The process ends here."""

    def deadly(_task: Task) -> dict[str, object]:
        raise Killed

    jobs = jobs_on(engine, tmp_path, clock, alone=deadly)
    job = jobs.submit("alone", {}, by="olga")
    for _ in range(3):
        with pytest.raises(Killed):
            jobs.run_next()
        clock.pass_by(LEASE + timedelta(seconds=1))

    assert not jobs.run_next()

    given_up = jobs.get(job.job_id)
    assert given_up is not None
    assert (given_up.state, given_up.attempts, given_up.slot) == ("failed", 3, None)
    with transaction(engine) as session:
        [incident] = session.exec(select(Incident)).all()
    assert (incident.kind, incident.subject) == ("job-given-up", job.job_id)


def test_only_a_job_that_waits_can_be_cancelled(engine: Engine, tmp_path: Path, clock: Clock) -> None:
    jobs = jobs_on(engine, tmp_path, clock, double=double)
    first, second = (jobs.submit("double", {"number": number}, by="olga") for number in (1, 2))

    assert jobs.cancel(second.job_id).state == "cancelled"
    while jobs.run_next():
        pass

    assert (state_of(jobs, first), state_of(jobs, second)) == ("done", "cancelled")
    with pytest.raises(JobKept, match="it is done"):
        jobs.cancel(first.job_id)


def test_only_so_many_jobs_of_a_caller_wait_and_another_is_not_held_up(engine: Engine, tmp_path: Path, clock: Clock) -> None:
    jobs = jobs_on(engine, tmp_path, clock, double=double)
    for number in range(MOST_QUEUED):
        jobs.submit("double", {"number": number}, by="olga")

    with pytest.raises(TooManyJobs):
        jobs.submit("double", {"number": 99}, by="olga")
    jobs.submit("double", {"number": 99}, by="oleg")
    while jobs.run_next():
        pass
    jobs.submit("double", {"number": 99}, by="olga")


def test_what_is_told_of_a_job_is_numbered_and_can_be_read_from_any_number_on(
    engine: Engine, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "TELL_SECONDS", 0.0)

    def work(task: Task) -> dict[str, object]:
        task.told("half", 0.5)
        task.told("too much", 7.0)
        return {}

    jobs = jobs_on(engine, tmp_path, clock, work=work)
    job = jobs.submit("work", {}, by="olga")
    assert jobs.events(job.job_id, 1) == ([], False)
    jobs.run_next()

    events, over = jobs.events(job.job_id, 0)
    assert over
    assert [(event.number, event.state, event.stage, event.share) for event in events] == [
        (1, "queued", "", 0.0),
        (2, "running", "", 0.0),
        (3, "running", "half", 0.5),
        (4, "running", "too much", 1.0),
        (5, "done", "too much", 1.0),
    ]
    assert [event.number for event in jobs.events(job.job_id, 3)[0]] == [4, 5]


def test_progress_that_is_told_all_the_time_is_written_now_and_then(
    engine: Engine, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "TELL_SECONDS", 3600.0)

    def work(task: Task) -> dict[str, object]:
        for day in range(366):
            task.told(f"day {day}", day / 366)
        return {}

    jobs = jobs_on(engine, tmp_path, clock, work=work)
    job = jobs.submit("work", {}, by="olga")
    jobs.run_next()

    told = [event.stage for event in jobs.events(job.job_id, 2)[0]]
    assert told[0] == "day 0"
    assert len(told) <= 1 / jobs_module.TELL_SHARE + 2


def test_a_stage_far_from_the_last_one_is_told_however_soon(
    engine: Engine, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "TELL_SECONDS", 3600.0)

    def work(task: Task) -> dict[str, object]:
        task.told("revoking", 0.1)
        task.told("training", 0.2)
        return {}

    jobs = jobs_on(engine, tmp_path, clock, work=work)
    job = jobs.submit("work", {}, by="olga")
    jobs.run_next()

    assert [event.stage for event in jobs.events(job.job_id, 2)[0]][:2] == ["revoking", "training"]


def test_a_page_shows_the_jobs_of_one_caller_newest_first(engine: Engine, tmp_path: Path, clock: Clock) -> None:
    jobs = jobs_on(engine, tmp_path, clock, double=double)
    names = []
    for number in range(4):
        names.append(jobs.submit("double", {"number": number}, by="olga" if number % 2 else "oleg").job_id)
        clock.pass_by(timedelta(seconds=1))

    assert [job.job_id for job in jobs.page(None, 10)] == names[::-1]
    assert [job.job_id for job in jobs.page(None, 10, by="olga")] == [names[3], names[1]]
    second = jobs.page(None, 2)[-1]
    assert [job.job_id for job in jobs.page(position_of(second), 10)] == [names[1], names[0]]


def test_a_worker_goes_on_when_its_store_comes_back(
    engine: Engine, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "POLL_SECONDS", 0.01)
    done, away = threading.Event(), [True]

    def work(_task: Task) -> dict[str, object]:
        done.set()
        return {}

    jobs = jobs_on(engine, tmp_path, clock, work=work)
    real = jobs._taken

    def taken() -> JobRecord | None:
        if away.pop() if away else False:
            raise OSError("the store is away")
        return real()

    monkeypatch.setattr(jobs, "_taken", taken)
    jobs.submit("work", {}, by="olga")
    jobs.start()

    assert done.wait(30)
    jobs.close()
