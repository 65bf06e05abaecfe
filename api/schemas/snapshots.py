"""Frozen training sets and what they were made from."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Self

from api.schemas.message import Message, Touched
from data.provenance import SnapshotRecord
from pipeline.snapshot_provenance import SnapshotProvenance


class SnapshotAnswer(Message):
    """A snapshot of the ledger. sources: provider → the last moment of it that was used."""

    snapshot_id: str
    as_of: datetime
    sources: dict[str, str]

    @classmethod
    def of(cls, record: SnapshotRecord) -> Self:
        """The answer about a row of the ledger."""
        return cls(snapshot_id=record.snapshot_id, as_of=record.as_of, sources=json.loads(record.sources))


class SnapshotsAnswer(Message):
    """A page of snapshots, newest first. next: path and query of the following page, null when the list ends."""

    snapshots: list[SnapshotAnswer]
    next: str | None


class SnapshotProvenanceAnswer(Message):
    """A snapshot, verified just now with every file of the lake behind it. problem: why it does not hold, empty when it
    does; rows, facts, lake: of one that holds, its intervals, what its manifest says, and each table's version.
    """

    snapshot_id: str
    as_of: datetime
    sources: dict[str, str]
    verified: bool
    problem: str
    models: Touched
    rows: int
    facts: dict[str, Any]
    lake: dict[str, int]

    @classmethod
    def of(cls, found: SnapshotProvenance) -> Self:
        """The answer, its lists bounded."""
        return cls(
            snapshot_id=found.snapshot_id,
            as_of=found.as_of,
            sources=dict(found.sources),
            verified=not found.problem,
            problem=found.problem,
            models=Touched.of(found.models),
            rows=found.rows,
            facts=dict(found.facts),
            lake=dict(found.lake),
        )
