"""A recovery carries its plan to the end, however often it is stopped, and changes nothing when there is nothing to do."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.station_state import state_of
from data.errors import NoTrustedWeather
from data.schema import PROVIDER
from pipeline import registry
from pipeline.database import transaction
from pipeline.errors import GateFailed, PipelineError, RecoveryRunning, RecoveryUnfinished
from pipeline.ingest import keep_flags, load_readings, take_weather
from pipeline.provider_standings import SAFETY_MARGIN, exclusions_at, standings_at
from pipeline.publish import open_model
from pipeline.readmit import readmit
from pipeline.recover import revoke_provider
from pipeline.recovery import journal, run
from pipeline.recovery.plan import moment_of
from pipeline.recovery.report import report_path
from pipeline.recovery.run import preview
from pipeline.station import Station
from pipeline.train import TrainingOrder, train
from pipeline.weather_policy import WeatherPolicy
from security.keyring import key_state, register_key
from security.signing import new_signer
from tests.unit.pipeline import small_recovery
from tests.unit.pipeline.small_recovery import AMID, AT, BEFORE, LIAR, NOW, ONSET, UTILITY, opened, request

STATES = ("planned", "revoked", "trained", "judged", "promoted", "done")
ROOT = Path(__file__).parents[3]


class Stopped(BaseException):
    """Like a kill: nothing catches it."""


@pytest.fixture(scope="module")
def lied_to(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_recovery.build(tmp_path_factory.mktemp("lied-to") / "built")


@pytest.fixture
def home(lied_to: Path, tmp_path: Path) -> Path:
    shutil.copytree(lied_to, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def lied(home: Path) -> Iterator[Station]:
    station = opened(home)
    yield station
    station.engine.dispose()


@pytest.fixture(scope="module")
def undisturbed(lied_to: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The state that a recovery in one go leads to."""
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    shutil.copytree(lied_to, home)
    station = opened(home)
    small_recovery.run(station)
    state = state_of(station)
    station.engine.dispose()
    return state


def content_of(folder: Path) -> dict[str, str]:
    """Every file's digest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def states(station: Station) -> dict[pd.Timestamp, str]:
    with transaction(station.engine) as session:
        return {pd.Timestamp(entry.as_of): entry.state for entry in registry.listing(session)}


def stop_at(wanted: str) -> Callable[[str], None]:
    def reached(state: str) -> None:
        if state == wanted:
            raise Stopped

    return reached


def wanting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make a gate fail that would have passed."""
    judge = run.judge

    def stricter(*arguments: Any) -> Any:
        gates, against = judge(*arguments)
        strict = [gate if gate.name != name else type(gate)(**{**vars(gate), "verdict": "failed"}) for gate in gates]
        return tuple(strict), against

    monkeypatch.setattr(run, "judge", stricter)


def test_a_recovery_revokes_trains_judges_promotes_and_says_so(lied: Station) -> None:
    reached: list[str] = []
    report = small_recovery.run(lied, reached=reached.append)
    assert tuple(reached) == STATES
    assert (report.outcome, [gate.verdict for gate in report.gates]) == ("done", ["passed"] * 3)
    assert states(lied) == {BEFORE: registry.RETIRED, AMID: registry.REVOKED, NOW: registry.ACTIVE}
    with transaction(lied.engine) as session:
        assert registry.active_id(session) == report.model_id
        assert key_state(session, "provider", LIAR) == "revoked"
        assert standings_at(session, AT)[LIAR].to_state == "revoked"
        assert exclusions_at(session, AT)[LIAR].since == pd.Timestamp(ONSET, tz="UTC") - SAFETY_MARGIN
    contract = open_model(lied, report.model_id).contract
    assert (str(contract.policy), list(contract.excluded)) == ("multi-source", [LIAR])
    assert json.loads(report_path(lied, report.plan.recovery_id).read_text()) == report.to_json()
    assert set(report.seconds) == set(STATES)


