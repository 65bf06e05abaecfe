"""Who did what to what, and when: an append-only table in which every entry seals the one before.

Four layers, each showing what the one before cannot:
    1. triggers refuse UPDATE, DELETE, TRUNCATE and any INSERT but the next (`append_only`): mistakes and stray code;
    2. the hash chain: an entry altered, removed, inserted or reordered behind the triggers' back breaks it;
    3. the Merkle tree of RFC 6962 over the same entries (`merkle`): one entry, or one growth, shown without the rest;
    4. signed heads in files kept elsewhere (`audit_heads`): a tail cut off, or a log computed anew, contradicts them.
What happened after the last signed head is protected by layer 1 only, so sign heads often.

A leaf of the tree is the canonical JSON of an entry without its own hash, the same bytes that `entry_hash` is of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Integer, Text, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Field, Session, SQLModel

from security._primitives import sha256_of_bytes
from security.append_only import refuse_anything_but_appending
from security.errors import AuditLogBroken, UnavailableError
from security.keyring import UtcDateTime, utc_text
from security.manifest import canonical_json
from security.merkle import add_leaf, leaf_hash, peaks_of
from security.secret_names import refuse_secrets

GENESIS_HASH = "0" * 64
FIELDS = ("seq", "at", "actor", "action", "subject", "details", "previous_hash", "entry_hash")
NODE_FIELDS = ("seq", "hashes")
HASH_DIGITS = 64

_SEQ = BigInteger().with_variant(Integer, "sqlite")
_FILLED_AT_ONCE = 5000
_RESTORE = "keep the database as evidence and restore the log from backup"


class EntryBroken(AuditLogBroken):
    """The log differs from what was written: `seq` of the first entry that does not hold, `why`."""

    def __init__(self, seq: int, why: str) -> None:
        self.seq = seq
        self.why = why
        super().__init__(why, where=f"audit entry {seq}", mend=_RESTORE)


class WrittenMeanwhile(UnavailableError):
    """The log does not end where the writer left it; nothing was written."""


class AuditEntry(SQLModel, table=True):
    """One act. `details` is canonical JSON text; the hashes are hex SHA-256, the first `previous_hash` all zeros."""

    __tablename__ = "audit_entry"

    seq: int = Field(primary_key=True, sa_type=_SEQ, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str
    action: str = Field(index=True)
    subject: str
    details: str = Field(sa_type=Text)
    previous_hash: str = Field(unique=True)
    entry_hash: str


class AuditNode(SQLModel, table=True):
    """What entry `seq` completes in the Merkle tree: hex hashes of its leaf and of the subtrees of 2, 4, … leaves that end
    with it, one after the other. Only a copy, that proofs need not read the log: `verify_log` holds it to the entries.
    """

    __tablename__ = "audit_node"

    seq: int = Field(primary_key=True, sa_type=_SEQ, sa_column_kwargs={"autoincrement": False})
    hashes: str = Field(sa_type=Text)


for _table in ("audit_entry", "audit_node"):
    refuse_anything_but_appending(SQLModel.metadata.tables[_table])


@dataclass(frozen=True)
class Act:
    """Who (`actor`) did what (`action`) to what (`subject`), when; `details` as JSON holds them, no secrets among them."""

    actor: str
    action: str
    subject: str
    details: Mapping[str, object]
    at: datetime


@dataclass(frozen=True)
class Tail:
    """Where the log ends: its last entry, and the peaks of the Merkle tree of `seq` leaves, largest first."""

    seq: int
    entry_hash: str
    peaks: tuple[bytes, ...]


Fields = dict[str, object]
EMPTY = Tail(0, GENESIS_HASH, ())


def append(
    session: Session, *, actor: str, action: str, subject: str, details: Mapping[str, object], at: datetime
) -> AuditEntry:
    """Write one act inside the caller's transaction: both are committed, or neither. Raises as `append_many`."""
    fields, _ = _append(session, [written(Act(actor, action, subject, details, at))])
    return AuditEntry.model_validate({**fields[0], "at": at})


def append_many(session: Session, acts: Sequence[Fields]) -> Tail:
    """Write acts, each prepared by `written`, in one go inside the caller's transaction, and tell where the log ends then.

    Other writers wait as long as the transaction holds the database's write lock; two that both write without it cannot both
    be right, and the later one is refused. Raises UnavailableError when the log cannot be written (roll back and do it all
    again).
    """
    return _append(session, acts)[1]


