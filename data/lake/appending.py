"""Add a batch: contract → files named by their bytes → one signed commit. Whole or not at all, and once.

A batch that is sent again makes the same files, which are there already. A writer that is killed leaves its files behind and
no commit; the next one removes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data.lake import heads
from data.lake.contracts import keep_contract
from data.lake.heads import Acknowledged
from data.lake.pins import NOTHING, Pin, grown, pinned, require_nothing_else
from data.lake.store import INTENT, LOG, Lake, data_files, drop, every_file, held, intended, put, settle, store_of
from data.lake.tables import MONTH, LakeTable
from data.schema import Integers
from security.errors import UnavailableError
from security.signing import PublicKey, Signer

# Nothing is ever thrown away: old versions are what a clean training set is rebuilt from.
CONFIGURATION = {
    "delta.appendOnly": "true",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.enableExpiredLogCleanup": "false",
}
COMMITS_TO_CHECKPOINT = 100


@dataclass(frozen=True)
class _Draft:
    """A file of the batch: its name, bytes, rows, and the first and last moment in it."""

    name: str
    content: bytes
    rows: int
    first: pd.Timestamp
    last: pd.Timestamp


def append(
    lake: Lake,
    table: LakeTable,
    frame: pd.DataFrame,
    known: Acknowledged,
    signer: Signer,
    trusted: Mapping[str, PublicKey],
) -> Pin:
    """Add the rows of `frame` (the table's columns and its source's) as a new version; answers the newest version.

    known: what was acknowledged last (`heads.acknowledged`); to acknowledge this one is the caller's. Raises
    ContractBroken, LakeRefused, LakeRolledBack, FileChanged, UnavailableError; then nothing was added.
    """
    rows = _in_the_tables_units(table, frame)
    keep_contract(table, rows)
    drafts = list(_drafts(table, rows))
    with held(lake, alone=True):
        store = store_of(lake, table)
        before = grown(lake, table, known, trusted)
        # One that was killed: what it wrote was never acknowledged, and comes again or not.
        left = intended(store)
        drop(store, (left & data_files(store)) - before.files.keys())
        require_nothing_else(lake, table, before)
        if before == NOTHING:
            _create(lake, table)
            settle(lake.folder_of(table), [f"{LOG}/{0:020d}.json"])
            before = pinned(lake, table, trusted)
        fresh = [draft for draft in drafts if draft.name not in before.files]
        after = before
        if fresh:
            put(store, INTENT, "\n".join(draft.name for draft in fresh).encode())
            settle(lake.folder_of(table), [INTENT])
            for draft in fresh:
                put(store, draft.name, draft.content)
            settle(lake.folder_of(table), [draft.name for draft in fresh])
            _require_alone(store, table, fresh)
            after = _commit(lake, table, before, fresh, signer)
        if fresh or left:
            drop(store, {INTENT})
    return after


def _in_the_tables_units(table: LakeTable, frame: pd.DataFrame) -> pd.DataFrame:
    """Moments in microseconds, whole numbers as floats where the table holds floats; anything else stays, and is judged."""
    known = [name for name in table.columns if name in frame]
    moments = {name: frame[name].dt.as_unit("us") for name in known if isinstance(frame[name].dtype, pd.DatetimeTZDtype)}
    whole = [name for name in known if table.columns[name] == pa.float64() and frame[name].dtype.kind in "iu"]
    return frame.assign(**moments, **{name: frame[name].astype(np.float64) for name in whole})


def _drafts(table: LakeTable, frame: pd.DataFrame) -> Iterator[_Draft]:
    """One file a source and month, its rows in the table's order: the same rows make the same file."""
    if frame.empty:
        return
    months = pd.DatetimeIndex(frame[table.moment]).tz_localize(None).to_numpy().astype("datetime64[M]")
    keys = [_sortable(frame[name]) for name in reversed(table.order) if name != table.source]
    sources = _sortable(frame[table.source])
    order = np.lexsort((*keys, months.astype(np.int64), sources))
    edges = np.flatnonzero(np.diff(sources[order]) | np.diff(months[order].astype(np.int64))) + 1
    columns = pa.Table.from_pandas(frame[list(table.columns)], pa.schema(table.columns.items()), preserve_index=False)
    for rows in np.split(order, edges):
        part = columns.take(pa.array(rows))
        content = io.BytesIO()
        pq.write_table(part.replace_schema_metadata(), content, compression="zstd")
        raw = content.getvalue()
        source, month = frame[table.source].iloc[rows[0]], str(months[rows[0]])
        moments = frame[table.moment].iloc[rows]
        name = f"{table.source}={source}/{MONTH}={month}/{hashlib.sha256(raw).hexdigest()}.parquet"
        yield _Draft(name, raw, len(rows), moments.min(), moments.max())


