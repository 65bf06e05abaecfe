"""Databases of both kinds: who writes waits first, who reads waits for nobody, a store that is away is told of."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from data.quarantine import QuarantinedItem, quarantine
from pipeline.database import make_engine, reading, transaction
from pipeline.errors import PipelineError
from security.errors import UnavailableError

NOW = datetime(2024, 3, 1, tzinfo=UTC)
Open = Callable[..., Engine]


@pytest.fixture
def open_engine(tmp_path: Path) -> Iterator[Open]:
    """Makes engines that are gone after the test."""
    made: list[Engine] = []

    def open_it(url: str, **options: float) -> Engine:
        made.append(make_engine(url, tmp_path, **options))
        return made[-1]

    yield open_it
    for engine in made:
        engine.dispose()


def put_aside(engine: Engine, reason: str) -> None:
    with transaction(engine) as session:
        quarantine(session, source="aurora", reason=reason, detail="", digest="", received_at=NOW)


def reasons(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return [item.reason for item in session.exec(select(QuarantinedItem).order_by(QuarantinedItem.id))]


def test_a_transaction_commits_whole_or_not_at_all(database_url: str, open_engine: Open):
    engine = open_engine(database_url)
    put_aside(engine, "kept")

    def stop_halfway() -> None:
        with transaction(engine) as session:
            quarantine(session, source="aurora", reason="lost", detail="", digest="", received_at=NOW)
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        stop_halfway()
    assert reasons(engine) == ["kept"]


def test_writers_that_read_first_never_outrun_each_other(database_url: str, open_engine: Open):
    engines = [open_engine(database_url) for _ in range(3)]
    failures: list[Exception] = []

    def number(engine: Engine) -> None:
        try:
            for _ in range(10):
                with transaction(engine) as session:
                    seen = session.connection().execute(text("SELECT count(*) FROM quarantined_item")).scalar_one()
                    quarantine(session, source="aurora", reason=str(seen), detail="", digest="", received_at=NOW)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=number, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(reasons(engines[0]), key=int) == [str(number) for number in range(30)]


def test_who_reads_waits_for_no_writer_and_sees_one_state(database_url: str, open_engine: Open):
    engine = open_engine(database_url)
    put_aside(engine, "before")
    with reading(engine) as session:
        assert len(session.exec(select(QuarantinedItem)).all()) == 1
        put_aside(engine, "meanwhile")
        session.expire_all()
        assert len(session.exec(select(QuarantinedItem)).all()) == 1
    with transaction(engine) as session:
        quarantine(session, source="aurora", reason="not yet", detail="", digest="", received_at=NOW)
        assert reasons(engine) == ["before", "meanwhile"]


def test_a_writer_that_waits_too_long_is_told_so(database_url: str, open_engine: Open):
    engine, impatient = open_engine(database_url), open_engine(database_url, patience_seconds=0.2)
    with transaction(engine) as session:
        session.connection()
        with pytest.raises(UnavailableError, match="the database does not serve"):
            put_aside(impatient, "too late")
    put_aside(impatient, "in time")
    assert reasons(engine) == ["in time"]


def test_a_rule_of_the_schema_that_is_broken_is_the_same_error_on_both(database_url: str, open_engine: Open):
    engine = open_engine(database_url)

    def put_twice() -> None:
        with transaction(engine) as session:
            row = {"id": 1, "source": "a", "reason": "", "detail": "", "digest": "", "received_at": NOW}
            session.execute(insert(QuarantinedItem), [row, row])

    with pytest.raises(IntegrityError):
        put_twice()


def test_connections_that_the_server_closed_cost_one_failure_and_no_restart(postgresql_url: str, open_engine: Open):
    engine, other = open_engine(postgresql_url), open_engine(postgresql_url)
    put_aside(engine, "before")
    with transaction(other) as session:
        session.connection().execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid() AND datname = :name"),
            {"name": other.url.database},
        )
    with pytest.raises(UnavailableError, match="does not serve"):
        put_aside(engine, "lost")
    put_aside(engine, "after")
    assert reasons(engine) == ["before", "after"]


def test_more_callers_than_connections_are_told_to_come_back(postgresql_url: str, open_engine: Open):
    engine = open_engine(postgresql_url)
    held = [engine.connect() for _ in range(16)]
    with pytest.raises(UnavailableError, match="all connections are busy"):
        put_aside(engine, "too many")
    for connection in held:
        connection.close()
    put_aside(engine, "after")


def test_a_server_that_says_nothing_is_given_up_in_time(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://root@127.0.0.1:{silent.getsockname()[1]}/gridward"
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="nothing was heard in time") as refusal:
            make_engine(url, tmp_path, patience_seconds=0.3)
        assert time.monotonic() - started < 2
        # At once, and not when garbage is collected: while the error is still looked at.
        assert is_closed(silent.accept()[0]), refusal


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side closed it, whatever it said before."""
    with connection:
        connection.settimeout(0.2)
        try:
            while connection.recv(4096):
                pass
        except TimeoutError:
            return False
        return True


def test_a_server_that_is_not_there_and_a_database_that_is_not_there_are_told_in_one_line(
    tmp_path: Path, postgresql_url: str
):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(UnavailableError, match="the connection was lost"):
        make_engine(f"postgresql://root@127.0.0.1:{port}/gridward", tmp_path)
    with pytest.raises(UnavailableError, match="does not exist") as refusal:
        make_engine(f"{postgresql_url}_else", tmp_path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("url", ["nonsense", "oracle9://a/b", "postgresql://a/b?sslmode=require"])
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(tmp_path: Path, url: str):
    with pytest.raises(PipelineError, match="GRIDWARD_DATABASE_URL") as refusal:
        make_engine(url, tmp_path)
    assert url not in str(refusal.value)


def test_a_new_file_that_somebody_else_is_making_is_waited_for(tmp_path: Path, open_engine: Open):
    # In the mode that every new file begins in; SQLite lets nobody wait for the other mode while this one writes.
    other = sqlite3.connect(tmp_path / "gridward.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE begun (a)")
    ends = threading.Timer(0.3, other.commit)
    ends.start()

    put_aside(open_engine("", patience_seconds=30.0), "after it")

    ends.join()
    other.close()


def test_who_writes_again_and_again_keeps_nobody_else_waiting(database_url: str, open_engine: Open):
    engine = open_engine(database_url, patience_seconds=30.0)
    waits, written = threading.Event(), threading.Event()

    def write_once() -> None:
        waits.set()
        put_aside(engine, "once")
        written.set()

    other = threading.Thread(target=write_once)
    turns = 0
    while not written.is_set() and turns < 60:
        with transaction(engine) as session:
            session.connection()
            if turns == 0:
                other.start()
                assert waits.wait(30)
            time.sleep(0.03)
        turns += 1
    other.join()

    assert turns < 60
