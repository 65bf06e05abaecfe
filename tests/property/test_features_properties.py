"""No leakage: features of a day rest on nothing that was not known at its gate closure, anywhere on earth."""

from __future__ import annotations

from datetime import date, time, timedelta

import numpy as np
import pandas as pd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.schema import DEMAND_MW, TEMPERATURE_C, TIMESTAMP, Utility
from forecasting.day_grid import known_until_gate, window_days
from forecasting.day_table import DayTable, build

# With days around which daylight saving moves: by an hour, by half an hour, at midnight, or not at all.
PLACES = {
    "Europe/Berlin": (date(2013, 3, 31), date(2013, 10, 27)),
    "Australia/Melbourne": (date(2013, 4, 7), date(2013, 10, 6)),
    "America/St_Johns": (date(2013, 3, 10), date(2013, 11, 3)),
    "Australia/Lord_Howe": (date(2013, 4, 7), date(2013, 10, 6)),
    "America/Sao_Paulo": (date(2013, 2, 17), date(2013, 10, 20)),
    "Asia/Kathmandu": (date(2013, 6, 1),),
    "Pacific/Apia": (date(2012, 4, 1), date(2012, 9, 30)),
}


@st.composite
def questions(draw: st.DrawFn) -> tuple[Utility, date, bool]:
    """A utility, a day near a change of its clocks, and whether its intervals start at UTC's full hours or its own."""
    zone = draw(st.sampled_from(sorted(PLACES)))
    utility = Utility(
        zone,
        pd.Timedelta(minutes=draw(st.sampled_from([5, 15, 30, 60]))),
        gate_closure=time(draw(st.integers(0, 23)), draw(st.sampled_from([0, 10, 30, 45]))),
        holidays=frozenset(draw(st.sets(st.sampled_from(PLACES[zone]), max_size=1))),
        demand_delay=pd.Timedelta(minutes=draw(st.sampled_from([0, 20, 60, 90, 26 * 60]))),
        lead_days=draw(st.integers(0, 7)),
    )
    day = draw(st.sampled_from(PLACES[zone])) + timedelta(days=draw(st.integers(-1, 8)))
    return utility, day, draw(st.booleans())


def frame_for(utility: Utility, day: date, on_utc_hours: bool, days_after: int = 3) -> pd.DataFrame:
    first = utility.day_index(day - timedelta(days=window_days(utility) + 1))[0]
    last = utility.day_index(day + timedelta(days=days_after))[-1]
    start = first.floor("h") if on_utc_hours else first
    index = pd.date_range(start, last, freq=utility.step, name=TIMESTAMP)
    random = np.random.default_rng(len(index))
    values = {DEMAND_MW: random.uniform(500, 1500, len(index)), TEMPERATURE_C: random.uniform(-10, 40, len(index))}
    return pd.DataFrame(values, index=index)


def with_another_future(frame: pd.DataFrame, utility: Utility, day: date) -> pd.DataFrame:
    """Every demand that was not known at the gate closure and every temperature after the day, replaced."""
    index = pd.DatetimeIndex(frame.index)
    spoilt = frame.copy()
    unknown = index + utility.step + utility.demand_delay > utility.gate_closure_of(day)
    later = utility.local(index).tz_localize(None).normalize() > pd.Timestamp(day)
    assert unknown.any()
    assert later.any()
    random = np.random.default_rng(1)
    spoilt.loc[unknown, DEMAND_MW] = random.choice([np.nan, -1e9, 1e9], unknown.sum())
    spoilt.loc[later, TEMPERATURE_C] = random.choice([np.nan, -1e9, 1e9], later.sum())
    return spoilt


BERLIN_SPRING, BERLIN_AUTUMN = PLACES["Europe/Berlin"]


def assert_same(found: DayTable, expected: DayTable) -> None:
    """The same features; what has become known of the days themselves since is none."""
    assert found.days == expected.days
    np.testing.assert_array_equal(found.level_mw, expected.level_mw)
    for name, values in expected.columns.items():
        np.testing.assert_array_equal(found.columns[name], values, err_msg=name)


def holed(frame: pd.DataFrame, share: float) -> pd.DataFrame:
    """The same with a share of its readings lost, and as much of whole days."""
    random = np.random.default_rng(2)
    day = np.arange(len(frame)) * 24 // len(frame)
    lost = (random.random(len(frame)) < share) | (random.random(24) < share)[day]
    return frame.assign(**{DEMAND_MW: frame[DEMAND_MW].mask(lost), TEMPERATURE_C: frame[TEMPERATURE_C].mask(lost)})


