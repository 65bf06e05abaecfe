"""Read a pinned table: every file's bytes compared with its name, then parsed, in one step."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data.lake.pins import Pin, naming
from data.lake.store import Lake, get_checked, store_of
from data.lake.tables import MONTH, LakeTable

THREADS = 2


def read(
    lake: Lake,
    table: LakeTable,
    pin: Pin,
    columns: Sequence[str] | None = None,
    sources: Collection[str] | None = None,
    since: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """The rows of a pinned table in its order, with the source's column first.

    columns: of the table's own, all by default; sources: only of these; since: only files whose month may hold a moment from
    there on. Raises FileChanged, naming the file, for one that is missing or altered.
    """
    wanted = list(table.columns if columns is None else columns)
    first = "" if since is None else f"{since:%Y-%m}"
    chosen: list[tuple[str, str]] = []
    for name in sorted(pin.files):
        source, month = _parted(table, name)
        if month >= first and (sources is None or source in sources):
            chosen.append((name, source))
    store = store_of(lake, table)

    def parsed(file: tuple[str, str]) -> pa.Table:
        name, source = file
        return _parsed(store, table, name, pin.files[name], source, wanted)

    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(parsed, chosen))
    schema = pa.schema([(table.source, pa.string()), *((name, table.columns[name]) for name in wanted)])
    whole = pa.concat_tables(parts) if parts else schema.empty_table()
    by = [(name, "ascending") for name in table.order if name in schema.names]
    rows: pd.DataFrame = (whole.sort_by(by) if by else whole).to_pandas()
    return rows


def _parsed(store: Any, table: LakeTable, name: str, size: int, source: str, wanted: list[str]) -> pa.Table:
    with naming(table):
        content = get_checked(store, name, size)
    rows = pq.read_table(io.BytesIO(content), columns=wanted, use_threads=False).select(wanted)
    return rows.add_column(0, table.source, pa.repeat(pa.scalar(source, pa.string()), rows.num_rows))


def _parted(table: LakeTable, name: str) -> tuple[str, str]:
    """Source and month as the signed name says; the log's own word on them is not signed."""
    source, month, _ = name.split("/")
    return source.removeprefix(f"{table.source}="), month.removeprefix(f"{MONTH}=")
