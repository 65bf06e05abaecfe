"""What an auditor reads: entries of the log, its signed heads, proofs, and whether the whole of it still holds."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path

from sqlmodel import col, select

from pipeline.database import reading, transaction
from pipeline.incidents import raise_incident
from pipeline.plain_words import without_folders
from pipeline.station import Station, catch_up
from security.audit_check import VerifiedLog, verify_whole_log
from security.audit_export import export_log
from security.audit_heads import SignedHead, head_lines, newest_head, only_one_signs, require_same_heads, verified_heads
from security.audit_log import AuditEntry
from security.audit_proofs import ConsistencyProof, InclusionProof, prove_consistency, prove_inclusion
from security.errors import IntegrityError, UnavailableError
from security.keyring import KeyRecord, trusted_keys


def entries_after(station: Station, seq: int, limit: int) -> list[AuditEntry]:
    """At most `limit` entries that follow entry `seq`, in order."""
    following = select(AuditEntry).where(AuditEntry.seq > seq).order_by(col(AuditEntry.seq)).limit(limit)
    with reading(station.engine) as session:
        return list(session.exec(following))


def newest_signed(station: Station) -> SignedHead:
    """The newest signed head, verified. Raises SignatureInvalid, UnavailableError before the first."""
    with reading(station.engine) as session:
        trusted = trusted_keys(session, "audit")
    head = newest_head(station.audit_heads, trusted)
    if head is None:
        raise UnavailableError("no head of the audit log is signed", where=str(station.audit_heads), mend="come back later")
    return head


def verified_log(station: Station, at: datetime) -> VerifiedLog:
    """The whole log, recomputed and held to both files of heads; one that does not hold is an incident, `at` that moment.

    Raises AuditLogBroken, SignatureInvalid, UnavailableError.
    """
    try:
        return verify_whole_log(partial(reading, station.engine), _heads(station))
    except IntegrityError as error:
        with transaction(station.engine) as session:
            raise_incident(session, "audit-log-broken", "audit log", without_folders(station, str(error)), {}, at)
        raise


def proof_of_entry(station: Station, seq: int, tree_size: int | None) -> tuple[InclusionProof, SignedHead]:
    """That entry `seq` stands in the log of `tree_size` entries, by default the newest signed one, which comes with it.

    Raises ValueError for an entry or a size that is not there, and as `newest_signed`.
    """
    head = newest_signed(station)
    size = _signed_size(head, tree_size)
    with transaction(station.engine) as session:
        return prove_inclusion(session, seq, size), head


def proof_of_growth(station: Station, first: int, second: int | None) -> tuple[ConsistencyProof, SignedHead]:
    """That the log of `second` entries, by default the newest signed one, begins with that of `first`. Raises as above."""
    head = newest_signed(station)
    size = _signed_size(head, second)
    with transaction(station.engine) as session:
        return prove_consistency(session, first, size), head


def export(station: Station, out: Path, after: int, at: datetime) -> VerifiedLog:
    """Sign the log as it ends, and write what follows entry `after` to a new file. Raises as `export_log`."""
    catch_up(station, at)
    return export_log(partial(transaction, station.engine), _heads(station), out, after)


def public_keys(station: Station) -> dict[str, str]:
    """What heads are verified with: hex public keys by key id, to be kept where an intruder of the station is not."""
    active = select(KeyRecord).where(KeyRecord.purpose == "audit", KeyRecord.state == "active")
    with reading(station.engine) as session:
        return {record.key_id: record.public_key_hex for record in session.exec(active)}


def _signed_size(head: SignedHead, asked: int | None) -> int:
    """The size to prove against: nobody vouched for what follows the newest head."""
    if asked is not None and asked > head.seq:
        raise ValueError(f"the newest signed log has {head.seq} entries, not {asked}")
    return head.seq if asked is None else asked


def _heads(station: Station) -> list[SignedHead]:
    with transaction(station.engine) as session:
        # Both files as of one moment. They are verified afterwards: nobody who writes waits for that.
        only_one_signs(session)
        trusted = trusted_keys(session, "audit")
        own = head_lines(station.audit_heads)
        seen = own if station.audit_witness is None else head_lines(station.audit_witness)
    heads = verified_heads(own, trusted, str(station.audit_heads))
    if seen != own:
        require_same_heads(heads, verified_heads(seen, trusted, str(station.audit_witness)))
    return heads