def berlin(hour: int, minute: int, step_minutes: int = 30) -> Utility:
    return Utility("Europe/Berlin", pd.Timedelta(minutes=step_minutes), gate_closure=time(hour, minute))


@settings(deadline=None, max_examples=60)
@given(question=questions(), share=st.sampled_from([0.0, 0.1]))
# The gate closes within, or at the end of, the hour that is skipped or comes twice.
@example(question=(berlin(3, 0), BERLIN_SPRING + timedelta(days=1), False), share=0.0)
@example(question=(berlin(2, 30), BERLIN_SPRING + timedelta(days=1), False), share=0.0)
@example(question=(berlin(2, 30), BERLIN_AUTUMN + timedelta(days=1), False), share=0.0)
@example(
    question=(Utility("Asia/Kathmandu", pd.Timedelta(hours=1), gate_closure=time(9)), date(2013, 6, 1), True), share=0.0
)
def test_features_of_a_day_do_not_change_with_what_came_after_its_gate_closure(
    question: tuple[Utility, date, bool], share: float
):
    utility, day, on_utc_hours = question
    frame = holed(frame_for(utility, day, on_utc_hours), share)
    spoilt = with_another_future(frame, utility, day)
    assert_same(build(spoilt, utility, [day]), build(frame, utility, [day]))


@settings(deadline=None, max_examples=30)
@given(question=questions(), share=st.sampled_from([0.0, 0.1]))
def test_days_learned_from_are_as_free_of_their_future_as_the_day_that_is_forecast(
    question: tuple[Utility, date, bool], share: float
):
    utility, day, on_utc_hours = question
    frame = holed(frame_for(utility, day, on_utc_hours), share)
    learned = build(with_another_future(frame, utility, day), utility)
    before = np.flatnonzero([one <= day for one in learned.days])
    assert len(before) > 10
    assert_same(learned.at(before), build(frame, utility).at(before))


@settings(deadline=None, max_examples=30)
@given(question=questions(), share=st.sampled_from([0.0, 0.1]))
def test_a_day_that_is_served_has_the_demand_features_that_were_learned(question: tuple[Utility, date, bool], share: float):
    utility, day, on_utc_hours = question
    frame = holed(frame_for(utility, day, on_utc_hours), share)
    known = known_until_gate(frame, utility, day)
    served, learned = build(known, utility, [day]), build(frame.loc[known.index[0] :], utility, [day])
    in_mw = [name for name in learned.columns if name.endswith("_mw")]
    assert in_mw
    for name in in_mw:
        np.testing.assert_array_equal(served.columns[name], learned.columns[name], err_msg=name)


@settings(deadline=None, max_examples=20)
@given(question=questions(), disturbance=st.floats(-5, 5))
def test_an_error_of_the_weather_forecast_changes_weather_only(question: tuple[Utility, date, bool], disturbance: float):
    utility, day, on_utc_hours = question
    frame = frame_for(utility, day, on_utc_hours)
    path = np.full((1, (utility.lead_days + 1) * utility.steps_per_day), disturbance)
    plain, disturbed = build(frame, utility, [day]), build(frame, utility, [day], path)
    np.testing.assert_allclose(disturbed.columns["temperature"], plain.columns["temperature"] + disturbance)
    for name, values in plain.columns.items():
        if not name.startswith("temperature"):
            np.testing.assert_array_equal(disturbed.columns[name], values, err_msg=name)


@settings(deadline=None, max_examples=20)
@given(question=questions(), factor=st.sampled_from([1e-3, 1e3, 2.5]))
def test_another_unit_of_demand_scales_the_columns_in_megawatts_and_no_others(
    question: tuple[Utility, date, bool], factor: float
):
    utility, day, on_utc_hours = question
    frame = frame_for(utility, day, on_utc_hours)
    plain = build(frame, utility, [day])
    scaled = build(frame.assign(**{DEMAND_MW: frame[DEMAND_MW] * factor}), utility, [day])
    np.testing.assert_allclose(scaled.level_mw, plain.level_mw * factor, rtol=1e-9)
    for name, values in plain.columns.items():
        expected = values * factor if name.endswith("_mw") else values
        np.testing.assert_allclose(scaled.columns[name], expected, rtol=1e-6, atol=1e-6 * factor, err_msg=name)
