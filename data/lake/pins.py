"""A table as it stood at one version: which files, each with its SHA-256. What a snapshot is made of and checked against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from data.errors import LakeRefused
from data.lake import heads
from data.lake.heads import Acknowledged
from data.lake.store import Lake, data_files, every_file, get_checked, held, intended, sha256_of, store_of
from data.lake.tables import LakeTable
from security.manifest import FileChanged
from security.signing import PublicKey


@dataclass(frozen=True)
class Pin:
    """version: −1 for a table that was never written. files: name → size [bytes]; the name holds the digest."""

    version: int
    files: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """As it stands in a snapshot's manifest."""
        listed = {name: {"sha256": sha256_of(name), "size_bytes": size} for name, size in sorted(self.files.items())}
        return {"version": self.version, "files": listed}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """As `to_json` wrote it, from a verified manifest."""
        return cls(content["version"], {name: file["size_bytes"] for name, file in content["files"].items()})


NOTHING = Pin(-1, {})


def pin_newest(lake: Lake, table: LakeTable, known: Acknowledged, trusted: Mapping[str, PublicKey]) -> Pin:
    """The newest version, its head verified, grown out of the one that was acknowledged, and no file beside it that nobody
    accounts for.

    Raises LakeRefused, LakeRolledBack, FileChanged. The files' own bytes are checked when they are read.
    """
    with held(lake, alone=False):
        pin = grown(lake, table, known, trusted)
        require_nothing_else(lake, table, pin)
    return pin


def grown(lake: Lake, table: LakeTable, known: Acknowledged, trusted: Mapping[str, PublicKey]) -> Pin:
    """The newest version, if it is the acknowledged one or holds it. Raises LakeRefused, LakeRolledBack."""
    pin = pinned(lake, table, trusted)
    heads.require_newest(table, pin.version, known)
    if known != heads.NEVER:
        # Newer where a writer was killed before it could answer: its batch is whole, and signed.
        then = pin if pin.version == known.version else pinned(lake, table, trusted, known.version)
        heads.require_same(table, then.version, then.files, known)
        for name in sorted(then.files.keys() - pin.files.keys()):
            raise FileChanged(f"{table.name}/{name}", "missing")
    return pin


def pinned(lake: Lake, table: LakeTable, trusted: Mapping[str, PublicKey], version: int | None = None) -> Pin:
    """A version of the table, the newest by default, its head verified. Raises LakeRefused."""
    from deltalake import DeltaTable  # noqa: PLC0415 (a forecast needs no lake)
    from deltalake.exceptions import DeltaError, TableNotFoundError  # noqa: PLC0415

    store = store_of(lake, table)
    try:
        delta = DeltaTable(lake.url_of(table), version=version)
        added = pa.table(delta.get_add_actions(flatten=True))
    except TableNotFoundError:
        return NOTHING
    except (DeltaError, ValueError, OSError) as error:
        every_file(store)  # a store that does not answer says so here, and is no forgery
        at = -1 if version is None else version
        raise LakeRefused(
            table.name, at, f"its log cannot be read: {error}", mend="restore the lake from a backup"
        ) from error
    files = dict(zip(added["path"].to_pylist(), added["size_bytes"].to_pylist(), strict=True))
    pin = Pin(delta.version(), files)
    heads.require_head(store, table, pin.version, files, trusted)
    return pin


def require_nothing_else(lake: Lake, table: LakeTable, pin: Pin) -> None:
    """Raise FileChanged for a data file that the table does not hold, nor a writer that was cut off meant to write."""
    store = store_of(lake, table)
    strange = data_files(store) - pin.files.keys()
    if strange:
        strange -= intended(store)
    for name in sorted(strange):
        raise FileChanged(f"{table.name}/{name}", "unknown")


def require_pin(lake: Lake, table: LakeTable, pin: Pin, trusted: Mapping[str, PublicKey]) -> None:
    """Raise unless the lake still holds this version: FileChanged (`missing`, `altered`, `unknown`) naming the file,
    LakeRefused.
    """
    if pin == NOTHING:
        return
    found = pinned(lake, table, trusted, pin.version)
    for odd in sorted(found.files.keys() ^ pin.files.keys()):
        raise FileChanged(f"{table.name}/{odd}", "missing" if odd in pin.files else "unknown")
    require_files(lake, table, pin)


def require_files(lake: Lake, table: LakeTable, pin: Pin) -> None:
    """Raise FileChanged (`missing`, `altered`), naming the file, unless every pinned file is as it was."""
    store = store_of(lake, table)
    for name in sorted(pin.files):
        with naming(table):
            get_checked(store, name, pin.files[name])


@contextmanager
def naming(table: LakeTable) -> Iterator[None]:
    """A changed file is named with the table that it belongs to."""
    try:
        yield
    except FileChanged as error:
        raise FileChanged(f"{table.name}/{error.path}", error.why) from error
