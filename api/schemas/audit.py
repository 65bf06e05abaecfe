"""Entries of the audit log, its signed heads and its proofs."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict

from api.schemas.message import Message

_HASH = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
_KEY = "7d3f0c5a9b1e4c62a8d9f01b2c3d4e5f"
_AT = "2014-11-20T03:12:45.018342Z"


class AuditEntryAnswer(Message):
    """One act in the audit log. details: JSON text, as it was hashed."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: str
    previous_hash: str
    entry_hash: str


class SignedHeadAnswer(Message):
    """What the auditor's key vouched for: the log of `seq` entries, by the last one's hash and the Merkle root.

    root_hash: empty for a head of version 1. signature: Ed25519, of `gridward-message-v1`, a zero byte and `signed`.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "seq": 412,
                    "entry_hash": _HASH,
                    "at": _AT,
                    "key_id": _KEY,
                    "root_hash": _HASH,
                    "signature": _HASH * 2,
                    "signed": '{"at":"2014-11-20T03:12:45.018342+00:00", … ,"type":"gridward-audit-head-v2"}',
                }
            ]
        }
    )

    seq: int
    entry_hash: str
    at: datetime
    key_id: str
    root_hash: str
    signature: str
    signed: str


class AuditAnswer(Message):
    """Some entries and the newest signed head; entries after `head.seq` wait for the next. next: path of the next page."""

    entries: list[AuditEntryAnswer]
    next: str | None
    head: SignedHeadAnswer


class InclusionProofAnswer(Message):
    """That entry `seq` stands in the log of `tree_size` entries (RFC 6962). leaf: the entry as it was hashed."""

    seq: int
    tree_size: int
    leaf: str
    leaf_hash: str
    root_hash: str
    path: list[str]


class InclusionAnswer(Message):
    """A proof, and the newest signed head to hold its root to where the sizes agree."""

    proof: InclusionProofAnswer
    head: SignedHeadAnswer


class ConsistencyProofAnswer(Message):
    """That the log of `second` entries begins with that of `first` (RFC 6962)."""

    first: int
    second: int
    first_root: str
    second_root: str
    path: list[str]


class ConsistencyAnswer(Message):
    """A proof, and the newest signed head to hold its second root to where the sizes agree."""

    proof: ConsistencyProofAnswer
    head: SignedHeadAnswer


class VerifiedLogAnswer(Message):
    """The whole log holds: how many entries and signed heads, how far the tree is stored, and its root."""

    entries: int
    heads: int
    tree_nodes: int
    root_hash: str
