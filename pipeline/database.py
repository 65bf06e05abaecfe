"""The only place that makes database engines. SQLite is the embedded default, PostgreSQL the same code by its URL.

One transaction writes at a time, on both: it waits for the write lock before it reads, so that one which reads first and
writes later is never outrun. On PostgreSQL the lock is an advisory one (decision 0014 says why not SERIALIZABLE).
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Session, create_engine

from pipeline.database_errors import no_connection_free, translate
from pipeline.errors import PipelineError
from pipeline.migrations import NEWEST
from pipeline.postgresql import AT_ONCE, READS_ONLY, postgresql_engine

DATABASE = "gridward.sqlite"
PATIENCE_SECONDS = 5.0
# A service says 503 rather than wait: with the wait for a free connection, less than two seconds.
SERVICE_PATIENCE_SECONDS = 1.4

_WAIT_FOR_CONNECTION = 0.3
_LONGEST_LOG_PAGES = 20_000
_ASK_AGAIN_SECONDS = 0.001
# More than the service has threads: a file does not mind how many look at it.
_SQLITE_POOL = {"pool_size": 8, "max_overflow": 40, "pool_timeout": _WAIT_FOR_CONNECTION}


def make_engine(url: str, home: Path, patience_seconds: float = PATIENCE_SECONDS, *, may_upgrade: bool = True) -> Engine:
    """An engine with the schema made, or brought up to date. url, home, patience_seconds: as `connect`.

    Raises as `connect`, and as `bring_up_to_date`: DatabaseOutdated, DatabaseNewer, DatabaseBehind unless `may_upgrade`.
    """
    engine = connect(url, home, patience_seconds)
    if version_of(engine) != NEWEST:
        from pipeline.migrate import bring_up_to_date  # noqa: PLC0415 (brings Alembic, which few openings need)

        bring_up_to_date(engine, may_upgrade=may_upgrade)
    return engine


def connect(url: str, home: Path, patience_seconds: float = PATIENCE_SECONDS) -> Engine:
    """An engine for a database as it is. url: SQLAlchemy URL, or empty for SQLite in `home`; patience_seconds: how long
    a connection, a statement or a lock is waited for.

    Raises PipelineError for a URL that cannot be used. A database that is away is an UnavailableError when it is used.
    """
    home.mkdir(parents=True, exist_ok=True)
    try:
        made = make_url(url or f"sqlite:///{home / DATABASE}")
        if made.get_backend_name() == "postgresql":
            engine = postgresql_engine(made, patience_seconds)
        else:
            engine = create_engine(made, **(_SQLITE_POOL if made.database else {}))
    except (ArgumentError, NoSuchModuleError):
        raise PipelineError(
            "it is no URL of a database that is known here", where="GRIDWARD_DATABASE_URL", mend="see docs/settings.md"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable_and_patient(patience_seconds))
        event.listen(engine, "begin", _begin_on_sqlite(patience_seconds))
    event.listen(engine, "handle_error", translate, retval=True)
    return engine


def version_of(engine: Engine) -> str | None:
    """The version of the schema; None for an empty database, and for one of before there were versions."""
    try:
        with reading(engine) as session:
            found: str | None = session.connection().exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            return found
    except DBAPIError:
        return None


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session that commits at the end, or rolls everything back. It alone writes as long as it is open.

    Raises UnavailableError when the database is away, or was when it should have committed (which may be done or not).
    """
    with _session(engine) as session:
        yield session


@contextmanager
def at_once(engine: Engine) -> Iterator[Session]:
    """A `transaction` for one statement that changes something: PostgreSQL is asked once for all of it.

    There a second statement is a transaction of its own. Raises UnavailableError as `transaction`.
    """
    with _session(engine.execution_options(**{AT_ONCE: True})) as session:
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that sees one state of the database, changes nothing and keeps no writer waiting: for long reading.

    Raises UnavailableError when the database is away.
    """
    with _session(engine.execution_options(**{READS_ONLY: True})) as session:
        yield session


@contextmanager
def _session(engine: Engine) -> Iterator[Session]:
    try:
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session
    except PoolTimeout as error:
        raise no_connection_free() from error


def _durable_and_patient(patience_seconds: float) -> Any:
    def prepare(connection: Any, _record: object) -> None:
        # Transactions are begun by `_begin_on_sqlite`, not by the driver.
        connection.isolation_level = None
        cursor = connection.cursor()
        # Of two who make a new file at once, SQLite refuses one without a wait: each holds what the other waits for.
        _ask_until_free(connection, "PRAGMA journal_mode=WAL", time.monotonic() + patience_seconds)
        # The service's thread does it beside the commits (`checkpoints`); a commit does where there is none.
        cursor.execute(f"PRAGMA wal_autocheckpoint={_LONGEST_LOG_PAGES}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return prepare


def _begin_on_sqlite(patience_seconds: float) -> Callable[[Connection], None]:
    turn = threading.Lock()

    def begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        if connection.get_execution_options().get(READS_ONLY):
            # Only a recovery, or the last one who closes the file, keeps a reader waiting.
            driver.execute(f"PRAGMA busy_timeout={round(patience_seconds * 1000)}")
            connection.exec_driver_sql("BEGIN")
            return
        until = time.monotonic() + patience_seconds
        # One asks at a time, so that whoever writes again and again comes behind those who wait.
        in_turn = turn.acquire(timeout=patience_seconds)
        try:
            _ask_until_free(driver, "BEGIN IMMEDIATE", until)
        except sqlite3.Error:
            # Once more, where an error is translated.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            if in_turn:
                turn.release()

    return begin


def _ask_until_free(connection: sqlite3.Connection, statement: str, until: float) -> None:
    """Execute what needs a lock. SQLite itself soon asks only ten times a second, and the lock is free for less than a
    thousandth of one between two transactions of somebody who writes again and again.
    """
    connection.execute("PRAGMA busy_timeout=0")
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
        time.sleep(_ASK_AGAIN_SECONDS)
