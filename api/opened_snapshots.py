"""A snapshot that a command was asked for: verified, and only if the ledger knows it."""

from __future__ import annotations

from typing import Annotated

import typer

from data.provenance import SnapshotRecord
from data.snapshots import Snapshot, restore
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.station import Station
from security.keyring import trusted_keys

SnapshotId = Annotated[str, typer.Argument(help="The snapshot's id, as `gridward snapshot list` shows it.")]


def opened(station: Station, snapshot_id: str) -> Snapshot:
    """Only an id in the ledger becomes a path (CWE-22). Raises PipelineError, and what data.snapshots.restore raises."""
    with transaction(station.engine) as session:
        known = session.get(SnapshotRecord, snapshot_id) is not None
        trusted = trusted_keys(session, "snapshot")
    if not known:
        raise PipelineError(f"no snapshot {snapshot_id!r}", mend="`gridward snapshot list` shows them")
    return restore(station.snapshots, snapshot_id, trusted)
