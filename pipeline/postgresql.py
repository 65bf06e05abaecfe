"""PostgreSQL by pg8000, asked once a statement: engines whose connections send what belongs together in one go.

pg8000 waits for the server three times a statement with parameters and three times a commit. Each wait lets go of the
interpreter, which a busy event loop gives back late: a commit of the audit log would cost ten waits, and costs one here.
"""

from __future__ import annotations

import logging
import socket
import ssl
import traceback
from typing import Any, cast

import pg8000
from pg8000.converters import make_params
from pg8000.core import NULL_BYTE, SYNC_MSG, Context
from sqlalchemy import URL, Connection, Engine, event
from sqlmodel import create_engine

from pipeline.errors import PipelineError

READS_ONLY, AT_ONCE = "gridward_reads_only", "gridward_at_once"
_WRITE_LOCK = 0x6772_6964_7761_7264  # "gridward"
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
# Without a row, which would stand among those of the statement that it goes with.
_LOCK = f"SELECT WHERE pg_advisory_xact_lock({_WRITE_LOCK})::text IS NULL"

_CONNECTIONS, _MORE_WHEN_BUSY, _RECYCLE_SECONDS = 8, 8, 600
_WAIT_FOR_CONNECTION = 0.3
_IDLE_SECONDS = 60
_PORT = 5432


def postgresql_engine(url: URL, patience_seconds: float) -> Engine:
    """An engine; patience_seconds: how long a connection, a statement or a lock is waited for.

    No ping before each use: it would make a dead server cost two time-outs instead of one. A connection that turns out to be
    dead has the whole pool made anew, so that a restart costs each of the requests under way, and no other.
    Raises PipelineError for an sslmode that does not say whom to believe.
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
        # Always the same few: the server's process behind each is another one, which has to wake up.
        pool_use_lifo=True,
        connect_args=arguments,
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "begin", _begin)
    # It would tell with a traceback that it could not say goodbye to a server that died.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    return engine


class PipelinedConnection(pg8000.Connection):  # type: ignore[misc]  # pg8000 has no types
    """A connection that waits once a statement. Transactions are begun by `_begin`, not by the driver."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.autocommit = True
        self._before = ""

    def before_next(self, statement: str) -> None:
        """Execute this before the next statement, as one message and, where none is open, one transaction with it."""
        self._before = statement

    def execute_unnamed(self, statement: str, vals: Any = (), oids: Any = (), stream: Any = None) -> Context:
        """Parse, bind and execute as one message (PostgreSQL's protocol, "Extended Query"); an error comes at its end."""
        if stream is not None:
            return super().execute_unnamed(statement, vals, oids, stream)
        context = Context(statement)
        if before := self._taken():
            self.send_PARSE(NULL_BYTE, before)
            self.send_BIND(NULL_BYTE, ())
            self.send_EXECUTE()
        self.send_PARSE(NULL_BYTE, statement, oids)
        self.send_DESCRIBE_STATEMENT(NULL_BYTE)
        self.send_BIND(NULL_BYTE, make_params(self.py_types, vals))
        self.send_EXECUTE()
        try:
            self._sock.write(SYNC_MSG)
            self._sock.flush()
        except OSError as error:
            raise pg8000.InterfaceError("network error") from error
        self.handle_messages(context)
        return context

    def execute_simple(self, statement: str) -> Context:
        """Execute what has no parameters."""
        before = self._taken()
        return super().execute_simple(f"{before}; {statement}" if before else statement)

    def commit(self) -> None:
        """Commit what was begun; one wait, or none."""
        self._end("commit")

    def rollback(self) -> None:
        """Roll back what was begun; one wait, or none."""
        self._end("rollback")

    def _end(self, how: str) -> None:
        self._taken()
        if self._in_transaction:
            self.execute_simple(how)

    def _taken(self) -> str:
        before, self._before = self._before, ""
        return before


def _connect(dialect: Any, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Connect on a socket of our own: pg8000 leaves one on which it failed to the garbage collector, so that each attempt to
    reach a server that says nothing would cost a descriptor.
    """
    address = options.get("host", "localhost"), options.get("port", _PORT)
    own: socket.socket | None = None
    try:
        own = socket.create_connection(address, options["timeout"])
        own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return PipelinedConnection(*arguments, **options, sock=own)
    except Exception as error:
        # The frames of what failed hold the file that pg8000 made of the socket, and with it the descriptor.
        traceback.clear_frames(error.__traceback__)
        if own is not None:
            own.close()
        if isinstance(error, OSError):
            # Only a driver's errors are translated.
            raise dialect.dbapi.InterfaceError("network error") from error
        raise


def _begin(connection: Connection) -> None:
    options, driver = (
        connection.get_execution_options(),
        cast("PipelinedConnection", connection.connection.driver_connection),
    )
    if options.get(READS_ONLY):
        driver.before_next(_BEGIN_READING)
    elif options.get(AT_ONCE):
        driver.before_next(_LOCK)
    else:
        # Not with the next statement: from here on nobody else writes, nor what else the lock guards (files).
        connection.exec_driver_sql(f"BEGIN; {_LOCK}")


def _tls(mode: str) -> ssl.SSLContext | bool:
    if mode == "verify-full":
        return ssl.create_default_context()
    if mode == "disable":
        return False
    raise PipelineError(
        f"sslmode={mode} does not say whom to believe", where="GRIDWARD_DATABASE_URL", mend="use verify-full, or disable"
    )
