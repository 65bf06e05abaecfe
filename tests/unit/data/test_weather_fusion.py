"""What providers said by a moment, their usual biases, and the one temperature made of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time, timedelta

import numpy as np
import pandas as pd
import pytest

from data.errors import NoTrustedWeather
from data.schema import ISSUED_AT, PROVIDER, TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, VALID_AT, Utility, days_between
from data.trust.consensus import LEAST_SPREAD_C, SHARED_SPREAD_C
from data.weather_fusion import (
    SOURCES,
    UNKNOWN_SPREAD_C,
    Exclusion,
    Profiles,
    bridged,
    exclude,
    fuse,
    known_at,
    known_at_gate_closures,
    learn_profiles,
    without_bias,
)

HOUR = pd.Timedelta(hours=1)
BERLIN = Utility("Europe/Berlin", HOUR, gate_closure=time(9))
NOON = pd.Timestamp("2013-05-01T12:00Z")
NO_BIAS = Profiles({})


def said(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    """Rows (provider, issued_at, valid_at, °C), as a sorted weather frame."""
    frame = pd.DataFrame(rows, columns=[PROVIDER, ISSUED_AT, VALID_AT, TEMPERATURE_C])
    for name in (ISSUED_AT, VALID_AT):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame.sort_values([PROVIDER, VALID_AT, ISSUED_AT], ignore_index=True)


def wide_of(hours: int = 24, **columns: object) -> pd.DataFrame:
    index = pd.date_range(NOON, periods=hours, freq="h", name="timestamp")
    return pd.DataFrame(columns, index=index, dtype=float)


WORDS = said(
    ("a", "2013-04-30T08:00Z", "2013-05-01T12:00Z", 10.0),
    ("a", "2013-05-01T08:00Z", "2013-05-01T12:00Z", 12.0),
    ("a", "2013-05-02T08:00Z", "2013-05-01T12:00Z", 11.5),
    ("b", "2013-05-01T08:00Z", "2013-05-01T13:00Z", 20.0),
)


@pytest.mark.parametrize(
    ("moment", "word"), [("2013-04-30T08:00Z", 10.0), ("2013-05-01T07:59Z", 10.0), ("2013-05-01T08:00Z", 12.0)]
)
def test_a_providers_latest_word_by_the_moment_counts(moment: str, word: float):
    wide = known_at(WORDS, pd.Timestamp(moment), NOON, NOON + HOUR, HOUR)
    assert wide.loc[NOON, "a"] == word


def test_what_was_said_later_or_of_other_times_is_not_known():
    wide = known_at(WORDS, pd.Timestamp("2013-05-01T09:00Z"), NOON, NOON + 2 * HOUR, HOUR)
    assert wide.index.tolist() == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    assert wide.columns.tolist() == ["a", "b"]
    assert wide["b"].isna().tolist() == [True, False, True]
    assert known_at(WORDS, NOON, NOON + HOUR, NOON + HOUR, HOUR).columns.tolist() == ["b"]


def test_before_anybody_spoke_the_frame_is_empty_and_its_index_whole():
    wide = known_at(WORDS, NOON - 99 * HOUR, NOON, NOON + HOUR, HOUR)
    assert wide.shape == (2, 0)
    assert known_at_gate_closures(WORDS, BERLIN, pd.date_range("2014-01-01", periods=3, freq="h", tz="UTC")).shape == (3, 0)


@pytest.mark.parametrize("day", [date(2013, 3, 31), date(2013, 5, 1), date(2013, 10, 27)])
def test_a_forecast_issued_at_the_gate_closure_counts_for_every_hour_of_the_day_and_a_minute_later_for_none(day: date):
    closure = BERLIN.gate_closure_of(day)
    assert closure.tz_convert(BERLIN.zone).hour == 9
    assert closure.tz_convert(BERLIN.zone).date() == day - timedelta(days=1)
    index = BERLIN.day_index(day)
    in_time = said(*(("a", closure.isoformat(), hour.isoformat(), 1.0) for hour in index))
    late = said(*(("a", (closure + pd.Timedelta(minutes=1)).isoformat(), hour.isoformat(), 2.0) for hour in index))
    assert (known_at_gate_closures(in_time, BERLIN, index)["a"] == 1.0).all()
    assert len(index) == {3: 23, 5: 24, 10: 25}[day.month]
    assert known_at_gate_closures(late, BERLIN, index).shape == (len(index), 0)


def test_gate_closures_of_many_days_answer_as_each_day_asked_alone():
    random = np.random.default_rng(5)
    index = pd.date_range("2013-03-29", "2013-04-03", freq="h", tz="UTC")
    rows = [
        (str(name), (valid - pd.Timedelta(minutes=int(ahead))).isoformat(), valid.isoformat(), float(random.normal()))
        for valid in index
        for name, ahead in zip(random.choice(["a", "b"], 6), random.integers(-500, 4000, 6), strict=True)
    ]
    weather = said(*rows)
    together = known_at_gate_closures(weather, BERLIN, index)
    for day in days_between(date(2013, 3, 30), date(2013, 4, 2)):
        hours = BERLIN.day_index(day)
        alone = known_at(weather, BERLIN.gate_closure_of(day), hours[0], hours[-1], HOUR)
        pd.testing.assert_frame_equal(together.loc[hours[0] : hours[-1]], alone, check_freq=False, check_names=False)


def test_a_profile_finds_constant_diurnal_and_seasonal_bias():
    index = pd.date_range("2012-01-01", "2012-12-31T23:00", freq="h", tz="UTC")
    truth = 15 + 10 * np.random.default_rng(1).standard_normal(len(index))
    local = BERLIN.local(index)
    bias = (
        1.5 + 0.8 * np.cos(2 * np.pi * (local.hour - 5) / 24) + 0.5 * np.cos(2 * np.pi * (local.day_of_year - 40) / 365.25)
    )
    wide = pd.DataFrame({"odd": truth + bias, "b": truth, "c": truth, "d": truth}, index=index)
    wide.loc[index[100:400], "odd"] = np.nan
    profiles = learn_profiles(wide, BERLIN)
    found = wide - without_bias(wide, profiles, BERLIN)
    assert (found["odd"] - bias).abs().max() < 0.02
    assert found["b"].abs().max() < 0.02


def test_a_provider_that_was_never_profiled_is_taken_at_its_word():
    wide = wide_of(new=3.5)
    assert without_bias(wide, NO_BIAS, BERLIN).equals(wide)


def test_a_spread_is_how_far_a_provider_usually_stands_from_the_middle_of_the_others():
    index = pd.date_range("2012-01-01", periods=24 * 200, freq="h", tz="UTC")
    random = np.random.default_rng(2)
    truth = 15 + 10 * random.standard_normal(len(index))
    noise = {"close": 0.4, "like": 0.4, "far": 1.5}
    wide = pd.DataFrame({name: truth + 3 + random.normal(0, size, len(index)) for name, size in noise.items()}, index=index)
    spread = learn_profiles(wide, BERLIN).spread_c
    # The others' middle wanders too: half of the sum of their variances.
    assert spread["far"] == pytest.approx(np.hypot(1.5, 0.4 / np.sqrt(2)), rel=0.05)
    assert spread["close"] == pytest.approx(spread["like"], rel=0.1)
    assert spread["close"] < spread["far"] / 1.5


def test_who_never_differs_keeps_the_least_spread_and_who_was_never_held_against_another_the_unknown_one():
    assert learn_profiles(wide_of(a=10.0, b=10.0), BERLIN).spread_c == {"a": LEAST_SPREAD_C, "b": LEAST_SPREAD_C}
    assert learn_profiles(wide_of(a=10.0), BERLIN).spread_c == {"a": UNKNOWN_SPREAD_C}
    turns = learn_profiles(wide_of(a=[10.0] * 12 + [np.nan] * 12, b=[np.nan] * 12 + [11.0] * 12), BERLIN)
    assert turns.spread_c == {"a": UNKNOWN_SPREAD_C, "b": UNKNOWN_SPREAD_C}


def test_who_was_close_to_the_others_weighs_more():
    wide = wide_of(close=10.0, far=11.0)
    even = fuse(wide, NO_BIAS, BERLIN, ["close", "far"])[TEMPERATURE_C]
    weighed = fuse(wide, Profiles({}, {"close": 0.3, "far": 1.0}), BERLIN, ["close", "far"])[TEMPERATURE_C]
    assert even.to_numpy() == pytest.approx(10.5)
    near, distant = 1 / (0.3**2 + LEAST_SPREAD_C**2), 1 / (1.0 + LEAST_SPREAD_C**2)
    assert weighed.to_numpy() == pytest.approx(10.0 + distant / (near + distant))


def test_who_is_not_trusted_is_not_heard_and_who_lies_far_out_does_not_count():
    wide = wide_of(a=10.0, b=10.4, c=11.0, d=40.0, liar=-20.0)
    fused = fuse(wide, NO_BIAS, BERLIN, ["a", "b", "c", "d"])
    pd.testing.assert_frame_equal(fused, fuse(wide.drop(columns="liar"), NO_BIAS, BERLIN, list(wide.columns)))
    assert (fused[SOURCES] == 3).all()
    assert fused[TEMPERATURE_C].to_numpy() == pytest.approx((10.0 + 10.4 + 11.0) / 3)


def test_the_fewer_sources_are_left_the_less_certain_is_the_temperature_and_one_alone_is_as_its_own_spread_says():
    wide = wide_of(a=10.0, b=10.1, c=[10.2] * 12 + [np.nan] * 12, d=[np.nan] * 24)
    of = {
        count: fuse(wide, Profiles({}, {"a": 0.5, "b": 0.5, "c": 0.5}), BERLIN, "abc"[:count])[TEMPERATURE_UNCERTAINTY_C]
        for count in (1, 2, 3)
    }
    assert (of[3].iloc[:12] < of[2].iloc[:12]).all()
    assert of[3].iloc[12:].equals(of[2].iloc[12:])
    assert (of[2] < of[1]).all()
    assert of[1].to_numpy() == pytest.approx(np.hypot(0.5, SHARED_SPREAD_C))
    unknown = fuse(wide, NO_BIAS, BERLIN, ["a"])[TEMPERATURE_UNCERTAINTY_C]
    assert unknown.to_numpy() == pytest.approx(np.hypot(UNKNOWN_SPREAD_C, SHARED_SPREAD_C))


def test_sources_that_contradict_each_other_are_less_certain_than_those_that_agree():
    agreed, apart = (fuse(wide_of(a=10.0, b=other), NO_BIAS, BERLIN, ["a", "b"]) for other in (10.0, 16.0))
    assert (apart[TEMPERATURE_UNCERTAINTY_C] > 2 * agreed[TEMPERATURE_UNCERTAINTY_C]).all()


def test_biases_are_taken_off_before_providers_are_compared():
    index = pd.date_range("2012-01-01", periods=24 * 366, freq="h", tz="UTC", name="timestamp")
    truth = pd.Series(np.arange(len(index)) % 11, index=index, dtype=float)
    wide = pd.DataFrame({"a": truth - 2, "b": truth, "c": truth + 3}, index=index)
    fused = fuse(wide, learn_profiles(wide, BERLIN), BERLIN, ["a", "c"])
    assert (fused[TEMPERATURE_C] - truth).abs().max() < 0.01


@pytest.mark.parametrize("step_minutes", [15, 60])
def test_gaps_of_six_hours_are_bridged_in_a_straight_line_and_longer_ones_stay_whole(step_minutes: int):
    step = pd.Timedelta(minutes=step_minutes)
    six_hours = int(6 * HOUR / step)
    line = pd.Series(np.arange(10.0 * six_hours))
    short, longer = line.copy(), line.copy()
    short[3 : 3 + six_hours] = np.nan
    longer[3 : 4 + six_hours] = np.nan
    assert bridged(short, step).tolist() == pytest.approx(line.tolist())
    assert bridged(longer, step).equals(longer)
    ends = line.copy()
    ends.iloc[:2] = ends.iloc[-2:] = np.nan
    assert bridged(ends, step).isna().sum() == 4


def test_fusing_bridges_short_gaps_and_counts_no_source_in_them():
    values = [float(number) for number in range(24)]
    gap = [*values[:5], np.nan, np.nan, *values[7:]]
    fused = fuse(wide_of(a=gap, b=gap), NO_BIAS, BERLIN, ["a", "b"])
    assert fused[TEMPERATURE_C].tolist() == pytest.approx(values)
    assert fused[TEMPERATURE_UNCERTAINTY_C].to_numpy() == pytest.approx(fused[TEMPERATURE_UNCERTAINTY_C].iloc[0])
    assert fused[SOURCES].tolist() == [2] * 5 + [0, 0] + [2] * 17


@pytest.mark.parametrize(
    ("trusted", "wide"), [([], wide_of(a=1.0)), (["b"], wide_of(a=1.0)), (["a"], wide_of(a=np.nan)), (["a"], wide_of())]
)
def test_without_any_trusted_word_fusing_refuses(trusted: list[str], wide: pd.DataFrame):
    with pytest.raises(NoTrustedWeather, match="2013-05-01 to 2013-05-02"):
        fuse(wide, NO_BIAS, BERLIN, trusted)


def test_an_excluded_provider_is_silent_from_its_onset_on_and_kept_before():
    wide = wide_of(a=1.0, b=2.0)
    cleaned = exclude(wide, {"a": Exclusion(NOON + 10 * HOUR), "unknown": Exclusion(NOON)})
    assert cleaned["a"].notna().tolist() == [True] * 10 + [False] * 14
    assert cleaned["b"].equals(wide["b"])


def test_a_provider_trusted_again_is_kept_from_that_very_moment_on():
    cleaned = exclude(wide_of(a=1.0), {"a": Exclusion(NOON + 10 * HOUR, NOON + 12 * HOUR)})
    assert cleaned["a"].notna().tolist() == [True] * 10 + [False] * 2 + [True] * 12


@pytest.mark.parametrize(
    "act",
    [
        lambda wide: exclude(wide, {"a": Exclusion(NOON)}),
        lambda wide: fuse(wide, NO_BIAS, BERLIN, ["a", "b"]),
        lambda wide: learn_profiles(wide, BERLIN),
    ],
)
def test_what_is_given_is_not_changed(act: Callable[[pd.DataFrame], object]):
    wide = wide_of(a=1.0, b=[np.nan] + [2.0] * 23)
    before = wide.copy()
    act(wide)
    pd.testing.assert_frame_equal(wide, before)
