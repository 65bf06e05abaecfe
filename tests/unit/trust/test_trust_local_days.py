"""Local days in every zone and of every length; rows that do not follow, or do not fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.errors import DataError
from data.trust.history import Rows, hours_of
from data.trust.rules import TrustRules
from data.trust.watch import WeatherWatch
from tests.unit.trust.trust_town import (
    BASELINE_DAYS,
    DAY,
    RULES,
    SHORT,
    after_baseline,
    come_to,
    judge,
    lied,
    town,
)

ONSET = 12


@pytest.mark.parametrize("start", ["2020-01-20", "2020-08-20"])
def test_days_of_23_and_25_hours_are_days(start: str):
    """Berlin's clocks move in the baseline and again in the judged weeks."""
    place = town(3, start=start, days=BASELINE_DAYS + 75)
    watch = WeatherWatch(place.names, place.timezone, place.step, RULES)
    progress = watch.advance(place.index, place.readings, place.demand_mw)
    assert come_to(progress, "quarantined") == []
    local = pd.DatetimeIndex([record.day for record in progress.days]).tz_convert(place.timezone)
    assert (local.hour == 0).all()
    assert len(set(np.diff(local.tz_localize(None)))) == 1
    assert len(progress.days) == 75
    assert len(set(np.diff(local))) == 2


@pytest.mark.parametrize(
    ("timezone", "minutes"),
    [
        ("Asia/Kolkata", 60),  # +5:30: no hour begins at midnight
        ("Asia/Kolkata", 30),
        ("Asia/Kathmandu", 30),  # +5:45
        ("Australia/Adelaide", 60),
        ("Australia/Lord_Howe", 30),  # clocks move by half an hour
        ("America/Santiago", 60),  # the day the clocks move has no midnight
        ("Europe/Berlin", 15),
        ("UTC", 60),
    ],
)
def test_local_days_are_found_in_every_zone(timezone: str, minutes: int):
    index = pd.date_range("2021-08-01", periods=130 * 24 * 60 // minutes, freq=f"{minutes}min", tz="UTC")
    random = np.random.default_rng(1)
    truth = 12 + 5 * np.sin(2 * np.pi * np.arange(len(index)) * minutes / 1440) + random.normal(0, 0.2, len(index))
    weather = np.repeat(random.normal(0, 0.25, (130, 3)), 24 * 60 // minutes, axis=0)
    readings = truth[:, None] + weather + random.normal(0, 0.2, (len(index), 3))
    readings[len(readings) * 3 // 4 :, 0] += 2.5
    watch = WeatherWatch("abc", timezone, pd.Timedelta(minutes=minutes), SHORT)
    progress = watch.advance(index, readings)
    assert watch.learned is not None
    assert 68 <= len(progress.days) <= 70
    assert come_to(progress, "quarantined") == ["a"]
    assert np.isfinite(progress.temperature_c).all()


def test_a_quarter_hourly_history_is_judged_as_an_hourly_one():
    fine = town(3, days=BASELINE_DAYS + 20, step=pd.Timedelta(minutes=15))
    readings = fine.readings.copy()
    readings[fine.start + 5 * DAY * 4 :, 2] += 3.0
    watch = WeatherWatch(fine.names, fine.timezone, fine.step, RULES)
    progress = watch.advance(fine.index, readings, fine.demand_mw)
    assert come_to(progress, "quarantined") == ["c"]


@pytest.mark.parametrize(("hours", "known"), [(23, True), (18, False)])
def test_a_day_has_a_mean_where_almost_all_of_its_hours_are_known(hours: int, known: bool):
    """A day of 23 hours is a day; an afternoon is not."""
    place = town(2)
    demand = place.demand_mw[: 3 * DAY].copy()
    demand[DAY + hours : 2 * DAY] = np.nan
    rows = Rows(place.index[: 3 * DAY], place.readings[: 3 * DAY], demand)
    days = hours_of(rows, 1, place.timezone, pd.Timestamp("2020-05-01"), yearly=True).daily()
    assert np.isfinite(days.demand_mw).tolist() == [True, known, True]
    np.testing.assert_allclose(days.demand_mw[0], demand[:DAY].mean())
    assert days.weekday.tolist() == [4.0, 5.0, 6.0]


def test_an_hour_in_which_half_the_rows_are_missing_is_bridged_from_its_neighbours_or_not_known():
    """A front passes: the half that is known tells another temperature than the hour had."""
    index = pd.date_range("2020-05-01", periods=96, freq="30min", tz="UTC")
    falling = np.linspace(40, 20, 96)[:, None]
    gappy = falling.copy()
    gappy[20], gappy[47], gappy[61:65] = np.nan, np.nan, np.nan  # one row, the last of a day, two hours
    whole, known = (
        hours_of(Rows(index, readings, np.full(96, np.nan)), 2, "UTC", pd.Timestamp("2020-05-01"), yearly=True).known[:, 0]
        for readings in (falling, gappy)
    )
    np.testing.assert_allclose(known[np.isfinite(known)], whole[np.isfinite(known)])
    assert np.flatnonzero(np.isnan(known)).tolist() == [23, 30, 31, 32]


def test_rows_that_do_not_follow_are_refused_and_change_nothing():
    place = town(3)
    watch = after_baseline(place)
    start, row = place.start, place.readings[[0]]
    for index in (
        place.index[[start + 1]],
        place.index[[start - 1]],
        place.index[[start, start + 2]],
        place.index[:0],
        place.index[[start]].tz_localize(None),
    ):
        with pytest.raises(DataError):
            watch.advance(index, np.repeat(row, len(index), axis=0))
    assert len(judge(watch, place, place.readings, rows=slice(0, DAY)).index) == DAY


@pytest.mark.parametrize("shape", [(1, 2), (2, 3), (3,)])
def test_readings_of_another_shape_are_refused(shape: tuple[int, ...]):
    place = town(3)
    with pytest.raises(DataError):
        after_baseline(place).advance(place.index[[place.start]], np.zeros(shape))


@pytest.mark.parametrize("step", ["25min", "2h", "7min"])
def test_a_step_that_does_not_divide_an_hour_is_refused(step: str):
    with pytest.raises(DataError):
        WeatherWatch("abc", "UTC", pd.Timedelta(step))


def test_a_baseline_too_short_to_learn_from_is_refused():
    with pytest.raises(DataError):
        TrustRules(baseline_days=10)


def test_inputs_are_not_changed():
    place = town(3)
    readings = lied(place, 1, lambda said: said + 3.0, ONSET)
    demand = place.demand_mw.copy()
    before, demand_before = readings.copy(), demand.copy()
    WeatherWatch(place.names, place.timezone, place.step, RULES).advance(place.index, readings, demand)
    np.testing.assert_array_equal(readings, before)
    np.testing.assert_array_equal(demand, demand_before)
