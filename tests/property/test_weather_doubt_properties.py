"""Doubt about the weather widens a forecast, the more the larger it is, and never narrows it or crosses its quantiles."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, Array, Utility
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.forecaster import QUANTILE_COLUMNS
from forecasting.weather_doubt import widened

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
UTILITY = Utility("UTC", pd.Timedelta(hours=1))
DAY = date(2013, 10, 20)
INDEX = pd.date_range(end=UTILITY.day_index(DAY)[-1], periods=48, freq="h", name="timestamp")

uncertainties = st.floats(0, 20)
by_hour = st.lists(st.floats(-20, 40), min_size=24, max_size=24)
knees = st.lists(st.tuples(st.floats(-20, 40), st.floats(0, 100)), max_size=4)


def width(uncertainty_c: float, usual_c: float, temperature_c: list[float], ask: Callable[[Array], Array]) -> Array:
    """The spread of a day that is 1 without doubt; ask: temperatures of the day → demand."""
    told = {TEMPERATURE_C: [0.0] * 24 + temperature_c, TEMPERATURE_UNCERTAINTY_C: uncertainty_c}
    known = pd.DataFrame(told, index=INDEX)
    return widened(np.ones(24), known, DAY, UTILITY, usual_c, lambda known: ask(known[TEMPERATURE_C].to_numpy()[24:]))


@given(uncertainties, uncertainties, by_hour, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_doubt_never_narrows_whatever_demand_makes_of_the_weather(
    uncertainty_c: float, usual_c: float, temperature_c: list[float], chance: Random
) -> None:
    found = width(uncertainty_c, usual_c, temperature_c, lambda said: said * chance.uniform(-50, 50))
    assert (found >= 1).all()
    if uncertainty_c <= usual_c:
        assert (found == 1).all()


@given(uncertainties, uncertainties, uncertainties, by_hour, knees)
@settings(deadline=None)
def test_where_demand_only_rises_with_the_weather_more_doubt_is_more_width(
    one_c: float, other_c: float, usual_c: float, temperature_c: list[float], bends: list[tuple[float, float]]
) -> None:
    def rising(said: Array) -> Array:
        return sum((slope * np.maximum(0.0, said - knee) for knee, slope in bends), np.zeros(len(said)))

    less, more = (width(told_c, usual_c, temperature_c, rising) for told_c in sorted((one_c, other_c)))
    assert (less <= more + 1e-9 * more).all()


@pytest.fixture(scope="module")
def fitted(small_world: SmallWorld) -> EnsembleForecaster:
    utility, frame = small_world(days=112)
    return EnsembleForecaster().fit(frame.assign(**{TEMPERATURE_UNCERTAINTY_C: 0.5}), utility)


@given(
    uncertainty_c=st.one_of(uncertainties, st.just(1e6), st.just(float("nan"))),
    lost=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=25)
def test_quantiles_stay_in_order_and_no_interval_gets_narrower(
    fitted: EnsembleForecaster, small_world: SmallWorld, uncertainty_c: float, lost: float, seed: int
) -> None:
    utility, frame = small_world(days=112)
    known = known_until_gate(frame, utility, DAY)
    silent = np.random.default_rng(seed).random(len(known)) < lost
    plain = fitted.predict(known, DAY)
    doubted = fitted.predict(known.assign(**{TEMPERATURE_UNCERTAINTY_C: np.where(silent, np.nan, uncertainty_c)}), DAY)
    assert (np.diff(doubted[list(QUANTILE_COLUMNS)].to_numpy(), axis=1) >= 0).all()
    assert ((doubted["q90"] - doubted["q10"]) >= (plain["q90"] - plain["q10"]) * (1 - 1e-12)).all()
