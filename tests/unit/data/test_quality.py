"""Each fault of a meter alone, on three meters whose truth is known: mended, or set aside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.errors import DataError
from data.quality import MeterFindings, repair
from data.schema import Utility

UTILITY = Utility("UTC", pd.Timedelta(hours=1))
HOURS = 70 * 24
INDEX = pd.date_range("2013-01-01", periods=HOURS, freq="h", tz="UTC", name="timestamp")
ROW = 60 * 24 + 7
MOMENT = INDEX[ROW]


def clean_power() -> pd.DataFrame:
    """Three meters [W], integers, no two neighbours equal; B carries half of the load, A and C a quarter each."""
    hour = np.arange(HOURS) % 24
    load = 4_000_000 * (1.2 - np.cos(2 * np.pi * hour / 24) / 3) + 13 * (np.arange(HOURS) % 7)
    return pd.DataFrame({"A": load / 4, "B": load / 2, "C": load / 4}, index=INDEX).round().astype("int64")


def as_readings(power: pd.DataFrame) -> pd.DataFrame:
    long = power.rename_axis(columns="meter").stack().rename("power_w").reset_index()
    return long.assign(received_at=long["timestamp"] + pd.Timedelta(hours=1, minutes=5))


def of_meter(readings: pd.DataFrame, meter: str, first: pd.Timestamp, hours: int) -> pd.Series:
    last = first + pd.Timedelta(hours=hours - 1)
    return (readings["meter"] == meter) & readings["timestamp"].between(first, last)


TRUTH = clean_power().sum(axis=1).astype(float)
READINGS = as_readings(clean_power())
NOTHING = MeterFindings(len(READINGS), 0, 0, 0, 0, 0)


def assert_close_to_truth(total: pd.Series, relative: float) -> None:
    assert total.notna().all()
    assert ((total - TRUTH).abs() / TRUTH).max() <= relative


def test_clean_readings_are_summed_and_nothing_is_found():
    total, findings = repair(READINGS, UTILITY)
    assert total.tolist() == TRUTH.tolist()
    assert findings == NOTHING


def test_a_reading_that_comes_twice_counts_once():
    again = READINGS[of_meter(READINGS, "A", MOMENT, 5)]
    again = again.assign(received_at=again["received_at"] + pd.Timedelta(minutes=7))
    total, findings = repair(pd.concat([READINGS, again]), UTILITY)
    assert total.tolist() == TRUTH.tolist()
    assert (findings.duplicates, findings.conflicting) == (5, 0)


def test_of_two_readings_that_contradict_each_other_the_first_received_stands():
    other = READINGS[of_meter(READINGS, "B", MOMENT, 3)]
    other = other.assign(power_w=other["power_w"] * 2, received_at=other["received_at"] + pd.Timedelta(minutes=7))
    total, findings = repair(pd.concat([other, READINGS]), UTILITY)
    assert total.tolist() == TRUTH.tolist()
    assert (findings.duplicates, findings.conflicting) == (0, 3)


@pytest.mark.parametrize("factor", [1 / 1000, 1000])
def test_a_slip_of_unit_is_undone(factor: float):
    readings = READINGS.copy()
    slipped = of_meter(readings, "B", MOMENT, 30)
    readings.loc[slipped, "power_w"] = (readings.loc[slipped, "power_w"] * factor).astype("int64")
    total, findings = repair(readings, UTILITY)
    assert_close_to_truth(total, 1e-3)
    assert findings.unit_slips == 30


def test_a_meter_that_is_usually_at_rest_is_not_taken_for_one_with_a_wrong_unit():
    power = clean_power()
    power["pump"] = 0
    power.loc[MOMENT : MOMENT + pd.Timedelta(hours=3), "pump"] = [50_000, 60_000, 70_000, 80_000]
    total, findings = repair(as_readings(power), UTILITY)
    assert total.tolist() == power.sum(axis=1).astype(float).tolist()
    assert findings.unit_slips == 0


def test_a_stuck_meter_is_set_aside_and_its_load_filled_from_the_others():
    readings = READINGS.copy()
    stuck = of_meter(readings, "A", MOMENT, 30)
    readings.loc[stuck, "power_w"] = int(readings.loc[stuck, "power_w"].iloc[0])
    assert ((readings.groupby("timestamp")["power_w"].sum() - TRUTH).abs() / TRUTH).max() > 0.05
    total, findings = repair(readings, UTILITY)
    assert_close_to_truth(total, 1e-4)
    assert findings.stuck == 29


def test_without_hindsight_only_the_sixth_equal_reading_tells_that_a_meter_is_stuck():
    readings = READINGS.copy()
    stuck = of_meter(readings, "A", MOMENT, 30)
    readings.loc[stuck, "power_w"] = int(readings.loc[stuck, "power_w"].iloc[0])
    total, findings = repair(readings, UTILITY, hindsight=False)
    raw = readings.groupby("timestamp")["power_w"].sum().astype(float)
    assert total.iloc[ROW : ROW + 5].tolist() == raw.iloc[ROW : ROW + 5].tolist()
    assert findings.stuck == 25
    cut, _ = repair(readings[readings["timestamp"] <= MOMENT + pd.Timedelta(hours=3)], UTILITY, hindsight=False)
    assert cut.tolist() == total.iloc[: ROW + 4].tolist()


@pytest.mark.parametrize("value", [0, 5])
def test_a_meter_at_zero_or_equal_five_times_is_not_stuck(value: int):
    readings = READINGS.copy()
    equal = of_meter(readings, "A", MOMENT, 30 if value == 0 else 5)
    readings.loc[equal, "power_w"] = 0 if value == 0 else 1_000_000
    _, findings = repair(readings, UTILITY)
    assert findings.stuck == 0


def test_a_gap_is_filled_from_the_other_meters():
    gap = of_meter(READINGS, "A", MOMENT, 30)
    total, findings = repair(READINGS[~gap], UTILITY)
    assert_close_to_truth(total, 1e-4)
    assert findings.gaps == 30


def test_where_less_than_half_of_the_load_reported_nothing_is_claimed():
    gap = of_meter(READINGS, "A", MOMENT, 4) | of_meter(READINGS, "B", MOMENT, 4)
    total, _ = repair(READINGS[~gap], UTILITY)
    assert total.index[total.isna()].tolist() == list(INDEX[ROW : ROW + 4])


def test_an_interval_that_no_meter_reported_stays_in_the_index_without_a_value():
    total, findings = repair(READINGS[READINGS["timestamp"] != MOMENT], UTILITY)
    assert total.index.equals(INDEX)
    assert total.index[total.isna()].tolist() == [MOMENT]
    assert findings.gaps == 3


def test_a_later_fault_cannot_move_what_is_normal_for_a_meter():
    readings = READINGS.copy()
    later = readings["timestamp"] >= INDEX[57 * 24]
    readings.loc[later & (readings["meter"] == "A"), "power_w"] //= 1000
    total, findings = repair(readings, UTILITY)
    assert_close_to_truth(total, 1e-3)
    assert findings.unit_slips == 13 * 24


def test_a_meter_that_never_read_anything_in_the_first_weeks_does_no_harm_later():
    power = clean_power().astype(float)
    power.loc[: INDEX[57 * 24], "C"] = np.nan
    readings = as_readings(power).dropna(subset=["power_w"])
    total, _ = repair(readings, UTILITY)
    assert total.iloc[57 * 24 + 1 :].tolist() == TRUTH.iloc[57 * 24 + 1 :].tolist()


def test_no_readings_at_all_are_refused():
    with pytest.raises(DataError, match="no meter readings"):
        repair(READINGS.head(0), UTILITY)


def test_the_readings_given_are_not_changed():
    before = READINGS.copy()
    repair(READINGS, UTILITY)
    pd.testing.assert_frame_equal(READINGS, before)
