"""Quantiles around a forecast: from honest residuals, in order, and right on average."""

from __future__ import annotations

import numpy as np
import pytest

from data.schema import QUANTILES
from forecasting.calibration import quantiles_around, score_quantiles


def test_scores_are_quantiles_of_the_residual_over_its_spread():
    residual, spread = np.arange(-10.0, 11.0) * 3, np.full(21, 3.0)
    assert score_quantiles(residual, spread) == pytest.approx([-8, -6, -4, -2, 0, 2, 4, 6, 8])


def test_rows_that_are_not_finite_are_left_out():
    residual = np.array([np.nan, *np.arange(-10.0, 11.0), np.inf, 1.0])
    spread = np.array([1.0] * 22 + [1.0, np.nan])
    assert score_quantiles(residual, spread) == pytest.approx([-8, -6, -4, -2, 0, 2, 4, 6, 8])


def test_quantiles_stand_around_the_centre_in_proportion_to_the_spread():
    found = quantiles_around(np.array([100.0, 200.0]), np.array([1.0, 10.0]), np.array([-1.0, 0.0, 2.0]))
    assert found.tolist() == [[99.0, 100.0, 102.0], [190.0, 200.0, 220.0]]


def test_each_quantile_covers_its_share_of_new_residuals_where_the_spread_is_known():
    random = np.random.default_rng(1)
    spread = random.uniform(1, 10, 400_000)
    residual = spread * random.standard_t(5, 400_000)
    scores = score_quantiles(residual[:200_000], spread[:200_000])
    quantiles = quantiles_around(np.zeros(200_000), spread[200_000:], scores)
    covered = (residual[200_000:, None] <= quantiles).mean(axis=0)
    assert covered == pytest.approx(QUANTILES, abs=0.005)
    assert (np.diff(quantiles, axis=1) >= 0).all()
