"""Where the lake lies: a folder, or any object store by URL; files that are put whole, read whole, and never changed.

A file is named by the SHA-256 of its bytes, so that reading it tells whether it is what was written.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlparse

from data.lake.tables import LakeTable
from security.errors import UnavailableError
from security.manifest import FileChanged

LOG = "_delta_log"
# Names that a writer is about to write: what it leaves behind when it is killed is told from what somebody put there.
INTENT = "_intent"


@dataclass(frozen=True)
class Lake:
    """url: of the folder or bucket that the tables stand in; credentials come from the environment, as the store's own tools
    read them. lock: a local file; one installation writes to a lake.
    """

    url: str
    lock: Path

    def url_of(self, table: LakeTable) -> str:
        """Of one table."""
        return f"{self.url.rstrip('/')}/{table.name}"

    def folder_of(self, table: LakeTable) -> Path | None:
        """The same as a path, when the lake lies on this machine."""
        parts = urlparse(self.url_of(table))
        return Path(unquote(parts.path)) if parts.scheme == "file" else None


def lake_in(folder: Path, lock: Path) -> Lake:
    """The lake in a local folder."""
    return Lake(folder.absolute().as_uri(), lock)


@contextmanager
def held(lake: Lake, *, alone: bool) -> Iterator[None]:
    """Wait for the lake: alone, to write; beside other readers, to see no half-written batch. Death releases it."""
    lake.lock.parent.mkdir(parents=True, exist_ok=True)
    with lake.lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def store_of(lake: Lake, table: LakeTable) -> Any:
    """What `get` and `put` work on. Raises UnavailableError for a URL that no store answers to."""
    from obstore.store import from_url  # noqa: PLC0415 (a forecast needs no store)

    folder = lake.folder_of(table)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        return from_url(lake.url_of(table))
    except Exception as error:  # one class a store
        raise UnavailableError(
            f"no such store: {error}", where="GRIDWARD_LAKE_URL", mend="name a folder's file:// URL or a bucket's"
        ) from error


def put(store: Any, name: str, content: bytes) -> None:
    """Write a file whole. Raises UnavailableError."""
    import obstore  # noqa: PLC0415 (as above)

    try:
        obstore.put(store, name, content)
    except Exception as error:
        raise UnavailableError(f"cannot write: {error}", where=name, mend="see that the lake's disk has room") from error


def get(store: Any, name: str) -> bytes:
    """A file's bytes. Raises FileChanged (`missing`), UnavailableError."""
    import obstore  # noqa: PLC0415

    try:
        return bytes(obstore.get(store, name).bytes())
    except FileNotFoundError:
        raise FileChanged(name, "missing") from None
    except Exception as error:
        raise UnavailableError(f"cannot read this file: {error}", where=name) from error


def get_checked(store: Any, name: str, size: int) -> bytes:
    """A data file's bytes, compared with its name as read: parse these (CWE-367). Raises FileChanged."""
    content = get(store, name)
    if len(content) != size or hashlib.sha256(content).hexdigest() != sha256_of(name):
        raise FileChanged(name, "altered")
    return content


def sha256_of(name: str) -> str:
    """The digest that a data file's name says."""
    return PurePosixPath(name).stem


def every_file(store: Any) -> set[str]:
    """Log, intent and data. Raises UnavailableError."""
    import obstore  # noqa: PLC0415 (as above)

    try:
        return {item["path"] for batch in obstore.list(store) for item in batch}
    except Exception as error:
        raise UnavailableError(f"cannot list the files: {error}", where="lake", mend="see that its store answers") from error


def data_files(store: Any) -> set[str]:
    """Every file that is neither log nor intent."""
    return {name for name in every_file(store) if not name.startswith(f"{LOG}/") and name != INTENT}


def intended(store: Any) -> set[str]:
    """What a writer was about to write when it was cut off; nothing where none was."""
    try:
        return set(get(store, INTENT).decode(errors="replace").split("\n"))
    except FileChanged:
        return set()


def drop(store: Any, names: set[str]) -> None:
    """Remove files that no version of the table ever held."""
    import obstore  # noqa: PLC0415

    for name in sorted(names):
        with contextlib.suppress(FileNotFoundError):
            obstore.delete(store, name)


def settle(folder: Path | None, names: list[str]) -> None:
    """See local files, and that they are in their folders, through to the disk; an object store answers for its own."""
    if folder is None:
        return
    paths = [folder / name for name in names]
    above = {parent for path in paths for parent in path.parents if parent.is_relative_to(folder)}
    for path in [*paths, *sorted(above, reverse=True)]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
