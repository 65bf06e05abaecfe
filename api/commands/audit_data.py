"""`gridward audit-data`: which weeks of which source pull the model that a snapshot trains."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from api.console import open_own_station
from api.opened_snapshots import SnapshotId, opened
from api.output import AsJson, print_json, print_table
from api.written_files import require_folder, write_whole
from pipeline.audit_data import Block, DataAudit, audit_data
from pipeline.ingest import load_utility

COLUMNS = ("rank", "source", "week of", "kind", "score", "pull %", "in mild hours %", "suspect")
FIELDS = (
    "rank", "source", "monday", "kind", "score", "statistic", "pull_percent", "mild_pull_percent", "suspect", "twin",
)  # fmt: skip


def audit_snapshot(
    snapshot_id: SnapshotId,
    top: Annotated[int, typer.Option(min=1, help="How many blocks to print, the most suspicious first.")] = 20,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write every block to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rank a snapshot's blocks, a source's local week each, by how badly they fit all others."""
    require_folder(csv, "--csv")
    station = open_own_station()
    snapshot = opened(station, snapshot_id)
    audit = audit_data(snapshot, load_utility(station))
    ranked = list(enumerate(audit.blocks, start=1))
    if csv is not None:
        frame = pd.DataFrame([_fields(rank, block) for rank, block in ranked], columns=list(FIELDS))
        write_whole({csv: lambda path: frame.to_csv(path, index=False, lineterminator="\n")})
    if as_json:
        print_json({**_summary(audit), "ranking": [_fields(rank, block) for rank, block in ranked[:top]]})
        return
    summary = _summary(audit)
    title = f"{summary['suspects']} of {summary['blocks']} blocks are suspect"
    print_table(title, COLUMNS, [_row(rank, block) for rank, block in ranked[:top]])
    for note in audit.notes:
        typer.echo(f"note: {note}")
    if csv is not None:
        typer.echo(f"wrote {csv}")


def _summary(audit: DataAudit) -> dict[str, object]:
    suspects = sum(block.suspect for block in audit.blocks)
    return {"snapshot_id": audit.snapshot_id, "blocks": len(audit.blocks), "suspects": suspects, "notes": audit.notes}


def _fields(rank: int, block: Block) -> dict[str, object]:
    return {"rank": rank, **asdict(block)}


def _row(rank: int, block: Block) -> tuple[object, ...]:
    kind = block.kind if block.twin is None else f"{block.kind} of {block.twin}"
    suspect = "yes" if block.suspect else "no"
    pulls = (f"{percent:+.3f}" for percent in (block.pull_percent, block.mild_pull_percent))
    return (rank, block.source, block.monday, kind, block.score, *pulls, suspect)
