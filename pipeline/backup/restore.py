"""Bring a station back: into an empty folder, verified before any of it stands in place, all of it or nothing.

The restored station is the one of the backup, with one entry more in its audit log: that it was restored, by whom, from
which backup. It comes without private keys: copy them into its `keys` folder before it is opened, or it makes new ones.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.backup.catalogue import content_of
from pipeline.backup.chain import Backup, catalogue_of, chosen
from pipeline.backup.chunks import ChunkStore
from pipeline.backup.contents import BUNDLE_KEYS, DATABASE, check_database
from pipeline.backup.repository import names_on_disk, turn_at
from pipeline.backup.verify import Trust, chain_of, is_witnessed
from pipeline.backup.witness import recorded
from pipeline.database import make_engine, transaction
from pipeline.errors import PipelineError
from pipeline.release_pins import pinned, seal_pin
from pipeline.station import KEYS
from security.audit_log import append
from security.bundle_keys import BundleKeys
from security.key_chest import KeyChest, open_chest
from security.manifest import SealedFile
from security.master_key import Protection

RESTORED = "backup.restored"


@dataclass(frozen=True)
class Restored:
    """A station that was brought back. home: its folder; witnessed: see `verify.Verified`."""

    home: Path
    backup: Backup
    witnessed: bool


def restore(root: Path, out: Path, trust: Trust, protection: Protection, *, sequence: int | None, by: str) -> Restored:
    """Restore backup `sequence`, or the newest, to `out`, and enter it in the audit log. Raises as `bring_back` does."""
    with recorded(trust.station, RESTORED, root, by) as details:
        restored = bring_back(root, out, trust, protection, sequence=sequence, by=by)
        details |= {"sequence": restored.backup.sequence, "digest": restored.backup.digest, "to": str(out)}
    return restored


def bring_back(root: Path, out: Path, trust: Trust, protection: Protection, *, sequence: int | None, by: str) -> Restored:
    """Restore a backup to `out`, the keys of its models in a new key chest under `protection`.

    Raises PipelineError for a folder that is not empty; IntegrityError before anything stands at `out`.
    """
    _require_empty(out, root)
    with turn_at(out.parent, alone=True), chain_of(root, trust) as chain:
        backup = chosen(chain, root, sequence)
        draft = out.with_name(f".{out.name}.restoring")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        try:
            _fill(draft, root, backup, trust, protection)
            _enter_in_restored_log(draft, backup, root, open_chest(draft / KEYS, protection), by)
            draft.rename(out)
            names_on_disk(out.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return Restored(out, backup, is_witnessed(trust, chain))


def _require_empty(out: Path, root: Path) -> None:
    if out.resolve().is_relative_to(root.resolve()):
        raise PipelineError("inside the folder of backups", where=str(out), mend="name a folder elsewhere")
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise PipelineError("not an empty folder", where=str(out), mend="name one that is empty or does not exist yet")
    if not out.parent.is_dir():
        raise PipelineError("the folder above does not exist", where=str(out), mend="make it first")


def _fill(draft: Path, root: Path, backup: Backup, trust: Trust, protection: Protection) -> None:
    store, catalogue = ChunkStore(root, trust.keys), catalogue_of(root, backup, trust.keys)
    for file in catalogue.files:
        chunks = catalogue.chunks[file.name]
        if file.name == BUNDLE_KEYS:
            keys = BundleKeys.from_secret(b"".join(content_of(store, file, chunks)))
            open_chest(draft / KEYS, protection).keep_bundle_keys(keys)
        else:
            _write(draft, file, chunks, store)
    check_database(draft / DATABASE)
    for folder in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
        names_on_disk(folder)


def _write(draft: Path, file: SealedFile, chunks: list[str], store: ChunkStore) -> None:
    path = draft / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        for piece in content_of(store, file, chunks):
            stream.write(piece)
        stream.flush()
        os.fsync(stream.fileno())


def _enter_in_restored_log(draft: Path, backup: Backup, root: Path, chest: KeyChest, by: str) -> None:
    """The restored station's own log says where it comes from, also where no other station is left to say it."""
    details = {"sequence": backup.sequence, "digest": backup.digest}
    engine = make_engine("", draft)
    try:
        with transaction(engine) as session:
            pin = pinned(session)
            if pin is not None:
                # The backup is signed: what its database trusts, the new chest may trust.
                seal_pin(chest, pin)
            append(session, actor=by, action=RESTORED, subject=str(root), details=details, at=datetime.now(UTC))
    finally:
        engine.dispose()
