"""The lies of the trust benchmark on stations of one's own: read from files, told in turn, judged as the others are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.trust_own import OwnStations, own_stations, run_own
from data.rough_stations import STATIONS
from tests.unit.trust.trust_town import BASELINE_DAYS, Town, town

DAYS = BASELINE_DAYS + 115


@pytest.fixture(scope="module")
def place() -> Town:
    return town(3, days=DAYS)


def stations_of(place: Town) -> OwnStations:
    return OwnStations(place.names, place.timezone, place.index, place.readings, place.demand_mw)


def test_stations_and_demand_are_read_from_files_onto_one_grid(place: Town, tmp_path: Path):
    for name, column in zip(place.names, place.readings.T, strict=True):
        pd.DataFrame({"timestamp": place.index, "temperature_c": column}).to_csv(tmp_path / f"{name}.csv", index=False)
    pd.DataFrame({"timestamp": place.index, "demand_mw": place.demand_mw}).to_csv(tmp_path / "demand.csv", index=False)
    weather = [f"{name}={tmp_path / f'{name}.csv'}" for name in place.names]
    stations = own_stations(weather, tmp_path / "demand.csv", place.timezone)
    assert stations.names == place.names
    np.testing.assert_array_equal(stations.readings, place.readings)
    assert stations.demand_mw is not None
    np.testing.assert_allclose(stations.demand_mw, place.demand_mw)


def test_each_lie_is_told_at_each_moment_by_one_station_in_turn_and_its_liar_is_named(place: Town):
    run = run_own(stations_of(place), BASELINE_DAYS, 2, ("offset+3", "fahrenheit"))
    assert [one.attack for one in run.attacked] == ["offset+3", "fahrenheit"] * 2
    assert all(one.named and one.delay_days < 3 for one in run.attacked)
    assert (run.wrong, run.left_out) == (0, 0)
    assert run.setting.roughness == STATIONS
    assert run.honest_days == pytest.approx(3 * (DAYS - BASELINE_DAYS), rel=0.02)
