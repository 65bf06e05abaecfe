"""The floor: the same time a week ago."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from data.schema import DEMAND_MW, QUANTILES, Utility
from forecasting.baselines import SeasonalNaive
from forecasting.day_grid import LOOKBACK_DAYS, known_until_gate
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
DAY = date(2013, 9, 20)


@pytest.fixture(scope="module")
def world(small_world: SmallWorld) -> tuple[Utility, pd.DataFrame]:
    return small_world(days=120)


@pytest.fixture(scope="module")
def naive(world: tuple[Utility, pd.DataFrame]) -> SeasonalNaive:
    utility, frame = world
    return SeasonalNaive().fit(frame, utility)


def test_a_day_is_forecast_as_the_day_a_week_before_and_what_that_usually_missed_by(
    naive: SeasonalNaive, world: tuple[Utility, pd.DataFrame]
):
    utility, frame = world
    forecast = naive.predict(known_until_gate(frame, utility, DAY), DAY)
    week_ago = frame.loc[utility.day_index(DAY - timedelta(days=7)), DEMAND_MW]
    usual_miss = naive.miss_mw_[QUANTILES.index(0.5)]
    assert abs(usual_miss) < 5
    assert forecast[FORECAST_MW].to_numpy() == pytest.approx(week_ago.to_numpy() + usual_miss)


def test_its_intervals_are_the_quantiles_of_what_it_used_to_miss_by(
    naive: SeasonalNaive, world: tuple[Utility, pd.DataFrame]
):
    utility, frame = world
    forecast = naive.predict(known_until_gate(frame, utility, DAY), DAY)
    # From the first day with enough before it, off daylight saving, a week is 168 hours.
    summer = frame[DEMAND_MW].loc[: utility.day_index(date(2013, 10, 26))[-1]]
    miss = (summer - summer.shift(168)).iloc[24 * LOOKBACK_DAYS :]
    offsets = forecast[list(QUANTILE_COLUMNS)].sub(forecast[FORECAST_MW], axis=0).iloc[0]
    assert offsets.to_numpy() == pytest.approx(np.quantile(miss, QUANTILES), abs=3)
    assert (offsets.diff().dropna() > 0).all()


def test_an_hour_that_was_not_measured_a_week_ago_is_made_up_from_the_week_before_that(
    naive: SeasonalNaive, world: tuple[Utility, pd.DataFrame]
):
    utility, frame = world
    known = known_until_gate(frame, utility, DAY)
    missing = utility.day_index(DAY - timedelta(days=7))[3]
    known.loc[missing, DEMAND_MW] = np.nan
    week_before = known[DEMAND_MW].shift(freq="7D")
    day_before = slice(missing - pd.Timedelta(days=1), missing - utility.step)
    shift = (known[DEMAND_MW].loc[day_before] - week_before.loc[day_before]).mean()
    usual_miss = naive.miss_mw_[QUANTILES.index(0.5)]
    assert naive.predict(known, DAY)[FORECAST_MW].iloc[3] == pytest.approx(week_before.loc[missing] + shift + usual_miss)


def test_with_four_weeks_unknown_it_still_answers(naive: SeasonalNaive, world: tuple[Utility, pd.DataFrame]):
    utility, frame = world
    known = known_until_gate(frame, utility, DAY)
    known.loc[known.index[-24 * 30] :, DEMAND_MW] = np.nan
    assert np.isfinite(naive.predict(known, DAY).to_numpy()).all()