def _sortable(column: pd.Series) -> Integers:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return pd.DatetimeIndex(column).as_unit("us").asi8
    if column.dtype.kind in "if":
        return column.to_numpy()
    return pd.factorize(column, sort=True)[0]


def _create(lake: Lake, table: LakeTable) -> None:
    from deltalake import DeltaTable  # noqa: PLC0415 (a forecast needs no lake)

    parted = [table.source, MONTH]
    DeltaTable.create(lake.url_of(table), table.arrow_schema(), partition_by=parted, configuration=CONFIGURATION)


def _commit(lake: Lake, table: LakeTable, before: Pin, fresh: list[_Draft], signer: Signer) -> Pin:
    from deltalake import CommitProperties, DeltaTable, Schema  # noqa: PLC0415
    from deltalake.exceptions import DeltaError  # noqa: PLC0415
    from deltalake.transaction import AddAction  # noqa: PLC0415

    after = Pin(before.version + 1, {**before.files, **{draft.name: len(draft.content) for draft in fresh}})
    now = int(time.time() * 1000)
    actions: list[Any] = [
        AddAction(draft.name, len(draft.content), _partition(draft.name), now, data_change=True, stats=_stats(table, draft))
        for draft in fresh
    ]
    # A commit that was outrun must not be moved to another version: its head was signed for this one.
    head = heads.signed_head(table, after.version, after.files, signer)
    properties = CommitProperties(custom_metadata=head, max_commit_retries=0)
    delta = DeltaTable(lake.url_of(table), version=before.version)
    try:
        delta.create_write_transaction(
            actions, "append", Schema.from_arrow(table.arrow_schema()), [table.source, MONTH], commit_properties=properties
        )
    except DeltaError as error:
        problem = f"the commit failed: {error}"
        raise UnavailableError(problem, where=f"lake table {table.name}", mend="send the batch again") from error
    settle(lake.folder_of(table), [f"{LOG}/{after.version:020d}.json"])
    if after.version % COMMITS_TO_CHECKPOINT == 0:
        _checkpoint(lake, table)
    return after


def _checkpoint(lake: Lake, table: LakeTable) -> None:
    """Sum the log up, so that it is opened faster: nothing rests on it."""
    from deltalake import DeltaTable  # noqa: PLC0415
    from deltalake.exceptions import DeltaError  # noqa: PLC0415

    with contextlib.suppress(DeltaError, OSError):
        DeltaTable(lake.url_of(table)).create_checkpoint()
        sums = [name for name in every_file(store_of(lake, table)) if name.startswith(f"{LOG}/") and "checkpoint" in name]
        settle(lake.folder_of(table), sums)


def _require_alone(store: Any, table: LakeTable, fresh: list[_Draft]) -> None:
    """Raise UnavailableError when somebody took this writer's files for a dead one's: an installation with another lock."""
    gone = {draft.name for draft in fresh} - data_files(store)
    if gone:
        problem = f"another installation writes here: {len(gone)} files of this batch were removed"
        raise UnavailableError(
            problem, where=f"lake table {table.name}", mend="let one installation write, then send it again"
        )


def _partition(name: str) -> dict[str, str]:
    source, month, _ = name.split("/")
    return dict([source.split("=", 1), month.split("=", 1)])


def _stats(table: LakeTable, draft: _Draft) -> str:
    """For other Delta engines, which find a day's file by them."""
    bounds = {
        kind: {table.moment: f"{moment:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"}
        for kind, moment in (
            ("minValues", draft.first.floor("ms")),
            ("maxValues", draft.last.ceil("ms")),
        )
    }
    return json.dumps({"numRecords": draft.rows, **bounds})
