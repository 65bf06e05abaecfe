"""Whether the whole audit log still is what was written: recomputed from its entries, held to every signed head.

The chain, the Merkle tree and each head's root are computed anew from the entries alone; what is stored of the tree is
compared and never believed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from security._primitives import sha256_of_bytes
from security.audit_heads import SignedHead
from security.audit_log import EMPTY, FIELDS, EntryBroken, Tail, leaf_data
from security.keyring import utc_text
from security.merkle import add_leaf, leaf_hash, root_of

# A transaction for so many: short enough that a writer hardly waits.
READ_AT_ONCE = 2000

# Also a row with a number that no entry has is read, and found.
_BEFORE_ANY = -(2**62)
_COLUMNS = ", ".join(f"e.{name}" for name in FIELDS)
_PAGE = text(
    f"SELECT {_COLUMNS}, n.hashes FROM audit_entry e LEFT JOIN audit_node n ON n.seq = e.seq "  # noqa: S608 (our own names)
    "WHERE e.seq > :after ORDER BY e.seq LIMIT :limit"
)
_TREE_LONGER = text("SELECT COALESCE((SELECT MAX(seq) FROM audit_node), 0), COALESCE((SELECT MAX(seq) FROM audit_entry), 0)")


@dataclass(frozen=True)
class StoredEntry:
    """A row as it is stored now: its fields with `at` as text, and what is stored of the tree there (None: nothing)."""

    fields: Mapping[str, object]
    hashes: str | None


# What could be read, and the number of the entry that could not.
Page = tuple[list[StoredEntry], int | None]


@dataclass(frozen=True)
class VerifiedLog:
    """What held. entries and heads: how many; tree_nodes: entries whose part of the tree is stored; root_hash: hex."""

    entries: int
    heads: int
    tree_nodes: int
    root_hash: str


def verify_log(session: Session, heads: Sequence[SignedHead]) -> int:
    """Read the whole log from the database and return how many entries hold.

    `heads` come from `read_heads`; with none, a tail cut off stays unseen. Raises AuditLogBroken (`seq`, `why`).
    """
    session.flush()
    verified = check_entries(_every_entry(lambda after: _page(session, after), _BEFORE_ANY), heads)
    _require_tree_not_longer(session)
    return verified.entries


def verify_whole_log(transaction: Callable[[], AbstractContextManager[Session]], heads: Sequence[SignedHead]) -> VerifiedLog:
    """The same in many short transactions, while others append: what is verified stays, for the log only grows."""
    verified = check_entries(entries_from(transaction), heads)
    with transaction() as session:
        _require_tree_not_longer(session)
    return verified


def entries_from(
    transaction: Callable[[], AbstractContextManager[Session]], after: int = _BEFORE_ANY, last: int | None = None
) -> Iterator[StoredEntry]:
    """The stored entries that follow entry `after`, up to `last`, some thousands a transaction. None is judged yet.

    Raises EntryBroken for a row that the database cannot give.
    """

    def page(after: int) -> Page:
        with transaction() as session:
            return _page(session, after)

    every = _every_entry(page, after)
    return every if last is None else itertools.takewhile(lambda entry: _seq_of(entry) <= last, every)


def check_entries(stored: Iterable[StoredEntry], heads: Sequence[SignedHead], start: Tail = EMPTY) -> VerifiedLog:
    """Entries in order, from wherever they are read; `start`: where the first of them follows.

    Raises AuditLogBroken for the first that does not hold, or is not what a head vouched for.
    """
    signed: dict[int, list[SignedHead]] = {}
    for head in heads:
        signed.setdefault(head.seq, []).append(head)
    seq, previous_hash, peaks, nodes = start.seq, start.entry_hash, list(start.peaks), 0
    for entry in stored:
        seq += 1
        leaf = _checked_leaf(entry.fields, seq, previous_hash)
        previous_hash = str(entry.fields["entry_hash"])
        completed = add_leaf(peaks, leaf_hash(leaf), seq)
        if entry.hashes is not None:
            if nodes != seq - start.seq - 1 or entry.hashes != b"".join(completed).hex():
                raise EntryBroken(seq, "what is stored of the tree at this entry was altered or removed")
            nodes += 1
        for head in signed.pop(seq, ()):
            _require_signed(head, previous_hash, peaks)
    if signed:
        raise EntryBroken(seq + 1, f"the end of the log was cut off: entry {max(signed)} had been signed")
    return VerifiedLog(seq - start.seq, len(heads), nodes, root_of(peaks).hex())


def _checked_leaf(fields: Mapping[str, object], seq: int, previous_hash: str) -> bytes:
    if fields["seq"] != seq:
        raise EntryBroken(seq, "this entry was removed")
    if fields["previous_hash"] != previous_hash:
        raise EntryBroken(seq, "this entry does not follow the one before: something was reordered or replaced")
    try:
        leaf = leaf_data(fields)
    except (TypeError, ValueError):
        # A type that is never written.
        raise EntryBroken(seq, "this entry was altered") from None
    if fields["entry_hash"] != sha256_of_bytes(leaf):
        raise EntryBroken(seq, "this entry was altered")
    return leaf


def _require_signed(head: SignedHead, entry_hash: str, peaks: list[bytes]) -> None:
    if head.entry_hash != entry_hash or (head.root_hash and head.root_hash != root_of(peaks).hex()):
        raise EntryBroken(head.seq, f"this entry is not the one signed at {utc_text(head.at)}")


def _every_entry(page: Callable[[int], Page], after: int) -> Iterator[StoredEntry]:
    rows, unreadable = page(after)
    while rows:
        yield from rows
        if unreadable is None:
            rows, unreadable = page(_seq_of(rows[-1]))
        else:
            break
    if unreadable is not None:
        raise EntryBroken(unreadable, "this entry cannot be read")


def _page(session: Session, after: int) -> Page:
    """The entries that follow, read before one is judged: a broken log does not keep a transaction open."""
    rows: list[StoredEntry] = []
    try:
        for row in session.connection().execute(_PAGE, {"after": after, "limit": READ_AT_ONCE}).mappings():
            fields = {str(name): value for name, value in row.items()}
            hashes = fields.pop("hashes")
            rows.append(StoredEntry(fields, hashes))
    except DBAPIError:
        return rows, max(after, 0) + len(rows) + 1
    return rows, None


def _seq_of(entry: StoredEntry) -> int:
    return int(str(entry.fields["seq"]))


def _require_tree_not_longer(session: Session) -> None:
    tree, log = session.connection().execute(_TREE_LONGER).one()
    if tree > log:
        raise EntryBroken(log + 1, f"the end of the log was cut off: what is stored of the tree ends at entry {tree}")
