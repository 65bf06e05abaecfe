"""Features, one by one, against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import date, time, timedelta

import numpy as np
import pandas as pd
import pytest

from data.schema import DEMAND_MW, TEMPERATURE_C, Array, Utility
from forecasting.day_grid import LOOKBACK_DAYS, known_until_gate
from forecasting.day_table import DayTable, Driver, build, fold_demand
from forecasting.errors import TooLittleHistory
from forecasting.weather_features import PATH_DAYS, paths, weather_columns

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]

HOUR = pd.Timedelta(hours=1)
UTC = Utility("UTC", HOUR, gate_closure=time(9), holidays=frozenset({date(2013, 5, 8)}))
DAYS = 50
INDEX = pd.date_range("2013-04-01", periods=24 * DAYS, freq="h", tz="UTC", name="timestamp")
DAY_NUMBER = np.repeat(np.arange(float(DAYS)), 24)
HOUR_NUMBER = np.tile(np.arange(24.0), DAYS)
# Demand 100 MW a day number plus the hour: every feature is a small sum.
FRAME = pd.DataFrame({DEMAND_MW: 100 * DAY_NUMBER + HOUR_NUMBER, TEMPERATURE_C: np.arange(24.0 * DAYS)}, index=INDEX)
NUMBER = 40
DAY = date(2013, 4, 1) + timedelta(days=NUMBER)
FIRST = date(2013, 4, 1) + timedelta(days=LOOKBACK_DAYS)


def table(frame: pd.DataFrame = FRAME, utility: Utility = UTC, day: date = DAY) -> DayTable:
    return build(frame, utility, [day])


def ahead(lead_days: int) -> Utility:
    return dataclasses.replace(UTC, lead_days=lead_days)


def value(name: str, utility: Utility = UTC, day: date = DAY) -> Array:
    return table(utility=utility, day=day).columns[name][0]


@pytest.mark.parametrize("lead_days", [0, 1, 3])
def test_the_level_is_the_mean_of_the_last_seven_whole_days(lead_days: int):
    found = table(utility=ahead(lead_days))
    assert found.level_mw.tolist() == [100 * (NUMBER - lead_days - 4) + 11.5]


@pytest.mark.parametrize(
    ("name", "lead_days", "days_ago"),
    [
        ("same_slot_latest_day_mw", 1, 2),
        ("same_slot_latest_day_mw", 0, 1),
        ("same_slot_latest_day_mw", 7, 8),
        ("same_slot_day_before_mw", 1, 3),
        ("same_slot_week_ago_mw", 1, 7),
        ("same_slot_week_ago_mw", 6, 7),
        ("same_slot_week_ago_mw", 7, 14),
        ("same_slot_week_and_day_ago_mw", 1, 8),
        ("same_slot_two_weeks_ago_mw", 1, 14),
        ("same_slot_same_weekday_mw", 1, 17.5),
        ("same_slot_same_weekday_mw", 7, 24.5),
    ],
)
def test_demand_of_the_same_slot_before_is_relative_to_the_level(name: str, lead_days: int, days_ago: float):
    found = table(utility=ahead(lead_days))
    expected = 100 * (NUMBER - days_ago) + np.arange(24) - found.level_mw[0]
    assert found.columns[name][0] == pytest.approx(expected)


def test_the_latest_day_and_its_evening_are_relative_to_the_level():
    level = table().level_mw[0]
    assert value("latest_day_mw") == pytest.approx(np.full(24, 100 * (NUMBER - 2) + 11.5 - level))
    assert value("latest_evening_mw") == pytest.approx(np.full(24, 100 * (NUMBER - 2) + 20.5 - level))


@pytest.mark.parametrize("lead_days", [0, 1, 4])
def test_the_morning_before_the_gate_closure_is_used_up_to_it_and_not_beyond(lead_days: int):
    utility = ahead(lead_days)
    gate, level = NUMBER - lead_days, table(utility=utility).level_mw[0]
    for part, middle in ((1, 1), (2, 4), (3, 7)):
        assert value(f"morning_{part}_mw", utility) == pytest.approx(np.full(24, 100 * gate + middle - level))
        assert value(f"morning_{part}_against_week_ago_mw", utility) == pytest.approx(np.full(24, 700))
        assert value(f"morning_{part}_against_day_before_mw", utility) == pytest.approx(np.full(24, 100))
    assert value("last_known_mw", utility) == pytest.approx(np.full(24, 100 * gate + 8 - level))
    assert value("last_known_against_day_before_mw", utility) == pytest.approx(np.full(24, 100))


def test_a_gate_closure_at_midnight_leaves_no_morning_to_use():
    found = table(utility=dataclasses.replace(UTC, gate_closure=time(0)))
    assert not [name for name in found.columns if name.startswith(("morning", "last_known"))]


def test_readings_that_come_after_a_gate_closure_at_midnight_do_not_cost_the_days():
    utility = dataclasses.replace(UTC, gate_closure=time(0), demand_delay=pd.Timedelta(minutes=30))
    found = build(FRAME, utility)
    assert np.isfinite(found.level_mw).all()
    assert np.isfinite(found.columns["same_slot_latest_day_mw"]).all()
    assert np.isnan(found.drawn_mw[:, -1]).all()


def test_temperature_is_read_up_to_the_interval_itself():
    found = table()
    now = FRAME[TEMPERATURE_C].loc[UTC.day_index(DAY)].to_numpy()
    assert found.columns["temperature"][0].tolist() == now.tolist()
    for hours in (1, 2, 3, 6, 12, 24, 48):
        assert found.columns[f"temperature_{hours}h_ago"][0].tolist() == (now - hours).tolist()
    for name, offset in (("day", 0), ("day_before", 24)):
        assert value(f"temperature_{name}_max") == pytest.approx(np.full(24, now[-1] - offset))
        assert value(f"temperature_{name}_min") == pytest.approx(np.full(24, now[0] - offset))
        assert value(f"temperature_{name}_mean") == pytest.approx(np.full(24, now.mean() - offset))
    assert value("temperature_24h_max").tolist() == now.tolist()
    assert value("temperature_24h_min").tolist() == (now - 23).tolist()
    memory = np.stack([value(f"temperature_memory_{hours}h") for hours in (3, 6, 12, 24, 48, 72)])
    assert (np.diff(memory, axis=0) < 0).all()


def test_a_memory_has_learned_half_of_a_change_after_seven_tenths_of_its_hours():
    path = np.zeros((1, (PATH_DAYS + 1) * 24))
    path[0, -24:] = 1.0
    remembered = weather_columns(path, 24)["temperature_memory_24h"][0]
    assert remembered[16] == pytest.approx(1 - 0.5 ** (17 / 16.8))


def test_a_disturbance_is_added_to_the_end_of_the_path_and_nowhere_else():
    temperature = np.arange(20.0)[:, None] + np.zeros(24)
    plain, disturbed = paths(temperature, [15, 16]), paths(temperature, [15, 16], np.full((2, 48), 0.5))
    assert plain[:, -1].tolist() == [15.0, 16.0]
    assert plain[:, 0].tolist() == [1.0, 2.0]
    assert (disturbed - plain)[:, -48:].tolist() == np.full((2, 48), 0.5).tolist()
    assert (disturbed - plain)[:, :-48].max() == 0


def test_lags_are_in_hours_whatever_the_step(small_world: SmallWorld):
    utility, frame = small_world(step_minutes=15, days=40)
    day = date(2013, 8, 8)
    found = build(frame, utility, [day])
    ago = frame[TEMPERATURE_C].shift(freq="6h").reindex(utility.day_index(day))
    assert found.columns["temperature_6h_ago"][0].tolist() == ago.tolist()
    assert found.slots == 96


HOLIDAY_FLAGS = ("holiday", "after_holiday", "before_holiday", "latest_known_day_was_holiday", "week_ago_was_holiday")


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2013, 5, 7), ["before_holiday"]),
        (date(2013, 5, 8), ["holiday"]),
        (date(2013, 5, 9), ["after_holiday"]),
        (date(2013, 5, 10), ["latest_known_day_was_holiday"]),
        (date(2013, 5, 15), ["week_ago_was_holiday"]),
        (date(2013, 5, 17), []),
    ],
)
def test_holidays_mark_their_day_the_days_around_and_a_week_later(day: date, expected: list[str]):
    columns = table(day=day).columns
    assert [name for name in HOLIDAY_FLAGS if (columns[name] > 0).all()] == expected


def test_a_monday_before_and_a_friday_after_a_holiday_are_bridges():
    utility = dataclasses.replace(UTC, holidays=frozenset({date(2013, 5, 14), date(2013, 5, 9)}))
    days = [date(2013, 5, 13), date(2013, 5, 10), date(2013, 5, 15)]
    assert [value("bridge_day", utility, day)[0] for day in days] == [1.0, 1.0, 0.0]


def test_every_day_has_one_weekday_but_a_holiday_has_none():
    found = build(FRAME, UTC)
    weekdays = np.stack([found.columns[f"weekday_{number}"][:, 0] for number in range(7)], axis=1)
    assert weekdays.sum(axis=1).tolist() == [float(day not in UTC.holidays) for day in found.days]
    assert all(weekdays[row, day.weekday()] == 1 for row, day in enumerate(found.days) if day not in UTC.holidays)


def test_by_default_every_day_with_enough_history_is_built_and_each_as_alone():
    together, alone = build(FRAME, UTC), table()
    assert together.days[0] == FIRST
    assert together.days[-1] == INDEX[-1].date()
    row = together.days.index(DAY)
    for name, values in alone.columns.items():
        np.testing.assert_allclose(together.columns[name][row], values[0], err_msg=name)
    assert together.at(np.array([row])).days == (DAY,)


@pytest.mark.parametrize(
    ("rows", "days"), [(24 * LOOKBACK_DAYS, None), (24 * DAYS, [FIRST - timedelta(days=1)]), (24 * DAYS, [])]
)
def test_without_36_days_before_it_no_day_is_built(rows: int, days: list[date] | None):
    with pytest.raises(TooLittleHistory) as refusal:
        build(FRAME.iloc[:rows], UTC, days)
    assert refusal.value.needed_days == LOOKBACK_DAYS


def test_a_day_that_was_not_measured_is_made_up_from_the_week_before_it():
    holed = FRAME.assign(**{DEMAND_MW: FRAME[DEMAND_MW].mask(DAY_NUMBER == NUMBER - 2)})
    found = table(holed)
    assert found.level_mw == pytest.approx(table().level_mw)
    assert found.columns["same_slot_latest_day_mw"] == pytest.approx(table().columns["same_slot_latest_day_mw"])


def test_without_any_demand_there_is_no_level():
    assert np.isnan(table(FRAME.assign(**{DEMAND_MW: np.nan})).level_mw).all()


def test_the_days_own_demand_is_no_feature_and_hidden_until_it_is_known():
    found = build(known_until_gate(FRAME, UTC, DAY), UTC, [DAY - timedelta(days=2), DAY - timedelta(days=1), DAY])
    assert np.isfinite(found.drawn_mw).sum(axis=1).tolist() == [24, 9, 0]
    np.testing.assert_array_equal(fold_demand(FRAME, UTC, (DAY,))[0], 100 * NUMBER + np.arange(24))


def test_only_columns_in_megawatts_change_with_the_unit():
    plain, scaled = table(), table().in_units_of(4.0)
    for name, values in plain.columns.items():
        np.testing.assert_array_equal(scaled.columns[name], values / 4 if name.endswith("_mw") else values)


def test_every_column_has_a_driver():
    found = table()
    assert list(found.drivers) == list(found.columns)
    assert set(found.drivers.values()) == set(Driver)
    assert all((found.drivers[name] is Driver.RECENT_DEMAND) == name.endswith("_mw") for name in found.columns)


def test_building_does_not_change_the_frame():
    before = FRAME.copy()
    build(FRAME, UTC)
    pd.testing.assert_frame_equal(FRAME, before)
