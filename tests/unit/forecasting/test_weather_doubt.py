"""A forecast is wider where its weather is less certain than usual, and only there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest

from data.schema import TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, Array, Utility
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.forecaster import FORECAST_MW
from forecasting.weather_doubt import usual_uncertainty, widened

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
World = tuple[Utility, pd.DataFrame]
Width = Callable[[date, float], float]
UTILITY = Utility("Europe/Berlin", pd.Timedelta(hours=1))
DAY = date(2013, 10, 20)
USUAL_C = 0.5
SPREAD = np.linspace(1.0, 2.0, 24)
WINTER, SUMMER = date(2014, 2, 20), date(2013, 8, 27)


def known_with(uncertainty_c: float | None, temperature_c: float = 5.0) -> pd.DataFrame:
    """Three days to the end of DAY, as certain as usual until it begins."""
    index = pd.date_range(end=UTILITY.day_index(DAY)[-1], periods=72, freq="h", name="timestamp")
    frame = pd.DataFrame({TEMPERATURE_C: temperature_c}, index=index)
    if uncertainty_c is not None:
        frame[TEMPERATURE_UNCERTAINTY_C] = np.where(index < UTILITY.day_index(DAY)[0], USUAL_C, uncertainty_c)
    return frame


def heating(known: pd.DataFrame) -> Array:
    """Three a degree below 16 °C, nothing above."""
    return np.asarray(3.0 * np.maximum(0.0, 16.0 - known[TEMPERATURE_C].to_numpy()[-24:]))


def never_asked(_known: pd.DataFrame) -> Array:
    raise AssertionError("nothing is worth asking for")


@pytest.mark.parametrize("uncertainty_c", [None, np.nan, 0.0, 0.3, USUAL_C])
def test_a_day_as_certain_as_usual_or_that_nobody_tells_of_keeps_its_spread(uncertainty_c: float | None):
    assert widened(SPREAD, known_with(uncertainty_c), DAY, UTILITY, USUAL_C, never_asked) is SPREAD


def test_where_nothing_usual_was_learned_nothing_widens():
    assert widened(SPREAD, known_with(9.0), DAY, UTILITY, float("nan"), never_asked) is SPREAD


def test_what_is_uncertain_beyond_the_usual_adds_its_variance_in_demand():
    found = widened(SPREAD, known_with(2.0), DAY, UTILITY, USUAL_C, heating)
    np.testing.assert_allclose(found, np.sqrt(SPREAD**2 + 3.0**2 * (2.0**2 - USUAL_C**2)))


def test_in_weather_that_moves_no_demand_nothing_widens():
    np.testing.assert_array_equal(widened(SPREAD, known_with(2.0, 20.0), DAY, UTILITY, USUAL_C, heating), SPREAD)


def test_only_what_is_forecast_at_the_gate_closure_is_in_doubt():
    asked: list[pd.Series] = []

    def ask(known: pd.DataFrame) -> Array:
        asked.append(known[TEMPERATURE_C] - 5.0)
        return heating(known)

    widened(SPREAD, known_with(2.0), DAY, UTILITY, USUAL_C, ask)
    ahead = known_with(2.0).index >= UTILITY.gate_closure_of(DAY)
    assert 24 < ahead.sum() < 72
    np.testing.assert_allclose(asked, [0.0 * ahead, 2.0 * ahead, -2.0 * ahead])


def test_in_the_valley_between_heating_and_cooling_either_way_raises_demand():
    def heating_and_cooling(known: pd.DataFrame) -> Array:
        away = np.abs(known[TEMPERATURE_C].to_numpy() - 18.0)
        return np.asarray(away[-len(SPREAD) :] * 0.1)

    assert (widened(SPREAD, known_with(2.0, 18.0), DAY, UTILITY, USUAL_C, heating_and_cooling) > SPREAD).all()


def test_what_is_usual_is_the_median_of_the_days_and_counts_no_silent_one():
    by_day = np.repeat([0.2, np.nan, 0.4, 9.0], 24)
    index = pd.date_range(UTILITY.day_index(date(2013, 6, 1))[0], periods=96, freq="h")
    assert usual_uncertainty(pd.DataFrame({TEMPERATURE_UNCERTAINTY_C: by_day}, index=index), UTILITY) == pytest.approx(0.4)
    assert np.isnan(usual_uncertainty(pd.DataFrame({TEMPERATURE_UNCERTAINTY_C: np.nan}, index=index), UTILITY))
    assert np.isnan(usual_uncertainty(pd.DataFrame(index=index), UTILITY))


@pytest.fixture(scope="module")
def world(small_world: SmallWorld) -> World:
    return small_world(days=250)


@pytest.fixture(scope="module")
def fitted(world: World) -> EnsembleForecaster:
    utility, frame = world
    return EnsembleForecaster().fit(frame.assign(**{TEMPERATURE_UNCERTAINTY_C: USUAL_C}), utility)


def asked_with(world: World, day: date, uncertainty_c: float) -> pd.DataFrame:
    known = known_until_gate(world[1], world[0], day)
    return known.assign(
        **{TEMPERATURE_UNCERTAINTY_C: np.where(known.index >= world[0].day_index(day)[0], uncertainty_c, USUAL_C)}
    )


@pytest.fixture
def width(fitted: EnsembleForecaster, world: World) -> Width:
    """Mean width of the 80 % interval of a day with so uncertain a temperature [MW]."""

    def of(day: date, uncertainty_c: float) -> float:
        forecast = fitted.predict(asked_with(world, day, uncertainty_c), day)
        return float((forecast["q90"] - forecast["q10"]).mean())

    return of


def test_the_less_certain_the_weather_of_a_cold_day_the_wider_its_forecast_and_its_middle_hardly_moves(
    fitted: EnsembleForecaster, world: World, width: Width
):
    widths = [width(WINTER, uncertainty_c) for uncertainty_c in (0.2, USUAL_C, 0.8, 1.5, 3.0)]
    assert widths[0] == widths[1]
    assert (np.diff(widths[1:]) > 0).all()
    sure, unsure = (fitted.predict(asked_with(world, WINTER, told), WINTER)[FORECAST_MW] for told in (USUAL_C, 1.5))
    assert (unsure - sure).abs().max() < 0.1 * (widths[3] - widths[1])


def test_a_warm_day_without_heating_widens_far_less(width: Width):
    grown = {day: width(day, 1.5) - width(day, USUAL_C) for day in (WINTER, SUMMER)}
    assert 0 <= grown[SUMMER] < 0.4 * grown[WINTER]


def test_an_explained_forecast_is_as_wide(fitted: EnsembleForecaster, world: World):
    known = asked_with(world, WINTER, 3.0)
    forecast, parts = fitted.predict_explained(known, WINTER)
    pd.testing.assert_frame_equal(forecast, fitted.predict(known, WINTER))
    np.testing.assert_allclose(parts.sum(axis=1), forecast[FORECAST_MW], rtol=1e-9)


def test_where_no_uncertainty_is_told_the_forecast_is_the_same_to_the_last_digit(fitted: EnsembleForecaster, world: World):
    utility, frame = world
    never_told = EnsembleForecaster().fit(frame, utility)
    known = known_until_gate(frame, utility, WINTER)
    expected = never_told.predict(known, WINTER)
    pd.testing.assert_frame_equal(fitted.predict(known, WINTER), expected, check_exact=True)
    pd.testing.assert_frame_equal(never_told.predict(asked_with(world, WINTER, 3.0), WINTER), expected, check_exact=True)
