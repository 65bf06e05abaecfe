"""`gridward verify-install` says what differs, a line each, and what it does not show."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.api.commands import Run, runner
from tests.unit.security.small_environment import Environment, build


@pytest.fixture
def gridward(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys, "verify-install")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return build(tmp_path)


def given(environment: Environment, *more: object) -> tuple[object, ...]:
    return ("--prefix", environment.prefix, "--requirements", environment.pins, *more)


def test_an_environment_that_equals_its_wheels_holds(gridward: Run, environment: Environment) -> None:
    for compiled in environment.site.rglob("__pycache__"):
        shutil.rmtree(compiled)
    left = gridward(*given(environment, "--wheels", environment.wheels, "--no-bytecode"))

    assert left.code == 0
    assert left.out.startswith("2 distributions equal their pinned wheels: ")
    assert "not shown" not in left.out


def test_what_is_not_shown_is_said(gridward: Run, environment: Environment) -> None:
    left = gridward(*given(environment))

    assert left.code == 0
    assert "not shown: RECORD is believed for all: whoever changed a file could change RECORD too" in left.out
    assert "not shown: 2 compiled files were compared with nothing; --no-bytecode refuses them" in left.out


def test_each_difference_is_a_line_and_the_exit_code_is_that_of_changed_content(
    gridward: Run, environment: Environment
) -> None:
    (environment.site / "tariffs.py").write_text("PRICE = 1\n")
    (environment.prefix / "bin" / "meters-run").unlink()
    left = gridward(*given(environment, "--wheels", environment.wheels))

    assert left.code == 3
    assert [line for line in left.out.splitlines() if not line.startswith("not shown")] == [
        "bin/meters-run: missing",
        f"lib/{environment.site.parent.name}/site-packages/tariffs.py: altered",
    ]
    assert left.err.startswith("error: ")
    assert "2 of what is installed is not as pinned" in left.err


def test_the_json_holds_the_findings_and_what_was_not_shown(gridward: Run, environment: Environment) -> None:
    (environment.site / "sitecustomize.py").write_text("")
    left = gridward(*given(environment, "--wheels", environment.wheels, "--json"))

    assert left.code == 3
    assert left.json["holds"] is False
    assert [one["why"] for one in left.json["findings"]] == ["unknown: no distribution put it there"]
    assert left.json["distributions"] == {"from_wheels": ["meters", "tariffs"], "from_records": []}
    assert left.json["bytecode_not_compared"] == 2
    assert len(left.json["not_shown"]) == 1


def test_pins_and_wheels_that_are_not_there_are_missed_in_one_line(gridward: Run, environment: Environment) -> None:
    assert gridward("--requirements", "nowhere.txt").code == 5
    assert gridward(*given(environment, "--wheels", "nowhere")).code == 5
    assert gridward("--requirements", environment.pins, "--prefix", "nowhere").code == 5
