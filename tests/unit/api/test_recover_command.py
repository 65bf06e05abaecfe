"""`gridward recover`: a plan without a change, a recovery at the replayed moment, one line and a code for each refusal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.station_state import state_of
from pipeline.recovery import run as recovery_run
from pipeline.recovery.report import report_path
from tests.unit.api.commands import Run, runner
from tests.unit.pipeline import small_recovery
from tests.unit.pipeline.small_recovery import AT, LIAR, ONSET, opened

OPTIONS = ("--provider", LIAR, "--since", ONSET)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys, "recover")


@pytest.fixture(scope="module")
def lied_to(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_recovery.build(tmp_path_factory.mktemp("lied-to") / "built")


@pytest.fixture
def home(lied_to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(lied_to, tmp_path / "home")
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GRIDWARD_FORECASTER", "linear")
    monkeypatch.setenv("GRIDWARD_REPLAY_AT", AT.isoformat())
    return tmp_path / "home"


def state(home: Path) -> dict[str, Any]:
    station = opened(home)
    found = state_of(station)
    station.engine.dispose()
    return found


def test_a_dry_run_shows_the_plan_and_changes_nothing(home: Path, run: Run) -> None:
    before = state(home)
    shown = run(*OPTIONS, "--dry-run", "--json")
    assert (shown.code, shown.json["dry_run"], shown.json["plan"]["provider_days"]["before_onset"]) == (0, True, 14)
    told = run(*OPTIONS, "--dry-run")
    assert "nothing was changed" in told.out
    assert "44 of 450 (9.8 %)" in told.out
    assert state(home) == before


def test_it_recovers_at_the_replayed_moment_and_once(home: Path, run: Run) -> None:
    made = run(*OPTIONS, "--json")
    assert (made.code, made.json["outcome"], made.json["plan"]["at"]) == (0, "done", "2023-05-31T00:00:00Z")
    after = state(home)
    again = run(*OPTIONS)
    assert again.code == 0
    assert made.json["model"] in again.out
    assert "/v1/models/reload" in again.out
    assert state(home) == after


def test_a_gate_that_fails_leaves_with_six_and_says_which(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = recovery_run.judge

    def stricter(*arguments: Any) -> Any:
        gates, against = judge(*arguments)
        return (type(gates[0])(**{**vars(gates[0]), "verdict": "failed"}), *gates[1:]), against

    monkeypatch.setattr(recovery_run, "judge", stricter)
    refused = run(*OPTIONS)
    assert refused.code == 6
    assert refused.err.startswith("error: recovery r-")
    assert "backtest" in refused.err
    station = opened(home)
    (recovery,) = state_of(station)["recoveries"]
    assert json.loads(report_path(station, recovery["recovery_id"]).read_text())["outcome"] == "refused"
    station.engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--provider", "zephyr"), "no provider 'zephyr'"),
        (("--provider", LIAR, "--since", "soon"), "is no moment"),
        (("--provider", LIAR, "--since", "2030-01-01"), "lies in the future"),
        (("--provider", LIAR, "--since", "2001-01-01"), "lies before the first reading"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry"])
def test_what_cannot_be_is_refused_in_one_line(
    home: Path, run: Run, arguments: tuple[str, ...], problem: str, dry: tuple[str, ...]
) -> None:
    before = state(home)
    refused = run(*arguments, *dry)
    assert refused.code == 2
    assert problem in refused.err
    assert refused.err.count("\n") == 1
    assert state(home) == before


def test_without_a_station_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "nowhere"))
    assert run("--provider", LIAR).code == 5
    assert not (tmp_path / "nowhere").exists()
