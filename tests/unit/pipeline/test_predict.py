"""A forecast rests on what was known at its gate closure, on trusted weather, or on none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlmodel import select

from data.errors import NoTrustedWeather
from data.provenance import ForecastRecord
from data.weather_fusion import Exclusion
from forecasting.forecaster import QUANTILE_COLUMNS
from pipeline.database import transaction
from pipeline.errors import DayNotForecastable
from pipeline.ingest import Readings
from pipeline.predict import DayForecast, forecast_day, record
from pipeline.publish import OpenedModel
from pipeline.station import Station
from pipeline.weather_policy import WeatherContract, WeatherPolicy
from tests.unit.api.small_station import LAST_DAY, PROVIDERS, START, UTILITY

DAY = LAST_DAY - timedelta(days=10)
GATE = UTILITY.gate_closure_of(DAY)
ALL_REFUSED = dict.fromkeys(PROVIDERS, Exclusion(START))

Models = dict[str, OpenedModel]
Ask = Callable[..., DayForecast]


@pytest.fixture
def ask(readings: Readings, models: Models) -> Ask:
    """Forecasts `DAY` by the main model with the fallback at hand; each argument can be another."""

    def forecast(day: date = DAY, **changes: object) -> DayForecast:
        arguments = {"readings": readings, "model": models["main"], "fallback": models["fallback"], "excluded": {}}
        return forecast_day(**{**arguments, **changes}, day=day)  # type: ignore[arg-type]  # named in each test

    return forecast


def with_demand_after(readings: Readings, moment: pd.Timestamp, demand_mw: float) -> Readings:
    later = readings.demand["available_at"] > moment
    return replace(readings, demand=readings.demand.assign(demand_mw=readings.demand["demand_mw"].mask(later, demand_mw)))


def with_weather_after(readings: Readings, moment: pd.Timestamp, celsius: float) -> Readings:
    later = readings.weather["issued_at"] > moment
    said = readings.weather["temperature_c"].mask(later, celsius)
    return replace(readings, weather=readings.weather.assign(temperature_c=said))


def test_a_forecast_covers_its_day_and_says_what_it_was_made_from(ask: Ask, models: Models) -> None:
    made = ask()
    assert list(made.frame.index) == list(UTILITY.day_index(DAY))
    assert list(made.frame.columns) == ["forecast_mw", *QUANTILE_COLUMNS]
    assert made.frame.notna().all(axis=None)
    assert (made.day, made.gate_closure, made.model_id) == (DAY, GATE, models["main"].model_id)
    assert (made.weather, made.sources) == ("multi-source", PROVIDERS)
    assert made.energy_mwh(UTILITY) == pytest.approx(made.frame["forecast_mw"].sum())
    half_hours = replace(UTILITY, step=pd.Timedelta(minutes=30))
    assert made.energy_mwh(half_hours) == pytest.approx(made.frame["forecast_mw"].sum() / 2)


@pytest.mark.parametrize("garbage", [np.nan, -1e6, 1e6])
def test_demand_known_after_the_gate_closure_changes_nothing(ask: Ask, readings: Readings, garbage: float) -> None:
    pd.testing.assert_frame_equal(
        ask().frame, ask(readings=with_demand_after(readings, GATE, garbage)).frame, check_exact=True
    )


def test_demand_known_just_before_it_does(ask: Ask, readings: Readings) -> None:
    earlier = with_demand_after(readings, GATE - UTILITY.step, 2000)
    assert (ask().frame["forecast_mw"] != ask(readings=earlier).frame["forecast_mw"]).any()


@pytest.mark.parametrize("garbage", [-80.0, 55.0])
def test_weather_issued_after_the_gate_closure_changes_nothing(ask: Ask, readings: Readings, garbage: float) -> None:
    pd.testing.assert_frame_equal(
        ask().frame, ask(readings=with_weather_after(readings, GATE, garbage)).frame, check_exact=True
    )
    known = readings.weather["issued_at"] <= GATE
    pd.testing.assert_frame_equal(
        ask().frame, ask(readings=replace(readings, weather=readings.weather[known])).frame, check_exact=True
    )


def test_weather_issued_before_it_does(ask: Ask, readings: Readings) -> None:
    earlier = with_weather_after(readings, GATE - pd.Timedelta(days=1), 35.0)
    assert (ask().frame["forecast_mw"] != ask(readings=earlier).frame["forecast_mw"]).all()


def test_a_correction_of_demand_counts_from_when_it_became_known(ask: Ask, readings: Readings) -> None:
    hour = readings.demand.index[readings.demand.index.get_loc(GATE) - 3 * 24]

    def corrected(available_at: pd.Timestamp) -> Readings:
        row = pd.DataFrame({"demand_mw": 5000.0, "available_at": available_at}, index=pd.DatetimeIndex([hour]))
        both = pd.concat([readings.demand, row]).rename_axis("timestamp")
        return replace(readings, demand=both.sort_values(["timestamp", "available_at"], kind="stable"))

    late = ask(readings=corrected(GATE + pd.Timedelta(minutes=1)))
    pd.testing.assert_frame_equal(ask().frame, late.frame, check_exact=True)
    assert not ask().frame.equals(ask(readings=corrected(GATE)).frame)


def test_a_refused_provider_is_not_heard(ask: Ask, readings: Readings) -> None:
    refused = ask(excluded={"boreas": Exclusion(START)})
    assert refused.sources == ("aurora", "cirrus")
    lying = readings.weather["temperature_c"].mask(readings.weather["provider"] == "boreas", 50.0)
    lied_to = ask(
        readings=replace(readings, weather=readings.weather.assign(temperature_c=lying)),
        excluded={"boreas": Exclusion(START)},
    )
    pd.testing.assert_frame_equal(refused.frame, lied_to.frame, check_exact=True)


def test_a_provider_refused_since_lately_is_no_source_and_the_forecast_another(ask: Ask) -> None:
    lately = ask(excluded={"boreas": Exclusion(GATE - pd.Timedelta(days=14))})
    assert lately.sources == ("aurora", "cirrus")
    assert lately.forecast_id != ask().forecast_id
    assert not lately.frame.equals(ask().frame)


def widths(made: DayForecast) -> pd.Series:
    """Width of the 80 % interval [MW]."""
    return made.frame["q90"] - made.frame["q10"]


def test_the_fewer_providers_are_trusted_the_wider_is_the_forecast_and_its_middle_stays(ask: Ask) -> None:
    # As quarantine does it: they are refused from a while ago on; the model has learned with all three.
    lately = Exclusion(GATE - pd.Timedelta(days=14))
    whole, alone = ask(), ask(excluded={"boreas": lately, "cirrus": lately})
    assert alone.sources == ("aurora",)
    assert (widths(alone) > widths(whole)).all()
    off = (alone.frame["forecast_mw"] - whole.frame["forecast_mw"]).abs()
    assert off.max() < widths(whole).mean()
    assert off.mean() < 0.02 * whole.frame["forecast_mw"].mean()


def test_a_model_of_one_provider_asks_nobody_how_certain_it_is(ask: Ask, models: Models) -> None:
    model = replace(models["main"], contract=WeatherContract(WeatherPolicy("boreas"), models["main"].contract.profiles, {}))
    others = Exclusion(START)
    pd.testing.assert_frame_equal(
        ask(model=model).frame, ask(model=model, excluded={"aurora": others, "cirrus": others}).frame, check_exact=True
    )


def test_without_trusted_weather_the_fallback_answers_and_says_so(ask: Ask, models: Models) -> None:
    made = ask(excluded=ALL_REFUSED)
    assert (made.model_id, made.weather, made.sources) == (models["fallback"].model_id, "none", ())
    assert made.snapshot_id == models["fallback"].snapshot_id
    assert made.frame.notna().all(axis=None)


def test_the_fallback_reads_no_weather_at_all(ask: Ask, readings: Readings) -> None:
    silent = replace(readings, weather=readings.weather.iloc[:0])
    pd.testing.assert_frame_equal(ask(excluded=ALL_REFUSED).frame, ask(readings=silent).frame, check_exact=True)


def test_without_either_there_is_no_forecast(ask: Ask) -> None:
    with pytest.raises(NoTrustedWeather):
        ask(excluded=ALL_REFUSED, fallback=None)


@pytest.mark.parametrize(("missing_hours", "weather"), [(2, "multi-source"), (3, "none")])
def test_a_day_whose_weather_is_missing_for_more_than_a_tenth_is_not_guessed(
    ask: Ask, readings: Readings, missing_hours: int, weather: str
) -> None:
    index = UTILITY.day_index(DAY)
    # The last hours have no later value to bridge to.
    kept = readings.weather[~readings.weather["valid_at"].isin(index[-missing_hours:])]
    assert ask(readings=replace(readings, weather=kept)).weather == weather


def test_a_model_of_one_provider_falls_back_when_that_one_is_refused(ask: Ask, models: Models) -> None:
    alone = WeatherContract(WeatherPolicy("boreas"), models["main"].contract.profiles, {})
    model = replace(models["main"], contract=alone)
    assert ask(model=model).sources == ("boreas",)
    assert ask(model=model).weather == "single:boreas"
    assert ask(model=model, excluded={"boreas": Exclusion(START)}).weather == "none"
    # Refused from yesterday on: what it said before may still be heard, its forecast not.
    assert ask(model=model, excluded={"boreas": Exclusion(UTILITY.day_index(DAY)[0])}).weather == "none"


def test_days_outside_the_readings_are_refused_with_the_days_that_can_be_had(ask: Ask) -> None:
    first, last = date(2023, 2, 8), LAST_DAY + timedelta(days=1)
    for day in (first, last):
        assert len(ask(day).frame) == 24
    for day in (first - timedelta(days=1), last + timedelta(days=1), date.min, date.max):
        with pytest.raises(DayNotForecastable, match=f"from {first} to {last}") as refusal:
            ask(day)
        assert refusal.value.day == str(day)


def test_a_day_before_which_demand_was_silent_for_two_days_is_refused(ask: Ask, readings: Readings) -> None:
    silent = (readings.demand.index > GATE - pd.Timedelta(hours=49)) & (readings.demand.index < GATE)
    with pytest.raises(DayNotForecastable):
        ask(readings=replace(readings, demand=readings.demand[~silent]))
    shorter = (readings.demand.index > GATE - pd.Timedelta(hours=40)) & (readings.demand.index < GATE)
    assert ask(readings=replace(readings, demand=readings.demand[~shorter])).frame.notna().all(axis=None)


def test_a_forecasts_name_follows_from_model_day_and_weather(ask: Ask) -> None:
    named = ask().forecast_id
    assert ask().forecast_id == named
    others = {
        ask(DAY + timedelta(days=1)).forecast_id,
        ask(excluded={"boreas": Exclusion(START)}).forecast_id,
        ask(excluded=ALL_REFUSED).forecast_id,
    }
    assert len({named, *others}) == 4


def test_asked_again_a_forecast_stands_in_the_ledger_once(station: Station, ask: Ask) -> None:
    made, without = ask(), ask(excluded=ALL_REFUSED)
    record(station, UTILITY, [made], "ann")
    record(station, UTILITY, [made, without], "bob")
    with transaction(station.engine) as session:
        entries = {entry.forecast_id: entry for entry in session.exec(select(ForecastRecord))}
    assert set(entries) == {made.forecast_id, without.forecast_id}
    entry = entries[made.forecast_id]
    assert (entry.requested_by, entry.day, entry.made_at) == ("ann", DAY, GATE.to_pydatetime())
    assert entry.sources == '["aurora", "boreas", "cirrus"]'
    assert entry.energy_mwh == pytest.approx(made.energy_mwh(UTILITY))
    assert entries[without.forecast_id].sources == "[]"
