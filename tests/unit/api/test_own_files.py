from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pandas as pd
import pytest
import typer

from api.own_files import OwnFiles, read_own_files
from data.errors import DataError, FileRefused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    index = pd.date_range("2024-03-01", periods=72, freq="30min", tz="UTC")
    stamps = index.strftime("%Y-%m-%dT%H:%M:%SZ")
    pd.DataFrame({"timestamp": stamps, "demand_mw": 100.0, "remark": "x"}).to_csv(tmp_path / "d.csv", index=False)
    pd.DataFrame({"timestamp": stamps, "temperature_c": 12.0}).to_csv(tmp_path / "past.csv", index=False)
    issued = {"timestamp": stamps, "issued_at": "2024-02-29T06:00:00Z", "temperature_c": 12.0}
    pd.DataFrame(issued).to_csv(tmp_path / "ahead.csv", index=False)
    return tmp_path


def read(folder: Path, weather: list[str], **changes: str) -> OwnFiles:
    options = {"timezone": "Europe/Berlin", "holidays": "none", "gate_closure": "09:00"} | changes
    return read_own_files(folder / "d.csv", [item.replace("@", f"{folder}/") for item in weather], **options)


def test_files_become_a_utility_and_frames(folder: Path) -> None:
    own = read(folder, ["b=@ahead.csv", "a=@past.csv"], holidays="DE", gate_closure="10:30")

    assert own.utility.step == pd.Timedelta(minutes=30)
    assert (own.utility.timezone, own.utility.gate_closure) == ("Europe/Berlin", time(10, 30))
    assert own.utility.holidays == frozenset()
    assert own.demand["demand_mw"].sum() == pytest.approx(7200)
    assert own.weather["provider"].tolist() == ["a"] * 72 + ["b"] * 72


def test_a_file_without_forecasts_is_named_as_perfect_foresight_and_unread_columns_are_told(folder: Path) -> None:
    own = read(folder, ["a=@past.csv", "b=@ahead.csv"])

    assert own.perfect_foresight == ("a",)
    (note,) = own.notes
    assert note.endswith("d.csv: columns not read: remark")


def test_weather_may_be_left_out(folder: Path) -> None:
    own = read(folder, [])

    assert own.weather.empty
    assert list(own.weather.columns) == ["provider", "issued_at", "valid_at", "temperature_c"]


def test_the_holidays_reach_to_the_day_after_the_last_reading(folder: Path) -> None:
    (folder / "days.txt").write_text("2024-03-01\n2024-03-03\n2024-03-20\n")

    own = read(folder, ["a=@past.csv"], holidays=str(folder / "days.txt"))

    assert own.utility.holidays == {date(2024, 3, 1), date(2024, 3, 3)}


@pytest.mark.parametrize(
    "weather", [["past.csv"], ["=x.csv"], ["a="], ["a b=x.csv"], ["../a=x.csv"], ["a=x.csv", "a=y.csv"]]
)
def test_weather_that_is_not_name_and_file_is_wrong_usage(folder: Path, weather: list[str]) -> None:
    with pytest.raises(typer.BadParameter, match="--weather"):
        read(folder, weather)


@pytest.mark.parametrize("clock", ["9:00", "24:00", "0900", "09:00:30", "09:00+01:00", "noon", ""])
def test_a_gate_closure_is_hours_and_minutes(folder: Path, clock: str) -> None:
    with pytest.raises(typer.BadParameter, match="--gate-closure"):
        read(folder, ["a=@past.csv"], gate_closure=clock)


def test_demand_without_a_zone_is_wrong_usage(folder: Path) -> None:
    with pytest.raises(typer.BadParameter, match="--timezone"):
        read_own_files(folder / "d.csv", ["a=x"], None, "none", "09:00")


def test_an_unknown_zone_and_a_missing_file_are_refused_with_a_mend(folder: Path) -> None:
    with pytest.raises(DataError, match="Europe/Berlin"):
        read(folder, ["a=@past.csv"], timezone="Europe/Berln")
    with pytest.raises(FileRefused, match=r"nowhere\.csv"):
        read(folder, ["a=@nowhere.csv"])
