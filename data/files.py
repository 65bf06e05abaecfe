"""One's own demand and weather, from CSV or Parquet: the door where the data contract (docs/data-contract.md) is kept.

The order of the checks, each of which refuses the whole file with one `FileRefused` line:
    1. the file      a regular file of a known suffix and bounded size; lines bounded BEFORE anything parses them
    2. the columns   `timestamp`, one value column, for weather perhaps `issued_at`; no misspelling, no double
    3. the cells     a time with an offset, a finite number inside physical bounds, once converted to our units
    4. the grid      one regular step of 5 min to 1 h; no time twice
Rows are counted as an editor shows them: 1 is the header, data start at 2 (Parquet likewise).
Control: AML.T0059 (erode dataset integrity), OWASP ML01 (input manipulation).
"""

from __future__ import annotations

import csv
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from math import gcd
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import FileRefused
from data.schema import (
    AVAILABLE_AT,
    DEMAND_MW,
    ISSUED_AT,
    LONGEST_STEP,
    PROVIDER,
    SHORTEST_STEP,
    TEMPERATURE_C,
    TIMESTAMP,
    VALID_AT,
)

LONGEST_LINE = 64 * 1024
LARGEST_FILE = 4 * 1024**3
MOST_ROWS = 20_000_000
FIRST_TIME = np.datetime64("1980-01-01", "us")
LAST_TIME = np.datetime64("2100-01-01", "us")

_BATCH_ROWS = 65_536
_UTC_TIME = pa.timestamp("us", tz="UTC")
_NO_TIME = np.datetime64("NaT", "us")

Times = npt.NDArray[np.datetime64]
Numbers = npt.NDArray[np.float64]
_Columns = tuple[dict[str, pa.ChunkedArray], tuple[str, ...]]  # by name, in file order; and the names not read


