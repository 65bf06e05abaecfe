from __future__ import annotations

import json

import pytest

from api.output import print_facts, print_json, print_table, progress


def test_numbers_that_are_not_finite_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": ("x",), 3: {"d": None}})

    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": ["x"], "3": {"d": None}}


def test_cells_are_text_and_never_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Reasons", ("why",), [("[red]lies[/nonsense]",), (None,), (["a", "b"],), (1234.5,)])

    out = capsys.readouterr().out
    assert "[red]lies[/nonsense]" in out
    assert "a, b" in out
    assert "1,234.50" in out
    assert "None" not in out


def test_facts_have_no_empty_header(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts("Facts", {"a": 1})

    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.parametrize("quiet", [True, False])
def test_progress_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str], quiet: bool) -> None:
    with progress(quiet) as report:
        report("stage", -1)
        report("stage", 0.5)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip() == ""


def test_progress_shows_its_stage_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress(quiet=False) as report:
        report("looking for the onset", 0.5)

    captured = capsys.readouterr()
    assert "looking for the onset" in captured.err
    assert captured.out == ""
