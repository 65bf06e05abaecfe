"""`gridward backup …`: what an operator sees, on the station's machine and on one that has the backup and the keys only."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipeline.serving import Serving
from pipeline.station import open_station
from security.backup_keys import BackupKeys
from tests.unit.api.commands import Run, runner
from tests.unit.api.small_station import settings_for
from tests.unit.pipeline.small_backup import PASSPHRASE, hurry


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`gridward backup …` in this process."""
    hurry(monkeypatch)
    monkeypatch.setenv("GRIDWARD_BACKUP_PASSPHRASE", PASSPHRASE.get_secret_value())

    return runner(monkeypatch, capsys, "backup")


@pytest.fixture
def home(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small station that the environment points at."""
    shutil.copytree(built, tmp_path / "home")
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "disk"


@pytest.mark.usefixtures("home")
def test_from_the_first_backup_to_the_last(run: Run, folder: Path, tmp_path: Path) -> None:
    first = run("create", "--to", folder, "--json").json
    assert (first["number"], first["new_chunks"], first["locked_until"]) == (1, first["files"], None)
    told = run("create", "--to", folder, "--lock-days", 5)
    assert "backup.keyset" in told.out

    listed = run("list", folder, "--json").json["backups"]
    assert [backup["number"] for backup in listed] == [1, 2]
    assert listed[0]["digest"] == first["digest"]
    table = run("list", folder).out
    assert listed[1]["id"] in table
    held = run("verify", folder, "--expect", listed[1]["id"], "--json").json
    assert (held["backups"], held["newest"], held["witnessed"]) == ([1, 2], listed[1]["id"], True)
    assert run("verify", folder).err == ""

    run("create", "--to", folder)
    pruned = run("prune", folder, "--keep", 1, "--json").json
    assert (pruned["removed"], pruned["kept"], pruned["locked"][0].split()[0]) == ([1], [2, 3], "2")
    assert "2 until" in run("prune", folder, "--keep", 1).out

    back = run("restore", folder, "--out", tmp_path / "back", "--number", 2, "--json").json
    assert (back["number"], back["home"]) == (2, str(tmp_path / "back"))
    again = run("restore", folder, "--out", tmp_path / "back")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "not an empty folder" in again.err
    assert "copy the station's own keys" in run("restore", folder, "--out", tmp_path / "other").out


def test_the_drill_passes_where_there_are_only_the_backup_and_the_keys(
    run: Run, home: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("create", "--to", folder)
    station = open_station(settings_for(home))
    expected = Serving(station)
    day = expected.readings.demand.index[-1].date()
    there = expected.forecast(day, "test").frame
    station.engine.dispose()
    keys = tmp_path / "pocket"
    keys.mkdir()
    shutil.copy(home / "keys" / "backup.keyset", keys)
    shutil.rmtree(home)
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "nothing here"))

    drilled = run("restore", folder, "--drill", "--keys", keys, "--json")
    assert drilled.code == 0, drilled.err
    assert (drilled.json["number"], drilled.json["snapshots"], drilled.json["forecast_of"]) == (1, 1, str(day))
    assert 0 < drilled.json["seconds_to_recover"] == pytest.approx(sum(drilled.json["seconds"].values()))
    assert "The drill passed" in run("restore", folder, "--drill", "--keys", keys).out
    assert not (tmp_path / "nothing here").exists()

    unseen = run("verify", folder, "--keys", keys)
    assert "note: nothing outside the folder told" in unseen.err
    assert run("restore", folder, "--out", tmp_path / "back", "--keys", keys).code == 0
    restored = open_station(settings_for(tmp_path / "back"))
    pd.testing.assert_frame_equal(Serving(restored).forecast(day, "test").frame, there)
    restored.engine.dispose()


def test_the_drill_fails_with_a_model_that_was_altered_before_the_backup(run: Run, home: Path, folder: Path) -> None:
    (model,) = (home / "models").iterdir()
    (model / "intruder.txt").write_text("x")
    run("create", "--to", folder)

    drilled = run("restore", folder, "--drill")

    assert drilled.code == 3
    assert "intruder.txt" in drilled.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["create"],
        ["create", "--to", "x", "--lock-days", "-1"],
        ["prune", "x", "--keep", "0"],
        ["restore", "x"],
        ["restore", "x", "--drill", "--out", "y"],
    ],
)
@pytest.mark.usefixtures("home")
def test_wrong_usage_exits_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).code == 2


def test_a_passphrase_that_is_missing_or_wrong_is_one_line_and_in_the_audit_log(
    run: Run, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("create", "--to", folder)
    monkeypatch.setenv("GRIDWARD_BACKUP_PASSPHRASE", "a guess of mallory's own")
    wrong = run("verify", folder)
    monkeypatch.delenv("GRIDWARD_BACKUP_PASSPHRASE")
    missing = run("verify", folder)

    assert (wrong.code, missing.code) == (3, 5)
    assert wrong.err.startswith(f"error: {home / 'keys' / 'backup.keyset'}: the passphrase does not open")
    assert missing.err.startswith("error: GRIDWARD_BACKUP_PASSPHRASE: no passphrase")
    log = (home / "gridward.sqlite").read_bytes() + (home / "gridward.sqlite-wal").read_bytes()
    assert b"backup.refused" in log
    assert "mallory" not in wrong.err
    assert b"mallory" not in log


def test_a_folder_without_a_station_is_not_backed_up(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDWARD_HOME", str(folder / "mistyped"))
    for command in (["create", "--to", folder], ["prune", folder, "--keep", 1]):
        outcome = run(*command)
        assert (outcome.code, "no station here" in outcome.err) == (5, True)
    assert not folder.exists()


@pytest.mark.usefixtures("home")
def test_the_secrets_show_in_no_traceback(
    run: Run, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("create", "--to", folder)

    def broken(keys: BackupKeys, content: bytes) -> str:
        raise ZeroDivisionError(f"{keys!r} and {len(content)} bytes")

    monkeypatch.setattr(BackupKeys, "name_of", broken)
    outcome = run("verify", folder)

    assert outcome.code == 1
    assert PASSPHRASE.get_secret_value() not in outcome.err + caplog.text
    assert "name_key" not in outcome.err
