"""`gridward snapshot list`, `verify`, `restore`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from sqlmodel import col, select

from api.console import open_own_station
from api.opened_snapshots import SnapshotId, opened
from api.output import AsJson, print_facts, print_json, print_table
from data.lake.tables import TABLES_BY_NAME
from data.provenance import SnapshotRecord
from data.schema import TIMESTAMP
from data.snapshots import pins_of, require_sources
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.ingest import newest_pin
from security.keyring import trusted_keys


def list_snapshots(as_json: AsJson = False) -> None:
    """List every snapshot, the oldest first, and the sources in it."""
    station = open_own_station()
    with transaction(station.engine) as session:
        records = list(session.exec(select(SnapshotRecord).order_by(col(SnapshotRecord.as_of))))
    rows = [(record.snapshot_id, record.as_of, json.loads(record.sources)) for record in records]
    if as_json:
        listed = [{"snapshot_id": name, "as_of": as_of.isoformat(), "sources": sources} for name, as_of, sources in rows]
        print_json({"snapshots": listed})
    else:
        table = [(name, f"{as_of:%Y-%m-%d %H:%M}", sorted(sources)) for name, as_of, sources in rows]
        print_table("Snapshots", ("id", "as of (UTC)", "weather sources"), table)


def verify(snapshot_id: SnapshotId, as_json: AsJson = False) -> None:
    """Check a snapshot's signature, every file in it, and every file of the lake that it was made from."""
    station = open_own_station()
    snapshot = opened(station, snapshot_id)
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "snapshot")
    require_sources(snapshot, station.lake, trusted)
    for table in pins_of(snapshot):
        newest_pin(station, TABLES_BY_NAME[table])  # and that nobody added a file since
    facts = {"snapshot_id": snapshot_id, "rows": len(snapshot.training), **snapshot.facts}
    if as_json:
        print_json(facts)
        return
    pins = pins_of(snapshot)
    versions = {
        f"lake: {table}": f"version {pin.version}, {len(pin.files)} files" for table, pin in pins.items() if pin.version >= 0
    }
    print_facts("Holds", {name: facts[name] for name in ("snapshot_id", "rows", "as_of")} | versions)


def restore(
    snapshot_id: SnapshotId,
    out: Annotated[Path, typer.Option(help="A new folder for training.parquet and readings.parquet.")],
    as_json: AsJson = False,
) -> None:
    """Verify a snapshot and write its tables to a new folder."""
    snapshot = opened(open_own_station(), snapshot_id)
    if out.exists():
        raise PipelineError("already there", where=str(out), mend="name a folder that does not exist yet")
    out.mkdir(parents=True)
    files = []
    for name, frame in (("training", snapshot.training), ("readings", snapshot.readings)):
        path = out / f"{name}.parquet"
        frame.rename_axis(TIMESTAMP).reset_index().to_parquet(path, index=False)
        files.append(str(path))
    if as_json:
        print_json({"snapshot_id": snapshot_id, "files": files})
    else:
        typer.echo("wrote " + ", ".join(files))