@dataclass(frozen=True)
class _Quantity:
    """What a file may hold: value column -> (factor, shift) into the first one's unit, and physical bounds in it."""

    units: Mapping[str, tuple[float, float]]
    lowest: float
    highest: float
    symbol: str
    optional: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column the contract knows."""
        return (TIMESTAMP, *self.units, *self.optional)


_DEMAND = _Quantity({DEMAND_MW: (1, 0), "demand_kw": (1e-3, 0), "demand_gw": (1e3, 0)}, -1e6, 1e6, "MW")
_FAHRENHEIT = (5 / 9, -160 / 9)
_KELVIN = (1, -273.15)
_TEMPERATURE = _Quantity(
    {TEMPERATURE_C: (1, 0), "temperature_f": _FAHRENHEIT, "temperature_k": _KELVIN}, -90, 60, "°C", (ISSUED_AT,)
)


@dataclass(frozen=True, eq=False)
class DemandFile:
    """A demand file taken in whole.

    frame: the demand frame of `data.schema` on the full grid from the first to the last row, `demand_mw` [MW] NaN in
    gaps, `available_at` = end of the interval. step: length of one interval. ignored_columns: columns not read.
    """

    frame: pd.DataFrame
    step: pd.Timedelta
    ignored_columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class WeatherFile:
    """A weather file taken in whole.

    frame: the weather frame of `data.schema`, `temperature_c` [°C], sorted by valid_at, issued_at, without gaps' rows.
    perfect_foresight: the file holds no forecast, so that only realised values can stand in for them.
    """

    frame: pd.DataFrame
    step: pd.Timedelta
    perfect_foresight: bool
    ignored_columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Table:
    """The cells of a file as arrays, in file order: element i stands in row i + 2. NaN and NaT where empty."""

    path: str
    times: Times
    values: Numbers
    issued: Times
    ignored: tuple[str, ...]

    def refusal(self, problem: str, position: int | np.integer[Any], mend: str) -> FileRefused:
        return FileRefused(problem, path=self.path, row=int(position) + 2, mend=mend)

    def refuse_first(self, broken: npt.NDArray[np.bool_], problem: str, mend: str) -> None:
        if broken.any():
            raise self.refusal(problem, np.argmax(broken), mend)


def read_demand(path: Path) -> DemandFile:
    """Read a demand file: `timestamp` and one of `demand_mw`, `demand_kw`, `demand_gw`; power over the interval.

    Rows may come in any order; a missing row or empty value is a gap. Raises FileRefused, naming file, row and mend.
    """
    table = _read_table(path, _DEMAND)
    keys = pd.DataFrame({TIMESTAMP: table.times})
    _refuse_duplicates(keys, table, "keep one row a time")
    step = _regular_step(table)
    known = pd.Series(table.values, index=pd.DatetimeIndex(table.times, name=TIMESTAMP).tz_localize("UTC"))
    grid = pd.date_range(known.index.min(), known.index.max(), freq=step, unit="us", name=TIMESTAMP)
    frame = pd.DataFrame({DEMAND_MW: known.reindex(grid), AVAILABLE_AT: grid + step}, index=grid)
    return DemandFile(frame, step, table.ignored)


def read_weather(path: Path, provider: str) -> WeatherFile:
    """Read a weather file of `provider`: `timestamp`, one of `temperature_c`, `_f`, `_k`, and perhaps `issued_at`.

    A row without `issued_at` is a realised value, known at the end of its interval; a row with it became known then.
    (issued_at, timestamp) is unique; rows may come in any order; a missing row or empty value is a gap. Raises
    FileRefused, naming file, row and mend.
    """
    table = _read_table(path, _TEMPERATURE)
    step = _regular_step(table)
    ended = table.times + step.to_timedelta64()
    issued = np.where(np.isnat(table.issued), ended, table.issued)
    keys = pd.DataFrame({ISSUED_AT: issued, VALID_AT: table.times})
    _refuse_duplicates(keys, table, "keep one row a time; forecasts need their own issue time in a column issued_at")
    frame = pd.DataFrame(
        {
            PROVIDER: pd.Series(provider, index=keys.index, dtype="str"),
            ISSUED_AT: keys[ISSUED_AT].dt.tz_localize("UTC"),
            VALID_AT: keys[VALID_AT].dt.tz_localize("UTC"),
            TEMPERATURE_C: table.values,
        }
    )
    known = frame[~np.isnan(table.values)].sort_values([VALID_AT, ISSUED_AT], ignore_index=True)
    foresight = not bool((known[ISSUED_AT] < known[VALID_AT] + step).any())
    return WeatherFile(known, step, foresight, table.ignored)


def find_step(times: Times) -> pd.Timedelta:
    """The most common difference between neighbours, the shorter on a tie. `times`: sorted, distinct, at least two."""
    differences, counts = np.unique(np.diff(times), return_counts=True)
    return pd.Timedelta(differences[np.argmax(counts)])


def text_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 text, ends kept, byte-order mark dropped; never holds more than `LONGEST_LINE` bytes of a line.

    Raises FileRefused for what cannot be opened, a longer line, NUL bytes, bytes that are not UTF-8.
    """
    with _opened(path) as handle:
        row = 0
        while line := handle.readline(LONGEST_LINE + 1):
            row += 1
            if len(line) > LONGEST_LINE:
                raise FileRefused("the line is longer than 64 KiB", path=str(path), row=row, mend="end each row with LF")
            if b"\0" in line:
                raise FileRefused("NUL bytes", path=str(path), row=row, mend="save the file as UTF-8 text")
            try:
                yield line.decode("utf-8-sig" if row == 1 else "utf-8")
            except UnicodeDecodeError:
                problem = "bytes that are not UTF-8"
                raise FileRefused(problem, path=str(path), row=row, mend="save the file as UTF-8 text") from None


def shown(text: str) -> str:
    """Untrusted text for an error line: quoted, control characters escaped, at most 40 characters of it."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, open; what the operating system refuses becomes FileRefused. Pipes and devices are never opened."""
    if not str(path).isprintable():
        raise FileRefused("no such file", path=shown(str(path)), mend="use a path without control characters")
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise FileRefused("is a directory", path=str(path), mend="name a file in it")
        if not stat.S_ISREG(status.st_mode):
            raise FileRefused("is not a regular file", path=str(path), mend="save the data to a file first")
        if status.st_size > LARGEST_FILE:
            raise FileRefused("is larger than 4 GiB", path=str(path), mend="keep only the years you need")
        with path.open("rb") as handle:
            yield handle
    except FileNotFoundError:
        raise FileRefused("no such file", path=str(path), mend="check the path") from None
    except OSError as error:
        reason = error.strerror or "input/output error"
        raise FileRefused(f"cannot be read: {reason}", path=str(path), mend="check the file and its rights") from None


def _read_table(path: Path, quantity: _Quantity) -> _Table:
    if path.suffix.lower() == ".csv":
        columns, ignored = _read_csv(path, quantity)
    elif path.suffix.lower() == ".parquet":
        columns, ignored = _read_parquet(path, quantity)
    else:
        raise FileRefused(f"unknown suffix {shown(path.suffix)}", path=str(path), mend="give a .csv or .parquet file")
    (unit,) = columns.keys() & quantity.units.keys()
    factor, shift = quantity.units[unit]
    times = columns[TIMESTAMP].to_numpy()
    with np.errstate(over="ignore"):
        values = columns[unit].to_numpy() * factor + shift
    issued = columns[ISSUED_AT].to_numpy() if ISSUED_AT in columns else np.full(times.shape, _NO_TIME)
    table = _Table(str(path), times, values, issued, ignored)
    _check_cells(table, columns[unit], unit, quantity)
    return table


