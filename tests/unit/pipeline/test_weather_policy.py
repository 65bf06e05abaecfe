"""The contract between a model and its weather."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from data.errors import NoTrustedWeather
from data.schema import Utility
from data.weather_fusion import Profiles
from pipeline.errors import PipelineError
from pipeline.weather_policy import WeatherContract, WeatherPolicy, draw_contract, temperature_by

UTILITY = Utility("UTC", pd.Timedelta(minutes=30))
INDEX = pd.date_range("2023-01-01", periods=48 * 20, freq="30min", tz="UTC", name="timestamp")
TRUTH = pd.Series(15 + 5 * np.sin(2 * np.pi * INDEX.hour.to_numpy() / 24), index=INDEX)
WIDE = pd.DataFrame({"aurora": TRUTH + 0.2, "boreas": TRUTH, "cirrus": TRUTH - 0.3}, index=INDEX)
NO_PROFILES = Profiles({})


def contract(policy: str = "multi-source", **excluded_from: pd.Timestamp) -> WeatherContract:
    return WeatherContract(WeatherPolicy.parse(policy), NO_PROFILES, excluded_from)


def test_a_policy_is_multi_source_or_one_name() -> None:
    assert WeatherPolicy.parse("multi-source") == WeatherPolicy("")
    assert WeatherPolicy.parse("single:aurora") == WeatherPolicy("aurora")


@pytest.mark.parametrize("text", ["", "single", "single:", "SINGLE:aurora", "multi", "aurora", " multi-source"])
def test_any_other_policy_is_refused_with_the_two_that_are_not(text: str) -> None:
    with pytest.raises(PipelineError, match="use multi-source or single:NAME"):
        WeatherPolicy.parse(text)


def test_a_contract_is_the_same_after_its_bundle_was_written_and_read() -> None:
    drawn = draw_contract(WIDE, UTILITY, WeatherPolicy(), {"cirrus": INDEX[100]})
    read = WeatherContract.from_json(json.loads(json.dumps(drawn.to_json())))
    assert read.policy == drawn.policy
    assert read.excluded_from == {"cirrus": INDEX[100]}
    assert set(read.profiles.coefficients) == {"aurora", "boreas", "cirrus"}
    for name, values in drawn.profiles.coefficients.items():
        np.testing.assert_array_equal(read.profiles.coefficients[name], values)


def test_one_providers_word_is_the_temperature_under_single() -> None:
    temperature, sources = temperature_by(contract("single:aurora"), WIDE, UTILITY)
    assert sources == ["aurora"]
    pd.testing.assert_series_equal(temperature, WIDE["aurora"], check_names=False)
    assert temperature.name == "temperature_c"


def test_under_single_a_short_gap_is_bridged_and_a_long_one_stays_whole() -> None:
    gappy = WIDE.copy()
    gappy.loc[INDEX[100:112], "aurora"] = np.nan  # six hours
    gappy.loc[INDEX[200:213], "aurora"] = np.nan  # half an hour more
    gappy.loc[INDEX[-3:], "aurora"] = np.nan  # nothing known on the other side
    temperature, _ = temperature_by(contract("single:aurora"), gappy, UTILITY)
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
    assert (honest - TRUTH).abs().max() < 0.2
    assert (lied_to - honest).abs().max() < 0.2


def test_an_excluded_provider_is_not_heard_from_its_onset_on() -> None:
    bound = contract("single:aurora", aurora=INDEX[400])
    temperature, _ = temperature_by(bound, WIDE, UTILITY)
    assert temperature.loc[: INDEX[399]].notna().all()
    assert temperature.loc[INDEX[400] :].isna().all()


def test_a_provider_excluded_from_the_beginning_is_no_source() -> None:
    _, sources = temperature_by(contract(cirrus=INDEX[0]), WIDE, UTILITY)
    assert sources == ["aurora", "boreas"]
    everybody = dict.fromkeys(WIDE.columns, INDEX[0])
    with pytest.raises(NoTrustedWeather, match="no trusted weather source is left"):
        temperature_by(contract(**everybody), WIDE, UTILITY)


def test_the_profile_of_an_excluded_provider_is_learned_from_before_its_onset_only() -> None:
    lying = WIDE.copy()
    lying.loc[INDEX[480] :, "aurora"] += 10
    bias = draw_contract(lying, UTILITY, WeatherPolicy(), {"aurora": INDEX[480]}).profiles.coefficients["aurora"]
    believed = draw_contract(lying, UTILITY, WeatherPolicy(), {}).profiles.coefficients["aurora"]
    assert bias[0] == pytest.approx(0.2, abs=0.15)
    assert believed[0] > 1


def test_profiles_come_from_the_first_eighteen_months() -> None:
    index = pd.date_range("2023-01-01", periods=600 * 4, freq="6h", tz="UTC")
    wide = pd.DataFrame({"aurora": 10.0, "boreas": 10.0, "cirrus": 10.0}, index=index)
    wide.loc[index[0] + pd.Timedelta(days=541) :, "aurora"] += 9
    coefficients = draw_contract(wide, UTILITY, WeatherPolicy(), {}).profiles.coefficients
    assert np.abs(coefficients["aurora"]).max() < 1e-6
