"""What a station consists of, taken while it works.

The order makes one state of it. First the signed heads of the audit log, then the database: a head always follows its
entry. Then the files: a snapshot, a model or a reading is in its place before the database speaks of it, so what the copied
database knows is in the files that are read later. Files are replaced by renaming, so that each is read whole; the lake is
read while nobody adds to it, its log and its files being one thing.

Private keys are left out wherever they lie: a backup must not be able to sign. The one secret it carries is the keyset that
opens the models' bundles (`BUNDLE_KEYS`), without which they would come back shut; it is never on a disk in the clear.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Engine

from data.lake.store import every_file, get, held, store_of
from data.lake.tables import TABLES
from pipeline.backup.repository import DRAFT
from pipeline.errors import DatabaseDamaged, PipelineError
from pipeline.station import KEYS, REGISTRY, Station
from security.manifest import FileChanged, open_regular
from security.release_files import locked

DATABASE = "gridward.sqlite"
BUNDLE_KEYS = f"{KEYS}/bundles.keyset.secret"

_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_BESIDE_A_DATABASE = ("", "-wal", "-shm", "-journal")


def contents_of(station: Station) -> Iterator[tuple[str, BinaryIO]]:
    """Every file of the station with its name, open: one after the other, in the order that makes one state.

    Raises PipelineError when the database is not SQLite, DatabaseDamaged, FileChanged for a link or an odd file.
    """
    heads = _whole_lines(station.audit_heads)
    with _database_copy(station) as copy:
        if heads:
            yield station.audit_heads.name, io.BytesIO(heads)
        with copy.open("rb") as stream:
            yield DATABASE, stream
    lake = station.readings.name
    # Held: keyset and bundles are of one state, whoever wants to rotate meanwhile.
    with station.chest.held(alone=False):
        yield BUNDLE_KEYS, io.BytesIO(station.bundle_keys.to_secret())
        apart = _taken_otherwise(station) | {lake, REGISTRY}
        yield from _opened(station.home, sorted(_file_names(station.home, apart)))
    if (station.home / REGISTRY).exists():
        # Nobody publishes meanwhile: a timestamp without its snapshot would verify and not serve.
        with locked(station.home / REGISTRY):
            yield from _opened(station.home, sorted(_file_names(station.home, set(), f"{REGISTRY}/")))
    with held(station.lake, alone=False):
        yield from _lake_elsewhere(station)
        if station.readings.exists():
            yield from _opened(station.home, sorted(_file_names(station.home, set(), f"{lake}/")))


def _opened(home: Path, names: Iterable[str]) -> Iterator[tuple[str, BinaryIO]]:
    for name in names:
        with open_regular(home, name) as stream:
            if not _is_private_key(name, stream):
                yield name, stream


def check_database(path: Path) -> None:
    """Raise DatabaseDamaged unless SQLite finds every page, index and constraint of the database sound."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise DatabaseDamaged(str(path), found)


@contextmanager
def _database_copy(station: Station) -> Iterator[Path]:
    """One moment of the database, whoever writes to it meanwhile, beside the station's files and gone afterwards."""
    source = _database_path(station.engine)
    for stale in station.home.glob(f"{DRAFT}database-*"):
        shutil.rmtree(stale)
    folder = Path(tempfile.mkdtemp(prefix=f"{DRAFT}database-", dir=station.home))
    try:
        copy = folder / DATABASE
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(copy)) as target,
        ):
            live.backup(target)
        check_database(copy)
        yield copy
    finally:
        shutil.rmtree(folder)


def _database_path(engine: Engine) -> Path:
    if engine.dialect.name != "sqlite" or not engine.url.database:
        raise PipelineError(
            "the database is not a SQLite file, and is not backed up here",
            where="GRIDWARD_DATABASE_URL",
            mend="back it up with the tools of its own server",
        )
    return Path(engine.url.database).resolve()


def _lake_elsewhere(station: Station) -> Iterator[tuple[str, BinaryIO]]:
    """The files of a lake that is not in a folder of the station, named as they would be there."""
    folder = station.readings.relative_to(station.home).as_posix()
    for table in TABLES if station.lake_url else ():
        store = store_of(station.lake, table)
        for name in sorted(every_file(store)):
            yield f"{folder}/{table.name}/{name}", io.BytesIO(get(store, name))


def _taken_otherwise(station: Station) -> set[str]:
    """Not among the files: keys, the database, which is copied, the signed heads, which are read before it, and what the
    client of the releases remembers, which it learns anew.
    """
    home, names = station.home.resolve(), {KEYS, station.audit_heads.name, station.release_client.name}
    for database in (home / DATABASE, _database_path(station.engine)):
        if database.is_relative_to(home):
            names |= {f"{database.relative_to(home).as_posix()}{suffix}" for suffix in _BESIDE_A_DATABASE}
    return names


def _file_names(home: Path, otherwise: set[str], prefix: str = "") -> Iterator[str]:
    """Every file below `home` but drafts, which nobody finished yet."""
    with os.scandir(home / prefix) as entries:
        for entry in entries:
            name = prefix + entry.name
            if name in otherwise or entry.name.startswith(".") or entry.name.endswith(".draft"):
                continue
            if entry.is_symlink():
                raise FileChanged(name, "symlink")
            if entry.is_dir(follow_symlinks=False):
                yield from _file_names(home, otherwise, f"{name}/")
            elif entry.is_file(follow_symlinks=False):
                yield name
            else:
                raise FileChanged(name, "not a regular file")


def _is_private_key(name: str, stream: io.BufferedReader) -> bool:
    """Such as those of simulated providers; both signs, so that no provider can word its report to be left out."""
    return name.endswith(".pem") and _PRIVATE_KEY.match(stream.peek()) is not None


def _whole_lines(path: Path) -> bytes:
    """A file that grows by lines, without one that is being written."""
    if not path.exists():
        return b""
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]
