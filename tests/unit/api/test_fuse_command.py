"""`gridward fuse` from files to files: one bad provider loses nothing, a file that cannot be used refuses all of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from api import cli
from pipeline import fuse_report
from tests.unit.pipeline.small_histories import BASELINE_DAYS, LIE, ZONE, histories, index_of

Run = Callable[..., tuple[int, str, str]]
HEADER = "timestamp,temperature_c\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file of each of the four thermometers, and demand in half hours."""
    for name, one in histories().items():
        write(tmp_path / f"{name}.csv", one.temperature_c)
    index = index_of(step=pd.Timedelta(minutes=30))
    write(tmp_path / "demand.csv", pd.Series(1000 + 50 * np.sin(np.arange(len(index)) / 8), index), "demand_mw")
    return tmp_path


def write(path: Path, values: pd.Series, column: str = "temperature_c") -> None:
    stamps = pd.DatetimeIndex(values.index).strftime("%Y-%m-%dT%H:%M:%SZ")
    pd.DataFrame({"timestamp": stamps, column: values.to_numpy()}).to_csv(path, index=False)


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`gridward fuse` with all four files unless told otherwise, in the folder: exit code, stdout, stderr."""

    def invoke(*more: str, weather: tuple[str, ...] = ("north", "east", "south", "west"), zone: str = ZONE) -> Any:
        named = [part for item in weather for part in ("--weather", item if "=" in item else f"{item}={item}.csv")]
        places = ["--timezone", zone, "--out", "fused.csv", "--report", "report.json"]
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["gridward", "fuse", *named, *places, *more])
        with pytest.raises(SystemExit) as left:
            cli.main()
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return invoke


def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text("utf-8"))
    return content


def left_behind(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {f"{name}.csv" for name in (*histories(), "demand")}


def spoil(path: Path, rows: slice, text: str) -> None:
    lines = path.read_text("utf-8").splitlines()
    lines[rows] = [f"{line.split(',')[0]},{text}" for line in lines[rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# What is written


def test_histories_become_one_series_a_report_and_a_page(folder: Path, run: Run) -> None:
    code, out, err = run("--demand", "demand.csv", "--baseline-days", str(BASELINE_DAYS), "--html", "page.html")

    assert (code, err) == (0, "")
    assert left_behind(folder) == {"fused.csv", "report.json", "page.html"}
    table = pd.read_csv(folder / "fused.csv")
    assert len(table) == 120 * 24
    assert table["temperature_c"].notna().all()
    assert {one["status"] for one in report(folder)["providers"].values()} == {"trusted"}
    assert "wrote fused.csv\nwrote report.json\nwrote page.html\n" in out
    assert "trusted" in out


def test_json_on_stdout_is_the_report_and_what_was_written(folder: Path, run: Run) -> None:
    code, out, _ = run("--json", "--baseline-days", str(BASELINE_DAYS))

    printed = json.loads(out)
    assert code == 0
    assert printed.pop("written") == {"out": "fused.csv", "report": "report.json", "html": None}
    assert printed == report(folder)


def test_a_liar_among_the_files_is_quarantined_in_the_report(folder: Path, run: Run) -> None:
    values = histories()["south"].temperature_c
    write(folder / "south.csv", values + 3.0 * (values.index >= LIE))

    run("--baseline-days", str(BASELINE_DAYS))

    south = report(folder)["providers"]["south"]
    assert south["status"] == "quarantined"
    assert south["events"][-1]["onset"] >= "2013-03-29"


def test_text_in_the_values_of_one_provider_loses_nothing_of_the_others(folder: Path, run: Run) -> None:
    spoil(folder / "east.csv", slice(2000, 2100), "<script>")

    code, _, _ = run("--baseline-days", str(BASELINE_DAYS))

    assert code == 0
    assert report(folder)["providers"]["east"]["unreadable"] == 100
    assert report(folder)["providers"]["east"]["flagged"]["missing"] == 100
    assert report(folder)["fused"]["coverage"] == 1


def test_a_feed_in_fahrenheit_is_flagged_value_by_value_and_its_provider_shut_out(folder: Path, run: Run) -> None:
    values = histories()["east"].temperature_c
    write(folder / "east.csv", values.where(values.index < LIE, values * 9 / 5 + 32).round(1))

    code, _, _ = run("--baseline-days", str(BASELINE_DAYS))

    east = report(folder)["providers"]["east"]
    assert code == 0
    assert east["status"] == "quarantined"
    assert east["flagged"]["gross"] > 100
    assert pd.read_csv(folder / "fused.csv")["temperature_c"].max() < 40


def test_files_of_different_steps_and_spans_are_fused(folder: Path, run: Run) -> None:
    values = histories()["west"].temperature_c[500:]
    halves = pd.Series(
        np.repeat(values.to_numpy(), 2), pd.date_range(values.index[0], periods=2 * len(values), freq="30min")
    )
    write(folder / "west.csv", halves)

    code, _, _ = run("--baseline-days", str(BASELINE_DAYS), "--demand", "demand.csv")

    assert code == 0
    assert report(folder)["step_minutes"] == 30
    assert report(folder)["providers"]["west"]["flagged"]["missing"] == 1000
    assert report(folder)["fused"]["rows"] == 120 * 48


@pytest.mark.parametrize("zone", ["Australia/Melbourne", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"])
def test_every_zone_with_or_without_daylight_saving_is_judged_by_its_own_days(folder: Path, run: Run, zone: str) -> None:
    code, _, _ = run("--baseline-days", str(BASELINE_DAYS), zone=zone)

    start = pd.Timestamp(report(folder)["baseline"]["from"]).tz_convert(zone)
    assert code == 0
    assert start == start.normalize()
    assert report(folder)["fused"]["coverage"] == 1


def test_one_provider_alone_with_demand_is_enough(folder: Path, run: Run) -> None:
    code, _, _ = run("--demand", "demand.csv", "--baseline-days", str(BASELINE_DAYS), weather=("north",))

    assert code == 0
    assert list(report(folder)["providers"]) == ["north"]
    assert report(folder)["demand"]["given"] is True


def test_what_the_reader_should_know_is_said_aloud_and_in_the_report(folder: Path, run: Run) -> None:
    lines = (folder / "north.csv").read_text("utf-8").splitlines()
    (folder / "north.csv").write_text("\n".join([f"{lines[0]},remark", *(f"{line},x" for line in lines[1:])]) + "\n")

    _, out, _ = run()

    notes = report(folder)["notes"]
    assert len(notes) == 2
    assert notes[0].endswith("the first 59 are the baseline")
    assert notes[1] == "north.csv: columns not read: remark"
    for note in notes:
        assert f"note: {note}" in out


# What is refused, and leaves nothing behind


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the file is empty"),
        (HEADER, "a header and no rows"),
        ("temperature_c\n1\n", "missing column"),
        (f"{HEADER}2013-01-01T00:00,1\n2013-01-01T01:00,2\n", "has no offset from UTC"),
        (f"{HEADER}2013-01-01T00:00Z,1\n2013-01-01T00:00Z,2\n2013-01-01T01:00Z,3\n", "the same time as row 2"),
        ("timestamp,temperature_c,issued_at\n2013-01-02T00:00Z,1,2013-01-01T00:00Z\n2013-01-02T01:00Z,1,2013-01-01T00:00Z\n",
         "holds forecasts only"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_told_in_time_is_refused_in_one_line_and_nothing_is_written(
    folder: Path, run: Run, content: str, words: str
) -> None:
    (folder / "east.csv").write_text(content, encoding="utf-8")

    code, out, err = run()

    assert (code, out) == (2, "")
    assert err.startswith("error: east.csv")
    assert words in err
    assert err.count("\n") == 1
    assert left_behind(folder) == set()


@pytest.mark.parametrize(
    ("weather", "words"),
    [
        ((), "--weather"),
        (("north", "north"), "names 'north' twice"),
        (("a b=north.csv",), "write NAME=FILE"),
        (("none.csv=",), "write NAME=FILE"),
        (("none=none.csv",), "no such file"),
    ],
)
def test_weather_options_that_cannot_be_are_wrong_usage(
    folder: Path, run: Run, weather: tuple[str, ...], words: str
) -> None:
    code, _, err = run(weather=weather)

    assert code == 2
    assert words in err
    assert left_behind(folder) == set()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--timezone", "Europe/Berln"), "Europe/Berlin"),
        (("--baseline-days", "55"), "--baseline-days"),
        (("--demand", "none.csv"), "no such file"),
        (("--html", "nowhere/page.html"), "the folder does not exist"),
        (("--html", "."), "is a directory"),
        (("--html", "fused.csv"), "written twice"),
        (("--out", "north.csv"), "is read here"),
        (("--demand", "demand.csv", "--report", "./demand.csv"), "is read here"),
    ],
)
def test_places_and_options_that_cannot_be_are_refused_before_anything_is_read(
    folder: Path, run: Run, more: tuple[str, ...], words: str
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}

    code, _, err = run(*more)

    assert code == 2
    assert words in err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_when_one_file_cannot_be_written_none_is_and_the_old_ones_stay(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "fused.csv").write_text("old")

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(fuse_report, "_figures", full)
    code, _, err = run("--html", "page.html")

    assert code == 5
    assert "No space left" in err
    assert left_behind(folder) == {"fused.csv"}
    assert (folder / "fused.csv").read_text() == "old"
