"""Proofs that one entry stands in the log, and that a log of later only grew: O(log n) hashes, read from the stored tree.

Whoever has a signed head and a proof needs neither the log nor our word: see docs/audit.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from security.audit_log import FIELDS, EntryBroken, leaf_data, subtree_hashes, tail_of
from security.merkle import Range, complete_parts, consistency_path, inclusion_path, leaf_hash, root_of

_ENTRY = text(f"SELECT {', '.join(FIELDS)} FROM audit_entry WHERE seq = :seq")  # noqa: S608 (our own names)
_SIZES = text("SELECT COALESCE((SELECT MAX(seq) FROM audit_entry), 0), COALESCE((SELECT MAX(seq) FROM audit_node), 0)")


@dataclass(frozen=True)
class InclusionProof:
    """That entry `seq` stands in the log of `tree_size` entries whose root is `root_hash`.

    leaf: the entry as it was hashed; leaf_hash: SHA-256 of a zero byte and that; path: RFC 6962 section 2.1.1. Hashes hex.
    """

    seq: int
    tree_size: int
    leaf: str
    leaf_hash: str
    root_hash: str
    path: tuple[str, ...]


@dataclass(frozen=True)
class ConsistencyProof:
    """That the log of `second` entries begins with that of `first`. path: RFC 6962 section 2.1.2. Hashes hex."""

    first: int
    second: int
    first_root: str
    second_root: str
    path: tuple[str, ...]


def prove_inclusion(session: Session, seq: int, tree_size: int) -> InclusionProof:
    """Raises ValueError unless 1 ≤ seq ≤ tree_size ≤ the log's size, AuditLogBroken where the log and the tree differ."""
    path = inclusion_path(seq, tree_size)
    _require_size(session, tree_size)
    hashes = _hashes(session, [(seq - 1, seq), (0, tree_size), *path])
    row = session.connection().execute(_ENTRY, {"seq": seq}).mappings().one_or_none()
    if row is None:
        raise EntryBroken(seq, "this entry was removed")
    try:
        leaf = leaf_data(dict(row))
    except (TypeError, ValueError):
        raise EntryBroken(seq, "this entry was altered") from None
    if leaf_hash(leaf).hex() != hashes[0]:
        raise EntryBroken(seq, "this entry is not what the tree has of it")
    return InclusionProof(seq, tree_size, leaf.decode("utf-8"), hashes[0], hashes[1], tuple(hashes[2:]))


def prove_consistency(session: Session, first: int, second: int) -> ConsistencyProof:
    """Raises ValueError unless 1 ≤ first ≤ second ≤ the log's size, AuditLogBroken where the stored tree has holes."""
    path = consistency_path(first, second)
    _require_size(session, second)
    hashes = _hashes(session, [(0, first), (0, second), *path])
    return ConsistencyProof(first, second, hashes[0], hashes[1], tuple(hashes[2:]))


def _require_size(session: Session, tree_size: int) -> None:
    size, stored = session.connection().execute(_SIZES).one()
    if tree_size > size:
        raise ValueError(f"the log has {size} entries, not {tree_size}")
    if stored < tree_size:
        # An older Gridward wrote the log: the tree is stored now.
        tail_of(session)


def _hashes(session: Session, ranges: Sequence[Range]) -> list[str]:
    """The tree hash of each range of leaves, from one reading of the stored subtrees."""
    parts = [complete_parts(leaves) for leaves in ranges]
    stored = subtree_hashes(session, [part for several in parts for part in several])
    return [root_of([stored[part] for part in several]).hex() for several in parts]
