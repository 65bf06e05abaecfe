"""The ensemble adapts to what happens, explains itself, and learns how far weather forecasts can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from data.schema import DEMAND_MW, FORECAST_TEMPERATURE_C, TEMPERATURE_C, Array, Utility
from forecasting.day_grid import known_until_gate
from forecasting.day_table import DayTable
from forecasting.ensemble import CORE, MEMBERS, EnsembleForecaster
from forecasting.explain import EXPLAINED_COLUMNS
from forecasting.forecaster import FORECAST_MW, MEDIAN
from forecasting.weather_error import WeatherError

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
World = tuple[Utility, pd.DataFrame]
LEARNED_UNTIL = date(2014, 2, 3)
SHIFT_MW = 200.0


@pytest.fixture(scope="module")
def world(small_world: SmallWorld) -> World:
    return small_world(days=300)


@pytest.fixture(scope="module")
def fitted(world: World) -> EnsembleForecaster:
    utility, frame = world
    return EnsembleForecaster().fit(until(frame, utility, LEARNED_UNTIL), utility)


def until(frame: pd.DataFrame, utility: Utility, day: date) -> pd.DataFrame:
    return frame.loc[: utility.day_index(day)[0] - utility.step]


def error(forecaster: EnsembleForecaster, world: World, frame: pd.DataFrame, day: date) -> float:
    """Mean absolute error of a day's forecast [MW]."""
    utility = world[0]
    forecast = forecaster.predict(known_until_gate(frame, utility, day), day)
    return float((forecast[FORECAST_MW] - frame.loc[forecast.index, DEMAND_MW]).abs().mean())


def shifted_from(world: World, day: date) -> pd.DataFrame:
    utility, frame = world
    later = np.asarray(frame.index >= utility.day_index(day)[0])
    return frame.assign(**{DEMAND_MW: frame[DEMAND_MW] + SHIFT_MW * later})


def test_a_lasting_shift_of_demand_is_taken_up_within_two_weeks(fitted: EnsembleForecaster, world: World):
    start = date(2014, 3, 10)
    shifted = shifted_from(world, start)
    first = error(fitted, world, shifted, start)
    later = np.mean([error(fitted, world, shifted, start + timedelta(days=days)) for days in range(14, 18)])
    usual = np.mean([error(fitted, world, world[1], start + timedelta(days=days)) for days in range(14, 18)])
    assert first > 100
    assert later < max(2 * usual, 0.15 * SHIFT_MW)


def test_a_model_learned_on_another_level_forecasts_this_one_nearly_as_well(fitted: EnsembleForecaster, world: World):
    elsewhere = world[1].assign(**{DEMAND_MW: world[1][DEMAND_MW] + 3000})
    day = date(2014, 3, 20)
    # Not the same: departures are expected to fade, by no more than they did in training.
    assert error(fitted, world, elsewhere, day) < 1.3 * error(fitted, world, world[1], day)


class Broken:
    """A member that has begun to forecast nonsense."""

    def __init__(self, member: object) -> None:
        self.member = member

    def prepared(self, table: DayTable) -> DayTable:
        return table

    def predict(self, table: DayTable) -> Array:
        return np.full((len(table.days), table.slots), 5.0)


@pytest.mark.parametrize("broken", range(len(CORE)))
def test_a_member_that_breaks_loses_its_say_within_two_weeks(
    world: World, fitted: EnsembleForecaster, broken: int, monkeypatch: pytest.MonkeyPatch
):
    day = LEARNED_UNTIL + timedelta(days=30)
    usual = error(fitted, world, world[1], day)
    members = list(fitted.members_)
    members[broken] = Broken(members[broken])
    monkeypatch.setattr(fitted, "members_", tuple(members))
    assert error(fitted, world, world[1], day) < 3 * usual
    weights = fitted._asked(known_until_gate(world[1], world[0], day), day).weights
    assert weights[broken] < 0.01
    assert weights.sum() == pytest.approx(1)


def test_weights_are_a_share_of_each_member(fitted: EnsembleForecaster):
    assert fitted.weights_.shape == (len(fitted.names_),)
    assert set(CORE) <= set(fitted.names_)
    assert fitted.weights_.sum() == pytest.approx(1)
    assert (fitted.weights_ > 0).all()


def test_the_forecast_is_the_median(fitted: EnsembleForecaster, world: World):
    day = date(2014, 3, 30)
    forecast = fitted.predict(known_until_gate(world[1], world[0], day), day)
    pd.testing.assert_series_equal(forecast[FORECAST_MW], forecast[MEDIAN], check_names=False)


@pytest.fixture(scope="module", params=[*MEMBERS, "ensemble"])
def explained(request: pytest.FixtureRequest, fitted: EnsembleForecaster, world: World) -> EnsembleForecaster:
    if request.param == "ensemble":
        return fitted
    return EnsembleForecaster(request.param, (request.param,)).fit(until(world[1], world[0], LEARNED_UNTIL), world[0])


