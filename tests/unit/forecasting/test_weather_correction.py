"""Forecast temperatures are drawn back by what their error deserves, measured ones are left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, time, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from data.schema import DEMAND_MW, FORECAST_TEMPERATURE_C, TEMPERATURE_C, TIMESTAMP, Array, Utility, days_between
from forecasting.day_grid import known_until_gate
from forecasting.day_table import temperature_paths
from forecasting.ensemble import EnsembleForecaster
from forecasting.errors import TooLittleHistory
from forecasting.forecaster import FORECAST_MW
from forecasting.weather_correction import NEEDED_DAYS, WeatherCorrection
from forecasting.weather_error import WeatherError
from forecasting.weather_features import PATH_DAYS

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
World = tuple[Utility, pd.DataFrame]
HOUR = pd.Timedelta(hours=1)
GATE = time(9)
UTC = Utility("UTC", HOUR, gate_closure=GATE)
ERROR = WeatherError(at_gate_c=0.5, per_hour_c=0.06, memory=0.95)
FIRST, LAST_LEARNED, LAST = date(2012, 1, 1), date(2013, 12, 31), date(2014, 12, 31)
LEARNED = tuple(days_between(FIRST + timedelta(days=PATH_DAYS), LAST_LEARNED))
FRESH = tuple(days_between(LAST_LEARNED + timedelta(days=1), LAST))
# Of `small_world`.
LAST_DAY = date(2013, 10, 28)
AROUND_CLOCK_CHANGES = [
    pytest.param(clocks_change + timedelta(days=later), id=f"{later} days after {clocks_change}")
    for clocks_change in (date(2014, 4, 6), date(2014, 10, 5))
    for later in (0, 1, 3)
]


def climate(utility: Utility) -> pd.DataFrame:
    """Three years: a yearly and a daily cycle, and weather of 4 °C that lasts for two days."""
    first, last = utility.day_index(FIRST)[0], utility.day_index(LAST)[-1]
    index = pd.date_range(first, last, freq=utility.step, name=TIMESTAMP)
    local = utility.local(index)
    hour = 2 * np.pi * (local.hour + local.minute / 60).to_numpy() / 24
    season = 2 * np.pi * local.day_of_year.to_numpy() / 365.25
    random = np.random.default_rng(1)
    memory = float(np.exp(-utility.step / (48 * HOUR)))
    weather = lfilter([np.sqrt(1 - memory**2)], [1.0, -memory], random.standard_normal(len(index)))
    temperature = 12 - 8 * np.cos(season) - 4 * np.cos(hour) + 4 * weather
    return pd.DataFrame({DEMAND_MW: random.normal(1000, 10, len(index)), TEMPERATURE_C: temperature}, index=index)


@dataclass(frozen=True)
class Learned:
    """A correction learned from two years, and the forecasts of a third, which it has not seen."""

    utility: Utility
    frame: pd.DataFrame
    correction: WeatherCorrection
    error_c: Array
    forecast_c: Array

    @property
    def added(self) -> Array:
        return self.correction.of(FRESH, self.forecast_c, self.utility)

    def known(self, day: date) -> pd.DataFrame:
        """Six weeks before `day`, and two days after it."""
        first, last = (self.utility.day_index(day + timedelta(days=offset)) for offset in (-42, 2))
        return self.frame.loc[first[0] : last[-1]].copy()


def learned(utility: Utility = UTC, error: WeatherError = ERROR) -> Learned:
    frame = climate(utility)
    errors = [error.replay(days, utility, seed=7) for days in (LEARNED, FRESH)]
    forecasts = [
        temperature_paths(frame, utility, days, missed) for days, missed in zip((LEARNED, FRESH), errors, strict=True)
    ]
    correction = WeatherCorrection.learn(LEARNED, forecasts[0], errors[0], utility)
    assert correction is not None
    return Learned(utility, frame, correction, errors[1], forecasts[1])


@pytest.fixture(scope="module", params=[0, 1, 3], ids="{} days ahead".format)
def found(request: pytest.FixtureRequest) -> Learned:
    return learned(replace(UTC, lead_days=request.param))


@pytest.fixture(scope="module", params=[0, 1, 3], ids="{} days ahead".format)
def melbourne(request: pytest.FixtureRequest) -> Learned:
    """Half hours, and an hour that daylight saving repeats or skips."""
    return learned(Utility("Australia/Melbourne", HOUR / 2, gate_closure=GATE, lead_days=request.param))


def deviation(error_c: Array) -> Array:
    """Root mean square by lead time."""
    root: Array = np.sqrt((error_c**2).mean(axis=0))
    return root


def test_corrected_forecasts_of_days_not_learned_from_miss_by_less(found: Learned):
    raw, left = deviation(found.error_c), deviation(found.error_c + found.added)
    assert (left[GATE.hour :] < raw[GATE.hour :]).all()


def test_a_correction_is_worth_little_at_first_and_much_days_ahead():
    found = learned(replace(UTC, lead_days=3))
    remaining = deviation(found.error_c + found.added)[GATE.hour :] / deviation(found.error_c)[GATE.hour :]
    assert remaining[0] > 0.9
    assert remaining[-24:].max() < 0.75


def test_a_forecast_far_from_what_is_usual_is_drawn_back_towards_it(found: Learned):
    swing = np.zeros(found.forecast_c.shape[1])
    swing[-found.error_c.shape[1] + GATE.hour :] = 8.0
    usual, hot, cold = (
        found.correction.of(FRESH, found.forecast_c + offset, found.utility)[:, -1] for offset in (0.0, swing, -swing)
    )
    assert (hot < usual).all()
    assert (usual < cold).all()
    assert (usual - hot).max() < 8.0


def test_forecasts_that_are_hardly_wrong_are_left_alone():
    found = learned(error=WeatherError(at_gate_c=0.02, per_hour_c=0.0001, memory=0.95))
    assert np.abs(found.added).max() < 0.02


def test_a_correction_covers_the_gate_closures_day_to_the_end_and_begins_at_the_closure(found: Learned):
    assert found.added.shape == found.error_c.shape == (len(FRESH), 24 * (found.utility.lead_days + 1))
    assert (found.added[:, : GATE.hour] == 0).all()
    assert (found.added[:, GATE.hour :] != 0).all()


def test_a_bias_is_taken_off_whole_but_not_of_what_is_measured():
    frame, error_c = climate(UTC), ERROR.replay(LEARNED, UTC, seed=7)
    forecast_c = temperature_paths(frame, UTC, LEARNED, error_c)
    plain, biased = (
        WeatherCorrection.learn(LEARNED, forecast_c + bias, error_c + bias, UTC).of(LEARNED, forecast_c + bias, UTC)
        for bias in (0.0, 1.5)
    )
    assert (biased[:, : GATE.hour] == 0).all()
    np.testing.assert_allclose((biased - plain)[:, GATE.hour :], -1.5)


@pytest.mark.parametrize("day", AROUND_CLOCK_CHANGES)
def test_only_temperatures_from_the_gate_closure_to_the_days_end_are_changed(melbourne: Learned, day: date):
    utility, known = melbourne.utility, melbourne.known(day)
    corrected = melbourne.correction.corrected(known, day, utility)
    changed = corrected[TEMPERATURE_C] != known[TEMPERATURE_C]
    expected = (known.index >= utility.gate_closure_of(day)) & (known.index <= utility.day_index(day)[-1])
    np.testing.assert_array_equal(changed, expected)
    pd.testing.assert_frame_equal(corrected.drop(columns=TEMPERATURE_C), known.drop(columns=TEMPERATURE_C))


def test_each_interval_of_a_frame_gets_what_its_path_says(found: Learned):
    day = FRESH[100]
    forecast = found.known(day)
    inside = slice(
        found.utility.day_index(day - timedelta(days=found.utility.lead_days))[0], found.utility.day_index(day)[-1]
    )
    forecast.loc[inside, TEMPERATURE_C] += found.error_c[100]
    corrected = found.correction.corrected(forecast, day, found.utility)
    added = corrected[TEMPERATURE_C] - forecast[TEMPERATURE_C]
    assert added.loc[inside].to_numpy() == pytest.approx(found.added[100])


@pytest.mark.parametrize("day", [date(2014, 4, 6), date(2014, 10, 5), date(2014, 7, 1)], ids=str)
def test_what_is_not_known_stays_unknown_and_the_frame_given_is_not_changed(melbourne: Learned, day: date):
    utility, known = melbourne.utility, melbourne.known(day)
    known.loc[utility.day_index(day)[10:30], TEMPERATURE_C] = np.nan
    known.loc[utility.gate_closure_of(day) :, DEMAND_MW] = np.nan
    given = known.copy()
    corrected = melbourne.correction.corrected(known, day, utility)
    pd.testing.assert_frame_equal(known, given)
    np.testing.assert_array_equal(corrected.isna(), known.isna())
    assert (corrected[TEMPERATURE_C] != known[TEMPERATURE_C])[utility.day_index(day)[30:]].all()


def test_an_unknown_stretch_of_a_frame_counts_as_the_day_before(found: Learned):
    day = FRESH[100]
    yesterday, today = (found.utility.day_index(one)[10:16] for one in (day - timedelta(days=1), day))
    holed, filled = found.known(day), found.known(day)
    holed.loc[today, TEMPERATURE_C] = np.nan
    filled.loc[today, TEMPERATURE_C] = filled.loc[yesterday, TEMPERATURE_C].to_numpy()
    corrected = [found.correction.corrected(known, day, found.utility).drop(index=today) for known in (holed, filled)]
    pd.testing.assert_frame_equal(*corrected)


def test_a_path_with_an_unknown_stretch_is_corrected_all_the_same(found: Learned):
    holed = found.forecast_c.copy()
    holed[:, -30:-20] = np.nan
    added = found.correction.of(FRESH, holed, found.utility)
    assert np.isfinite(added).all()
    # As if the stretch were usual: what is known around it counts.
    assert np.corrcoef(added[:, -1], found.added[:, -1])[0, 1] > 0.8
    nothing = found.correction.of(FRESH, np.full_like(holed, np.nan), found.utility)
    assert np.isfinite(nothing).all()


def test_days_with_an_unknown_stretch_teach_nothing():
    frame, error_c = climate(UTC), ERROR.replay(LEARNED, UTC, seed=7)
    forecast_c = temperature_paths(frame, UTC, LEARNED, error_c)
    whole = WeatherCorrection.learn(LEARNED[50:], forecast_c[50:], error_c[50:], UTC)
    forecast_c[:20, -5] = np.nan
    error_c[20:50, -5] = np.nan
    holed = WeatherCorrection.learn(LEARNED, forecast_c, error_c, UTC)
    assert holed is not None
    assert whole is not None
    np.testing.assert_allclose(holed.coefficients, whole.coefficients)


def history(world: World, sd: float) -> pd.DataFrame:
    """The days before LAST_DAY with what had been forecast of the temperature, off by an error of its own every hour."""
    utility, frame = world
    missed = np.random.default_rng(3).normal(0, sd, len(frame))
    told = frame.assign(**{FORECAST_TEMPERATURE_C: frame[TEMPERATURE_C] + missed})
    return told.loc[: utility.day_index(LAST_DAY)[0] - utility.step]


@pytest.fixture(scope="module")
def world(small_world: SmallWorld) -> World:
    return small_world()


def linear() -> EnsembleForecaster:
    return EnsembleForecaster("linear", ("linear",))


def test_an_ensemble_that_knows_past_forecasts_corrects_those_it_is_given(world: World, monkeypatch: pytest.MonkeyPatch):
    utility, frame = world
    forecaster = linear().fit(history(world, sd=2.0), utility)
    correction = forecaster.correction_
    assert correction is not None
    known = known_until_gate(frame, utility, LAST_DAY)
    forecast = forecaster.predict(known, LAST_DAY)
    monkeypatch.setattr(forecaster, "correction_", None)
    by_hand = forecaster.predict(correction.corrected(known, LAST_DAY, utility), LAST_DAY)
    pd.testing.assert_frame_equal(forecast, by_hand)
    assert not np.allclose(forecast[FORECAST_MW], forecaster.predict(known, LAST_DAY)[FORECAST_MW])


def test_an_ensemble_that_knows_no_past_forecasts_or_perfect_ones_corrects_nothing(world: World):
    told = history(world, sd=2.0)
    assert linear().fit(told.drop(columns=FORECAST_TEMPERATURE_C), world[0]).correction_ is None
    assert linear().fit(history(world, sd=0.0), world[0]).correction_ is None
    again = linear().fit(told, world[0])
    assert again.fit(told.drop(columns=FORECAST_TEMPERATURE_C), world[0]).correction_ is None


@pytest.mark.parametrize("delay", [HOUR / 2, 24 * HOUR], ids=str)
def test_a_delay_of_demand_delays_no_thermometer(delay: pd.Timedelta):
    found = learned(replace(UTC, demand_delay=delay))
    known = found.known(FRESH[180])
    corrected = found.correction.corrected(known, FRESH[180], found.utility)
    changed = known.index[(corrected[TEMPERATURE_C] != known[TEMPERATURE_C]).to_numpy()]
    assert changed[0] == found.utility.gate_closure_of(FRESH[180])


def test_too_few_days_teach_no_correction():
    error_c = ERROR.replay(LEARNED, UTC, seed=7)
    forecast_c = temperature_paths(climate(UTC), UTC, LEARNED, error_c)
    few = slice(0, NEEDED_DAYS - 1)
    # The same days with another error count once.
    twice = LEARNED[few] * 2, np.tile(forecast_c[few], (2, 1)), np.tile(error_c[few], (2, 1))
    assert WeatherCorrection.learn(*twice, UTC) is None


def test_a_window_that_is_too_short_is_refused_also_where_temperatures_are_corrected(world: World):
    utility, frame = world
    forecaster = linear().fit(history(world, sd=2.0), utility)
    known = known_until_gate(frame, utility, LAST_DAY)
    for days in (2, 10, 30):
        with pytest.raises(TooLittleHistory):
            forecaster.predict(known.iloc[-24 * days :], LAST_DAY)
