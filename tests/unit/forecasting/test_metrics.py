"""Scores against numbers worked out by hand, and against scikit-learn."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as oracle
from scipy.stats import norm

from data.schema import QUANTILES
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS, quantile_column
from forecasting.metrics import (
    METRICS,
    bias_percent,
    cover_80_percent,
    crps_mw,
    mae_mw,
    mape_percent,
    pinball_mw,
    rmse_mw,
    score,
    skill_percent,
    wape_percent,
    width_80_mw,
)

INDEX = pd.date_range("2014-01-01", periods=4, freq="h", tz="UTC", name="timestamp")
ACTUAL = pd.Series([100.0, 200.0, 400.0, 300.0], index=INDEX)


def forecast_of(values: list[float], spread: float = 0.0) -> pd.DataFrame:
    columns = {
        name: np.array(values) + spread * (level - 0.5) for name, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True)
    }
    return pd.DataFrame({FORECAST_MW: values, **columns}, index=INDEX[: len(values)])


FORECAST = forecast_of([110.0, 180.0, 400.0, 330.0])


def test_scores_are_what_a_pencil_gives():
    assert mae_mw(ACTUAL, FORECAST) == pytest.approx(15)
    assert rmse_mw(ACTUAL, FORECAST) == pytest.approx(math.sqrt(350))
    assert mape_percent(ACTUAL, FORECAST) == pytest.approx((10 + 10 + 0 + 10) / 4)
    assert wape_percent(ACTUAL, FORECAST) == pytest.approx(6)
    assert bias_percent(ACTUAL, FORECAST) == pytest.approx(2)
    assert pinball_mw(ACTUAL, FORECAST) == pytest.approx(7.5)
    assert cover_80_percent(ACTUAL, FORECAST) == pytest.approx(25)


def test_forecasting_too_much_is_a_positive_bias_and_too_little_a_negative_one():
    assert bias_percent(ACTUAL, forecast_of([120.0, 200.0, 400.0, 300.0])) == pytest.approx(2)
    assert bias_percent(ACTUAL, forecast_of([80.0, 200.0, 400.0, 300.0])) == pytest.approx(-2)
    assert bias_percent(-ACTUAL, -forecast_of([80.0, 200.0, 400.0, 300.0])) == pytest.approx(2)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_scores_agree_with_scikit_learn(seed: int):
    random = np.random.default_rng(seed)
    index = pd.date_range("2014-01-01", periods=500, freq="h", tz="UTC")
    actual = pd.Series(random.uniform(500, 1500, 500), index=index)
    centre = actual.to_numpy() + random.normal(0, 50, 500)
    quantiles = np.sort(centre[:, None] + random.normal(0, 80, (500, 9)), axis=1)
    forecast = pd.DataFrame(quantiles, index=index, columns=QUANTILE_COLUMNS)
    forecast.insert(0, FORECAST_MW, centre)
    assert mae_mw(actual, forecast) == pytest.approx(oracle.mean_absolute_error(actual, centre))
    assert rmse_mw(actual, forecast) == pytest.approx(oracle.root_mean_squared_error(actual, centre))
    assert mape_percent(actual, forecast) == pytest.approx(100 * oracle.mean_absolute_percentage_error(actual, centre))
    losses = [oracle.mean_pinball_loss(actual, forecast[quantile_column(level)], alpha=level) for level in QUANTILES]
    assert pinball_mw(actual, forecast) == pytest.approx(np.mean(losses))


def test_pairs_with_a_missing_side_are_left_out():
    actual = ACTUAL.copy()
    actual.iloc[1] = np.nan
    forecast = forecast_of([110.0, 180.0, float("nan"), 330.0])
    assert mae_mw(actual, forecast) == pytest.approx(20)
    assert pinball_mw(actual, forecast) == pytest.approx(10)
    assert score(actual.iloc[::-1], forecast) == pytest.approx(score(actual, forecast), nan_ok=True)


@pytest.mark.parametrize("value", [0.0, -5.0])
def test_mape_has_no_answer_where_demand_is_not_positive_and_wape_has(value: float):
    actual = ACTUAL.copy()
    actual.iloc[0] = value
    assert math.isnan(mape_percent(actual, FORECAST))
    assert math.isfinite(wape_percent(actual, FORECAST))


@pytest.mark.parametrize("actual", [ACTUAL * np.nan, ACTUAL.iloc[:0]])
def test_a_score_of_nothing_is_nan(actual: pd.Series):
    assert all(math.isnan(value) for value in score(actual, FORECAST).values())


def test_relative_scores_of_no_demand_at_all_are_nan():
    assert math.isnan(wape_percent(ACTUAL * 0, FORECAST))
    assert math.isnan(bias_percent(ACTUAL * 0, FORECAST))
    assert mae_mw(ACTUAL * 0, FORECAST) == pytest.approx(255)


def test_values_on_the_edge_of_the_interval_are_covered():
    forecast = forecast_of([100.0, 200.0, 400.0, 300.0], spread=100.0)
    assert cover_80_percent(ACTUAL + 40, forecast) == 100
    assert cover_80_percent(ACTUAL - 40, forecast) == 100
    assert cover_80_percent(ACTUAL + 40.001, forecast) == 0


def test_every_score_stands_under_its_name():
    forecast = forecast_of([110.0, 180.0, 400.0, 330.0], spread=50)
    assert list(score(ACTUAL, forecast)) == [
        *("mape_percent", "wape_percent", "mae_mw", "rmse_mw", "bias_percent"),
        *("pinball_mw", "crps_mw", "cover_80_percent", "width_80_mw", "skill_percent"),
    ]
    by_hand = {measure.__name__: measure(ACTUAL, forecast) for measure in METRICS}
    assert score(ACTUAL, forecast) == pytest.approx(by_hand, nan_ok=True)


@pytest.mark.parametrize("measure", METRICS)
def test_every_score_names_its_source(measure: Callable[[pd.Series, pd.DataFrame], float]):
    assert re.search(r"[A-Z]\w+.*\((?:19|20)\d\d\)", measure.__doc__ or "")


def test_a_calibrated_normal_forecast_has_the_crps_that_theory_gives():
    random = np.random.default_rng(5)
    index = pd.date_range("2014-01-01", periods=20_000, freq="h", tz="UTC")
    actual = pd.Series(random.normal(1000, 50, len(index)), index=index)
    deciles = 1000 + 50 * norm.ppf(QUANTILES)
    forecast = pd.DataFrame(np.tile(deciles, (len(index), 1)), index=index, columns=QUANTILE_COLUMNS).assign(
        forecast_mw=1000.0
    )
    # E CRPS of N(m, s) about a draw of itself is s / sqrt(pi): Gneiting & Raftery (2007), equation 21.
    assert crps_mw(actual, forecast) == pytest.approx(50 / math.sqrt(math.pi), rel=0.03)
    assert cover_80_percent(actual, forecast) == pytest.approx(80, abs=1)
    assert width_80_mw(actual, forecast) == pytest.approx(2 * 50 * norm.ppf(0.9))


def test_the_crps_of_a_forecast_without_spread_is_nearly_its_absolute_error():
    forecast = forecast_of([110.0, 180.0, 400.0, 330.0])
    assert crps_mw(ACTUAL, forecast) == pytest.approx(0.9 * mae_mw(ACTUAL, forecast))


def test_width_is_between_the_outer_deciles_where_there_was_demand():
    forecast = forecast_of([100.0, 200.0, 400.0, 300.0], spread=100.0)
    assert width_80_mw(ACTUAL, forecast) == pytest.approx(80)
    forecast.loc[INDEX[0], "q90"] += 400
    assert width_80_mw(ACTUAL, forecast) == pytest.approx(180)
    assert width_80_mw(ACTUAL.drop(INDEX[0]), forecast) == pytest.approx(80)


def two_weeks(this_week: float, week_ago: float) -> pd.Series:
    index = pd.date_range("2013-12-25", periods=2 * 168, freq="h", tz="UTC")
    return pd.Series(np.where(np.arange(2 * 168) < 168, week_ago, this_week), index=index)


def test_skill_is_measured_against_the_same_interval_a_week_before():
    assert skill_percent(two_weeks(100, 140), forecast_of([110.0, 90.0, 110.0, 90.0])) == pytest.approx(75)
    assert skill_percent(two_weeks(100, 140), forecast_of([100.0] * 4)) == 100
    assert skill_percent(two_weeks(100, 140), forecast_of([140.0] * 4)) == 0
    assert skill_percent(two_weeks(100, 140), forecast_of([180.0] * 4)) == pytest.approx(-100)


def test_without_a_week_before_there_is_no_skill_and_what_lacks_it_is_left_out():
    actual = two_weeks(100, 140)
    forecast = forecast_of([110.0, 90.0, 200.0, 200.0])
    assert math.isnan(skill_percent(ACTUAL, forecast))
    actual.loc[INDEX[2:] - pd.Timedelta(days=7)] = np.nan
    assert skill_percent(actual, forecast) == pytest.approx(75)
    # A naive that was right throughout leaves nothing to be better than.
    assert math.isnan(skill_percent(two_weeks(100, 100), forecast))


def test_quantiles_are_named_by_their_percentage():
    assert [quantile_column(level) for level in (0.1, 0.5, 0.975)] == ["q10", "q50", "q97.5"]