def append_after(session: Session, known: Tail, acts: Sequence[Fields]) -> Tail:
    """The same for who still knows where the log ended: nothing is read, and PostgreSQL is sent one statement.

    known: where this caller's last transaction, committed, left the log. Raises WrittenMeanwhile when it ends elsewhere by
    now (the entry's number is taken, or the trigger refuses it; roll back and use `append_many`), UnavailableError.
    """
    entries, nodes, tail = _sealed(known, acts)
    try:
        _insert(session, entries, nodes, known.seq)
    except DBAPIError as error:
        raise _written_meanwhile() from error
    return tail


def written(act: Act) -> Fields:
    """An act as its entry has it, but for its place in the log.

    Raises ValueError for a naive `at`, details that look like a secret, and what JSON cannot hold.
    """
    refuse_secrets(act.details)
    return {
        "at": utc_text(act.at),
        "actor": _holdable(act.actor),
        "action": _holdable(act.action),
        "subject": _holdable(act.subject),
        "details": canonical_json(dict(act.details)).decode("utf-8"),
    }


def leaf_data(fields: Mapping[str, object]) -> bytes:
    """The bytes that an entry's hash and its leaf are of; `at` is text. Raises TypeError or ValueError for none."""
    sealed = {name: value for name, value in fields.items() if name != "entry_hash"}
    return canonical_json({"type": "gridward-audit-entry-v1", **sealed})


def tail_of(session: Session) -> Tail:
    """Where the log ends, with the stored tree brought up to it, which may write. Raises UnavailableError as `append`."""
    with _unavailable_if_it_fails():
        return _tail(session)


def tail_at(session: Session, seq: int) -> Tail:
    """Where the log ended with entry `seq`. Raises EntryBroken when that is not there, UnavailableError as `append`."""
    size = tail_of(session).seq
    if seq == 0:
        return EMPTY
    query = text("SELECT entry_hash FROM audit_entry WHERE seq = :seq")
    entry_hash = session.connection().execute(query, {"seq": seq}).scalar_one_or_none()
    if entry_hash is None:
        raise EntryBroken(seq, f"this entry is not there: the log ends at entry {size}")
    hashes = subtree_hashes(session, peaks_of(seq))
    return Tail(seq, entry_hash, tuple(hashes[peak] for peak in peaks_of(seq)))


