"""What `gridward case-study` does with a result; the study itself takes minutes and is tried by `make demo`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from api import cli
from pipeline.case_study import CaseStudyResult
from pipeline.case_study.scores import DayParts, bounds, cost, figures, windows

PERIODS = ("before the attack", "attack", "last three attacked months", "after recovery")
DAY = DayParts("2014-05-01", 48, 100_000.0, 101_000.0, 1_500.0, 2.5, 38, 10, 20_000.0, 20_400.0, "m1", "multi-source")


def summary(unexpected: int = 0) -> dict[str, Any]:
    table = windows(
        {world: [DAY] for world in ("clean", "undefended", "defended")}, dict.fromkeys(PERIODS, (date(2014, 5, 1),) * 2)
    )
    touched = {"snapshots": ["s1"], "models": ["m1"], "forecasts": ["f1", "f2", "f3"], "energy_mwh": 321.0}
    when = {"compromise": "2014-01-01", "recovery": None}
    return {
        "timeline": {"undefended": when, "defended": when},
        "windows": table,
        "bounds": [claim for claim in bounds(table, 0, unexpected) if claim["holds"] or unexpected],
        "learned": figures([DAY]),
        "cost": cost(table, 9.0),
        "touched": {"undefended": touched, "defended": touched},
        "service": [{"act": "an analyst may not retrain", "role": "analyst", "request": "POST /v1/retrain", "status": 403}],
    }


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the study was asked for; it answers at once."""
    seen: list[Any] = []

    def run(seed: int, out: Path, _: Callable[[str, float], None]) -> CaseStudyResult:
        seen.extend([seed, out])
        return CaseStudyResult(summary(), out / "report.html", out / "case_study.json", {"attack": 12.3, "total": 45.6})

    monkeypatch.setattr("pipeline.case_study.run", run)
    return seen


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["gridward", "case-study", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code in (0, None)


def test_the_story_is_told_in_tables_with_the_time_it_took(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    call(monkeypatch, "--seed", "3", "--out", str(tmp_path / "study"))

    out = capsys.readouterr().out
    assert asked == [3, tmp_path / "study"]
    for part in ("2014-01-01", "—", "an analyst may not retrain", "403", "321.00", "45.60", "report.html"):
        assert part in out
    assert "last three attacked months" in out


def test_the_story_is_json_too(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, "--json", "--out", str(tmp_path))

    content = json.loads(capsys.readouterr().out)
    assert asked == [1, tmp_path]
    assert content["summary"] == summary()
    assert content["timings_seconds"] == {"attack": 12.3, "total": 45.6}
    assert content["report"] == str(tmp_path / "report.html")


def test_a_claim_that_does_not_hold_is_an_error_after_everything_was_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_seed: int, out: Path, _: Callable[[str, float], None]) -> CaseStudyResult:
        return CaseStudyResult(summary(unexpected=2), out / "report.html", out / "case_study.json", {"total": 1.0})

    monkeypatch.setattr("pipeline.case_study.run", run)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(sys, "argv", ["gridward", "case-study", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    shown = capsys.readouterr()
    assert left.value.code == 6
    assert "NO" in shown.out
    assert "report.html" in shown.out
    assert "answers with another status" in shown.err
