"""Signed lines that say which backups were removed on purpose: a gap without one is a theft."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.backup.repository import PRUNED, names_on_disk, write_in_place
from security.backup_keys import BackupKeys
from security.errors import SignatureInvalid
from security.keyring import utc_text
from security.manifest import canonical_json, open_regular
from security.signing import Signer, sign_bytes, verify_bytes


@dataclass(frozen=True)
class PrunedUpTo:
    """Backups up to number `sequence` of a series may be gone. digest: that backup's."""

    series: str
    sequence: int
    digest: str
    at: datetime
    by: str

    def fields(self) -> dict[str, object]:
        """As JSON."""
        return {
            "series": self.series,
            "sequence": self.sequence,
            "digest": self.digest,
            "at": utc_text(self.at),
            "by": self.by,
        }


def last_pruned(root: Path, keys: BackupKeys) -> PrunedUpTo | None:
    """How far the chain was pruned; None when it never was. Raises SignatureInvalid for a line that is not ours."""
    lines = _lines(root)
    records = [_verified(line, keys, f"{PRUNED}, line {number}") for number, line in enumerate(lines, 1)]
    return max(records, key=lambda record: record.sequence, default=None)


def write_pruned(root: Path, record: PrunedUpTo, signer: Signer) -> None:
    """Add a line: before anything is removed."""
    line = {**record.fields(), "signature": sign_bytes(_message(record.fields()), signer).hex()}
    write_in_place(root / PRUNED, b"".join(known + b"\n" for known in [*_lines(root), canonical_json(line)]))
    names_on_disk(root)


def _lines(root: Path) -> list[bytes]:
    if not (root / PRUNED).exists() and not (root / PRUNED).is_symlink():
        return []
    with open_regular(root, PRUNED) as stream:
        return stream.read().splitlines()


def _verified(line: bytes, keys: BackupKeys, where: str) -> PrunedUpTo:
    try:
        fields = json.loads(line)
        signature = bytes.fromhex(fields.pop("signature"))
        verify_bytes(_message(fields), signature, keys.signed_by)
        return PrunedUpTo(**{**fields, "at": datetime.fromisoformat(fields["at"])})
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, SignatureInvalid) as error:
        raise SignatureInvalid(
            "no trusted key signed this line", where=where, mend="restore the file from a trusted copy"
        ) from error


def _message(fields: dict[str, object]) -> bytes:
    return canonical_json({"type": "gridward-backup-pruned-v1", **fields})