@pytest.mark.parametrize("day", [date(2013, 10, 27), date(2013, 12, 25), date(2014, 3, 30)], ids=str)
def test_an_explanation_adds_up_to_the_forecast(explained: EnsembleForecaster, world: World, day: date):
    utility, frame = world
    known = known_until_gate(frame, utility, day)
    forecast, parts = explained.predict_explained(known, day)
    pd.testing.assert_frame_equal(forecast, explained.predict(known, day))
    assert parts.columns.tolist() == list(EXPLAINED_COLUMNS)
    pd.testing.assert_index_equal(parts.index, forecast.index)
    np.testing.assert_allclose(parts.sum(axis=1), forecast[FORECAST_MW], rtol=1e-9)


def test_each_driver_explains_what_it_changes(fitted: EnsembleForecaster, world: World):
    utility, frame = world
    day = date(2014, 2, 10)
    known = known_until_gate(frame, utility, day)
    ahead = known.index >= utility.day_index(day)[0]
    colder = known.assign(**{TEMPERATURE_C: known[TEMPERATURE_C] - 3.0 * ahead})
    before, after = (fitted.predict_explained(inputs, day)[1] for inputs in (known, colder))
    assert (after["weather_mw"] - before["weather_mw"]).mean() > 10
    assert (after["calendar_mw"] - before["calendar_mw"]).abs().max() < 10
    sunday, monday = (
        fitted.predict_explained(known_until_gate(frame, utility, one), one)[1]["calendar_mw"].mean()
        for one in (date(2014, 3, 9), date(2014, 3, 10))
    )
    assert monday > sunday


def with_forecasts(world: World, sd: float) -> pd.DataFrame:
    """The same with what had been forecast of the temperature, off by an error that lasts for hours."""
    utility, frame = world
    days = tuple(pd.Timestamp(day).date() for day in np.unique(utility.local(pd.DatetimeIndex(frame.index)).date))
    missed = WeatherError(sd, 0.0, 0.97).replay(days, utility, seed=11)[:, utility.steps_per_day :]
    wall = utility.local(pd.DatetimeIndex(frame.index))
    row = np.array([days.index(day) for day in wall.date])
    return frame.assign(**{FORECAST_TEMPERATURE_C: frame[TEMPERATURE_C] + missed[row, wall.hour]})


def test_with_bad_weather_forecasts_it_leans_less_on_weather_and_its_intervals_are_wider(
    fitted: EnsembleForecaster, world: World
):
    utility = world[0]
    warned = EnsembleForecaster().fit(until(with_forecasts(world, 4.0), utility, LEARNED_UNTIL), utility)
    day = date(2014, 2, 20)
    known = known_until_gate(world[1], utility, day)
    ahead = known.index >= utility.day_index(day)[0]
    colder = known.assign(**{TEMPERATURE_C: known[TEMPERATURE_C] - 3.0 * ahead})
    moved, width = [], []
    for forecaster in (fitted, warned):
        forecast = forecaster.predict(known, day)
        moved.append((forecaster.predict(colder, day) - forecast)[FORECAST_MW].mean())
        width.append((forecast["q90"] - forecast["q10"]).mean())
    assert 0 < moved[1] < 0.9 * moved[0]
    assert width[1] > width[0]
    assert warned.sharper_ < 0.9
    assert fitted.sharper_ == pytest.approx(1)


def test_perfect_weather_forecasts_are_as_none(fitted: EnsembleForecaster, world: World):
    utility, frame = world
    perfect = until(frame.assign(**{FORECAST_TEMPERATURE_C: frame[TEMPERATURE_C]}), utility, LEARNED_UNTIL)
    day = date(2014, 2, 20)
    known = known_until_gate(frame, utility, day)
    pd.testing.assert_frame_equal(EnsembleForecaster().fit(perfect, utility).predict(known, day), fitted.predict(known, day))


def test_intervals_cover_what_they_promise_on_days_not_learned_from(fitted: EnsembleForecaster, world: World):
    utility, frame = world
    days = [LEARNED_UNTIL + timedelta(days=number) for number in range(60)]
    forecast = pd.concat([fitted.predict(known_until_gate(frame, utility, day), day) for day in days])
    truth = frame.loc[forecast.index, DEMAND_MW]
    assert 0.7 < truth.between(forecast["q10"], forecast["q90"]).mean() < 0.9


def test_intervals_widen_when_this_mornings_demand_is_missing(fitted: EnsembleForecaster, world: World):
    utility, frame = world
    day = date(2014, 3, 20)
    known = known_until_gate(frame, utility, day)
    holed = known.copy()
    holed.loc[utility.gate_closure_of(day) - pd.Timedelta(days=3) :, DEMAND_MW] = np.nan
    widths = [
        (forecast["q90"] - forecast["q10"]).mean() for forecast in (fitted.predict(one, day) for one in (known, holed))
    ]
    assert widths[1] > widths[0]
