"""`gridward audit-data`: the ranking of a station's own snapshot, as a table, as JSON and as a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from api.cli import app
from pipeline.errors import PipelineError

RUNNER = CliRunner()


@pytest.fixture
def snapshot_id(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    shutil.copytree(built, tmp_path / "home")
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "home"))
    listed = json.loads(RUNNER.invoke(app, ["snapshot", "list", "--json"]).stdout)
    return str(listed["snapshots"][0]["snapshot_id"])


def test_json_has_the_ranking_and_the_file_every_block(snapshot_id: str, tmp_path: Path):
    path = tmp_path / "blocks.csv"
    answer = json.loads(
        RUNNER.invoke(
            app, ["audit-data", snapshot_id, "--top", "5", "--json", "--csv", str(path)], catch_exceptions=False
        ).stdout
    )
    written = pd.read_csv(path)

    assert answer["snapshot_id"] == snapshot_id
    assert [block["rank"] for block in answer["ranking"]] == [1, 2, 3, 4, 5]
    assert len(written) == answer["blocks"]
    assert set(written["source"]) == {"demand", "aurora", "boreas", "cirrus"}
    assert written["score"].is_monotonic_decreasing


def test_the_table_counts_the_suspects(snapshot_id: str):
    shown = RUNNER.invoke(app, ["audit-data", snapshot_id, "--top", "3"], catch_exceptions=False)

    assert "blocks are suspect" in shown.stdout
    assert "week of" in shown.stdout


def test_an_unknown_snapshot_is_refused_before_any_path_is_made(snapshot_id: str):
    with pytest.raises(PipelineError, match="no snapshot"):
        RUNNER.invoke(app, ["audit-data", "../" + snapshot_id], catch_exceptions=False)