def subtree_hashes(session: Session, subtrees: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """The stored hashes of complete subtrees, by (last leaf, level). Raises EntryBroken for one that is not there."""
    wanted = sorted({leaf for leaf, _ in subtrees})
    query = text("SELECT seq, hashes FROM audit_node WHERE seq IN (" + ",".join(map(str, wanted)) + ")")  # noqa: S608 (integers)
    stored: dict[int, str] = {row.seq: row.hashes for row in session.connection().execute(query)} if wanted else {}
    found = {}
    for leaf, level in subtrees:
        digits = stored.get(leaf, "")[level * HASH_DIGITS : (level + 1) * HASH_DIGITS]
        try:
            found[leaf, level] = bytes.fromhex(digits)
        except ValueError:
            digits = ""
        if len(digits) != HASH_DIGITS:
            raise EntryBroken(leaf, "what is stored of the tree at this entry was altered or removed")
    return found


def _append(session: Session, acts: Sequence[Fields]) -> tuple[list[Fields], Tail]:
    session.flush()  # The caller's own changes first: their errors are not the log's.
    with _unavailable_if_it_fails():
        before = _tail(session)
        entries, nodes, tail = _sealed(before, acts)
        _insert(session, entries, nodes, before.seq)
    return entries, tail


def _sealed(tail: Tail, acts: Sequence[Fields]) -> tuple[list[Fields], list[Fields], Tail]:
    """The rows of acts that follow `tail`, those of the tree, and where the log ends with them."""
    previous_hash, peaks = tail.entry_hash, list(tail.peaks)
    entries: list[Fields] = []
    nodes: list[Fields] = []
    for seq, act in enumerate(acts, tail.seq + 1):
        entry = {"seq": seq, **act, "previous_hash": previous_hash}
        leaf = leaf_data(entry)
        previous_hash = entry["entry_hash"] = sha256_of_bytes(leaf)
        entries.append(entry)
        nodes.append({"seq": seq, "hashes": b"".join(add_leaf(peaks, leaf_hash(leaf), seq)).hex()})
    return entries, nodes, Tail(tail.seq + len(acts), previous_hash, tuple(peaks))


def _tail(session: Session) -> Tail:
    seq, entry_hash = _last(session)
    _fill(session, seq)
    hashes = subtree_hashes(session, peaks_of(seq))
    return Tail(seq, entry_hash, tuple(hashes[peak] for peak in peaks_of(seq)))


def _last(session: Session) -> tuple[int, str]:
    query = text("SELECT seq, entry_hash FROM audit_entry ORDER BY seq DESC LIMIT 1")
    last = session.connection().execute(query).first()
    return (0, GENESIS_HASH) if last is None else (last.seq, last.entry_hash)


def _fill(session: Session, size: int) -> None:
    """Store what is missing of the tree: a log that an older Gridward wrote has entries only."""
    stored: int = session.connection().execute(text("SELECT COALESCE(MAX(seq), 0) FROM audit_node")).scalar_one()
    if stored > size:
        raise EntryBroken(size + 1, f"the end of the log was cut off: what is stored of the tree ends at entry {stored}")
    hashes = subtree_hashes(session, peaks_of(stored)) if stored < size else {}
    peaks = list(hashes.values())
    columns = ", ".join(FIELDS)
    query = text(f"SELECT {columns} FROM audit_entry WHERE seq > :after ORDER BY seq LIMIT {_FILLED_AT_ONCE}")  # noqa: S608 (our own names)
    while stored < size:
        nodes: list[Fields] = []
        for row in session.connection().execute(query, {"after": stored}).mappings():
            stored += 1
            if row["seq"] != stored:
                raise EntryBroken(stored, "this entry was removed")
            leaf = leaf_hash(leaf_data(dict(row)))
            nodes.append({"seq": stored, "hashes": b"".join(add_leaf(peaks, leaf, stored)).hex()})
        _insert(session, [], nodes, size)


def _insert(session: Session, entries: Sequence[Fields], nodes: Sequence[Fields], size: int) -> None:
    """All rows as JSON text, on PostgreSQL in one statement. size: of the log that they belong to.

    Why: pg8000 is pure Python and asks the server twice a row, and SQLite's driver gives up and takes the interpreter's lock
    once a row, which a busy event loop makes it wait for. PostgreSQL is asked for the size as well, since it notes each
    refused number as an error in its own log.
    """
    connection = session.connection()
    given = {"entries": _as_json(FIELDS, entries), "nodes": _as_json(NODE_FIELDS, nodes)}
    if connection.dialect.name == "sqlite":
        for name, rows in given.items():
            connection.execute(_INSERT_ON_SQLITE[name], {"rows": rows})
    elif connection.execute(_INSERT_ON_POSTGRESQL, {**given, "size": size}).rowcount != len(nodes):
        raise _written_meanwhile()


def _as_json(names: Sequence[str], rows: Sequence[Fields]) -> str:
    return json.dumps([[row[name] for name in names] for row in rows])


def _on_sqlite(table: str, names: Sequence[str]) -> str:
    values = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(names)))
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM json_each(:rows)"  # noqa: S608 (our own names)


def _on_postgresql(table: str, names: Sequence[str], rows: str) -> str:
    values = ", ".join(
        f"CAST(value ->> {place} AS {'bigint' if name == 'seq' else 'text'})" for place, name in enumerate(names)
    )
    source = f"json_array_elements(CAST(:{rows} AS json))"
    still = "COALESCE((SELECT max(seq) FROM audit_entry), 0) = :size"
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {source} WHERE {still}"  # noqa: S608 (our own names)


_INSERT_ON_SQLITE = {
    "entries": text(_on_sqlite("audit_entry", FIELDS)),
    "nodes": text(_on_sqlite("audit_node", NODE_FIELDS)),
}
_INSERT_ON_POSTGRESQL = text(
    f"WITH entered AS ({_on_postgresql('audit_entry', FIELDS, 'entries')}) "
    f"{_on_postgresql('audit_node', NODE_FIELDS, 'nodes')}"
)


@contextmanager
def _unavailable_if_it_fails() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise UnavailableError(
            "the audit log could not be written: another writer was first, or the database is locked or away",
            mend="roll back and try again",
        ) from error


def _written_meanwhile() -> WrittenMeanwhile:
    return WrittenMeanwhile("another writer of the audit log was first", mend="read where it ends and try again")


def _holdable(name: str) -> str:
    """Any text as every database can hold it: a client chooses what stands here, and may not choose that nothing does."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
