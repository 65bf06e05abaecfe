"""Entries of the audit log."""

from __future__ import annotations

from datetime import datetime

from api.schemas.message import Message


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


class AuditAnswer(Message):
    """Some entries, and how many of the whole log were verified against its signed heads just now."""

    verified: int
    entries: list[AuditEntryAnswer]