def _columns(names: Sequence[str], quantity: _Quantity, path: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Where the contract's columns stand in the header, by name; and the names of the others, which are not read."""

    def refusal(problem: str, mend: str) -> FileRefused:
        return FileRefused(problem, path=str(path), row=1, mend=mend)

    read = {name: place for place, name in enumerate(names) if name in quantity.columns}
    values = [name for name in read if name in quantity.units]
    if TIMESTAMP not in read or not values:
        found = ", ".join(shown(name) for name in names[:8])
        wanted = f"the header must name timestamp and one of {', '.join(quantity.units)}, separated by commas"
        raise refusal(f"missing column, found {found}", wanted)
    if len(values) > 1:
        raise refusal(f"two value columns, {' and '.join(values)}", "keep one")
    if len(read) < sum(name in read for name in names):
        raise refusal("a column stands twice", "keep one of each name")
    ignored = tuple(name for name in names if name not in read)
    for name in ignored:
        # A misspelt issued_at, silently ignored, would turn forecasts into realised values.
        meant = get_close_matches(name.strip().lower(), quantity.columns, n=1, cutoff=0.8)
        if meant:
            raise refusal(f"column {shown(name)} looks like {meant[0]}", "rename or remove it")
    return read, ignored


def _read_csv(path: Path, quantity: _Quantity) -> _Columns:
    rows = _csv_rows(path)
    header = next(rows, None)
    if header is None:
        raise FileRefused("the file is empty", path=str(path), mend="write a header and rows")
    places, ignored = _columns(header, quantity, path)
    kinds = {name: pa.float64() if name in quantity.units else _UTC_TIME for name in places}
    chunks: dict[str, list[pa.Array]] = {name: [] for name in places}
    first_row = 2
    read_fields = itemgetter(*places.values())
    while batch := [read_fields(fields) for fields in islice(rows, _BATCH_ROWS)]:
        for name, texts in zip(places, zip(*batch, strict=True), strict=True):
            chunks[name].append(_parsed(texts, kinds[name], name=name, path=path, first_row=first_row))
        first_row += len(batch)
        _refuse_too_many(first_row - 2, path)
    return {name: pa.chunked_array(parts, kinds[name]) for name, parts in chunks.items()}, ignored


def _csv_rows(path: Path) -> Iterator[list[str]]:
    """Rows of a CSV file, header first, each on one line and as wide as the header; blank lines only at the end."""

    def refusal(problem: str, row: int, mend: str) -> FileRefused:
        return FileRefused(problem, path=str(path), row=row, mend=mend)

    reader = csv.reader(text_lines(path), strict=True)
    row = width = blank = 0
    try:
        for fields in reader:
            row += 1
            if reader.line_num != row:
                raise refusal("a quoted field runs past the end of the line", row, "close the quotes")
            if not fields:
                blank = blank or row
                continue
            if blank:
                raise refusal("a blank line", blank, "remove it")
            width = width or len(fields)
            if len(fields) != width:
                raise refusal(f"{len(fields)} fields where the header has {width}", row, "write one field a column")
            yield fields
    except csv.Error:
        raise refusal("broken quotes or a stray carriage return", row + 1, "mend the line") from None


def _parsed(texts: Sequence[str], kind: pa.DataType, *, name: str, path: Path, first_row: int) -> pa.Array:
    """Texts as numbers or UTC times, empty ones as null; the batch at once, one by one only to find what broke it."""
    try:
        return pa.array([text or None for text in texts], pa.string()).cast(kind)
    except pa.ArrowInvalid:
        place, text = next((place, text) for place, text in enumerate(texts) if text and not _parses(text, kind))
    if kind == pa.float64():
        problem, mend = "is not a number", "write digits with a decimal point, or leave it empty where unknown"
    elif _parses(text, pa.timestamp("us")):
        problem, mend = "has no offset from UTC", "add it, as in 2014-01-31T18:30:00+11:00"
    else:
        problem, mend = "is not an ISO 8601 time", "write it as 2014-01-31T18:30:00+11:00"
    raise FileRefused(f"{name} {shown(text)} {problem}", path=str(path), row=first_row + place, mend=mend)


def _parses(text: str, kind: pa.DataType) -> bool:
    try:
        pa.array([text], pa.string()).cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _read_parquet(path: Path, quantity: _Quantity) -> _Columns:
    with _opened(path) as handle:
        try:
            file = pq.ParquetFile(handle)
            places, ignored = _columns(file.schema_arrow.names, quantity, path)
            for name in places:
                _check_kind(file.schema_arrow.field(name).type, name, quantity, path)
            _refuse_too_many(sum(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)), path)
            table = file.read(columns=list(places))
            table.validate(full=True)
            columns = {name: table[name].cast(pa.float64() if name in quantity.units else _UTC_TIME) for name in places}
        except (pa.ArrowException, OSError, ValueError) as error:
            problem = f"not readable as Parquet: {shown(str(error))}"
            raise FileRefused(problem, path=str(path), mend="write the file again") from None
    return columns, ignored


