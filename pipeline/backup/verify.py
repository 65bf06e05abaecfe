"""Check backups: signatures, the chain, every chunk and every file's digest. Nothing is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.backup.catalogue import content_of
from pipeline.backup.chain import Backup, catalogue_of, chosen, read_chain, require_expected
from pipeline.backup.chunks import ChunkStore
from pipeline.backup.repository import require_layout, turn_at
from pipeline.backup.witness import knows_series, recorded, require_known
from pipeline.station import Station
from security.backup_keys import BackupKeys

VERIFIED, LISTED = "backup.verified", "backup.listed"


@dataclass(frozen=True)
class Verified:
    """Backups that hold, and what was read for it. unneeded: chunks of no backup, left by a run that was killed;
    witnessed: whether something outside the folder told that the newest is the newest.
    """

    backups: list[Backup]
    files: int
    chunks: int
    unneeded: int
    witnessed: bool


@dataclass(frozen=True)
class Trust:
    """Whom to believe about a folder. station: whose audit log knows the newest; expected: a digest kept elsewhere."""

    keys: BackupKeys
    station: Station | None = None
    expected: str = ""


@contextmanager
def chain_of(root: Path, trust: Trust) -> Iterator[list[Backup]]:
    """The verified chain of a folder, which nobody changes meanwhile. Raises IntegrityError, UnavailableError."""
    with turn_at(root, alone=False):
        require_layout(root)
        chain = read_chain(root, trust.keys)
        chosen(chain, root, None)
        require_known(trust.station, chain)
        if trust.expected:
            require_expected(chain, trust.expected)
        yield chain


def is_witnessed(trust: Trust, chain: list[Backup]) -> bool:
    """Whether anything outside the folder told that no newer backup was taken away."""
    return bool(trust.expected) or knows_series(trust.station, chain)


def list_backups(root: Path, trust: Trust, *, by: str) -> list[Backup]:
    """Every backup, its manifest verified, the oldest first."""
    with recorded(trust.station, LISTED, root, by) as details, chain_of(root, trust) as chain:
        details["newest"] = chain[-1].sequence
        return chain


def verify(root: Path, trust: Trust, *, by: str) -> Verified:
    """Open everything that every backup needs. Raises IntegrityError, naming the first file that does not hold."""
    with recorded(trust.station, VERIFIED, root, by) as details, chain_of(root, trust) as chain:
        store = ChunkStore(root, trust.keys)
        there = store.names()
        needed: set[str] = set()
        seen: set[tuple[str, ...]] = set()
        for backup in chain:
            catalogue = catalogue_of(root, backup, trust.keys)
            for file in catalogue.files:
                chunks = catalogue.chunks[file.name]
                # The same chunks under the same digest hold again: what did not change is read once.
                if (file.sha256, *chunks) not in seen:
                    deque(content_of(store, file, chunks), maxlen=0)
                seen.add((file.sha256, *chunks))
                needed.update(chunks)
        details |= {"newest": chain[-1].sequence, "digest": chain[-1].digest, "backups": len(chain)}
        return Verified(chain, len(seen), len(needed), len(there - needed), witnessed=is_witnessed(trust, chain))
