"""Text lines, and the columns of a CSV or Parquet file that a contract names: bounded before anything parses them.

Nothing here knows demand from weather: `data.files` says which columns it wants, and checks what stands in them.
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
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import FileRefused
from data.schema import TIMESTAMP

LONGEST_LINE = 64 * 1024
LARGEST_FILE = 4 * 1024**3
MOST_ROWS = 20_000_000

_BATCH_ROWS = 65_536
_UTC_TIME = pa.timestamp("us", tz="UTC")

Columns = tuple[dict[str, pa.ChunkedArray], tuple[str, ...]]  # by name, in file order; and the names not read


@dataclass(frozen=True)
class Quantity:
    """What a file may hold: value column -> (factor, shift) into the first one's unit, and physical bounds in it.

    any_value: a value that is no number, or out of bounds, is a finding about that cell and not about the file; text is
    read as NaN.
    """

    units: Mapping[str, tuple[float, float]]
    lowest: float
    highest: float
    symbol: str
    optional: tuple[str, ...] = ()
    any_value: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column the contract knows."""
        return (TIMESTAMP, *self.units, *self.optional)


def read_columns(path: Path, quantity: Quantity) -> Columns:
    """The contract's columns of a .csv or .parquet file: numbers as float64, times in UTC, empty cells null.

    Raises FileRefused, naming file, row and mend.
    """
    if path.suffix.lower() == ".csv":
        return _read_csv(path, quantity)
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, quantity)
    raise FileRefused(f"unknown suffix {shown(path.suffix)}", path=str(path), mend="give a .csv or .parquet file")


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


def _columns(names: Sequence[str], quantity: Quantity, path: Path) -> tuple[dict[str, int], tuple[str, ...]]:
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


def _read_csv(path: Path, quantity: Quantity) -> Columns:
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
            numbers = _without_text(texts) if quantity.any_value and name in quantity.units else texts
            chunks[name].append(_parsed(numbers, kinds[name], name=name, path=path, first_row=first_row))
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


def _without_text(texts: Sequence[str]) -> list[str]:
    """The same with NaN for what is neither empty nor a number. Readings repeat: each spelling is tried once."""
    broken = {text for text in set(texts) if text and not _parses(text, pa.float64())}
    return ["nan" if text in broken else text for text in texts]


def _parses(text: str, kind: pa.DataType) -> bool:
    try:
        pa.array([text], pa.string()).cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _read_parquet(path: Path, quantity: Quantity) -> Columns:
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


def _check_kind(kind: pa.DataType, name: str, quantity: Quantity, path: Path) -> None:
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