def _check_kind(kind: pa.DataType, name: str, quantity: _Quantity, path: Path) -> None:
    if name in quantity.units:
        good = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        wanted = "numbers"
    else:
        good = pa.types.is_timestamp(kind) and kind.tz is not None
        wanted = "timestamps with a time zone"
    if not good:
        raise FileRefused(f"column {name} holds {kind}", path=str(path), row=1, mend=f"write it as {wanted}")


def _refuse_too_many(rows: int, path: Path) -> None:
    if rows > MOST_ROWS:
        raise FileRefused(f"more than {MOST_ROWS:,} rows", path=str(path), mend="keep only the years you need")


def _check_cells(table: _Table, raw: pa.ChunkedArray, unit: str, quantity: _Quantity) -> None:
    if not len(table.times):
        raise FileRefused("a header and no rows", path=table.path, row=1, mend="write at least two rows")
    known = ~raw.is_null().to_numpy()
    for name, times in ((TIMESTAMP, table.times), (ISSUED_AT, table.issued)):
        outside = (times < FIRST_TIME) | (times >= LAST_TIME)
        table.refuse_first(outside, f"{name} is not between 1980 and 2099", "check the year")
    table.refuse_first(np.isnat(table.times), "no timestamp", "give every row its time")
    table.refuse_first(known & ~np.isfinite(table.values), f"{unit} is NaN or infinite", "leave it empty where unknown")
    absurd = (table.values < quantity.lowest) | (table.values > quantity.highest)
    bounds = f"{quantity.lowest:g} to {quantity.highest:g} {quantity.symbol}"
    table.refuse_first(absurd, f"{unit} is outside {bounds}", "check the unit, or leave it empty where unknown")
    if not known.any():
        raise FileRefused(f"column {unit} holds no value", path=table.path, mend="check the export")


def _regular_step(table: _Table) -> pd.Timedelta:
    """The file's step, or FileRefused with the first row, in order of time, that breaks it."""
    times, positions = np.unique(table.times, return_index=True)
    if len(times) < 2:
        raise table.refusal("a single time: no step can be found", 0, "give at least two intervals")
    step = find_step(times)
    gaps = np.diff(times)
    if not SHORTEST_STEP <= step <= LONGEST_STEP:
        first = positions[1 + np.argmax(gaps == step.to_timedelta64())]
        raise table.refusal(f"a step of {_minutes(step)}", first, "give steps of 5 min to 1 h")
    if pd.Timedelta(hours=1) % step:
        raise table.refusal(f"a step of {_minutes(step)}", positions[1], "give a step that divides an hour")
    broken = np.flatnonzero(gaps % step.to_timedelta64())
    if broken.size:
        gap = _minutes(pd.Timedelta(gaps[broken[0]]))
        problem = f"mixed steps: {gap} after the time before it, where the file's step is {_minutes(step)}"
        raise table.refusal(problem, positions[1 + broken[0]], "give the file one regular step")
    # Zones differ from UTC by quarter hours: an interval that starts at 00:07 is on nobody's grid.
    beat = gcd(int(step.total_seconds()), 15 * 60) * 1_000_000
    if times[0].astype(np.int64) % beat:
        raise table.refusal("timestamp off the grid", positions[0], f"start intervals on the {_minutes(step)} grid")
    return step


def _minutes(span: pd.Timedelta) -> str:
    return f"{span / pd.Timedelta(minutes=1):g} min"


def _refuse_duplicates(keys: pd.DataFrame, table: _Table, mend: str) -> None:
    repeated = keys.duplicated().to_numpy()
    if repeated.any():
        second = int(np.argmax(repeated))
        first = int(np.argmax((keys == keys.iloc[second]).all(axis=1)))
        raise table.refusal(f"the same time as row {first + 2}", second, mend)
