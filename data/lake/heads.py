"""The signed head of each table: which files are live at a version.

The head travels in the Delta commit itself: whoever adds a commit without our key, edits an older one or swaps names in the
log is found. Cutting commits off the end leaves a head that was valid once; the ledger remembers the newest one that was
acknowledged (AML.T0020, NIST AI 100-2 poisoning by storage).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Field, Session, SQLModel, select

from data.errors import LakeRefused, LakeRolledBack
from data.lake.store import LOG, get
from data.lake.tables import LakeTable
from security.errors import SignatureInvalid
from security.keyring import UtcDateTime
from security.manifest import FileChanged, canonical_json
from security.signing import PublicKey, Signer, sign_bytes, verify_bytes

FORMAT = 1
_HEAD, _KEY, _SIGNATURE = "gridward.head", "gridward.key_id", "gridward.signature"
_MEND = "restore the lake from a backup"


class LakeHead(SQLModel, table=True):
    """The newest version of a table whose readings were acknowledged, and the digest of its live files' names."""

    __tablename__ = "lake_head"

    table_name: str = Field(primary_key=True)
    version: int
    live_sha256: str
    at: datetime = Field(sa_type=UtcDateTime)


def digest_of(live: Iterable[str]) -> str:
    """Of the names of all live files; each name is its file's digest."""
    return hashlib.sha256("\n".join(sorted(live)).encode()).hexdigest()


def signed_head(table: LakeTable, version: int, live: Iterable[str], signer: Signer) -> dict[str, str]:
    """What a commit says of the version it makes."""
    head = _statement(table, version, digest_of(live))
    return {_HEAD: head.decode(), _KEY: signer.key_id, _SIGNATURE: sign_bytes(head, signer).hex()}


def require_head(store: Any, table: LakeTable, version: int, live: Iterable[str], trusted: Mapping[str, PublicKey]) -> None:
    """Raise LakeRefused unless a trusted key signed exactly these files as this version's."""
    names = set(live)
    if version == 0 and not names:
        return
    try:
        commit = get(store, f"{LOG}/{version:020d}.json")
        told = next(line["commitInfo"] for line in map(json.loads, commit.splitlines()) if "commitInfo" in line)
        head, key_id, signature = told[_HEAD].encode(), told[_KEY], bytes.fromhex(told[_SIGNATURE])
        verify_bytes(head, signature, trusted[key_id])
    except (FileChanged, SignatureInvalid, KeyError, StopIteration, TypeError, ValueError, AttributeError) as error:
        problem = "its newest commit does not carry a signature that is believed"
        raise LakeRefused(table.name, version, problem, mend=_MEND) from error
    if head != _statement(table, version, digest_of(names)):
        raise LakeRefused(table.name, version, "its files are not those that were signed", mend=_MEND)


@dataclass(frozen=True)
class Acknowledged:
    """The newest version of a table that was acknowledged, −1 for none, and the digest of its live files' names."""

    version: int
    live_sha256: str


NEVER = Acknowledged(-1, "")


def acknowledged(session: Session, table: LakeTable) -> Acknowledged:
    """What the ledger remembers of a table."""
    known = session.get(LakeHead, table.name)
    return NEVER if known is None else Acknowledged(known.version, known.live_sha256)


def require_newest(table: LakeTable, version: int, known: Acknowledged) -> None:
    """Raise LakeRolledBack when the table is older than what was acknowledged."""
    if version < known.version:
        raise LakeRolledBack(table.name, version, known.version)


def require_same(table: LakeTable, version: int, live: Iterable[str], known: Acknowledged) -> None:
    """Raise LakeRefused unless these files were the table's when this version of it was acknowledged.

    A signed version may be one of another time: from before the lake was restored, or of a commit that was given up.
    """
    if digest_of(live) != known.live_sha256:
        raise LakeRefused(table.name, version, "its files are not those that were acknowledged", mend=_MEND)


def acknowledge(session: Session, table: LakeTable, version: int, live: Iterable[str], at: datetime) -> None:
    """Remember that a version's readings were acknowledged."""
    known = session.get(LakeHead, table.name)
    if known is None or known.version < version:
        session.merge(LakeHead(table_name=table.name, version=version, live_sha256=digest_of(live), at=at))
        session.flush()


def forget(session: Session) -> None:
    """Forget what was acknowledged, of a lake whose first batch came to nothing and was removed."""
    for head in session.exec(select(LakeHead)):
        session.delete(head)


def _statement(table: LakeTable, version: int, live_sha256: str) -> bytes:
    return canonical_json(
        {"kind": "lake-head", "format": FORMAT, "table": table.name, "version": version, "live_sha256": live_sha256}
    )
