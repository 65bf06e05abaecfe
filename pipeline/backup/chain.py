"""The chain of backups: each signed, numbered, and naming the digest of the one before.

A backup that is missing leaves a gap, one that was swapped does not carry its number or is not what the next one names.
Two ends need more. The oldest may be gone because it was pruned: `pruned` holds a signed line that says so. That the
newest were taken away, nothing in the folder can tell: the station's audit log can (`require_newest`), and so can a digest
that was kept elsewhere (`require_expected`).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.backup.catalogue import CATALOGUE, Catalogue
from pipeline.backup.pruned import PrunedUpTo, last_pruned
from pipeline.backup.repository import BACKUPS, DRAFT, names_on_disk, write_in_place
from pipeline.errors import BackupOutOfLine, PipelineError
from security.backup_keys import BackupKeys
from security.errors import KeyringError, UnavailableError
from security.keyring import utc_text
from security.manifest import FileChanged, Manifest, read_checked
from security.signing import Signer, open_folder, seal_folder

KIND = "station-backup"

_FOLDER = re.compile(r"[0-9]{6,}")
_SERIES_BYTES = 8


@dataclass(frozen=True)
class Backup:
    """One backup, its manifest verified. series: drawn with the first; digest: of the manifest's signed bytes."""

    sequence: int
    digest: str
    series: str
    previous: str
    made_at: datetime
    locked_until: datetime | None
    files: int
    size_bytes: int
    manifest: Manifest

    @property
    def backup_id(self) -> str:
        """The start of its digest: short enough to be copied by hand."""
        return self.digest[:16]

    @property
    def folder(self) -> str:
        """Its folder, from the top of the repository."""
        return f"{BACKUPS}/{self.sequence:06d}"

    def is_locked(self, now: datetime) -> bool:
        """Whether it may not be pruned yet."""
        return self.locked_until is not None and now < self.locked_until


def read_chain(root: Path, keys: BackupKeys) -> list[Backup]:
    """Every backup, the oldest first; none where none was ever made.

    Raises SignatureInvalid, ContentChanged, KeyringError, or BackupOutOfLine (`sequence`) for a missing or swapped one.
    """
    chain = [_opened(root, name, keys) for name in _folders(root)]
    gone = last_pruned(root, keys)
    if not chain:
        if gone is not None:
            raise BackupOutOfLine(gone.sequence + 1, "this backup is missing")
        return []
    _require_oldest(chain[0], gone)
    for earlier, later in itertools.pairwise(chain):
        if later.sequence != earlier.sequence + 1:
            raise BackupOutOfLine(earlier.sequence + 1, "this backup is missing")
        if later.previous != earlier.digest or later.series != earlier.series:
            raise BackupOutOfLine(later.sequence, "this does not follow the backup before it: one of the two was swapped")
    return chain


def _require_oldest(oldest: Backup, gone: PrunedUpTo | None) -> None:
    before = oldest.sequence - 1
    if before and (gone is None or gone.series != oldest.series or gone.sequence < before):
        raise BackupOutOfLine(before, "this backup is missing, and was not pruned")
    if gone is not None and gone.sequence == before and gone.digest != oldest.previous:
        raise BackupOutOfLine(oldest.sequence, "this is not the backup that followed the pruned ones")


def require_newest(chain: list[Backup], sequence: int, digest: str, told_by: str) -> None:
    """Raise BackupOutOfLine unless backup `sequence`, whose digest `told_by` knows, is in the chain or was pruned."""
    newest = chain[-1].sequence if chain else 0
    if sequence > newest:
        raise BackupOutOfLine(sequence, f"this backup is missing: {told_by} knows it, and the newest here is {newest}")
    known = next((backup for backup in chain if backup.sequence == sequence), None)
    if known is not None and known.digest != digest:
        raise BackupOutOfLine(sequence, f"this is not the backup that {told_by} knows")


def require_expected(chain: list[Backup], backup_id: str) -> None:
    """Raise BackupOutOfLine unless the backup of that id (or whole digest), kept elsewhere, is in the chain."""
    if not any(backup_id in (backup.backup_id, backup.digest) for backup in chain):
        raise BackupOutOfLine(chain[-1].sequence, f"the newest backup here, and none of them is {backup_id}")


