"""Who did what to what, and when: an append-only table in which every entry seals the one before.

Three layers, each catching what the one before cannot:
    1. triggers (SQLite) refuse UPDATE, DELETE and any INSERT but the next: they stop mistakes and stray code;
    2. the hash chain: an entry altered, removed, inserted or reordered behind the triggers' back breaks it;
    3. signed heads in a file kept elsewhere: a tail cut off, or a chain computed anew, contradicts them.
What happened after the last signed head is protected by layers 1 and 2 only, so sign heads often. On PostgreSQL layer
1 is the grant: INSERT and SELECT only. RFC 6962 Merkle proofs, which show one entry without the others, come with
issue 6.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import DDL, String, Text, event, type_coerce
from sqlalchemy import select as select_columns
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import IntegrityError as ConstraintBroken
from sqlmodel import Field, Session, SQLModel, col, select

from security._primitives import sha256_of_bytes
from security.errors import AuditLogBroken, SignatureInvalid, UnavailableError
from security.keyring import UtcDateTime, utc_text
from security.manifest import canonical_json
from security.signing import PublicKey, Signer, sign_bytes, verify_bytes

GENESIS_HASH = "0" * 64

_RESTORE = "keep the database as evidence and restore the log from backup"
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORDS = {"password", "passwords", "passwd", "passphrase", "secret", "secrets"}


class EntryBroken(AuditLogBroken):
    """The log differs from what was written: `seq` of the first entry that does not hold, `why`."""

    def __init__(self, seq: int, why: str) -> None:
        self.seq = seq
        self.why = why
        super().__init__(why, where=f"audit entry {seq}", mend=_RESTORE)


class AuditEntry(SQLModel, table=True):
    """One act. `details` is canonical JSON text; the hashes are hex SHA-256, the first `previous_hash` all zeros."""

    __tablename__ = "audit_entry"

    seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str
    action: str = Field(index=True)
    subject: str
    details: str = Field(sa_type=Text)
    previous_hash: str = Field(unique=True)
    entry_hash: str


@dataclass(frozen=True)
class SignedHead:
    """A state of the log that the auditor's key vouched for: made by `sign_head`, or verified by `read_heads`."""

    seq: int
    entry_hash: str
    at: datetime
    key_id: str


def append(
    session: Session, *, actor: str, action: str, subject: str, details: Mapping[str, object], at: datetime
) -> AuditEntry:
    """Write one act inside the caller's transaction: both are committed, or neither.

    Raises ValueError for a naive `at` or details that look like a secret, UnavailableError when another writer
    appended at the same moment (roll back and do it all again).
    """
    _refuse_secrets(details)
    session.flush()  # The caller's own changes first: their errors are not the log's.
    try:
        last = _last_entry(session)
        entry = AuditEntry(
            seq=1 if last is None else last.seq + 1,
            at=at,
            actor=actor,
            action=action,
            subject=subject,
            details=canonical_json(dict(details)).decode("utf-8"),
            previous_hash=GENESIS_HASH if last is None else last.entry_hash,
            entry_hash="",
        )
        entry.entry_hash = _hash_of({**entry.model_dump(), "at": utc_text(at)})
        session.add(entry)
        session.flush()
    except (ConstraintBroken, OperationalError) as error:
        raise UnavailableError(
            "the audit log could not be written: another writer was first, or the database is locked",
            mend="roll back and try again",
        ) from error
    return entry


def verify_log(session: Session, heads: Sequence[SignedHead]) -> int:
    """Read the whole log from the database and return how many entries hold.

    `heads` come from `read_heads`; with none, a tail cut off stays unseen. Raises AuditLogBroken (`seq`, `why`).
    """
    expected = {head.seq: head for head in heads}
    previous_hash, count = GENESIS_HASH, 0
    for stored in _stored_entries(session):
        count += 1
        if stored["seq"] != count:
            raise EntryBroken(count, "this entry was removed")
        if stored["previous_hash"] != previous_hash:
            raise EntryBroken(count, "this entry does not follow the one before: something was reordered or replaced")
        entry_hash = _hash_of(stored)
        if stored["entry_hash"] != entry_hash:
            raise EntryBroken(count, "this entry was altered")
        head = expected.pop(count, None)
        if head is not None and head.entry_hash != entry_hash:
            raise EntryBroken(count, f"this entry is not the one signed at {utc_text(head.at)}")
        previous_hash = entry_hash
    if expected:
        raise EntryBroken(count + 1, f"the end of the log was cut off: entry {max(expected)} had been signed")
    return count