def test_the_plan_says_what_is_lost_and_what_was_touched(lied: Station) -> None:
    plan = preview(lied, load_readings(lied), request(), AT)
    assert (plan.onset, plan.refused_from) == (datetime(2023, 5, 1, tzinfo=UTC), datetime(2023, 4, 17, tzinfo=UTC))
    assert plan.clean_snapshot_as_of == BEFORE
    assert plan.as_of == AT
    assert (len(plan.touched.snapshots), plan.touched.models) == (1, (plan.model_in_service,))
    # 150 days of three providers; 14 days before the onset, 30 after it.
    assert (plan.provider_days.heard, plan.provider_days.discarded, plan.provider_days.before_onset) == (450, 44, 14)
    assert plan == type(plan).from_json(plan.to_json())


def test_a_dry_run_changes_no_byte(home: Path) -> None:
    opened(home).engine.dispose()
    before = content_of(home)
    station = opened(home)
    preview(station, load_readings(station), request(), AT)
    station.engine.dispose()
    assert content_of(home) == before


def test_a_dry_run_shows_the_plan_that_is_carried_out(lied: Station) -> None:
    readings = load_readings(lied)
    plan = preview(lied, readings, request(), AT)
    assert small_recovery.run(lied).plan == plan
    assert preview(lied, readings, request(), AT + timedelta(days=1)) == plan


def test_run_again_it_answers_its_report_and_changes_no_byte(home: Path) -> None:
    station = opened(home)
    first = small_recovery.run(station)
    station.engine.dispose()
    before = content_of(home)
    station = opened(home)
    again = small_recovery.run(station, request(by="otto", reason="to be sure"))
    station.engine.dispose()
    assert again == first
    assert content_of(home) == before


def test_a_lost_report_is_written_again(lied: Station) -> None:
    report = small_recovery.run(lied)
    path = report_path(lied, report.plan.recovery_id)
    content = path.read_text()
    path.unlink()
    small_recovery.run(lied)
    assert path.read_text() == content


@pytest.mark.parametrize("state", STATES)
def test_stopped_after_any_step_it_ends_in_the_same_state(lied: Station, undisturbed: dict[str, Any], state: str) -> None:
    with pytest.raises(Stopped):
        small_recovery.run(lied, reached=stop_at(state))
    assert small_recovery.run(lied).outcome == "done"
    assert state_of(lied) == undisturbed


