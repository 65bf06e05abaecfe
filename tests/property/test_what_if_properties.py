"""What must hold of a what-if whatever the temperatures are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from data.schema import DEMAND_MW, TEMPERATURE_C, Array, Utility
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.told_weather import day_of, predict_told
from forecasting.weather_plausibility import Verdict, WeatherPlausibility, widening_at

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
AUTUMN_CHANGE, SPRING_CHANGE = date(2013, 10, 27), date(2014, 3, 30)
DAYS = st.sampled_from([date(2013, 9, 18), AUTUMN_CHANGE, date(2014, 2, 4), SPRING_CHANGE])
MOVES = arrays.arrays(np.float64, 24, elements=st.floats(-12, 12, width=32))


@dataclass(frozen=True, eq=False)
class World:
    utility: Utility
    frame: pd.DataFrame
    learned: WeatherPlausibility
    forecaster: EnsembleForecaster

    def path(self, day: date, moves: Array) -> Array:
        """The day as it was, moved, whatever its length."""
        real = day_of(self.frame, day, self.utility)
        return real + np.resize(moves, len(real))

    def before(self, day: date) -> Array:
        return day_of(self.frame, day - timedelta(days=1), self.utility)


@pytest.fixture(scope="module")
def world(small_world: SmallWorld) -> World:
    utility, frame = small_world(days=280)
    forecaster = EnsembleForecaster(members=("linear",)).fit(frame.iloc[: 24 * 200], utility)
    return World(utility, frame, WeatherPlausibility.learn(frame[TEMPERATURE_C], utility), forecaster)


@settings(max_examples=60, deadline=None)
@given(day=DAYS, moves=MOVES)
def test_every_path_is_judged_and_what_is_answered_is_never_narrower(world: World, day: date, moves: Array) -> None:
    judgement = world.learned.judge(day, world.path(day, moves), world.before(day))

    assert judgement.widening >= 1
    assert 0 < judgement.p_value <= 1
    assert (judgement.verdict is Verdict.USUAL) == (judgement.distance <= 1)
    assert (judgement.verdict is Verdict.USUAL) == (not judgement.reasons)


@settings(max_examples=40, deadline=None)
@given(day=DAYS, moves=MOVES)
def test_the_same_path_has_the_same_judgement_and_is_not_changed(world: World, day: date, moves: Array) -> None:
    path_c = world.path(day, moves)
    kept = path_c.copy()

    first, second = (world.learned.judge(day, path_c, world.before(day)) for _ in range(2))

    assert first == second
    assert np.array_equal(path_c, kept)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), moves=MOVES)
def test_the_order_in_which_readings_came_changes_nothing(world: World, seed: int, moves: Array) -> None:
    day = AUTUMN_CHANGE
    shuffled = world.frame[TEMPERATURE_C].sample(frac=1, random_state=seed)
    again = WeatherPlausibility.learn(shuffled, world.utility)

    assert again.judge(day, world.path(day, moves)) == world.learned.judge(day, world.path(day, moves))


@settings(max_examples=25, deadline=None)
@given(shift_c=st.floats(-30, 30))
def test_a_climate_that_is_warmer_throughout_judges_its_own_days_alike(world: World, shift_c: float) -> None:
    day = date(2014, 2, 4)
    warmer = WeatherPlausibility.learn(world.frame[TEMPERATURE_C] + shift_c, world.utility)
    path_c, before = world.path(day, np.array([0.0])), world.before(day)

    there, here = warmer.judge(day, path_c + shift_c, before + shift_c), world.learned.judge(day, path_c, before)

    assert there.verdict == here.verdict
    assert there.distance == pytest.approx(here.distance, rel=1e-6)


@given(st.lists(st.floats(0, 50), min_size=2, max_size=2).map(sorted))
def test_the_further_out_the_wider(distances: list[float]) -> None:
    nearer, further = (widening_at(distance) for distance in distances)

    assert 1 <= nearer <= further


@settings(max_examples=25, deadline=None)
@given(day=st.sampled_from([date(2014, 2, 4), SPRING_CHANGE]), moves=MOVES, widening=st.floats(1, 5))
def test_quantiles_stay_in_order_and_hold_the_narrower_ones(world: World, day: date, moves: Array, widening: float) -> None:
    known = known_until_gate(world.frame, world.utility, day)
    _, says = predict_told(world.forecaster, known, day, world.path(day, moves), world.utility, doubted=False)

    plain, wide = says.quantiles_mw, says.widened(widening).quantiles_mw

    assert len(plain) == len(world.utility.day_index(day))
    assert (np.diff(wide, axis=1) >= -1e-9).all()
    assert (wide[:, 0] <= plain[:, 0] + 1e-9).all()
    assert (wide[:, -1] >= plain[:, -1] - 1e-9).all()


@settings(max_examples=8, deadline=None)
@given(moves=MOVES, factor=st.sampled_from([0.001, 2.0, 1000.0]))
def test_a_what_if_in_other_units_of_demand_is_the_same(world: World, moves: Array, factor: float) -> None:
    day, utility = date(2014, 2, 4), world.utility
    scaled = world.frame.assign(**{DEMAND_MW: world.frame[DEMAND_MW] * factor})
    in_units = replace(
        world, frame=scaled, forecaster=EnsembleForecaster(members=("linear",)).fit(scaled.iloc[: 24 * 200], utility)
    )
    path_c = world.path(day, moves)

    here, there = (
        predict_told(one.forecaster, known_until_gate(one.frame, utility, day), day, path_c, utility, doubted=False)[1]
        for one in (world, in_units)
    )

    assert there.quantiles_mw == pytest.approx(here.quantiles_mw * factor, rel=1e-6)
