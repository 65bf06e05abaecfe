from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from pipeline import checkpoints
from pipeline.checkpoints import Checkpoints, checkpoint
from pipeline.database import connect

ROWS = 200


def written(home: Path) -> tuple[Path, sqlite3.Connection]:
    """A database with rows in its log, held open: closing the last connection would bring them in."""
    engine = connect("", home)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a TEXT)")
        for _ in range(ROWS):
            connection.exec_driver_sql("INSERT INTO t VALUES (hex(randomblob(1000)))")
    file = Path(str(engine.url.database))
    keeper = sqlite3.connect(file)
    keeper.execute("SELECT count(*) FROM t").fetchall()
    engine.dispose()
    return file, keeper


def in_database_alone(file: Path, elsewhere: Path) -> int:
    """How many rows a copy of the database without its log has."""
    copy = elsewhere / "copy.sqlite"
    copy.write_bytes(file.read_bytes())
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])
        except sqlite3.DatabaseError:
            # No table yet, or copied in the middle of it.
            return 0


def test_a_checkpoint_brings_the_log_into_the_database(tmp_path: Path) -> None:
    file, keeper = written(tmp_path / "home")
    assert in_database_alone(file, tmp_path) == 0

    checkpoint(str(file))

    assert in_database_alone(file, tmp_path) == ROWS
    keeper.close()


def test_a_reader_in_the_middle_is_not_waited_for(tmp_path: Path) -> None:
    file, keeper = written(tmp_path / "home")
    keeper.isolation_level = None
    keeper.execute("BEGIN")
    keeper.execute("SELECT count(*) FROM t").fetchall()

    checkpoint(str(file))

    assert keeper.execute("SELECT count(*) FROM t").fetchone()[0] == ROWS
    keeper.close()


def test_a_service_does_it_by_itself_until_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.01)
    file, keeper = written(tmp_path / "home")
    beside = Checkpoints(connect("", tmp_path / "home"))
    beside.start()

    until = time.monotonic() + 20
    while in_database_alone(file, tmp_path) < ROWS and time.monotonic() < until:
        time.sleep(0.01)
    beside.close()

    assert in_database_alone(file, tmp_path) == ROWS
    keeper.close()


def test_over_anything_but_a_file_of_sqlite_nothing_is_done() -> None:
    beside = Checkpoints(create_engine("sqlite://"))

    beside.start()
    beside.close()
