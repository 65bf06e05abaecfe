"""Somebody with write access to the disk tries to change what is trained on. Each attack goes through a plain Delta reader,
and is refused, with the file's name, by ours.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from deltalake import DeltaTable, write_deltalake

from data.errors import LakeRefused, LakeRolledBack
from data.lake.tables import DEMAND, WEATHER
from security.errors import IntegrityError
from security.manifest import FileChanged
from security.signing import new_signer
from tests.unit.data.small_lake import START, Pond, weather_rows


@pytest.fixture
def pond(tmp_path: Path) -> Pond:
    """Two versions of two providers' weather."""
    made = Pond(tmp_path)
    made.append(weather_rows())
    made.append(weather_rows(seed=2))
    return made


def as_others_read_it(pond: Pond) -> pd.DataFrame:
    return DeltaTable(pond.lake.url_of(WEATHER)).to_pandas()


def commit_file(pond: Pond, version: int) -> Path:
    return pond.table() / "_delta_log" / f"{version:020d}.json"


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Change the lines of a commit."""
    changed = [change(json.loads(line)) for line in path.read_text().splitlines()]
    path.write_text("\n".join(json.dumps(line) for line in changed if line is not None))


def put_in_place(pond: Pond, path: Path, content: bytes) -> None:
    """Other bytes under a live name, and the log's word on their size corrected: the log's own sums are all it has."""
    path.write_bytes(content)
    name = path.relative_to(pond.table()).as_posix()

    def resized(line: dict[str, Any]) -> dict[str, Any]:
        if line.get("add", {}).get("path") == name:
            line["add"]["size"] = len(content)
        return line

    for version in (1, 2):
        rewrite(commit_file(pond, version), resized)


def warmer(path: Path) -> bytes:
    """The same rows, two degrees warmer."""
    frame = pd.read_parquet(path)
    content = io.BytesIO()
    frame.assign(temperature_c=frame["temperature_c"] + 2).to_parquet(content, index=False)
    return content.getvalue()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def test_a_file_that_was_rewritten_is_read_by_others_and_named_by_us(pond: Pond) -> None:
    victim = pond.files()[0]
    before = as_others_read_it(pond)["temperature_c"].sum()
    put_in_place(pond, victim, warmer(victim))
    assert as_others_read_it(pond)["temperature_c"].sum() > before + 10
    with pytest.raises(FileChanged, match=victim.name) as refusal:
        pond.read()
    assert refusal.value.why == "altered"
    assert refusal.value.path.startswith("weather/provider=aurora/")


def test_a_single_flipped_bit_anywhere_in_any_file_is_named(pond: Pond) -> None:
    for victim in pond.files():
        good = victim.read_bytes()
        flip(victim)
        with pytest.raises(FileChanged, match=victim.name):
            pond.read()
        victim.write_bytes(good)
    assert len(pond.read()) == 2 * len(weather_rows())


def test_a_missing_file_is_named(pond: Pond) -> None:
    victim = pond.files()[2]
    victim.unlink()
    with pytest.raises(FileChanged, match=victim.name) as refusal:
        pond.read()
    assert refusal.value.why == "missing"


def test_two_files_that_changed_places_are_named(pond: Pond) -> None:
    one, other = pond.files()[0], pond.files()[-1]
    contents = one.read_bytes(), other.read_bytes()
    put_in_place(pond, one, contents[1])
    put_in_place(pond, other, contents[0])
    assert len(as_others_read_it(pond)) == 2 * len(weather_rows())
    with pytest.raises(FileChanged, match=r"altered"):
        pond.read()


def test_an_extra_file_is_named_and_stops_reading_and_writing(pond: Pond) -> None:
    extra = pond.files()[0].with_name("extra.parquet")
    shutil.copy(pond.files()[0], extra)
    for attempt in (pond.read, lambda: pond.append(weather_rows(seed=3))):
        with pytest.raises(FileChanged, match=r"extra\.parquet") as refusal:
            attempt()
        assert refusal.value.why == "unknown"


def test_a_commit_by_another_hand_is_read_by_others_and_refused_by_us(pond: Pond) -> None:
    lie = weather_rows(seed=4).assign(month="2024-01", temperature_c=40.0)
    write_deltalake(pond.lake.url_of(WEATHER), lie, mode="append")
    assert (as_others_read_it(pond)["temperature_c"] == 40).any()
    with pytest.raises(LakeRefused, match="does not carry a signature"):
        pond.read()
    with pytest.raises(LakeRefused, match="does not carry a signature"):
        pond.append(weather_rows(seed=5))


def test_a_commit_that_an_unknown_key_signed_is_refused(pond: Pond) -> None:
    pond.append(weather_rows(seed=3), signer=new_signer())
    with pytest.raises(LakeRefused, match="does not carry a signature"):
        pond.pin()


def test_a_signature_from_another_table_or_version_is_refused(pond: Pond) -> None:
    index = pd.date_range(START, periods=3, freq="h", unit="us")
    for value in (1.0, 2.0):
        rows = {"source": "file", "timestamp": index, "demand_mw": value, "available_at": index}
        pond.append(pd.DataFrame(rows), DEMAND)
    head = json.loads((pond.table(DEMAND) / "_delta_log" / f"{2:020d}.json").read_text().splitlines()[0])["commitInfo"]
    newest = commit_file(pond, 2)
    lines = [json.loads(line) for line in newest.read_text().splitlines()]
    lines[0]["commitInfo"] |= {name: value for name, value in head.items() if name.startswith("gridward.")}
    newest.write_text("\n".join(json.dumps(line) for line in lines))
    with pytest.raises(LakeRefused, match="not those that were signed"):
        pond.pin()


def test_an_older_commit_whose_file_was_taken_out_of_the_log_is_refused(pond: Pond) -> None:
    first = [True]

    def without_one(line: dict[str, Any]) -> dict[str, Any] | None:
        drop = "add" in line and first.pop() if first else False
        return None if drop else line

    rewrite(commit_file(pond, 1), without_one)
    assert len(as_others_read_it(pond)) < 2 * len(weather_rows())
    with pytest.raises(LakeRefused, match="not those that were signed"):
        pond.pin()


def test_a_log_that_says_another_provider_sent_it_convinces_others_and_not_us(pond: Pond) -> None:
    def as_boreas(line: dict[str, Any]) -> dict[str, Any]:
        if "add" in line:
            line["add"]["partitionValues"]["provider"] = "boreas"
        return line

    for version in (1, 2):
        rewrite(commit_file(pond, version), as_boreas)
    assert set(as_others_read_it(pond)["provider"]) == {"boreas"}
    assert set(pond.read()["provider"]) == {"aurora", "boreas"}


def test_a_table_that_was_rolled_back_is_whole_for_others_and_refused_by_us(pond: Pond) -> None:
    commit_file(pond, 2).unlink()
    for path in pond.files():
        if path.relative_to(pond.table()).as_posix() not in commit_file(pond, 1).read_text():
            path.unlink()
    assert len(as_others_read_it(pond)) == len(weather_rows())
    with pytest.raises(LakeRolledBack, match="version 2 was acknowledged, and is gone") as refusal:
        pond.pin()
    assert (refusal.value.version, refusal.value.acknowledged) == (1, 2)


def test_a_signed_table_of_another_time_is_whole_for_others_and_refused_by_us(pond: Pond, tmp_path: Path) -> None:
    """Restored from a backup, the station went on; somebody puts the folder back that it had before."""
    backup, given_up = tmp_path / "backup", tmp_path / "given up"
    shutil.copytree(pond.table(), backup)
    remembered = dict(pond.known)
    lie = weather_rows(seed=9).assign(temperature_c=55.0)
    pond.append(lie)
    shutil.copytree(pond.table(), given_up)
    shutil.rmtree(pond.table())
    shutil.copytree(backup, pond.table())
    pond.known = remembered
    pond.append(weather_rows(seed=3))
    shutil.rmtree(pond.table())
    shutil.copytree(given_up, pond.table())
    assert (as_others_read_it(pond)["temperature_c"] == 55).any()
    for attempt in (pond.read, lambda: pond.append(weather_rows(seed=4))):
        with pytest.raises(LakeRefused, match="not those that were acknowledged"):
            attempt()


def test_a_signed_table_of_another_time_that_grew_further_is_refused_too(pond: Pond, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(pond.table(), backup)
    remembered = dict(pond.known)
    for seed in (9, 10):
        pond.append(weather_rows(seed=seed).assign(temperature_c=55.0))
    grown = tmp_path / "grown"
    shutil.move(pond.table(), grown)
    shutil.copytree(backup, pond.table())
    pond.known = remembered
    pond.append(weather_rows(seed=3))
    shutil.rmtree(pond.table())
    shutil.copytree(grown, pond.table())
    with pytest.raises(LakeRefused, match="not those that were acknowledged"):
        pond.read()


def test_a_log_that_lies_about_a_files_size_is_refused(pond: Pond) -> None:
    def shorter(line: dict[str, Any]) -> dict[str, Any]:
        if "add" in line:
            line["add"]["size"] = 7
        return line

    rewrite(commit_file(pond, 2), shorter)
    with pytest.raises(FileChanged):
        pond.read()


def test_a_table_that_was_removed_whole_is_missed(pond: Pond) -> None:
    shutil.rmtree(pond.table())
    with pytest.raises(LakeRolledBack):
        pond.read()


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_damaged_log_is_an_integrity_error_and_never_fewer_rows(pond: Pond, version: int) -> None:
    good = commit_file(pond, version).read_bytes()
    for spoilt in (good[: len(good) // 2], b"", b"{}", good.replace(b".parquet", b".porquet", 1)):
        if spoilt == good:
            continue
        commit_file(pond, version).write_bytes(spoilt)
        with pytest.raises(IntegrityError):
            pond.read()
