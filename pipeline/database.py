"""The only place that makes database engines. SQLite is the embedded default; another database by URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, event, inspect
from sqlmodel import Session, SQLModel, create_engine

# Imported so that their tables are known when the schema is made.
from data import provenance, quarantine  # noqa: F401
from data.lake import heads  # noqa: F401
from pipeline import release_pins  # noqa: F401
from pipeline.errors import DatabaseOutdated
from pipeline.recovery import journal  # noqa: F401
from security import audit_log, keyring  # noqa: F401


def make_engine(url: str, home: Path) -> Engine:
    """An engine with the schema made. url: SQLAlchemy URL, or empty for SQLite in `home`.

    Raises DatabaseOutdated for tables that an older Gridward made: nothing alters a table yet (decision 0004).
    """
    home.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url or f"sqlite:///{home / 'gridward.sqlite'}")
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable_and_patient)
        event.listen(engine, "begin", _write_lock_first)
    SQLModel.metadata.create_all(engine)
    _require_current(engine)
    return engine


def _require_current(engine: Engine) -> None:
    found = inspect(engine)
    for table in SQLModel.metadata.sorted_tables:
        missing = set(table.columns.keys()) - {column["name"] for column in found.get_columns(table.name)}
        if missing:
            raise DatabaseOutdated(table.name, sorted(missing))


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session that commits at the end, or rolls everything back."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


def _durable_and_patient(connection: object, _record: object) -> None:
    # Transactions are begun by `_write_lock_first`, not by the driver.
    connection.isolation_level = None  # type: ignore[attr-defined]
    cursor = connection.cursor()  # type: ignore[attr-defined]  # a DBAPI connection, which has no type of its own
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _write_lock_first(connection: Connection) -> None:
    """Wait for the write lock at the start: a transaction that reads first and writes later never finds itself outrun."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
