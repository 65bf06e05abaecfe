"""A gap costs what it would have cost in the last weeks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from data.schema import DEMAND_MW, TEMPERATURE_C, Utility
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.gaps import Gaps

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
World = tuple[Utility, pd.DataFrame]


@pytest.fixture(scope="module")
def world(small_world: SmallWorld) -> World:
    return small_world(days=170)


@pytest.fixture(scope="module")
def fitted(world: World) -> EnsembleForecaster:
    utility, frame = world
    return EnsembleForecaster("linear", ("linear",)).fit(frame.iloc[: -20 * 24], utility)


def last_day(world: World) -> date:
    utility, frame = world
    return utility.local(pd.DatetimeIndex(frame.index))[-30].date()


def width(answer: pd.DataFrame) -> float:
    return float((answer["q90"] - answer["q10"]).mean())


def test_what_comes_after_the_gate_closure_is_no_gap(world: World):
    utility, frame = world
    day = last_day(world)
    assert not Gaps.of(known_until_gate(frame, utility, day), utility, day).any()


def test_a_gap_is_laid_over_an_earlier_day_at_the_same_hours(world: World):
    utility, frame = world
    day = last_day(world)
    known = known_until_gate(frame, utility, day)
    gate = utility.gate_closure_of(day)
    lost = known.assign(**{DEMAND_MW: known[DEMAND_MW].mask(np.asarray(known.index == gate - 2 * utility.step))})
    laid = Gaps.of(lost, utility, day).laid_over(known, 5, utility)
    newly = laid.index[laid[DEMAND_MW].isna() & known[DEMAND_MW].notna()]
    assert list(newly) == [gate - 2 * utility.step - timedelta(days=5)]


@pytest.mark.parametrize("column", [DEMAND_MW, TEMPERATURE_C])
def test_a_missing_input_widens_the_interval_and_leaves_a_forecast(world: World, fitted: EnsembleForecaster, column: str):
    utility, frame = world
    day = last_day(world)
    known = known_until_gate(frame, utility, day)
    lost = known.copy()
    if column == DEMAND_MW:
        lost.loc[utility.day_index(day - timedelta(days=2)), column] = np.nan
        lost.loc[utility.day_index(day - timedelta(days=1)), column] = np.nan
    else:
        lost.loc[utility.day_index(day), column] = np.nan
    answer = fitted.predict(lost, day)
    assert np.isfinite(answer.to_numpy()).all()
    assert width(answer) > 1.02 * width(fitted.predict(known, day))


def test_without_any_demand_the_spread_is_that_of_demand(world: World, fitted: EnsembleForecaster):
    utility, frame = world
    day = last_day(world)
    known = known_until_gate(frame, utility, day)
    answer = fitted.predict(known.assign(**{DEMAND_MW: np.nan}), day)
    assert np.isfinite(answer.to_numpy()).all()
    assert width(answer) > 1.5 * frame[DEMAND_MW].std()
