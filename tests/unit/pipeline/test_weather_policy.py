"""The contract between a model and its weather."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from data.errors import NoTrustedWeather
from data.schema import Utility
from data.weather_fusion import Exclusion, Profiles
from pipeline.errors import PipelineError
from pipeline.weather_policy import WeatherContract, WeatherPolicy, draw_contract, temperature_by

UTILITY = Utility("UTC", pd.Timedelta(minutes=30))
INDEX = pd.date_range("2023-01-01", periods=48 * 20, freq="30min", tz="UTC", name="timestamp")
TRUTH = pd.Series(15 + 5 * np.sin(2 * np.pi * INDEX.hour.to_numpy() / 24), index=INDEX)
WIDE = pd.DataFrame({"aurora": TRUTH + 0.2, "boreas": TRUTH, "cirrus": TRUTH - 0.3}, index=INDEX)
NO_PROFILES = Profiles({})


def contract(policy: str = "multi-source", **excluded_from: pd.Timestamp) -> WeatherContract:
    periods = {name: Exclusion(since) for name, since in excluded_from.items()}
    return WeatherContract(WeatherPolicy.parse(policy), NO_PROFILES, periods)


def test_a_policy_is_multi_source_or_one_name() -> None:
    assert WeatherPolicy.parse("multi-source") == WeatherPolicy("")
    assert WeatherPolicy.parse("single:aurora") == WeatherPolicy("aurora")


@pytest.mark.parametrize("text", ["", "single", "single:", "SINGLE:aurora", "multi", "aurora", " multi-source"])
def test_any_other_policy_is_refused_with_the_two_that_are_not(text: str) -> None:
    with pytest.raises(PipelineError, match="use multi-source or single:NAME"):
        WeatherPolicy.parse(text)


def test_a_contract_is_the_same_after_its_bundle_was_written_and_read() -> None:
    drawn = draw_contract(WIDE, UTILITY, WeatherPolicy(), {"cirrus": Exclusion(INDEX[100])})
    read = WeatherContract.from_json(json.loads(json.dumps(drawn.to_json())))
    assert read.policy == drawn.policy
    assert read.excluded == {"cirrus": Exclusion(INDEX[100])}
    assert set(read.profiles.coefficients) == {"aurora", "boreas", "cirrus"}
    for name, values in drawn.profiles.coefficients.items():
        np.testing.assert_array_equal(read.profiles.coefficients[name], values)
    assert set(read.profiles.spread_c) == {"aurora", "boreas", "cirrus"}
    assert read.profiles.spread_c == drawn.profiles.spread_c


def test_one_providers_word_is_the_temperature_under_single() -> None:
    told, sources = temperature_by(contract("single:aurora"), WIDE, UTILITY)
    assert sources == ["aurora"]
    pd.testing.assert_series_equal(told["temperature_c"], WIDE["aurora"], check_names=False)


def test_who_is_believed_blindly_is_not_asked_how_certain_it_is() -> None:
    told, _ = temperature_by(contract("single:aurora"), WIDE, UTILITY)
    assert told["temperature_uncertainty_c"].isna().all()


def test_the_fewer_providers_are_left_the_less_certain_is_the_temperature() -> None:
    drawn = draw_contract(WIDE, UTILITY, WeatherPolicy(), {})
    left = (WIDE, WIDE.assign(boreas=np.nan), WIDE.assign(boreas=np.nan, cirrus=np.nan))
    all_three, two, one = (temperature_by(drawn, wide, UTILITY)[0]["temperature_uncertainty_c"] for wide in left)
    assert (all_three < two).all()
    assert (two < one).all()


def test_under_single_a_short_gap_is_bridged_and_a_long_one_stays_whole() -> None:
    gappy = WIDE.copy()
    gappy.loc[INDEX[100:112], "aurora"] = np.nan  # six hours
    gappy.loc[INDEX[200:213], "aurora"] = np.nan  # half an hour more
    gappy.loc[INDEX[-3:], "aurora"] = np.nan  # nothing known on the other side
    temperature = temperature_by(contract("single:aurora"), gappy, UTILITY)[0]["temperature_c"]
    assert temperature.iloc[100:112].notna().all()
    assert temperature.iloc[200:213].isna().all()
    assert temperature.iloc[-3:].isna().all()
    inside = temperature.iloc[99:113]
    np.testing.assert_allclose(inside.diff().iloc[1:], inside.diff().iloc[1], atol=1e-9)


@pytest.mark.parametrize("provider", ["zephyr", "boreas"])
def test_under_single_a_silent_provider_leaves_no_trusted_weather(provider: str) -> None:
    with pytest.raises(NoTrustedWeather, match=f"{provider}.*multi-source"):
        temperature_by(contract(f"single:{provider}"), WIDE.assign(boreas=np.nan), UTILITY)


def test_under_multi_source_one_liar_of_three_moves_the_temperature_less_than_the_honest_differ() -> None:
    drawn = draw_contract(WIDE, UTILITY, WeatherPolicy(), {})
    honest, sources = temperature_by(drawn, WIDE, UTILITY)
    lied_to, _ = temperature_by(drawn, WIDE.assign(aurora=WIDE["aurora"] - 8), UTILITY)
    assert sources == ["aurora", "boreas", "cirrus"]
    assert (honest["temperature_c"] - TRUTH).abs().max() < 0.2
    assert (lied_to["temperature_c"] - honest["temperature_c"]).abs().max() < 0.2


def test_an_excluded_provider_is_not_heard_from_its_onset_on() -> None:
    bound = contract("single:aurora", aurora=INDEX[400])
    temperature = temperature_by(bound, WIDE, UTILITY)[0]["temperature_c"]
    assert temperature.loc[: INDEX[399]].notna().all()
    assert temperature.loc[INDEX[400] :].isna().all()


def test_a_provider_trusted_again_is_heard_from_then_on_and_never_of_the_time_before() -> None:
    period = Exclusion(INDEX[100], INDEX[400])
    drawn = WeatherContract(WeatherPolicy.parse("single:aurora"), NO_PROFILES, {"aurora": period})
    bound = WeatherContract.from_json(json.loads(json.dumps(drawn.to_json())))
    assert bound.excluded == {"aurora": period}
    temperature = temperature_by(bound, WIDE, UTILITY)[0]["temperature_c"]
    assert temperature.loc[INDEX[100] : INDEX[399]].isna().all()
    assert temperature.loc[: INDEX[99]].notna().all()
    assert temperature.loc[INDEX[400] :].notna().all()


def test_a_bundle_from_before_providers_could_come_back_is_read_as_it_was_meant() -> None:
    old = contract(cirrus=INDEX[100]).to_json()
    del old["excluded_until"]
    assert WeatherContract.from_json(old).excluded == {"cirrus": Exclusion(INDEX[100])}


def test_in_a_bundle_from_before_providers_were_weighed_all_weigh_the_same() -> None:
    old = draw_contract(WIDE, UTILITY, WeatherPolicy(), {}).to_json()
    del old["spread_c"]
    read = WeatherContract.from_json(old)
    assert read.profiles.spread_c == {}
    told, _ = temperature_by(read, WIDE.assign(aurora=TRUTH, boreas=TRUTH - 1, cirrus=np.nan), UTILITY)
    bias = [read.profiles.coefficients[name][0] for name in ("aurora", "boreas")]
    np.testing.assert_allclose(told["temperature_c"], TRUTH - 0.5 - np.mean(bias), atol=0.02)


def test_a_provider_excluded_from_the_beginning_is_no_source() -> None:
    _, sources = temperature_by(contract(cirrus=INDEX[0]), WIDE, UTILITY)
    assert sources == ["aurora", "boreas"]
    everybody = dict.fromkeys(WIDE.columns, INDEX[0])
    with pytest.raises(NoTrustedWeather, match="no trusted weather source is left"):
        temperature_by(contract(**everybody), WIDE, UTILITY)


def test_the_profile_of_an_excluded_provider_is_learned_from_before_its_onset_only() -> None:
    lying = WIDE.copy()
    lying.loc[INDEX[480] :, "aurora"] += 10
    bias = draw_contract(lying, UTILITY, WeatherPolicy(), {"aurora": Exclusion(INDEX[480])}).profiles.coefficients["aurora"]
    believed = draw_contract(lying, UTILITY, WeatherPolicy(), {}).profiles.coefficients["aurora"]
    assert bias[0] == pytest.approx(0.2, abs=0.15)
    assert believed[0] > 1


def test_profiles_come_from_the_first_eighteen_months() -> None:
    index = pd.date_range("2023-01-01", periods=600 * 4, freq="6h", tz="UTC")
    wide = pd.DataFrame({"aurora": 10.0, "boreas": 10.0, "cirrus": 10.0}, index=index)
    wide.loc[index[0] + pd.Timedelta(days=541) :, "aurora"] += 9
    coefficients = draw_contract(wide, UTILITY, WeatherPolicy(), {}).profiles.coefficients
    assert np.abs(coefficients["aurora"]).max() < 1e-6
