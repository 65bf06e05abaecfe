"""Scores against numbers worked out by hand, and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as oracle

from data.schema import QUANTILES
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS, quantile_column
from forecasting.metrics import (
    bias_percent,
    cover_80_percent,
    mae_mw,
    mape_percent,
    pinball_mw,
    rmse_mw,
    score,
    wape_percent,
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
    assert score(actual.iloc[::-1], forecast) == score(actual, forecast)


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
    assert score(ACTUAL, FORECAST) == {
        "mape_percent": mape_percent(ACTUAL, FORECAST),
        "wape_percent": wape_percent(ACTUAL, FORECAST),
        "mae_mw": mae_mw(ACTUAL, FORECAST),
        "rmse_mw": rmse_mw(ACTUAL, FORECAST),
        "bias_percent": bias_percent(ACTUAL, FORECAST),
        "pinball_mw": pinball_mw(ACTUAL, FORECAST),
        "cover_80_percent": cover_80_percent(ACTUAL, FORECAST),
    }


def test_quantiles_are_named_by_their_percentage():
    assert [quantile_column(level) for level in (0.1, 0.5, 0.975)] == ["q10", "q50", "q97.5"]