def sign_head(session: Session, signer: Signer, heads_path: Path, at: datetime) -> SignedHead:
    """Vouch for the log as it ends now: one JSON line appended to `heads_path`, which belongs on another disk or host.

    Call it after a commit: a signed entry that is rolled back looks cut off.
    Raises UnavailableError when the log is empty.
    """
    last = _last_entry(session)
    if last is None:
        raise UnavailableError("the audit log is empty: there is no head to sign", mend="append an entry first")
    head = SignedHead(last.seq, last.entry_hash, datetime.fromisoformat(utc_text(at)), signer.key_id)
    line = {**_head_fields(head), "signature": sign_bytes(_head_message(head), signer).hex()}
    heads_path.parent.mkdir(parents=True, exist_ok=True)
    with heads_path.open("ab") as stream:
        stream.write(canonical_json(line) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    return head


def head_signed(session: Session, heads_path: Path) -> bool:
    """Whether the last line of the file names the log's last entry. It verifies nothing: `read_heads` does."""
    last = _last_entry(session)
    lines = heads_path.read_bytes().splitlines() if heads_path.exists() else []
    try:
        named = json.loads(lines[-1])["seq"] if lines else 0
    except (KeyError, TypeError, ValueError):
        return False
    return bool(named == (0 if last is None else last.seq))


def read_heads(heads_path: Path, trusted: Mapping[str, PublicKey]) -> list[SignedHead]:
    """Every signed head in the file, oldest first, each verified with a trusted key of purpose `audit`.

    Raises UnavailableError when there is no file (a missing witness is not a clean log), SignatureInvalid for a line
    that no trusted key signed, AuditLogBroken for heads that run backwards.
    """
    try:
        lines = heads_path.read_bytes().splitlines()
    except FileNotFoundError:
        raise UnavailableError(
            "no signed heads: a cut-off end of the audit log could not be seen",
            where=str(heads_path),
            mend="point at the file that sign_head writes, or sign a first head",
        ) from None
    heads = [_verified_head(line, trusted, f"{heads_path}, line {number}") for number, line in enumerate(lines, 1)]
    for earlier, later in itertools.pairwise(heads):
        if later.seq < earlier.seq or (later.seq == earlier.seq and later.entry_hash != earlier.entry_hash):
            raise EntryBroken(later.seq, f"signed after entry {earlier.seq}: the heads contradict each other")
    return heads


def _last_entry(session: Session) -> AuditEntry | None:
    return session.exec(select(AuditEntry).order_by(col(AuditEntry.seq).desc()).limit(1)).first()


def _verified_head(line: bytes, trusted: Mapping[str, PublicKey], where: str) -> SignedHead:
    try:
        fields = json.loads(line)
        head = SignedHead(fields["seq"], fields["entry_hash"], datetime.fromisoformat(fields["at"]), fields["key_id"])
        verify_bytes(_head_message(head), bytes.fromhex(fields["signature"]), trusted[head.key_id])
    except (KeyError, TypeError, ValueError, RecursionError, SignatureInvalid) as error:
        raise SignatureInvalid(
            "no trusted key signed this head of the audit log", where=where, mend="restore the heads from their backup"
        ) from error
    return head


def _head_fields(head: SignedHead) -> dict[str, object]:
    return {"seq": head.seq, "entry_hash": head.entry_hash, "at": utc_text(head.at), "key_id": head.key_id}


def _head_message(head: SignedHead) -> bytes:
    return canonical_json({"type": "gridward-audit-head-v1", **_head_fields(head)})


def _stored_entries(session: Session) -> Iterator[Mapping[str, object]]:
    """The rows as the database holds them now: not through objects this session remembers, `at` as its text."""
    session.flush()
    columns = SQLModel.metadata.tables["audit_entry"].c
    as_stored = (type_coerce(column, String) if column.name == "at" else column for column in columns)
    rows = session.connection().execute(select_columns(*as_stored).order_by(columns.seq))
    seq = 1
    try:
        for row in rows.mappings():
            yield {str(name): value for name, value in row.items()}
            seq += 1
    except DBAPIError as error:
        raise EntryBroken(seq, "this entry cannot be read") from error


def _hash_of(fields: Mapping[str, object]) -> str:
    """SHA-256 over every field but itself; `at` is text. Fields of a type never written hash to nothing stored."""
    sealed = {name: value for name, value in fields.items() if name != "entry_hash"}
    try:
        return sha256_of_bytes(canonical_json({"type": "gridward-audit-entry-v1", **sealed}))
    except (TypeError, ValueError):
        return ""


def _refuse_secrets(value: object) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if _looks_secret(str(key)):
                raise ValueError(f"audit details may not hold {key!r}: it looks like a secret; log an id instead")
            _refuse_secrets(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_secrets(inner)


def _looks_secret(key: str) -> bool:
    """`token` and `access_token` are secrets, `token_id` is a name."""
    words = [word.lower() for word in _WORD.findall(key)]
    ends_in_token = bool(words) and words[-1] in {"token", "tokens", "jwt"}
    holds_private_key = ("private", "key") in itertools.pairwise(words)
    return ends_in_token or holds_private_key or not _SECRET_WORDS.isdisjoint(words)


def _refusing(moment: str, condition: str, why: str) -> DDL:
    name = f"audit_entry_refuse_{moment.lower()}"
    return DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its constructor untyped
        f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {moment} ON audit_entry {condition} "
        f"BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: {why}'); END"
    )


_NOT_NEXT = "WHEN NEW.seq != (SELECT COALESCE(MAX(seq), 0) + 1 FROM audit_entry)"

for _moment, _condition, _why in (
    ("UPDATE", "", "no entry may be changed"),
    ("DELETE", "", "no entry may be removed"),
    # INSERT OR REPLACE removes rows without asking the DELETE trigger.
    (
        "INSERT",
        _NOT_NEXT,
        "only the next entry may be added",
    ),
):
    event.listen(
        SQLModel.metadata.tables["audit_entry"],
        "after_create",
        _refusing(_moment, _condition, _why).execute_if(dialect="sqlite"),
    )
