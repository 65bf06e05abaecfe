"""The only place that makes database engines. SQLite is the embedded default, PostgreSQL the same code by its URL.

One transaction writes at a time, on both: it waits for the write lock before it reads, so that one which reads first and
writes later is never outrun. On PostgreSQL the lock is an advisory one (decision 0014 says why not SERIALIZABLE).
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Session, create_engine

from pipeline.database_errors import no_connection_free, translate
from pipeline.errors import PipelineError
from pipeline.migrations import NEWEST

DATABASE = "gridward.sqlite"
PATIENCE_SECONDS = 5.0
# A service says 503 rather than wait: with the wait for a free connection, less than two seconds.
SERVICE_PATIENCE_SECONDS = 1.4

WRITE_LOCK = 0x6772_6964_7761_7264  # "gridward"
_READS_ONLY = "gridward_reads_only"
_CONNECTIONS, _MORE_WHEN_BUSY, _RECYCLE_SECONDS = 8, 8, 600
_WAIT_FOR_CONNECTION = 0.3
_LONGEST_LOG_PAGES = 20_000
# More than the service has threads: a file does not mind how many look at it.
_SQLITE_POOL = {"pool_size": 8, "max_overflow": 40, "pool_timeout": _WAIT_FOR_CONNECTION}
_IDLE_SECONDS = 60


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
            return _postgresql(made, patience_seconds)
        engine = create_engine(made, **(_SQLITE_POOL if made.database else {}))
    except (ArgumentError, NoSuchModuleError):
        raise PipelineError(
            "it is no URL of a database that is known here", where="GRIDWARD_DATABASE_URL", mend="see docs/settings.md"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable_and_patient(patience_seconds))
        event.listen(engine, "begin", _begin_on_sqlite)
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
def reading(engine: Engine) -> Iterator[Session]:
    """A session that sees one state of the database, changes nothing and keeps no writer waiting: for long reading.

    Raises UnavailableError when the database is away.
    """
    with _session(engine.execution_options(**{_READS_ONLY: True})) as session:
        yield session


@contextmanager
def _session(engine: Engine) -> Iterator[Session]:
    try:
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session
    except PoolTimeout as error:
        raise no_connection_free() from error


def _postgresql(url: URL, patience_seconds: float) -> Engine:
    """No ping before each use: it would make a dead server cost two time-outs instead of one. A connection that turns out
    to be dead has the whole pool made anew, so that a restart costs each of the requests under way, and no other.
    """
    limits = {
        "statement_timeout": patience_seconds,
        "lock_timeout": patience_seconds,
        "idle_in_transaction_session_timeout": _IDLE_SECONDS,
    }
    arguments: dict[str, Any] = {
        # A little more than the server's own limits, so that a server that lives is heard saying why.
        "timeout": patience_seconds + 0.1,
        "application_name": "gridward",
        "startup_params": {name: str(round(seconds * 1000)) for name, seconds in limits.items()},
    }
    if "sslmode" in url.query:
        arguments["ssl_context"] = _tls(str(url.query["sslmode"]))
    engine = create_engine(
        url.set(drivername="postgresql+pg8000").difference_update_query(["sslmode"]),
        pool_size=_CONNECTIONS,
        max_overflow=_MORE_WHEN_BUSY,
        pool_timeout=_WAIT_FOR_CONNECTION,
        pool_recycle=_RECYCLE_SECONDS,
        connect_args=arguments,
    )
    event.listen(engine, "do_connect", _connect_on_postgresql)
    event.listen(engine, "begin", _begin_on_postgresql)
    # It would tell with a traceback that it could not say goodbye to a server that died.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    event.listen(engine, "handle_error", translate, retval=True)
    return engine


def _tls(mode: str) -> ssl.SSLContext | bool:
    if mode == "verify-full":
        return ssl.create_default_context()
    if mode == "disable":
        return False
    raise PipelineError(
        f"sslmode={mode} does not say whom to believe", where="GRIDWARD_DATABASE_URL", mend="use verify-full, or disable"
    )


def _durable_and_patient(patience_seconds: float) -> Any:
    def prepare(connection: Any, _record: object) -> None:
        # Transactions are begun by `_begin_on_sqlite`, not by the driver.
        connection.isolation_level = None
        cursor = connection.cursor()
        # The patience first: with another process at the same moment, even the mode of the journal is waited for.
        cursor.execute(f"PRAGMA busy_timeout={round(patience_seconds * 1000)}")
        cursor.execute("PRAGMA journal_mode=WAL")
        # The service's thread does it beside the commits (`checkpoints`); a commit does where there is none.
        cursor.execute(f"PRAGMA wal_autocheckpoint={_LONGEST_LOG_PAGES}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return prepare


def _begin_on_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get(_READS_ONLY)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _connect_on_postgresql(dialect: Any, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    try:
        return dialect.connect(*arguments, **options)
    except OSError as error:
        # pg8000 lets these through when the server accepts and then says nothing; only a driver's errors are translated.
        raise dialect.dbapi.InterfaceError("network error") from error


def _begin_on_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get(_READS_ONLY):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")
