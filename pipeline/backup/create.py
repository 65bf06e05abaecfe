"""Back a station up: what is new is encrypted and stored, then a signed backup is set at the end of the chain.

Killed at any moment, the earlier backups are as they were; what was stored already is found and used by the next run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from pipeline.backup.catalogue import Catalogue
from pipeline.backup.chain import Backup, add, read_chain
from pipeline.backup.chunks import ChunkStore, Written
from pipeline.backup.contents import contents_of
from pipeline.backup.repository import BACKUPS, CHUNKS, clear_drafts, make_repository, require_layout, turn_at
from pipeline.backup.witness import CREATED, recorded, require_known
from pipeline.station import KEYS, Station
from security.backup_keys import BackupKeys, create_backup_keys, load_backup_keys
from security.errors import KeyringError
from security.key_chest import SUFFIX
from security.signing import Signer

KEY_FILE = "backup.keyset"
SIGNER = "backup"


@dataclass(frozen=True)
class Created:
    """A new backup, and what it added to the folder."""

    backup: Backup
    written: Written


def keys_for(station: Station, to: Path, passphrase: SecretStr | None) -> BackupKeys:
    """The station's backup keys; made on first use, but never for a folder that holds backups already.

    Raises UnavailableError without a passphrase, KeyringError for a wrong one.
    """
    path = station.home / KEYS / KEY_FILE
    if not path.exists() and not _holds_backups(to):
        return create_backup_keys(path, passphrase, station.chest.signer(SIGNER).public_key)
    return load_backup_keys(path, passphrase)


def signer_of(station: Station, keys: BackupKeys) -> Signer:
    """The station's own backup signer. Raises KeyringError when these backup keys believe another."""
    signer = station.chest.signer(SIGNER)
    if signer.key_id not in keys.trusted:
        raise KeyringError(
            "this is not the key that the backup keys believe",
            where=str(station.home / KEYS / f"{SIGNER}{SUFFIX}"),
            mend=f"restore it from its copy; without one, set {KEY_FILE} aside and begin a new folder",
        )
    return signer


def create(station: Station, to: Path, passphrase: SecretStr | None, *, lock_days: int, by: str) -> Created:
    """Add a backup of the station to the folder `to`, locked for `lock_days`, and enter it in the audit log."""
    with recorded(station, CREATED, to, by) as details, turn_at(station.home, alone=True):
        make_repository(to, station.home)
        keys = keys_for(station, to, passphrase)
        signer = signer_of(station, keys)
        with turn_at(to, alone=True):
            made = _create(station, to, keys, signer, lock_days)
        backup = made.backup
        details |= {"sequence": backup.sequence, "digest": backup.digest, "series": backup.series, "lock_days": lock_days}
        details |= {"files": backup.files, "new_chunks": made.written.chunks, "mended_chunks": made.written.mended}
    return made


def _create(station: Station, to: Path, keys: BackupKeys, signer: Signer, lock_days: int) -> Created:
    require_layout(to)
    for folder in (to, to / CHUNKS, to / BACKUPS):
        clear_drafts(folder)
    chain = read_chain(to, keys)
    require_known(station, chain)
    store, catalogue = ChunkStore(to, keys), Catalogue()
    made_at = datetime.now(UTC)
    for name, stream in contents_of(station):
        catalogue.take(name, stream, store)
    store.settle()
    locked_until = made_at + timedelta(days=lock_days) if lock_days else None
    backup = add(to, chain[-1] if chain else None, catalogue, keys, signer, (made_at, locked_until))
    return Created(backup, store.written)


def _holds_backups(to: Path) -> bool:
    return (to / BACKUPS).is_dir() and any((to / BACKUPS).iterdir())
