"""Quantiles of any level: deciles as they are, straight over normal scores between them, never out of order."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from data.schema import QUANTILES
from forecasting.any_quantile import at_levels

NORMAL = 5000 + 200 * norm.ppf(np.array(QUANTILES))[None, :]


@pytest.mark.parametrize("level", [0.01, 0.05, 0.13, 0.35, 0.5, 0.777, 0.95, 0.99])
def test_of_a_normal_forecast_every_level_is_exact(level: float) -> None:
    assert at_levels(NORMAL, [level])[0, 0] == pytest.approx(5000 + 200 * norm.ppf(level), abs=1e-9)


def test_beyond_the_outer_deciles_a_skewed_forecast_goes_on_as_steep_as_it_ended() -> None:
    skewed = np.array([[0.0, 1, 2, 3, 4, 5, 6, 7, 20]])
    upper, lower = 20 - at_levels(skewed, [0.95])[0, 0], at_levels(skewed, [0.05])[0, 0]
    assert upper / lower == pytest.approx(13)


def test_a_forecast_without_spread_answers_its_one_value_at_every_level() -> None:
    flat = np.full((3, 9), 0.1 + 0.2)
    assert (at_levels(flat, [0.01, 0.123, 0.5, 0.99]) == 0.1 + 0.2).all()
