"""Files made to exhaust, confuse or crash the reader (AML.T0029 denial of service, AML.T0059 dataset integrity)."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import tables
from data.errors import FileRefused
from data.files import read_demand, read_weather
from data.holidays_calendar import holidays_for

MEBIBYTE = 1024**2
HEADER = b"timestamp,demand_mw\n"


def sparse(path: Path, size: int) -> Path:
    """A header and then one line without an end: `size` bytes of it, none of them on the disk."""
    with path.open("wb") as handle:
        handle.write(HEADER)
        handle.truncate(size)
    return path


def peak_of_refusal(path: Path, match: str) -> int:
    """Bytes that Python held at most while the file was refused."""
    tracemalloc.start()
    try:
        with pytest.raises(FileRefused, match=match):
            read_demand(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_line_of_two_gigabytes_is_refused_at_once_and_never_held(tmp_path: Path) -> None:
    path = sparse(tmp_path / "d.csv", 2 * 1024 * MEBIBYTE)
    started = time.monotonic()
    assert peak_of_refusal(path, r"row 2: the line is longer than 64 KiB — end each row") < 4 * MEBIBYTE
    assert time.monotonic() - started < 2


def test_without_the_bound_the_whole_line_would_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sparse(tmp_path / "d.csv", 32 * MEBIBYTE)
    monkeypatch.setattr(tables, "LONGEST_LINE", 1024**3)
    assert peak_of_refusal(path, "row 2: NUL bytes") > 32 * MEBIBYTE


def test_a_line_of_two_gigabytes_is_refused_among_holidays_and_weather(tmp_path: Path) -> None:
    path = sparse(tmp_path / "d.csv", 2 * 1024 * MEBIBYTE)
    with pytest.raises(FileRefused, match="missing column"):
        read_weather(path, "alpha")
    (tmp_path / "days.txt").write_bytes(b"#" * 70_000)
    day = pd.Timestamp("2014-01-01").date()
    with pytest.raises(FileRefused, match="row 1: the line is longer"):
        holidays_for(str(tmp_path / "days.txt"), day, day)


def test_rows_of_thousands_of_unread_fields_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    commas = b"," * 30_000
    lines = (f"2014-01-01T{row // 12:02}:{row % 12 * 5:02}Z,1".encode() + commas for row in range(20))
    path.write_bytes(b"timestamp,demand_mw" + commas + b"\n" + b"\n".join(lines))
    tracemalloc.start()
    try:
        assert len(read_demand(path).frame) == 20
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(commas) * 8 / 2


def test_nul_bytes_do_not_end_a_number_early(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(HEADER + b"2014-01-01T00:00Z,5000\n2014-01-01T00:30Z,5\x00000\n")
    with pytest.raises(FileRefused, match="row 3: NUL bytes"):
        read_demand(path)


@pytest.mark.parametrize("text", ["=1+1", "=HYPERLINK(1)", "@SUM(1)", "+cmd|' /C calc'!A0", "0x10", "１２", "1e", "--1"])
def test_text_that_looks_like_a_formula_or_nearly_a_number_is_no_number(tmp_path: Path, text: str) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(HEADER + f"2014-01-01T00:00Z,1\n2014-01-01T00:30Z,{text}\n".encode())
    with pytest.raises(FileRefused, match=r"row 3: .* is not a number"):
        read_demand(path)


def test_hostile_text_is_shown_escaped_and_short(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(HEADER + b"2014-01-01T00:00Z,\x1b[2J\xe2\x80\xae" + b"A" * 5000 + b"\n")
    with pytest.raises(FileRefused) as refused:
        read_demand(path)
    line = str(refused.value)
    assert line.isprintable()
    assert len(line) < len(str(path)) + 200


def test_a_misspelt_issue_time_cannot_turn_forecasts_into_realised_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.csv"
    path.write_text(
        "timestamp,temperature_c,issued at\n2014-01-02T00:00Z,20,2014-01-01T00:00Z\n2014-01-02T00:30Z,21,2014-01-01T00:00Z\n"
    )
    with pytest.raises(FileRefused, match="looks like issued_at"):
        read_weather(path, "alpha")
    monkeypatch.setattr(tables, "get_close_matches", lambda *_, **__: [])
    assert read_weather(path, "alpha").perfect_foresight


def test_two_rows_a_century_apart_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(HEADER + b"2014-01-01T00:00Z,1\n2014-01-01T00:05Z,1\n9999-01-01T00:00Z,1\n")
    with pytest.raises(FileRefused, match="row 4: timestamp is not between 1980 and 2099"):
        read_demand(path)


def bomb(path: Path) -> Path:
    """A small Parquet file that unfolds to many equal rows."""
    rows = 2_000_000
    times = pa.array(np.zeros(rows, "int64"), pa.timestamp("us", tz="UTC"))
    table = pa.table({"timestamp": times, "demand_mw": np.zeros(rows)})
    pq.write_table(table, path, compression="zstd", row_group_size=rows)
    return path


def test_a_small_parquet_file_of_countless_rows_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bomb(tmp_path / "d.parquet")
    assert path.stat().st_size < MEBIBYTE // 4
    monkeypatch.setattr(tables, "MOST_ROWS", 1_000_000)
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(FileRefused, match="more than 1,000,000 rows"):
        read_demand(path)
    assert pa.default_memory_pool().max_memory() - before < MEBIBYTE


def test_a_parquet_name_on_other_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    for content in (b"", b"PAR1", b"PAR1PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"\x80\x04cos\nsystem\n", HEADER):
        path.write_bytes(content)
        with pytest.raises(FileRefused, match="not readable as Parquet"):
            read_demand(path)


def test_a_loop_of_symlinks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to(tmp_path / "b.csv")
    (tmp_path / "b.csv").symlink_to(tmp_path / "a.csv")
    with pytest.raises(FileRefused, match="cannot be read"):
        read_demand(tmp_path / "a.csv")


def test_an_endless_device_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    with pytest.raises(FileRefused, match="is not a regular file"):
        read_demand(tmp_path / "zero.csv")
