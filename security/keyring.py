"""Which keys are believed, for what and since when: a table of public keys. The station's own private keys lie in
`key_chest`; those of simulated providers, which are no secret worth a passphrase, in PEM files.

A key has one purpose and one owner for life. Revocation is final: the same key never comes back, its owner registers a
new one. Old records stay, so that an investigation can tell which key signed what. The table itself is protected by
the database's permissions, not by signatures: whoever can write it can add a key, and the audit log is where that
has to show.

Every verb takes the caller's session and flushes; committing is the caller's decision.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Dialect, String, TypeDecorator
from sqlmodel import Field, Session, SQLModel, col, select

from security._primitives import (
    PublicKey,
    equal_in_constant_time,
    key_id_of,
    load_private_key,
    public_key_hex,
    read_public_key,
    save_private_key,
)
from security.errors import KeyringError
from security.signing import Signer, new_signer

Purpose = Literal["provider", "model", "snapshot", "token", "audit", "registry"]
KeyState = Literal["active", "revoked", "unknown"]

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class KeyRefused(KeyringError):
    """A key may not be used, or not registered: `key_id` ('' when none is meant), `purpose`, `owner`, `why`."""

    def __init__(self, why: str, *, key_id: str, purpose: str, owner: str, mend: str) -> None:
        self.key_id = key_id
        self.purpose = purpose
        self.owner = owner
        self.why = why
        key = f"key {key_id}" if key_id else "keys"
        super().__init__(why, where=f"{key} of {owner} ({purpose})", mend=mend)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC moments in any database, stored as ISO 8601 text of fixed width, which sorts by time.

    Naive datetimes are refused: ValueError, which SQLAlchemy wraps in StatementError. (SQLite's own DateTime forgets
    the zone.)
    """

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002 (SQLAlchemy's)
        """Aware datetime to text in UTC."""
        return None if value is None else utc_text(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (SQLAlchemy's)
        """Text to aware UTC datetime."""
        return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


def utc_text(moment: datetime) -> str:
    """An aware moment as `YYYY-MM-DDTHH:MM:SS.ffffff+00:00`; ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime {moment.isoformat()}: say which zone, e.g. with tzinfo=UTC")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


class KeyRecord(SQLModel, table=True):
    """One public key: what it may sign, whose it is, and whether it is still believed."""

    __tablename__ = "key_record"

    key_id: str = Field(primary_key=True)
    purpose: str = Field(index=True)
    owner: str = Field(index=True)
    public_key_hex: str
    state: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)
    changed_by: str
    reason: str


def register_key(
    session: Session, *, purpose: Purpose, owner: str, public_key: PublicKey | str, by: str, reason: str, at: datetime
) -> KeyRecord:
    """Believe a public key (object, hex or PEM) from now on; doing it twice changes nothing.

    Raises KeyringError for text that is no Ed25519 key, or a key that was revoked or has another purpose or owner.
    """
    key = read_public_key(public_key) if isinstance(public_key, str) else public_key
    key_id = key_id_of(key)
    known = session.get(KeyRecord, key_id)
    if known is not None:
        _require_match(known, purpose, owner)
        return known
    record = KeyRecord(
        key_id=key_id,
        purpose=purpose,
        owner=owner,
        public_key_hex=public_key_hex(key),
        state="active",
        created_at=at,
        changed_at=at,
        changed_by=by,
        reason=reason,
    )
    session.add(record)
    session.flush()
    return record


def revoke_keys_of(
    session: Session, purpose: Purpose, owner: str, by: str, reason: str, at: datetime, *, but: str = ""
) -> list[KeyRecord]:
    """Stop believing every active key of an owner, for good, but one by its id; KeyringError when there is none."""
    active = [record for record in _records(session, purpose, owner) if record.state == "active" and record.key_id != but]
    if not active:
        raise KeyRefused("no active key", key_id="", purpose=purpose, owner=owner, mend="check the owner's name")
    for record in active:
        record.state = "revoked"
        record.changed_at = at
        record.changed_by = by
        record.reason = reason
        session.add(record)
    session.flush()
    return active


def require_active(session: Session, key_id: str, purpose: Purpose, owner: str) -> PublicKey:
    """The public key behind `key_id`; KeyringError (`why`) when unknown, revoked, or of another purpose or owner."""
    record = session.get(KeyRecord, key_id)
    if record is None:
        raise KeyRefused("unknown key", key_id=key_id, purpose=purpose, owner=owner, mend="have its owner register it first")
    _require_match(record, purpose, owner)
    return _public_key_in(record)


def trusted_keys(session: Session, purpose: Purpose) -> dict[str, PublicKey]:
    """Every active key of a purpose, by key id."""
    active = select(KeyRecord).where(KeyRecord.purpose == purpose, KeyRecord.state == "active")
    return {record.key_id: _public_key_in(record) for record in session.exec(active)}


def key_state(session: Session, purpose: Purpose, owner: str) -> KeyState:
    """`active` with at least one believed key, `revoked` when all were withdrawn, `unknown` without any."""
    states = {record.state for record in _records(session, purpose, owner)}
    if "active" in states:
        return "active"
    return "revoked" if states else "unknown"


def load_or_create_signer(folder: Path, name: str) -> Signer:
    """A simulated signer kept in `folder/name.pem` (mode 0600); made on first use, also when two processes start at once.

    Raises ValueError for a name that is not a plain file name, KeyringError for a file that others may read.
    """
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(f"signer name {name!r} must be letters, digits, '.', '_' or '-'")
    path = folder / f"{name}.pem"
    if not path.exists():
        # Where another process was first, its key is the one.
        with contextlib.suppress(FileExistsError):
            save_private_key(new_signer().private_key, path)
    return Signer.from_private_key(load_private_key(path))


def _records(session: Session, purpose: Purpose, owner: str) -> list[KeyRecord]:
    owned = select(KeyRecord).where(KeyRecord.purpose == purpose, KeyRecord.owner == owner)
    return list(session.exec(owned.order_by(col(KeyRecord.created_at), col(KeyRecord.key_id))))


def _require_match(record: KeyRecord, purpose: Purpose, owner: str) -> None:
    why = None
    if record.purpose != purpose:
        why = f"this key is for {record.purpose}"
    elif record.owner != owner:
        why = f"this key belongs to {record.owner}"
    elif record.state != "active":
        why = f"revoked at {utc_text(record.changed_at)} by {record.changed_by}: {record.reason}"
    if why is not None:
        raise KeyRefused(why, key_id=record.key_id, purpose=purpose, owner=owner, mend="register a new key")


def _public_key_in(record: KeyRecord) -> PublicKey:
    """The recorded key, if its name still is its own digest."""
    key = read_public_key(record.public_key_hex)
    if not equal_in_constant_time(key_id_of(key), record.key_id):
        raise KeyRefused(
            "the record was altered",
            key_id=record.key_id,
            purpose=record.purpose,
            owner=record.owner,
            mend="restore the database from backup",
        )
    return key
