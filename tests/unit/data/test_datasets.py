"""The embedded data set: what it holds, and that altered bytes are never parsed."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data import datasets
from data.datasets import VICTORIA_SHA256, EmbeddedDataset, load_victoria
from data.errors import DatasetMismatch


@pytest.fixture(scope="module")
def victoria() -> EmbeddedDataset:
    return load_victoria()


def test_victoria_is_three_complete_local_years_of_half_hours(victoria: EmbeddedDataset) -> None:
    days = [date(2012, 1, 1), date(2014, 12, 31)]
    grid = victoria.utility.day_index(days[0]).append(victoria.utility.day_index(days[1]))
    index = victoria.demand_mw.index
    assert len(index) == 52_608
    assert (index[0], index[-1]) == (grid[0], grid[-1])
    assert (np.diff(index.to_numpy()) == np.timedelta64(30, "m")).all()
    assert str(index.dtype) == "datetime64[us, UTC]"
    assert index.name == "timestamp"


def test_the_series_share_their_index_and_have_no_gaps(victoria: EmbeddedDataset) -> None:
    for series in (victoria.demand_mw, victoria.demand_watts, victoria.temperature_c):
        pd.testing.assert_index_equal(series.index, victoria.demand_mw.index)
        assert series.notna().all()
    assert victoria.demand_mw.between(2_000, 10_000).all()
    assert victoria.temperature_c.between(0, 45).all()


def test_demand_in_watts_is_the_exact_decimal_of_the_file(victoria: EmbeddedDataset) -> None:
    lines = datasets._installed_victoria().read_text(encoding="utf-8").splitlines()[1:]
    exact = [int((Decimal(line.split(",")[1]) * 1_000_000).to_integral_value()) for line in lines]
    assert victoria.demand_watts.dtype == np.int64
    assert victoria.demand_watts.to_list() == exact


def test_the_utility_keeps_melbournes_clock_and_its_holidays(victoria: EmbeddedDataset) -> None:
    assert victoria.utility.timezone == "Australia/Melbourne"
    assert victoria.utility.step == pd.Timedelta(minutes=30)
    assert {date(2012, 1, 26), date(2013, 11, 5), date(2014, 12, 25)} <= victoria.utility.holidays
    assert date(2013, 7, 1) not in victoria.utility.holidays


def test_one_changed_byte_stops_with_both_digests_and_the_mend(tmp_path: Path) -> None:
    content = bytearray(datasets._installed_victoria().read_bytes())
    content[1000] ^= 1
    copy = tmp_path / "vic_elec.csv"
    copy.write_bytes(content)
    with pytest.raises(DatasetMismatch) as refused:
        load_victoria(copy)
    line = str(refused.value)
    assert f"expected {VICTORIA_SHA256}" in line
    assert str(copy) in line
    assert "reinstall the pinned requirements" in line


def test_altered_bytes_are_refused_before_they_are_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("parsed unverified bytes")

    monkeypatch.setattr(pd, "read_csv", never)
    (tmp_path / "vic_elec.csv").write_text("Time,Demand\n")
    with pytest.raises(DatasetMismatch):
        load_victoria(tmp_path / "vic_elec.csv")


def test_a_missing_file_or_package_is_a_mismatch_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetMismatch, match=r"cannot be read.*reinstall"):
        load_victoria(tmp_path / "none.csv")
    monkeypatch.setattr(datasets, "find_spec", lambda _: None)
    with pytest.raises(DatasetMismatch, match=r"not installed.*reinstall"):
        load_victoria()


def test_the_packages_own_code_is_never_imported() -> None:
    program = "import sys; from data.datasets import load_victoria; load_victoria(); sys.exit('tsdata' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0
