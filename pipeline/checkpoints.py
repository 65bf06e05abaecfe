"""SQLite's write-ahead log is brought into the database beside the commits, not by one of them.

SQLite does this itself, in whichever commit makes the log long: with a log of hashes, whose pages lie all over the database,
that one takes many times as long, and every answer waits for it. Here a thread does it each second on a connection of its
own: most of it while others write, and the rest, so that the log begins anew, while they wait a moment.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading

from sqlalchemy import Engine

EVERY_SECONDS = 1.0
_PATIENCE_MS = 50


class Checkpoints:
    """Of one service, over SQLite in a file; over anything else it does nothing."""

    def __init__(self, engine: Engine) -> None:
        self._file = engine.url.database if engine.dialect.name == "sqlite" else None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in a thread of its own."""
        if self._file and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gridward-checkpoints", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(EVERY_SECONDS):
            # A database that is away or busy now is looked at again in a second; commits tell of it.
            with contextlib.suppress(sqlite3.Error):
                checkpoint(str(self._file))


def checkpoint(file: str) -> None:
    """Bring the log of a database into it, and let it begin anew if nobody reads it. Raises sqlite3.Error."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
