"""What a database's trouble is called: a store that is away is UnavailableError whichever driver says so.

A commit whose answer was lost may have been done or not: it is an error like the others, and its caller hears no success.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import ExceptionContext
from sqlalchemy.exc import IntegrityError

from security.errors import UnavailableError

# Classes of SQLSTATE: connection, who may connect, no such database, resources, intervention, system; then serialization,
# deadlock, lock time-out, idle for too long, and a server that only reads since it is a standby.
_AWAY_CLASSES = ("08", "28", "3D", "53", "57", "58")
_AWAY = {"40001", "40P01", "55P03", "25P03", "25006"}
_CANCELLED = "57014"
_CONSTRAINT_CLASS = "23"
_SQLITE_AWAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}


def translate(context: ExceptionContext) -> Exception | None:
    """For the `handle_error` event: what is raised in the place of a driver's error; None leaves it as it is."""
    error = context.original_exception
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return _away(error.args[0]) if code in _SQLITE_AWAY else None
    state = _sqlstate(error)
    if state.startswith(_CONSTRAINT_CLASS):
        return IntegrityError(context.statement, None, error)
    if state and state not in _AWAY and not state.startswith(_AWAY_CLASSES):
        return None
    if state:
        # Whoever shut the server down or restarted it closed every connection; who cancelled a statement did not.
        context.is_disconnect = state.startswith(_AWAY_CLASSES) and state != _CANCELLED
        return _away(str(error.args[0]["M"]))
    if isinstance(error, OSError) or type(error).__name__ == "InterfaceError":
        context.is_disconnect = True
        return _away("the connection was lost, or nothing was heard in time")
    return None


def no_connection_free() -> UnavailableError:
    """For a pool whose connections are all busy."""
    return _away("all connections are busy")


def _sqlstate(error: BaseException) -> str:
    """pg8000 gives the fields of the server's message as its only argument; '' for other errors."""
    fields: Any = error.args[0] if error.args else None
    return str(fields.get("C", "")) if isinstance(fields, dict) else ""


def _away(problem: str) -> UnavailableError:
    return UnavailableError(f"the database does not serve: {problem}", mend="see that it runs, then try again")
