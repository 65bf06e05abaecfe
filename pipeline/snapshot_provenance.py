"""The frozen training sets that the ledger knows: what each was made from, whether it still holds, what learned from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from data.errors import DataError
from data.provenance import ModelOrigin, SnapshotRecord
from data.snapshots import Snapshot, pins_of, require_sources, restore
from pipeline.database import reading
from pipeline.keyset import Position, newest_first
from pipeline.plain_words import without_folders
from pipeline.station import Station
from security.errors import IntegrityError
from security.keyring import trusted_keys


@dataclass(frozen=True)
class SnapshotProvenance:
    """A snapshot opened now. sources: provider → its last moment in it; problem: why it does not hold, empty when it does;
    rows, facts, lake: of one that holds, its length, what its manifest says, and the version of each table behind it.
    """

    snapshot_id: str
    as_of: datetime
    sources: Mapping[str, str]
    models: tuple[str, ...]
    problem: str
    rows: int
    facts: Mapping[str, Any]
    lake: Mapping[str, int]


def page(session: Session, after: Position | None, limit: int) -> list[SnapshotRecord]:
    """Snapshots of the ledger, by the moment they were made as of, newest first."""
    rows = newest_first(select(SnapshotRecord), SnapshotRecord.as_of, SnapshotRecord.snapshot_id, after, limit)
    return list(session.exec(rows))


def position_of(record: SnapshotRecord) -> Position:
    """Where a page that ends with this snapshot ended."""
    return Position(record.as_of, record.snapshot_id)


def provenance(station: Station, snapshot_id: str) -> SnapshotProvenance | None:
    """Verify a snapshot, and every file of the lake that it was made from; None for an id that the ledger does not know."""
    with reading(station.engine) as session:
        record = session.get(SnapshotRecord, snapshot_id)
        origins = select(ModelOrigin.model_id).where(ModelOrigin.snapshot_id == snapshot_id)
        models = tuple(session.exec(origins.order_by(col(ModelOrigin.model_id))))
        trusted = trusted_keys(session, "snapshot")
    if record is None:
        # Only an id in the ledger becomes a path (CWE-22).
        return None
    snapshot: Snapshot | None = None
    problem = ""
    try:
        snapshot = restore(station.snapshots, snapshot_id, trusted)
        require_sources(snapshot, station.lake, trusted)
    except (IntegrityError, DataError) as error:
        snapshot, problem = None, without_folders(station, str(error))
    return SnapshotProvenance(
        snapshot_id=snapshot_id,
        as_of=record.as_of,
        sources=json.loads(record.sources),
        models=models,
        problem=problem,
        rows=0 if snapshot is None else len(snapshot.training),
        facts={} if snapshot is None else snapshot.facts,
        lake={} if snapshot is None else {table: pin.version for table, pin in pins_of(snapshot).items()},
    )
