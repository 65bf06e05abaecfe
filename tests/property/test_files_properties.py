"""Whatever is written by the contract is read back; whatever else arrives is refused, never anything worse."""

from __future__ import annotations

import tempfile
from datetime import timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import FileRefused
from data.files import read_demand, read_weather

QUARTER = pd.Timedelta(minutes=15)
STEPS = st.sampled_from([5, 6, 10, 12, 15, 20, 30, 60])
STARTS = st.integers(0, 4 * 24 * 365 * 40).map(lambda quarter: pd.Timestamp(1985, 1, 1, tz="UTC") + quarter * QUARTER)
OFFSETS = st.integers(-14 * 4, 14 * 4).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))
MEGAWATTS = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def grids(draw: st.DrawFn) -> tuple[pd.Timedelta, list[pd.Timestamp]]:
    """A step and times on its grid, in any order, whose most common difference is that step."""
    step = pd.Timedelta(minutes=draw(STEPS))
    first = draw(STARTS)
    moments = [first + place * step for place in range(12)]
    gaps = draw(st.sets(st.integers(6, 10), max_size=3))
    return step, draw(st.permutations([moment for place, moment in enumerate(moments) if place not in gaps]))


@settings(deadline=None, max_examples=60)
@given(grid=grids(), data=st.data(), suffix=st.sampled_from([".csv", ".parquet"]))
def test_demand_written_is_demand_read(
    grid: tuple[pd.Timedelta, list[pd.Timestamp]], data: st.DataObject, suffix: str
) -> None:
    step, moments = grid
    values = [data.draw(st.none() | MEGAWATTS) for _ in moments[1:]] + [1.0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"d{suffix}"
        if suffix == ".csv":
            stamps = [moment.tz_convert(data.draw(OFFSETS)).isoformat() for moment in moments]
            lines = (
                f"{stamp},{'' if value is None else repr(value)}\n" for stamp, value in zip(stamps, values, strict=True)
            )
            path.write_text("timestamp,demand_mw\n" + "".join(lines))
        else:
            times = pa.array([moment.to_pydatetime() for moment in moments], pa.timestamp("us", tz="UTC"))
            pq.write_table(pa.table({"timestamp": times, "demand_mw": pa.array(values, pa.float64())}), path)
        read = read_demand(path)
    assert read.step == step
    index = read.frame.index
    assert list(index) == list(pd.date_range(min(moments), max(moments), freq=step))
    written = pd.Series(values, index=pd.DatetimeIndex(moments), dtype="float64").reindex(index)
    np.testing.assert_array_equal(read.frame["demand_mw"].to_numpy(), written.to_numpy())
    assert (read.frame["available_at"] - step == index).all()


@settings(deadline=None, max_examples=60)
@given(grid=grids(), data=st.data())
def test_weather_written_is_weather_read(grid: tuple[pd.Timedelta, list[pd.Timestamp]], data: st.DataObject) -> None:
    step, moments = grid
    leads = [data.draw(st.none() | st.integers(0, 48)) for _ in moments]
    values = [data.draw(st.integers(-9000, 6000)) / 100 for _ in moments]
    written = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.csv"
        with path.open("w") as handle:
            handle.write("issued_at,timestamp,temperature_c\n")
            for moment, lead, value in zip(moments, leads, values, strict=True):
                issued = moment + step if lead is None else moment - pd.Timedelta(hours=lead)
                handle.write(f"{'' if lead is None else issued.isoformat()},{moment.isoformat()},{value}\n")
                written.append((moment, issued, value))
        read = read_weather(path, "alpha")
    rows = read.frame[["valid_at", "issued_at", "temperature_c"]].itertuples(index=False, name=None)
    assert list(rows) == sorted(written)
    assert read.perfect_foresight == all(lead is None for lead in leads)
    assert read.step == step


@settings(deadline=None, max_examples=60)
@given(
    celsius=st.floats(-89, 59),
    unit=st.sampled_from(
        [("temperature_f", lambda c: c * 9 / 5 + 32), ("temperature_k", lambda c: c + 273.15), ("temperature_c", float)]
    ),
)
def test_the_unit_of_a_file_does_not_change_its_temperature(celsius: float, unit: tuple[str, object]) -> None:
    name, convert = unit
    assert callable(convert)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.csv"
        value = convert(celsius)
        path.write_text(f"timestamp,{name}\n2014-01-01T00:00Z,{value!r}\n2014-01-01T00:30Z,{value!r}\n")
        read = read_weather(path, "alpha")
    assert read.frame["temperature_c"].to_list() == pytest.approx([celsius, celsius], abs=1e-9)


def assert_read_or_refused(content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        for read in (read_demand, lambda path: read_weather(path, "alpha")):
            try:
                read(path)
            except FileRefused as refused:
                assert refused.path == str(path)  # noqa: PT017  both outcomes are allowed, a third is not
                assert str(refused).isprintable()  # noqa: PT017  as above


PIECES = st.sampled_from(
    [b"timestamp", b"demand_mw", b"temperature_c", b"issued_at", b",", b"\n", b"\r", b'"', b"\0", b"\xff", b"\xef\xbb\xbf",
     b"2014-01-01T00:00Z", b"2014-01-01T00:30Z", b"2014-01-01T01:00:00+10:00", b"2014-01-01", b"1", b"-7.5", b"nan", b"=1+1"]
)  # fmt: skip
HEADERS = st.sampled_from([b"", b"timestamp,demand_mw\n", b"timestamp,temperature_c,issued_at\n"])


@settings(deadline=None, max_examples=300)
@given(header=HEADERS, body=st.binary(max_size=200) | st.lists(PIECES, max_size=30).map(b"".join))
def test_any_bytes_as_csv_are_read_or_refused(header: bytes, body: bytes) -> None:
    assert_read_or_refused(header + body, "x.csv")


def _parquet_bytes() -> bytes:
    sink = pa.BufferOutputStream()
    times = pd.date_range("2014-01-01", periods=50, freq="30min", tz="UTC")
    table = pa.table({"timestamp": pa.array(times), "demand_mw": np.arange(50.0), "temperature_c": np.arange(50.0)})
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


PARQUET = _parquet_bytes()


@settings(deadline=None, max_examples=300)
@given(changes=st.lists(st.tuples(st.integers(0, len(PARQUET) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_parquet_file_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    content = bytearray(PARQUET)
    for place, byte in changes:
        content[place] = byte
    assert_read_or_refused(bytes(content), "x.parquet")


@settings(deadline=None, max_examples=100)
@given(length=st.integers(0, len(PARQUET) - 1), tail=st.binary(max_size=16))
def test_a_truncated_parquet_file_is_read_or_refused(length: int, tail: bytes) -> None:
    assert_read_or_refused(PARQUET[:length] + tail, "x.parquet")