def chosen(chain: list[Backup], root: Path, sequence: int | None) -> Backup:
    """The backup of that number, the newest without one. Raises UnavailableError, PipelineError."""
    if not chain:
        raise UnavailableError(
            "no backups here", where=str(root), mend="run `gridward backup create` first, or check the path"
        )
    if sequence is None:
        return chain[-1]
    found = next((backup for backup in chain if backup.sequence == sequence), None)
    if found is None:
        raise PipelineError(f"no backup {sequence}", where=str(root), mend="`gridward backup list` shows them")
    return found


def catalogue_of(root: Path, backup: Backup, keys: BackupKeys) -> Catalogue:
    """What a backup holds: the bytes checked against its manifest, then decrypted. Raises FileChanged."""
    try:
        sealed = read_checked(root / backup.folder, backup.manifest, CATALOGUE)
        return Catalogue.from_bytes(sealed, keys, backup.sequence)
    except FileChanged as error:
        raise FileChanged(f"{backup.folder}/{CATALOGUE}", error.why) from None


def add(
    root: Path,
    after: Backup | None,
    catalogue: Catalogue,
    keys: BackupKeys,
    signer: Signer,
    times: tuple[datetime, datetime | None],
) -> Backup:
    """Seal a backup and set it at the end of the chain: there whole from one moment to the next.

    times: when it was made, and until when it is locked.
    """
    made_at, locked_until = times
    sequence = 1 if after is None else after.sequence + 1
    predicate = {
        "sequence": sequence,
        "previous": "" if after is None else after.digest,
        "series": os.urandom(_SERIES_BYTES).hex() if after is None else after.series,
        "keys_id": keys.keys_id,
        "made_at": utc_text(made_at),
        "locked_until": None if locked_until is None else utc_text(locked_until),
        "files": len(catalogue.files),
        "size_bytes": catalogue.size_bytes,
    }
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=root / BACKUPS))
    try:
        write_in_place(draft / CATALOGUE, catalogue.to_bytes(keys, sequence))
        backup = _backup(seal_folder(draft, KIND, predicate, signer))
        draft.rename(root / backup.folder)
        names_on_disk(root / BACKUPS)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return backup


def _folders(root: Path) -> list[str]:
    found = []
    for entry in (root / BACKUPS).iterdir():
        if entry.is_symlink():
            raise FileChanged(f"{BACKUPS}/{entry.name}", "symlink")
        if entry.is_dir() and _FOLDER.fullmatch(entry.name):
            found.append(entry.name)
        elif not entry.name.startswith(DRAFT):
            raise FileChanged(f"{BACKUPS}/{entry.name}", "unknown")
    return sorted(found, key=int)


def _opened(root: Path, name: str, keys: BackupKeys) -> Backup:
    try:
        backup = _backup(open_folder(root / BACKUPS / name, KIND, keys.trusted))
    except FileChanged as error:
        raise FileChanged(f"{BACKUPS}/{name}/{error.path}", error.why) from None
    if backup.manifest.predicate["keys_id"] != keys.keys_id:
        raise KeyringError(
            "made with other backup keys", where=f"{BACKUPS}/{name}", mend="take the backup.keyset that it was made with"
        )
    if f"{BACKUPS}/{name}" != backup.folder:
        raise BackupOutOfLine(int(name), f"backup {backup.sequence} stands here")
    return backup


def _backup(manifest: Manifest) -> Backup:
    facts = manifest.predicate
    locked = facts["locked_until"]
    return Backup(
        sequence=facts["sequence"],
        digest=hashlib.sha256(manifest.to_bytes()).hexdigest(),
        series=facts["series"],
        previous=facts["previous"],
        made_at=datetime.fromisoformat(facts["made_at"]),
        locked_until=None if locked is None else datetime.fromisoformat(locked),
        files=facts["files"],
        size_bytes=facts["size_bytes"],
        manifest=manifest,
    )
