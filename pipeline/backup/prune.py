"""Remove old backups, the oldest first, up to the first that is locked.

Nothing here lifts a lock but time: no option, no second signature. What that does not prove is in docs/threat-model.md: who
may delete files on that disk, or set this machine's clock, is not held by it.

The order survives being killed: a signed line says what may be gone, then folders go, one whole folder at a time, then the
chunks that no backup needs any more. Run again, it ends where it would have ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.backup.chain import Backup, catalogue_of, chosen, read_chain
from pipeline.backup.chunks import ChunkStore
from pipeline.backup.create import signer_of
from pipeline.backup.pruned import PrunedUpTo, last_pruned, write_pruned
from pipeline.backup.repository import BACKUPS, CHUNKS, DRAFT, clear_drafts, names_on_disk, require_layout, turn_at
from pipeline.backup.witness import recorded, require_known
from pipeline.station import Station
from security.backup_keys import BackupKeys
from security.errors import IntegrityError

PRUNED = "backup.pruned"


@dataclass(frozen=True)
class Pruned:
    """What went and what stayed. locked: backups that were to go and may not yet."""

    removed: list[Backup]
    kept: list[Backup]
    locked: list[Backup]
    chunks_removed: int


def prune(station: Station, root: Path, keys: BackupKeys, *, keep: int, by: str) -> Pruned:
    """Keep the newest `keep` backups, and all from the oldest locked one on. Raises IntegrityError, with nothing removed."""
    if keep < 1:
        raise ValueError(f"keep={keep}: the newest backup always stays")
    with recorded(station, PRUNED, root, by) as details, turn_at(root, alone=True):
        require_layout(root)
        chain = read_chain(root, keys)
        chosen(chain, root, None)
        require_known(station, chain)
        now = datetime.now(UTC)
        _require_clock(chain, now)
        old = chain[:-keep]
        free = next((index for index, backup in enumerate(old) if backup.is_locked(now)), len(old))
        removed, kept = old[:free], chain[free:]
        needed = _needed(root, keys, kept)
        if removed:
            _remove(
                station, root, keys, removed, PrunedUpTo(chain[0].series, removed[-1].sequence, removed[-1].digest, now, by)
            )
        for folder in (root, root / CHUNKS, root / BACKUPS):
            clear_drafts(folder)
        gone = ChunkStore(root, keys).remove_all_but(needed)
        locked = [backup for backup in old[free:] if backup.is_locked(now)]
        details |= {"removed": [backup.sequence for backup in removed], "locked": [backup.sequence for backup in locked]}
        details |= {"keep": keep, "chunks_removed": gone}
        return Pruned(removed, kept, locked, gone)


def _needed(root: Path, keys: BackupKeys, kept: list[Backup]) -> set[str]:
    catalogues = (catalogue_of(root, backup, keys) for backup in kept)
    return {name for catalogue in catalogues for names in catalogue.chunks.values() for name in names}


def _remove(station: Station, root: Path, keys: BackupKeys, removed: list[Backup], record: PrunedUpTo) -> None:
    signer = signer_of(station, keys)
    known = last_pruned(root, keys)
    if known is None or known.sequence < record.sequence:
        write_pruned(root, record, signer)
    for backup in removed:
        (root / backup.folder).rename(root / BACKUPS / f"{DRAFT}pruned-{backup.sequence}")
    names_on_disk(root / BACKUPS)


def _require_clock(chain: list[Backup], now: datetime) -> None:
    """A clock that stands before the newest backup was made cannot tell whether a lock has ended."""
    if now < chain[-1].made_at:
        raise IntegrityError(
            f"this machine's clock is behind the newest backup, made at {chain[-1].made_at:%Y-%m-%d %H:%M} UTC",
            where=chain[-1].folder,
            mend="set the clock right",
        )
