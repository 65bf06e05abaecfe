"""`gridward database`: which version there is, up, and down again; `gridward serve --workers` not without a common store."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pipeline.database import connect, version_of
from pipeline.migrate import FIRST, known_versions
from pipeline.migrations import NEWEST
from pipeline.settings import Settings
from pipeline.station import open_station
from tests.unit.api.commands import Run, runner

WORD = "hunter2"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a station without anything in it."""
    open_station(Settings(home=tmp_path / "home")).engine.dispose()
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def version_in(home: Path) -> str | None:
    engine = connect("", home)
    found = version_of(engine)
    engine.dispose()
    return found


def test_status_says_which_version_there_is_and_which_are_known(run: Run, home: Path) -> None:
    told = run("database", "status", "--json").json
    assert (told["kind"], told["version"], told["newest"], told["up_to_date"]) == ("sqlite", NEWEST, NEWEST, True)
    assert told["known"] == known_versions()
    assert "0001, 0002" in run("database", "status").out
    assert home.exists()


def test_without_a_station_there_is_nothing_to_tell_and_none_is_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "none"))
    outcome = run("database", "status")
    assert outcome.code == 5
    assert "no database" in outcome.err
    assert not (tmp_path / "none").exists()


def test_the_schema_goes_down_for_an_older_gridward_and_up_again(run: Run, home: Path) -> None:
    assert run("database", "downgrade", FIRST, "--json").json == {"from": NEWEST, "to": FIRST}
    assert version_in(home) == FIRST
    assert run("database", "upgrade", "--json").json == {"from": FIRST, "to": NEWEST}
    assert run("database", "upgrade").out == f"the schema was {NEWEST}, it is {NEWEST}\n"
    assert "database.downgraded" in (home / "gridward.sqlite").read_bytes().decode(errors="ignore") + (
        home / "gridward.sqlite-wal"
    ).read_bytes().decode(errors="ignore")
    assert run("audit", "verify").code == 0


def test_who_may_not_upgrade_is_told_what_to_run(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("database", "downgrade", FIRST)
    monkeypatch.setenv("GRIDWARD_UPGRADE_DATABASE", "false")
    outcome = run("providers")
    assert outcome.code == 2
    assert "gridward database upgrade" in outcome.err
    assert outcome.err.count("\n") == 1
    assert version_in(home) == FIRST


def test_a_password_in_the_url_is_shown_nowhere(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv("GRIDWARD_DATABASE_URL", f"postgresql://grid:{WORD}@127.0.0.1:{port}/grid")
    for words in (("database", "status"), ("--debug", "database", "status"), ("database", "upgrade"), ("providers",)):
        outcome = run(*words)
        assert outcome.code == 5
        assert "does not serve" in outcome.err
        assert WORD not in outcome.out + outcome.err
    assert home.exists()


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379"])
def test_a_redis_url_of_another_kind_is_refused_without_being_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("GRIDWARD_REDIS_URL", url)
    outcome = run("database", "status")
    assert outcome.code == 2
    assert "GRIDWARD_REDIS_URL" in outcome.err
    assert url not in outcome.err


def test_several_workers_are_refused_without_a_common_store(run: Run, home: Path) -> None:
    outcome = run("serve", "--workers", "2")
    assert outcome.code == 2
    assert "GRIDWARD_REDIS_URL: 2 workers would give each caller 2 budgets" in outcome.err
    assert home.exists()
