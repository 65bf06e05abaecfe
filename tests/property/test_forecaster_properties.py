"""Forecasts scale with the unit of demand, and their quantiles never cross, whatever stands in the frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import DEMAND_MW, TEMPERATURE_C, Utility
from forecasting.baselines import SeasonalNaive
from forecasting.certified import CertifiedForecaster
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS, Forecaster
from forecasting.prophet_forecaster import ProphetForecaster
from forecasting.quantile_trees import QuantileTreesForecaster

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
World = tuple[Utility, pd.DataFrame]

FORECASTERS: dict[str, Callable[[], Forecaster]] = {
    "seasonal-naive": SeasonalNaive,
    "linear": lambda: EnsembleForecaster("linear", ("linear",)),
    "kernel": lambda: EnsembleForecaster("kernel", ("kernel",)),
    "lightgbm": lambda: EnsembleForecaster("lightgbm", ("lightgbm",)),
    "ensemble": EnsembleForecaster,
    "prophet": ProphetForecaster,
    "certified": lambda: CertifiedForecaster(models=5),
    "quantile-trees": lambda: QuantileTreesForecaster(trees=20),
}
EXPLAINED = ("linear", "kernel", "lightgbm", "ensemble")
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


@pytest.mark.parametrize(("name", "tolerance"), [(name, 1e-3 if name == "prophet" else 1e-9) for name in FORECASTERS])
@given(power=st.integers(-10, 20))
@settings(deadline=None, max_examples=2)
def test_a_forecast_scales_exactly_with_the_unit_of_demand(
    name: str, tolerance: float, world: World, fitted: dict[str, Forecaster], power: int
):
    utility, frame = world
    factor = 2.0**power
    known = known_until_gate(frame, utility, DAY)
    expected = fitted[name].predict(known, DAY) * factor
    found = FORECASTERS[name]().fit(scaled(frame, factor), utility).predict(scaled(known, factor), DAY)
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=tolerance)


@pytest.mark.parametrize("name", ["seasonal-naive", *EXPLAINED, "certified", "quantile-trees"])
def test_megawatts_and_kilowatts_give_the_same_forecast(name: str, world: World, fitted: dict[str, Forecaster]):
    utility, frame = world
    known = known_until_gate(frame, utility, DAY)
    found = FORECASTERS[name]().fit(scaled(frame, 1000), utility).predict(scaled(known, 1000), DAY) / 1000
    np.testing.assert_allclose(found.to_numpy(), fitted[name].predict(known, DAY).to_numpy(), rtol=0.002)


def moved(frame: pd.DataFrame, hours: int) -> pd.DataFrame:
    return frame.set_axis(frame.index + pd.Timedelta(hours=hours), axis=0)


@pytest.mark.parametrize(("name", "lead_days"), [*((name, 1) for name in FORECASTERS), ("ensemble", 0)])
def test_the_same_wall_clock_in_another_zone_gives_the_same_forecast(name: str, lead_days: int, small_world: SmallWorld):
    # Etc/GMT+5 lies five hours behind UTC, Etc/GMT-3 three hours ahead of it.
    west, frame = small_world("Etc/GMT+5", days=DAYS)
    west = dataclasses.replace(west, lead_days=lead_days)
    east = dataclasses.replace(west, timezone="Etc/GMT-3")
    here, there = (
        FORECASTERS[name]().fit(data, utility).predict(known_until_gate(data, utility, DAY), DAY)
        for utility, data in ((west, frame), (east, moved(frame, -8)))
    )
    pd.testing.assert_index_equal(there.index, east.day_index(DAY))
    np.testing.assert_allclose(there.to_numpy(), here.to_numpy(), rtol=1e-6 if name == "prophet" else 1e-12)


@pytest.mark.parametrize("name", EXPLAINED)
@given(offset=st.integers(0, 40), level=st.sampled_from([0.0, -1000.0, 1e5]), lost=st.sampled_from([0.0, 0.2]))
@settings(deadline=None, max_examples=8)
def test_an_explanation_adds_up_to_the_forecast_whatever_was_measured(
    name: str, world: World, fitted: dict[str, Forecaster], offset: int, level: float, lost: float
):
    utility, frame = world
    day = DAY - timedelta(days=offset)
    known = known_until_gate(frame, utility, day)
    for column in (DEMAND_MW, TEMPERATURE_C):
        known[column] = known[column].mask(np.random.default_rng(offset).random(len(known)) < lost)
    known[DEMAND_MW] += level
    forecaster = fitted[name]
    assert isinstance(forecaster, EnsembleForecaster)
    forecast, parts = forecaster.predict_explained(known, day)
    size = np.abs(parts.to_numpy()).max()
    np.testing.assert_allclose(parts.sum(axis=1), forecast[FORECAST_MW], rtol=1e-9, atol=1e-9 * size)


@pytest.mark.parametrize("name", [*EXPLAINED, "certified", "quantile-trees"])
@given(seed=st.integers(0, 2**32 - 1), offset=st.integers(0, 40))
@settings(deadline=None, max_examples=4)
def test_a_forecast_does_not_change_with_what_came_after_its_gate_closure(
    name: str, world: World, fitted: dict[str, Forecaster], seed: int, offset: int
):
    utility, frame = world
    day = DAY - timedelta(days=offset)
    known = known_until_gate(frame, utility, day)
    spoilt = frame.loc[known.index[0] :].copy()
    unknown = spoilt.index + utility.step + utility.demand_delay > utility.gate_closure_of(day)
    later = spoilt.index > known.index[-1]
    random = np.random.default_rng(seed)
    spoilt.loc[unknown, DEMAND_MW] = random.choice([np.nan, -1e9, 1e9], unknown.sum())
    spoilt.loc[later, TEMPERATURE_C] = random.choice([np.nan, -1e9, 1e9], later.sum())
    pd.testing.assert_frame_equal(fitted[name].predict(spoilt, day), fitted[name].predict(known, day), check_freq=False)


@pytest.mark.parametrize("name", FORECASTERS)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1.0, 1e3, 1e6]),
    lost=st.sampled_from([0.0, 0.3, 0.9]),
    offset=st.integers(0, 60),
)
@settings(deadline=None, max_examples=10)
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
@settings(deadline=None, max_examples=3)
def test_the_order_in_which_rows_came_does_not_matter_once_they_are_sorted(
    name: str, world: World, fitted: dict[str, Forecaster], seed: int
):
    utility, frame = world
    known = known_until_gate(frame, utility, DAY)
    sorted_again = known.sample(frac=1, random_state=seed).sort_index()
    pd.testing.assert_frame_equal(
        fitted[name].predict(sorted_again, DAY), fitted[name].predict(known, DAY), check_freq=False
    )
