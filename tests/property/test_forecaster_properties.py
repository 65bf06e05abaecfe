"""Forecasts scale with the unit of demand, and their quantiles never cross, whatever stands in the frame."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import DEMAND_MW, TEMPERATURE_C, Utility
from forecasting.baselines import SeasonalNaive
from forecasting.features import known_until_gate
from forecasting.forecaster import QUANTILE_COLUMNS, Forecaster
from forecasting.lightgbm_forecaster import LightGBMForecaster
from forecasting.prophet_forecaster import ProphetForecaster

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
World = tuple[Utility, pd.DataFrame]

FORECASTERS: dict[str, Callable[[], Forecaster]] = {
    "seasonal-naive": SeasonalNaive,
    "lightgbm": LightGBMForecaster,
    "prophet": ProphetForecaster,
}
DAY = date(2013, 10, 20)
DAYS = 130


@pytest.fixture(scope="module")
def world(small_world: SmallWorld) -> World:
    return small_world(days=DAYS)


@pytest.fixture(scope="module")
def fitted(world: World) -> dict[str, Forecaster]:
    utility, frame = world
    return {name: make().fit(frame, utility) for name, make in FORECASTERS.items()}


def scaled(frame: pd.DataFrame, factor: float) -> pd.DataFrame:
    return frame.assign(**{DEMAND_MW: frame[DEMAND_MW] * factor})


@pytest.mark.parametrize(("name", "tolerance"), [("seasonal-naive", 1e-9), ("lightgbm", 1e-9), ("prophet", 1e-3)])
@given(power=st.integers(-10, 20))
@settings(deadline=None, max_examples=5)
def test_a_forecast_scales_exactly_with_the_unit_of_demand(
    name: str, tolerance: float, world: World, fitted: dict[str, Forecaster], power: int
):
    utility, frame = world
    factor = 2.0**power
    known = known_until_gate(frame, utility, DAY)
    expected = fitted[name].predict(known, DAY) * factor
    found = FORECASTERS[name]().fit(scaled(frame, factor), utility).predict(scaled(known, factor), DAY)
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=tolerance)


@pytest.mark.parametrize("name", ["seasonal-naive", "lightgbm"])
def test_megawatts_and_kilowatts_give_the_same_forecast(name: str, world: World, fitted: dict[str, Forecaster]):
    utility, frame = world
    known = known_until_gate(frame, utility, DAY)
    found = FORECASTERS[name]().fit(scaled(frame, 1000), utility).predict(scaled(known, 1000), DAY) / 1000
    np.testing.assert_allclose(found.to_numpy(), fitted[name].predict(known, DAY).to_numpy(), rtol=0.002)


@pytest.mark.parametrize("name", FORECASTERS)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1.0, 1e3, 1e6]),
    lost=st.sampled_from([0.0, 0.3, 0.9]),
    offset=st.integers(0, 60),
)
@settings(deadline=None, max_examples=20)
def test_quantiles_never_cross_whatever_was_measured(
    name: str, world: World, fitted: dict[str, Forecaster], seed: int, size: float, lost: float, offset: int
):
    utility, frame = world
    day = DAY - timedelta(days=offset)
    random = np.random.default_rng(seed)
    known = known_until_gate(frame, utility, day)
    for column in (DEMAND_MW, TEMPERATURE_C):
        wild = known[column] + random.normal(0, size, len(known))
        known[column] = wild.mask(random.random(len(known)) < lost)
    quantiles = fitted[name].predict(known, day)[list(QUANTILE_COLUMNS)].to_numpy()
    assert (np.diff(quantiles, axis=1)[np.isfinite(quantiles[:, 0])] >= 0).all()


@pytest.mark.parametrize("name", FORECASTERS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=5)
def test_the_order_in_which_rows_came_does_not_matter_once_they_are_sorted(
    name: str, world: World, fitted: dict[str, Forecaster], seed: int
):
    utility, frame = world
    known = known_until_gate(frame, utility, DAY)
    sorted_again = known.sample(frac=1, random_state=seed).sort_index()
    pd.testing.assert_frame_equal(
        fitted[name].predict(sorted_again, DAY), fitted[name].predict(known, DAY), check_freq=False
    )
