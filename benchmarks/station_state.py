"""What two stations in the same state have in common: everything that was decided, nothing of when it was done."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from sqlmodel import Session, select

from data.provenance import SnapshotRecord
from pipeline.database import transaction
from pipeline.provider_standings import all_events
from pipeline.recovery.journal import RecoveryRecord
from pipeline.registry import listing
from pipeline.station import Station
from security.audit_check import verify_log
from security.audit_heads import read_heads
from security.audit_log import AuditEntry
from security.keyring import KeyRecord, trusted_keys


def state_of(station: Station) -> dict[str, Any]:
    """Models, standings, keys of providers, recoveries, acts in the audit log, and what lies in the folders.

    Raises AuditLogBroken when the log or its signed heads do not hold.
    """
    with transaction(station.engine) as session:
        entries = verify_log(session, read_heads(station.audit_heads, trusted_keys(session, "audit")))
        acts = Counter(f"{entry.action} {entry.subject}" for entry in session.exec(select(AuditEntry)))
        # Killed before a release is published, the operators are asked again, and what they say is noted again.
        approved = sorted(act for act in acts if act.startswith("model.approved "))
        return {
            "models": sorted((m.model_id, m.role, m.state, m.snapshot_id, m.weather_policy) for m in listing(session)),
            "standings": [(e.provider, e.at, e.from_state, e.to_state, e.onset, e.reason) for e in all_events(session)],
            "keys": sorted((k.owner, k.key_id, k.state) for k in session.exec(select(KeyRecord)) if k.purpose == "provider"),
            "snapshots": sorted((s.snapshot_id, s.as_of, s.sources) for s in session.exec(select(SnapshotRecord))),
            "recoveries": _recoveries(session),
            "acts": {act: times for act, times in sorted(acts.items()) if act not in approved},
            "approved": approved,
            "entries": entries - sum(acts[act] for act in approved),
            "folders": sorted(
                f"{folder.name}/{item.name}"
                for folder in (station.snapshots, station.models, station.home / "recoveries")
                for item in (folder.iterdir() if folder.exists() else ())
            ),
        }


def _recoveries(session: Session) -> list[dict[str, Any]]:
    timeless = {"started_at", "finished_at", "seconds"}
    found = [record.model_dump(exclude=timeless) for record in session.exec(select(RecoveryRecord))]
    return sorted(found, key=lambda record: json.dumps(record, default=str))