@pytest.mark.parametrize("state", STATES[1:])
def test_stopped_within_any_step_it_ends_in_the_same_state(
    lied: Station, undisturbed: dict[str, Any], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = journal.advance

    def cut_short(session: Any, recovery_id: str, step: tuple[str, str], *rest: Any, **found: Any) -> Any:
        if step[1] == state:
            raise Stopped
        return advance(session, recovery_id, step, *rest, **found)

    with monkeypatch.context() as patched:
        patched.setattr(journal, "advance", cut_short)
        with pytest.raises(Stopped):
            small_recovery.run(lied)
    small_recovery.run(lied)
    assert state_of(lied) == undisturbed


@pytest.mark.parametrize("state", ["planned", "revoked", "trained"])
def test_what_comes_in_between_a_stop_and_the_resumption_changes_nothing(
    lied: Station, undisturbed: dict[str, Any], state: str
) -> None:
    with pytest.raises(Stopped):
        small_recovery.run(lied, reached=stop_at(state))
    hours = pd.date_range(NOW - pd.Timedelta(days=9), periods=200, freq="h", unit="us")
    late = {"provider": "boreas", "issued_at": NOW.as_unit("us"), "valid_at": hours, "temperature_c": -20.0}
    take_weather(lied, pd.DataFrame(late))
    keep_flags(lied, pd.DataFrame({"provider": "cirrus", "valid_at": hours, "flags": 8}), AT)
    assert small_recovery.run(lied).outcome == "done"
    assert state_of(lied) == undisturbed


@pytest.mark.parametrize("state", ["planned", "trained", "done"])
def test_stopped_before_the_log_was_signed_it_is_signed_the_next_time(
    lied: Station, undisturbed: dict[str, Any], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(station: Station, _at: datetime) -> None:
        with transaction(station.engine) as session:
            found = journal.unfinished(session)
        if found is None or found.state == state:
            raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(run, "witness", never)
        with pytest.raises(Stopped):
            small_recovery.run(lied)
    small_recovery.run(lied)
    assert state_of(lied) == undisturbed


def in_a_process(home: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.unit.pipeline.small_recovery", str(home), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("delay", [0.1, 0.6, 1.4])
def test_killed_at_a_boundary_and_within_a_step_it_ends_in_the_same_state(
    home: Path, undisturbed: dict[str, Any], delay: float
) -> None:
    with in_a_process(home, "revoked") as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    with in_a_process(home) as process:
        assert process.stdout is not None
        # Only what is new is told.
        first = process.stdout.readline()
        time.sleep(delay)
        process.kill()
    assert first == "opened\n"
    station = opened(home)
    small_recovery.run(station)
    state = state_of(station)
    station.engine.dispose()
    assert state == undisturbed


def test_two_at_once_the_second_is_told_to_wait(lied: Station) -> None:
    with (lied.home / "recovery.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RecoveryRunning, match="wait for it"):
            small_recovery.run(lied)
    assert small_recovery.run(lied).outcome == "done"


@pytest.mark.parametrize("other", [{"since": "2023-05-02"}, {"seed": 2}, {"provider": "boreas"}])
def test_another_recovery_waits_for_the_unfinished_one(lied: Station, other: dict[str, Any]) -> None:
    with pytest.raises(Stopped):
        small_recovery.run(lied, reached=stop_at("revoked"))
    with pytest.raises(RecoveryUnfinished, match=f"recover --provider {LIAR} --since {ONSET}"):
        small_recovery.run(lied, request(**other))
    with pytest.raises(RecoveryUnfinished):
        preview(lied, load_readings(lied), request(**other), AT)


@pytest.mark.parametrize("gate", ["backtest", "mild hours", "golden"])
def test_a_failed_gate_leaves_the_model_in_service(lied: Station, gate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanting(monkeypatch, gate)
    with pytest.raises(GateFailed, match=gate) as refused:
        small_recovery.run(lied)
    assert states(lied) == {BEFORE: registry.RETIRED, AMID: registry.ACTIVE, NOW: registry.CANDIDATE}
    assert refused.value.exit_code == 6
    report = json.loads(report_path(lied, refused.value.recovery_id).read_text())
    assert report["outcome"] == "refused"
    assert [entry["name"] for entry in report["gates"] if entry["verdict"] == "failed"] == [gate]
    with transaction(lied.engine) as session:
        assert key_state(session, "provider", LIAR) == "revoked"


def test_refused_again_nothing_changes_until_another_model_serves(lied: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        wanting(patched, "backtest")
        with pytest.raises(GateFailed):
            small_recovery.run(lied)
    before = state_of(lied)
    with pytest.raises(GateFailed):
        small_recovery.run(lied)
    assert state_of(lied) == before
    moment = NOW - pd.Timedelta(days=1)
    train(lied, load_readings(lied), TrainingOrder(WeatherPolicy("boreas"), moment, AT, by="monthly schedule"))
    assert small_recovery.run(lied).outcome == "done"


def test_a_model_that_came_into_service_after_the_gates_is_judged_against_first(lied: Station) -> None:
    with pytest.raises(Stopped):
        small_recovery.run(lied, reached=stop_at("judged"))
    moment = NOW - pd.Timedelta(days=1)
    order = TrainingOrder(WeatherPolicy("boreas"), moment, AT, by="monthly schedule")
    newer = train(lied, load_readings(lied), order).model_id
    reached: list[str] = []
    report = small_recovery.run(lied, reached=reached.append)
    assert reached == ["trained", "judged", "promoted", "done"]
    assert (report.outcome, report.judged_against) == ("done", newer)


def test_a_step_that_cannot_be_done_is_told_and_tried_again(lied: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    def deserted(*_: Any) -> None:
        raise NoTrustedWeather("nobody is left")

    with monkeypatch.context() as patched:
        patched.setattr(run, "clean_past", deserted)
        with pytest.raises(NoTrustedWeather):
            small_recovery.run(lied)
    with transaction(lied.engine) as session:
        (record,) = session.exec(journal.select(journal.RecoveryRecord)).all()
    assert (record.outcome, record.state, record.problem) == ("failed", "revoked", "nobody is left")
    assert states(lied) == {BEFORE: registry.RETIRED, AMID: registry.ACTIVE}
    # It does not stand in the way of another one, and is itself taken up where it stood.
    assert preview(lied, load_readings(lied), request(provider="boreas"), AT).provider == "boreas"
    assert small_recovery.run(lied).outcome == "done"


def test_a_provider_revoked_before_keeps_its_earlier_onset(lied: Station) -> None:
    earlier = datetime(2023, 4, 10, tzinfo=UTC)
    revoke_provider(lied, load_readings(lied), LIAR, by="olga", reason="suspected", at=earlier)
    report = small_recovery.run(lied)
    assert report.plan.refused_from == earlier - SAFETY_MARGIN
    assert "refused since 2023-03-27 already" in report.plan.evidence
    with transaction(lied.engine) as session:
        assert exclusions_at(session, AT)[LIAR].since == pd.Timestamp(earlier) - SAFETY_MARGIN
        assert standings_at(session, AT)[LIAR].at == earlier


def test_a_provider_that_came_back_and_lies_again_is_recovered_from_again(lied: Station) -> None:
    first = small_recovery.run(lied)
    with transaction(lied.engine) as session:
        key = new_signer().public_key
        register_key(session, purpose="provider", owner=LIAR, public_key=key, by="ann", reason="new", at=AT)
    readmit(lied, load_readings(lied), LIAR, by="olga", reason="new contract", at=AT + timedelta(hours=1))
    again = run.recover(lied, load_readings(lied), request(), clock=lambda: AT + timedelta(hours=2))
    assert again.plan.recovery_id != first.plan.recovery_id
    with transaction(lied.engine) as session:
        assert key_state(session, "provider", LIAR) == "revoked"


def test_what_becomes_known_after_the_day_asked_for_is_not_learned(lied: Station) -> None:
    report = small_recovery.run(lied, request(as_of_day=date(2023, 5, 25)))
    assert report.plan.as_of == UTILITY.gate_closure_of(date(2023, 5, 25))


@pytest.mark.parametrize(
    ("since", "moment"),
    [
        ("2023-05-01T12:00", "2023-05-01T12:00+00:00"),
        ("2023-05-01T12:00+02:00", "2023-05-01T10:00+00:00"),
        ("2023-05-01", "2023-04-30T14:00+00:00"),
        ("2023-05-01T00:00", "2023-05-01T00:00+00:00"),
    ],
)
def test_a_date_is_local_midnight_and_a_moment_without_offset_is_utc(lied: Station, since: str, moment: str) -> None:
    readings = load_readings(lied)
    there = type(readings)(**{**vars(readings), "utility": type(UTILITY)("Australia/Melbourne", UTILITY.step)})
    assert moment_of(since, there, AT) == pd.Timestamp(moment)


@pytest.mark.parametrize(
    ("since", "problem"),
    [("yesterday", "is no moment"), ("2023-06-01", "lies in the future"), ("2022-12-31", "lies before the first reading")],
)
def test_an_onset_that_cannot_be_is_refused_in_one_line(lied: Station, since: str, problem: str) -> None:
    before = state_of(lied)
    with pytest.raises(PipelineError, match=problem) as refused:
        small_recovery.run(lied, request(since=since))
    assert "\n" not in str(refused.value)
    assert state_of(lied) == before


def test_a_provider_nobody_knows_is_refused(lied: Station) -> None:
    with pytest.raises(PipelineError, match="aurora, boreas, cirrus"):
        small_recovery.run(lied, request(provider="zephyr"))
    assert set(load_readings(lied).weather[PROVIDER]) == {"aurora", "boreas", "cirrus"}
