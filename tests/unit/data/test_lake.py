"""The lake: rows are added once and whole, read as they were written, and told apart by version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable

from data.errors import ContractBroken
from data.lake import appending
from data.lake.pins import Pin, pinned, require_pin
from data.lake.reading import read
from data.lake.store import Lake, every_file, lake_in, store_of
from data.lake.tables import DEMAND, METER_READINGS, WEATHER
from security.errors import UnavailableError
from tests.unit.data.small_lake import START, Pond, weather_rows

ORDER = ["provider", "valid_at", "issued_at"]


@pytest.fixture
def pond(tmp_path: Path) -> Pond:
    return Pond(tmp_path)


def test_rows_come_back_as_they_went_in_in_the_tables_order(pond: Pond) -> None:
    rows = weather_rows()
    pond.append(rows.sample(frac=1, random_state=1))
    columns = ["provider", "issued_at", "valid_at", "temperature_c", "key_id", "payload_sha256"]
    pd.testing.assert_frame_equal(pond.read(), rows.sort_values(ORDER, ignore_index=True)[columns], check_dtype=False)


def test_files_stand_by_source_and_month_and_are_named_by_their_bytes(pond: Pond) -> None:
    pin = pond.append(weather_rows())
    parts = {tuple(name.split("/")[:2]) for name in pin.files}
    assert parts == {
        (f"provider={name}", f"month={month}") for name in ("aurora", "boreas") for month in ("2024-01", "2024-02")
    }
    assert {path.relative_to(pond.table()).as_posix(): path.stat().st_size for path in pond.files()} == pin.files


def test_a_batch_that_is_sent_again_adds_nothing(pond: Pond) -> None:
    first = pond.append(weather_rows())
    assert pond.append(weather_rows().sample(frac=1, random_state=2)) == first
    assert len(pond.read()) == len(weather_rows())


def test_an_empty_batch_makes_a_table_without_rows(pond: Pond) -> None:
    assert pond.append(weather_rows().iloc[:0]) == Pin(0, {})
    assert pond.read().empty
    assert list(pond.read().columns) == ["provider", *WEATHER.columns]


def test_a_table_that_was_never_written_is_empty(pond: Pond) -> None:
    assert pond.pin() == Pin(-1, {})
    assert pond.read().empty


def test_every_version_can_be_read_as_it_was(pond: Pond) -> None:
    versions = [pond.append(weather_rows(seed=seed)) for seed in (1, 2, 3)]
    assert [pin.version for pin in versions] == [1, 2, 3]
    for number, pin in enumerate(versions):
        again = pinned(pond.lake, WEATHER, pond.trusted, pin.version)
        assert again == pin
        assert len(read(pond.lake, WEATHER, again)) == (number + 1) * len(weather_rows())
        require_pin(pond.lake, WEATHER, pin, pond.trusted)


def test_some_columns_some_sources_and_what_is_not_too_old_can_be_read_alone(pond: Pond) -> None:
    pond.append(weather_rows())
    assert list(pond.read(columns=["valid_at"]).columns) == ["provider", "valid_at"]
    assert set(pond.read(sources=["boreas"])["provider"]) == {"boreas"}
    assert pond.read(since=START + pd.Timedelta(days=3))["valid_at"].min() == pd.Timestamp("2024-02-01", tz="UTC")


def test_a_pin_survives_being_written_down(pond: Pond) -> None:
    pin = pond.append(weather_rows())
    told = pin.to_json()
    assert Pin.from_json(told) == pin
    assert {file["sha256"] for file in told["files"].values()} == {path.stem for path in pond.files()}


def test_any_delta_reader_reads_the_table(pond: Pond) -> None:
    pond.append(weather_rows())
    delta = DeltaTable(pond.lake.url_of(WEATHER))
    told = delta.to_pandas().sort_values(ORDER, ignore_index=True)
    assert told["temperature_c"].tolist() == pond.read()["temperature_c"].tolist()
    assert set(told["month"]) == {"2024-01", "2024-02"}
    one_day = [("valid_at", ">=", START.to_pydatetime()), ("valid_at", "<", (START + pd.Timedelta(days=1)).to_pydatetime())]
    assert len(delta.to_pandas(filters=one_day)) == 48


def test_rows_can_be_added_and_never_changed_or_removed(pond: Pond) -> None:
    pond.append(weather_rows())
    delta = DeltaTable(pond.lake.url_of(WEATHER))
    with pytest.raises(Exception, match="append-only"):
        delta.delete("provider = 'aurora'")
    with pytest.raises(Exception, match="append-only"):
        delta.update(updates={"temperature_c": "0"})


def test_logs_are_checkpointed_and_older_versions_stay(pond: Pond, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appending, "COMMITS_TO_CHECKPOINT", 2)
    pins = [pond.append(weather_rows(days=1, seed=seed)) for seed in range(4)]
    assert list((pond.table() / "_delta_log").glob("*.checkpoint.parquet"))
    assert [pinned(pond.lake, WEATHER, pond.trusted, pin.version) for pin in pins] == pins


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ({"temperature_c": 1000.0}, "temperature_c"),
        ({"temperature_c": np.nan}, "temperature_c"),
        ({"provider": "../../etc"}, "provider"),
        ({"provider": None}, "provider"),
        ({"valid_at": pd.Timestamp("1200-01-01", tz="UTC").as_unit("us")}, "valid_at"),
        ({"payload_sha256": "not a digest"}, "payload_sha256"),
        ({"key_id": "a key/with a slash"}, "key_id"),
    ],
)
def test_one_row_that_breaks_the_contract_keeps_the_batch_out(pond: Pond, spoilt: dict[str, object], told: str) -> None:
    rows = weather_rows().astype({"provider": object, "payload_sha256": object, "key_id": object})
    for column, value in spoilt.items():
        rows.loc[5, column] = value
    with pytest.raises(ContractBroken, match=told) as refusal:
        pond.append(rows)
    assert refusal.value.failures >= 1
    assert pond.pin() == Pin(-1, {})


def test_a_missing_column_and_a_wrong_type_break_the_contract(pond: Pond) -> None:
    with pytest.raises(ContractBroken, match="columns are missing: valid_at"):
        pond.append(weather_rows().drop(columns="valid_at"))
    with pytest.raises(ContractBroken, match="temperature_c"):
        pond.append(weather_rows().assign(temperature_c="warm"))
    with pytest.raises(ContractBroken, match="valid_at"):
        pond.append(weather_rows().assign(valid_at=lambda rows: rows["valid_at"].dt.tz_localize(None)))


def test_demand_cannot_be_known_before_its_interval_began(pond: Pond) -> None:
    index = pd.date_range(START, periods=3, freq="h", unit="us")
    rows = pd.DataFrame({"source": "file", "timestamp": index, "demand_mw": [1.0, np.nan, 3.0], "available_at": index})
    assert len(pond.append(rows, DEMAND).files) == 1
    with pytest.raises(ContractBroken, match="available_at is not before timestamp"):
        pond.append(rows.assign(available_at=index - pd.Timedelta(hours=1)), DEMAND)


def test_whole_numbers_and_coarser_moments_are_taken_as_the_table_has_them(pond: Pond) -> None:
    index = pd.date_range(START, periods=3, freq="h", unit="s")
    rows = {"source": "meters", "meter": "m1", "timestamp": index, "received_at": index, "power_w": [1, 2, 3]}
    pond.append(pd.DataFrame(rows), METER_READINGS)
    assert pond.read(METER_READINGS)["power_w"].tolist() == [1.0, 2.0, 3.0]


def test_a_lake_in_a_folder_with_spaces_and_signs_works(tmp_path: Path) -> None:
    pond = Pond(tmp_path / "a lake, ünder 100%")
    pond.append(weather_rows())
    assert len(pond.read()) == len(weather_rows())


def test_another_installation_that_takes_our_files_for_a_dead_writers_costs_the_batch_and_not_the_table(
    pond: Pond, monkeypatch: pytest.MonkeyPatch
) -> None:
    pond.append(weather_rows())
    settle = appending.settle

    def taken_away(folder: Path, names: list[str]) -> None:
        settle(folder, names)
        for name in names:
            if name.endswith(".parquet"):
                (folder / name).unlink()

    with monkeypatch.context() as broken:
        broken.setattr(appending, "settle", taken_away)
        with pytest.raises(UnavailableError, match="another installation writes here"):
            pond.append(weather_rows(seed=2))
    assert len(pond.read()) == len(weather_rows())
    pond.append(weather_rows(seed=2))
    assert len(pond.read()) == 2 * len(weather_rows())


def test_an_intent_that_is_no_text_stops_nobody(pond: Pond) -> None:
    pond.append(weather_rows())
    (pond.table() / "_intent").write_bytes(b"\xff\xfe")
    pond.append(weather_rows(seed=2))
    assert len(pond.read()) == 2 * len(weather_rows())


def test_a_checkpoint_that_cannot_be_written_costs_no_batch(pond: Pond, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_table: DeltaTable) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(appending, "COMMITS_TO_CHECKPOINT", 1)
    monkeypatch.setattr(DeltaTable, "create_checkpoint", fails)
    assert pond.append(weather_rows()).version == 1


def test_a_store_that_does_not_answer_is_unavailable_and_no_forgery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for name, value in (("AWS_ALLOW_HTTP", "true"), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_REGION", "here")
    lake = Lake("s3://bucket/lake", tmp_path / "lock")
    with pytest.raises(UnavailableError):
        every_file(store_of(lake, WEATHER))


def test_a_store_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="GRIDWARD_LAKE_URL"):
        store_of(Lake("nowhere://bucket", tmp_path / "lock"), WEATHER)
    assert lake_in(tmp_path, tmp_path / "lock").folder_of(WEATHER) == tmp_path / "weather"
    assert Lake("s3://bucket/lake", tmp_path / "lock").folder_of(WEATHER) is None
