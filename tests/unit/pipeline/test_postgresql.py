"""Connections to PostgreSQL that wait once a statement, and lose nothing by it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from pipeline.database import make_engine, reading, transaction
from pipeline.postgresql import PipelinedConnection
from security.audit_log import Act, append_many, written

ACT = Act("olga", "forecast", "day", {"number": 1}, datetime(2024, 3, 1, tzinfo=UTC))


@pytest.fixture
def engine(postgresql_url: str, tmp_path: Path) -> Iterator[Engine]:
    made = make_engine(postgresql_url, tmp_path)
    yield made
    made.dispose()


def test_a_commit_of_the_audit_log_waits_for_the_server_four_times(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    with transaction(engine) as session:
        tail = append_many(session, [written(ACT)])
    waits = 0
    answered = PipelinedConnection.handle_messages

    def counted(connection: PipelinedConnection, context: object) -> object:
        nonlocal waits
        waits += 1
        return answered(connection, context)

    monkeypatch.setattr(PipelinedConnection, "handle_messages", counted)
    with transaction(engine) as session:
        append_many(session, [written(ACT)] * 100, tail)
    assert waits == 4


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
