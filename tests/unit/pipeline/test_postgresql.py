"""Connections to PostgreSQL that wait once a statement, and lose nothing by it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pg8000.core import Context
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from pipeline.database import at_once, make_engine, reading, transaction
from pipeline.postgresql import PipelinedConnection
from security.audit_log import Act, WrittenMeanwhile, append_after, append_many, written
from security.errors import UnavailableError

ACT = Act("olga", "forecast", "day", {"number": 1}, datetime(2024, 3, 1, tzinfo=UTC))


@pytest.fixture
def engine(postgresql_url: str, tmp_path: Path) -> Iterator[Engine]:
    made = make_engine(postgresql_url, tmp_path)
    yield made
    made.dispose()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statement of each wait for the server."""
    found: list[str] = []
    answered = PipelinedConnection.handle_messages

    def counted(connection: PipelinedConnection, context: Context) -> None:
        found.append(str(context.statement))
        answered(connection, context)

    monkeypatch.setattr(PipelinedConnection, "handle_messages", counted)
    return found


def entries(engine: Engine) -> int:
    with reading(engine) as session:
        found: int = session.connection().execute(text("SELECT count(*) FROM audit_entry")).scalar_one()
        return found


def test_who_knows_the_end_of_the_audit_log_waits_for_the_server_once_a_commit(engine: Engine, waits: list[str]):
    with transaction(engine) as session:
        tail = append_many(session, [written(ACT)])
    waits.clear()
    with at_once(engine) as session:
        append_after(session, tail, [written(ACT)] * 100)
    assert len(waits) == 1
    assert entries(engine) == 101


def test_reading_waits_once_a_statement_and_once_to_end(engine: Engine, waits: list[str]):
    with reading(engine) as session:
        assert session.connection().execute(text("SELECT :x"), {"x": "1"}).scalar_one() == "1"
    assert len(waits) == 2


@pytest.mark.parametrize("statement", ["DELETE FROM audit_node", "DELETE FROM audit_node WHERE seq = :one"])
def test_reading_changes_nothing_by_its_first_statement_either(engine: Engine, statement: str):
    with pytest.raises(UnavailableError, match="read-only"), reading(engine) as session:
        session.connection().execute(text(statement), {"one": 1} if ":one" in statement else {})


def test_a_session_that_asks_nothing_waits_for_nothing(engine: Engine, waits: list[str]):
    with reading(engine) as session:
        session.connection()
    with at_once(engine) as session:
        session.connection()
    assert waits == []


@pytest.mark.parametrize("many", [1, 3])
def test_who_knows_an_end_that_is_past_writes_nothing_and_leaves_no_error_in_the_servers_log(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, many: int
):
    errors: list[object] = []
    monkeypatch.setattr(PipelinedConnection, "handle_ERROR_RESPONSE", lambda _self, data, _context: errors.append(data))
    engine.dispose()  # Connections look it up when they are made.
    with transaction(engine) as session:
        past = append_many(session, [written(ACT)])
        append_many(session, [written(ACT)])
    with pytest.raises(WrittenMeanwhile), at_once(engine) as session:
        append_after(session, past, [written(ACT)] * many)
    assert (entries(engine), errors) == (2, [])


def test_one_statement_waits_for_the_write_lock(engine: Engine):
    with transaction(engine) as session:
        tail = append_many(session, [written(ACT)])
    with ThreadPoolExecutor(1) as elsewhere:

        def write() -> int:
            with at_once(engine) as session:
                return append_after(session, tail, [written(ACT)]).seq

        with transaction(engine) as session:
            session.connection().execute(text("SELECT 1"))
            written_elsewhere = elsewhere.submit(write)
            with pytest.raises(TimeoutError):
                written_elsewhere.result(0.3)
        assert written_elsewhere.result(10) == 2


@pytest.mark.parametrize("statement", ["INSERT INTO audit_node VALUES (1, '')", "INSERT INTO audit_node VALUES (:one, '')"])
def test_one_statement_without_and_with_parameters_is_committed(engine: Engine, statement: str, waits: list[str]):
    waits.clear()
    with at_once(engine) as session:
        session.connection().execute(text(statement), {"one": 1} if ":one" in statement else {})
    assert len(waits) == 1
    with reading(engine) as session:
        assert session.connection().execute(text("SELECT count(*) FROM audit_node")).scalar_one() == 1


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("SELECT nothing FROM nowhere WHERE :x", "1"),
        ("SELECT CAST(:x AS integer)", "no number"),
        ("SELECT 1 / CAST(:x AS int)", "0"),
    ],
    ids=["refused when parsed", "refused when bound", "refused when executed"],
)
def test_a_statement_that_is_refused_is_undone_and_its_connection_goes_on(engine: Engine, statement: str, value: str):
    def enter_and_ask() -> None:
        with transaction(engine) as session:
            append_many(session, [written(ACT)])
            session.connection().execute(text(statement), {"x": value})

    with pytest.raises(DBAPIError):
        enter_and_ask()
    with transaction(engine) as session:
        assert session.connection().execute(text("SELECT count(*) FROM audit_entry")).scalar_one() == 0
        assert session.connection().execute(text("SELECT :x"), {"x": "ö"}).scalar_one() == "ö"
    assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]  # of a QueuePool


def test_what_is_larger_than_a_socket_holds_goes_and_comes_whole(engine: Engine):
    large = "ü" * 4_000_000
    with reading(engine) as session:
        assert session.connection().execute(text("SELECT :x, :y"), {"x": large, "y": 1}).one() == (large, "1")


def test_an_entry_costs_the_same_however_long_the_log_is(engine: Engine):
    # Ten times on one connection: by then PostgreSQL keeps its plans, made while the log was short.
    for many in (*[1] * 10, 3000):
        with transaction(engine) as session:
            append_many(session, [written(ACT)] * many)
    with transaction(engine) as session:
        append_many(session, [written(ACT)])
        read = text("SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables WHERE relname LIKE 'audit%'")
        assert dict(map(tuple, session.connection().execute(read))) == {"audit_entry": 0, "audit_node": 0}
