"""Features, one by one, against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time

import numpy as np
import pandas as pd
import pytest

from data.schema import DEMAND_MW, TEMPERATURE_C, Utility
from forecasting.errors import TooLittleHistory
from forecasting.features import LEVEL_MW, LOOKBACK_DAYS, DayGrid, build, gate_slot, known_until_gate

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]

HOUR = pd.Timedelta(hours=1)
UTC = Utility("UTC", HOUR, gate_closure=time(9), holidays=frozenset({date(2013, 5, 1)}))
BERLIN = Utility("Europe/Berlin", HOUR, gate_closure=time(9))
INDEX = pd.date_range("2013-04-01", periods=24 * 40, freq="h", tz="UTC", name="timestamp")
DAY_NUMBER = np.repeat(np.arange(40.0), 24)
HOUR_NUMBER = np.tile(np.arange(24.0), 40)
# Demand 100 MW a day number plus the hour: every feature is a small sum.
FRAME = pd.DataFrame({DEMAND_MW: 100 * DAY_NUMBER + HOUR_NUMBER, TEMPERATURE_C: np.arange(24.0 * 40)}, index=INDEX)
DAY = date(2013, 5, 2)  # day number 31


def features(frame: pd.DataFrame = FRAME, utility: Utility = UTC, day: date = DAY) -> pd.DataFrame:
    return build(frame, utility, [day])


def test_the_level_is_the_mean_of_seven_whole_days_that_end_two_days_before():
    assert (features()[LEVEL_MW] == 100 * (31 - 5) + 11.5).all()


@pytest.mark.parametrize("days", [2, 7, 14])
def test_lagged_demand_is_of_the_same_hour_and_relative_to_the_level(days: int):
    found = features()
    hour = np.arange(24)
    assert found[f"demand_{days}d_ago_mw"].to_numpy() == pytest.approx(100 * (31 - days) + hour - found[LEVEL_MW].to_numpy())


def test_the_same_weekday_counts_over_four_weeks():
    found = features()
    expected = 100 * (31 - 17.5) + np.arange(24) - found[LEVEL_MW].to_numpy()
    assert found["demand_same_weekday_mw"].to_numpy() == pytest.approx(expected)


def test_the_morning_before_the_gate_closure_is_used_up_to_it_and_not_beyond():
    found = features()
    level = found[LEVEL_MW].iloc[0]
    assert found["morning_mw"].iloc[0] == pytest.approx(3000 + 4 - level)
    assert found["last_known_mw"].iloc[0] == pytest.approx(3000 + 8 - level)
    assert found["last_known_against_day_before_mw"].iloc[0] == pytest.approx(100)
    assert found["morning_against_week_ago_mw"].iloc[0] == pytest.approx(700)
    assert found["yesterday_but_one_mw"].iloc[0] == pytest.approx(2900 + 11.5 - level)


@pytest.mark.parametrize(
    ("closure", "delay_minutes", "slot"),
    [
        (time(9), 0, 9),
        (time(9), 30, 8),
        (time(9), 60, 8),
        (time(9), 61, 7),
        (time(9, 59), 0, 9),
        (time(0), 0, 0),
        (time(0, 30), 60, 0),
    ],
)
def test_the_first_unknown_slot_counts_how_long_readings_take(closure: time, delay_minutes: int, slot: int):
    utility = Utility("UTC", HOUR, gate_closure=closure, demand_delay=pd.Timedelta(minutes=delay_minutes))
    assert gate_slot(utility) == slot


def test_a_gate_closure_at_midnight_leaves_no_morning_to_use():
    found = features(utility=Utility("UTC", HOUR, gate_closure=time(0)))
    assert not [name for name in found.columns if name.startswith(("morning", "last_known"))]


def test_temperature_is_read_up_to_the_interval_itself():
    found = features()
    now = FRAME[TEMPERATURE_C].loc[found.index].to_numpy()
    assert found["temperature"].tolist() == now.tolist()
    for hours in (1, 2, 3, 6, 12, 24, 48):
        assert found[f"temperature_{hours}h_ago"].tolist() == (now - hours).tolist()
    assert found["temperature_day_max"].tolist() == now.tolist()
    assert found["temperature_day_min"].tolist() == (now - 23).tolist()
    memory = found[["temperature_memory_6h", "temperature_memory_24h", "temperature_memory_72h"]].to_numpy()
    assert (np.diff(memory, axis=1) < 0).all()


def test_lags_are_in_hours_whatever_the_step(small_world: SmallWorld):
    utility, frame = small_world(step_minutes=15, days=40)
    day = date(2013, 8, 5)
    found = build(frame, utility, [day])
    ago = frame[TEMPERATURE_C].shift(freq="6h").reindex(found.index)
    assert found["temperature_6h_ago"].tolist() == ago.tolist()
    assert found["slot"].tolist() == list(range(96))


def test_holidays_mark_their_day_the_days_around_and_a_week_later():
    flags = {
        date(2013, 4, 30): ["before_holiday"],
        date(2013, 5, 1): ["holiday"],
        date(2013, 5, 2): ["after_holiday"],
        date(2013, 5, 3): ["holiday_2d_ago"],
        date(2013, 5, 8): ["holiday_7d_ago"],
        date(2013, 5, 10): [],
    }
    names = ["holiday", "after_holiday", "before_holiday", "holiday_2d_ago", "holiday_7d_ago"]
    for day, expected in flags.items():
        row = features(day=day)[names].iloc[0]
        assert row.index[row > 0].tolist() == expected


def test_a_monday_before_and_a_friday_after_a_holiday_are_bridges():
    utility = Utility("UTC", HOUR, holidays=frozenset({date(2013, 5, 7), date(2013, 5, 2)}))
    bridges = {day: build(FRAME, utility, [day])["bridge_day"].iloc[0] for day in (date(2013, 5, 6), date(2013, 5, 3))}
    assert bridges == {date(2013, 5, 6): 1.0, date(2013, 5, 3): 1.0}
    assert build(FRAME, utility, [date(2013, 5, 8)])["bridge_day"].iloc[0] == 0.0


def test_every_day_has_one_weekday_and_its_hours_their_slots():
    found = build(FRAME, UTC)
    weekdays = found[[f"weekday_{number}" for number in range(7)]]
    assert (weekdays.sum(axis=1) == 1).all()
    assert weekdays.to_numpy().argmax(axis=1).tolist() == pd.DatetimeIndex(found.index).day_of_week.tolist()
    assert found["slot"].tolist() == pd.DatetimeIndex(found.index).hour.tolist()


def test_by_default_every_day_with_enough_history_is_built_and_each_as_alone():
    together = build(FRAME, UTC)
    assert together.index[0] == INDEX[24 * LOOKBACK_DAYS]
    assert together.index[-1] == INDEX[-1]
    pd.testing.assert_frame_equal(together.loc["2013-05-02"], features(), check_freq=False)


@pytest.mark.parametrize(("rows", "days"), [(24 * 29, None), (24 * 40, [date(2013, 4, 29)]), (24 * 40, [])])
def test_without_29_days_before_it_no_day_is_built(rows: int, days: list[date] | None):
    with pytest.raises(TooLittleHistory) as refusal:
        build(FRAME.iloc[:rows], UTC, days)
    assert refusal.value.needed_days == LOOKBACK_DAYS


def test_a_level_rests_on_at_least_three_of_its_seven_days():
    assert features(holed(range(23, 27)))[LEVEL_MW].notna().all()
    assert features(holed(range(23, 28)))[LEVEL_MW].isna().all()


def holed(days: range) -> pd.DataFrame:
    return FRAME.assign(**{DEMAND_MW: FRAME[DEMAND_MW].mask(np.isin(DAY_NUMBER, list(days)))})


def test_an_hour_that_comes_twice_is_averaged_and_a_skipped_one_taken_from_its_neighbours():
    for day, hours, expected in ((date(2013, 10, 27), 25, 2.5), (date(2013, 3, 31), 23, 1.5)):
        index = BERLIN.day_index(date(day.year, day.month, day.day - 1)).append(BERLIN.day_index(day))
        index = index.append(BERLIN.day_index((pd.Timestamp(day) + pd.Timedelta(days=1)).date()))
        grid = DayGrid.of(index, BERLIN)
        folded = grid.fold(np.concatenate([np.zeros(24), np.arange(float(hours)), np.zeros(24)]))
        assert folded.shape == (3, 24)
        assert folded[1, 2] == expected
        assert folded[1, -1] == hours - 1
        assert folded[[0, 2]].sum() == 0


def test_what_is_known_until_the_gate_ends_with_the_day_and_hides_demand_after_the_closure():
    day = date(2013, 5, 2)
    window = known_until_gate(FRAME, UTC, day)
    assert window.index[-1] == UTC.day_index(day)[-1]
    assert len(window) == 24 * 31
    assert window[DEMAND_MW].last_valid_index() == pd.Timestamp("2013-05-01T08:00Z")
    assert window[TEMPERATURE_C].notna().all()
    pd.testing.assert_frame_equal(build(window, UTC, [day]), features(), rtol=1e-4)


def test_an_interval_that_straddles_the_gate_closure_is_not_known():
    utility = Utility("UTC", HOUR, gate_closure=time(9, 30))
    window = known_until_gate(FRAME, utility, DAY)
    assert window[DEMAND_MW].last_valid_index() == pd.Timestamp("2013-05-01T08:00Z")


def test_building_does_not_change_the_frame():
    before = FRAME.copy()
    build(FRAME, UTC)
    known_until_gate(FRAME, UTC, DAY)
    pd.testing.assert_frame_equal(FRAME, before)
