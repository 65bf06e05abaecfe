"""What an auditor reads: entries of the log, and whether the whole of it still holds against its signed heads."""

from __future__ import annotations

from sqlmodel import col, select

from pipeline.database import transaction
from pipeline.station import Station
from security.audit_log import AuditEntry, read_heads, verify_log
from security.keyring import trusted_keys


def entries_after(station: Station, seq: int, limit: int) -> list[AuditEntry]:
    """At most `limit` entries that follow entry `seq`, in order."""
    following = select(AuditEntry).where(AuditEntry.seq > seq).order_by(col(AuditEntry.seq)).limit(limit)
    with transaction(station.engine) as session:
        return list(session.exec(following))


def verified_entries(station: Station) -> int:
    """How many entries the log has, all of them verified. Raises AuditLogBroken, SignatureInvalid, UnavailableError."""
    with transaction(station.engine) as session:
        heads = read_heads(station.audit_heads, trusted_keys(session, "audit"))
        return verify_log(session, heads)
