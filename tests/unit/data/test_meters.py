"""From raw readings to demand: right to a fraction of a percent, and never wiser than it was at the time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.datasets import EmbeddedDataset
from data.errors import DataError
from data.meters import FINAL, PROMPT, MeteredDemand, aggregate, demand_as_of
from data.schema import Utility
from data.simulation import simulate_meter_readings

HOURLY = Utility("UTC", pd.Timedelta(hours=1))
FOREVER = pd.Timestamp("2100-01-01", tz="UTC")


@pytest.fixture(scope="module")
def readings(victoria_2012: EmbeddedDataset) -> pd.DataFrame:
    return simulate_meter_readings(victoria_2012, seed=1)


@pytest.fixture(scope="module")
def metered(readings: pd.DataFrame, victoria_2012: EmbeddedDataset) -> MeteredDemand:
    return aggregate(readings, victoria_2012.utility)


def two_meters(hours: int = 100) -> pd.DataFrame:
    index = pd.date_range("2013-01-01", periods=hours, freq="h", tz="UTC")
    load = 1_000_000 + 1000 * (np.arange(hours) % 7)
    parts = [
        pd.DataFrame({"meter": name, "timestamp": index, "received_at": index + pd.Timedelta(minutes=65), "power_w": load})
        for name in ("A", "B")
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_demand_of_a_year_is_right_to_a_percent_everywhere_and_far_better_on_average(
    victoria_2012: EmbeddedDataset, metered: MeteredDemand, seed: int
):
    utility = victoria_2012.utility
    found = metered if seed == 1 else aggregate(simulate_meter_readings(victoria_2012, seed), utility)
    demand = demand_as_of(found.demand, FOREVER)
    assert demand.index.equals(victoria_2012.demand_mw.index)
    error = (demand / victoria_2012.demand_mw - 1).abs()
    assert error.max() < 0.01
    assert error.mean() < 0.0005


def test_what_is_found_is_what_was_put_in(metered: MeteredDemand, readings: pd.DataFrame):
    delay = readings["received_at"] - readings["timestamp"] - pd.Timedelta(minutes=30)
    in_time = readings[delay <= FINAL]
    assert metered.findings.readings == len(in_time)
    assert metered.findings.duplicates == in_time.duplicated(["meter", "timestamp"]).sum()
    assert metered.findings.conflicting == 0
    assert 200 <= metered.findings.unit_slips <= 240
    assert 47 <= metered.findings.stuck <= 143
    assert metered.findings.gaps > 500


@pytest.mark.parametrize("hours_later", [0, 7, 21.5, 30, 100.25])
def test_demand_as_of_a_moment_needs_nothing_that_came_later(
    readings: pd.DataFrame, metered: MeteredDemand, victoria_2012: EmbeddedDataset, hours_later: float
):
    moment = _stuck_moment(readings) + pd.Timedelta(hours=hours_later)
    then = aggregate(readings[readings["received_at"] <= moment], victoria_2012.utility)
    pd.testing.assert_series_equal(demand_as_of(metered.demand, moment), demand_as_of(then.demand, moment), check_freq=False)


def test_a_late_reading_changes_nothing_known_before_it_came():
    readings = two_meters()
    late = (readings["meter"] == "B") & (readings["timestamp"] == pd.Timestamp("2013-01-04T10:00Z"))
    readings.loc[late, "power_w"] += 500_000
    readings.loc[late, "received_at"] += pd.Timedelta(hours=20)
    demand = aggregate(readings, HOURLY).demand
    without = aggregate(readings[~late], HOURLY).demand
    came = readings.loc[late, "received_at"].iloc[0]
    pd.testing.assert_series_equal(demand_as_of(demand, came), demand_as_of(without, came), check_freq=False)
    interval = readings.loc[late, "timestamp"].iloc[0]
    final = interval + HOURLY.step + FINAL
    assert demand_as_of(demand, final)[interval] - demand_as_of(without, final)[interval] == pytest.approx(0.5, abs=0.01)


def test_demand_is_known_when_the_prompt_readings_are_in_and_not_before():
    readings = two_meters()
    demand = aggregate(readings, HOURLY).demand
    interval = pd.Timestamp("2013-01-03T10:00Z")
    known = interval + HOURLY.step + PROMPT
    assert interval in demand_as_of(demand, known).index
    assert interval not in demand_as_of(demand, known - pd.Timedelta(seconds=1)).index


def test_readings_later_than_the_final_version_are_never_used():
    readings = two_meters()
    late = (readings["meter"] == "B") & (readings["timestamp"] == pd.Timestamp("2013-01-03T10:00Z"))
    readings.loc[late, "received_at"] += FINAL
    pd.testing.assert_frame_equal(aggregate(readings, HOURLY).demand, aggregate(readings[~late], HOURLY).demand)


def test_an_interval_has_one_version_unless_late_readings_changed_it():
    demand = aggregate(two_meters(), HOURLY).demand
    assert not demand.index.has_duplicates


def test_no_readings_are_refused():
    with pytest.raises(DataError):
        aggregate(two_meters().head(0), HOURLY)


def _stuck_moment(readings: pd.DataFrame) -> pd.Timestamp:
    """An hour into the time that one meter is stuck, when it has sent four equal readings and not yet six."""
    ordered = readings.drop_duplicates(["meter", "timestamp"]).sort_values(["meter", "timestamp"])
    same = ordered["power_w"].eq(ordered["power_w"].shift()) & ordered["meter"].eq(ordered["meter"].shift())
    runs = same.groupby((~same).cumsum()).sum()
    first = ordered.loc[(~same).cumsum() == runs.idxmax(), "timestamp"].iloc[0]
    return first + pd.Timedelta(hours=2.5)
