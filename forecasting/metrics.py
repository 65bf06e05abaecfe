"""Scores of a forecast, all with one signature: (actual_mw, forecast) → a number. Pairs with a missing side are left out.

actual_mw: demand [MW], index UTC. forecast: columns `forecast_mw`, `q10` … `q90` [MW], index UTC, a part of actual_mw's.

MAPE is undefined where demand is zero and misleading where it is negative: `mape_percent` then answers NaN, and
`wape_percent` (error over mean absolute demand) is the figure to report. A score of nothing is NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from data.schema import QUANTILES, Array
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS

A_WEEK = pd.Timedelta(days=7)


def mape_percent(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Mean absolute percentage error [%]; NaN when any demand is not positive. Hyndman & Koehler (2006), section 2.2."""
    error, actual = _error(actual_mw, forecast)
    if not len(actual) or (actual <= 0).any():
        return float("nan")
    return float(np.mean(np.abs(error) / actual) * 100)


def wape_percent(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Mean absolute error over mean absolute demand [%]; zero and negative demand do it no harm.

    Source: Kolassa & Schütz (2007), "Advantages of the MAD/Mean ratio over the MAPE".
    """
    error, actual = _error(actual_mw, forecast)
    return _ratio_percent(np.abs(error).sum(), np.abs(actual).sum())


def mae_mw(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Mean absolute error [MW]. Hyndman & Koehler (2006), section 2.1."""
    error, _ = _error(actual_mw, forecast)
    return _mean(np.abs(error))


def rmse_mw(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Root mean squared error [MW]. Hyndman & Koehler (2006), section 2.1."""
    error, _ = _error(actual_mw, forecast)
    return float(np.sqrt(_mean(error**2)))


def bias_percent(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Sum of errors over sum of absolute demand [%]; positive means too much was forecast.

    Source: the normalised mean bias, Emery et al. (2017), "Recommendations on statistics and benchmarks to assess
    photochemical model performance"; absolute values below the line, so that negative demand does not turn its sign.
    """
    error, actual = _error(actual_mw, forecast)
    return _ratio_percent(error.sum(), np.abs(actual).sum())


def pinball_mw(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Mean pinball loss over the nine deciles [MW].

    Source: Koenker & Bassett (1978), "Regression quantiles"; proper by Gneiting & Raftery (2007), section 6.1.
    """
    actual, quantiles = _paired_quantiles(actual_mw, forecast)
    short = actual[:, None] - quantiles
    return _mean(np.maximum(QUANTILES * short, (np.asarray(QUANTILES) - 1) * short))


def crps_mw(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Continuous ranked probability score [MW], approximated from the nine deciles.

    Source: twice the integral of the pinball loss over all levels, Laio & Tamea (2007), "Verification tools for
    probabilistic forecasts of continuous hydrological variables"; here by the trapezoidal rule on the levels 0, 0.1 … 1,
    with no loss at 0 and 1. A calibrated normal forecast scores 1.5 % too low by it. Equal steps make it 1.8 times
    `pinball_mw`; others take twice (Berrisch & Ziel 2023), for which such a forecast scores 9 % too high.
    """
    return 2 * (len(QUANTILES) / (len(QUANTILES) + 1)) * pinball_mw(actual_mw, forecast)


def cover_80_percent(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Share of actual values within [q10, q90] [%]; 80 is right.

    Source: Christoffersen (1998), "Evaluating interval forecasts", unconditional coverage.
    """
    actual, quantiles = _paired_quantiles(actual_mw, forecast)
    inside = (quantiles[:, 0] <= actual) & (actual <= quantiles[:, -1])
    return 100 * _mean(inside.astype(np.float64))


def width_80_mw(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Mean width of [q10, q90] [MW]; of two forecasts that cover alike, the narrower is the better.

    Source: sharpness of central intervals, Gneiting, Balabdaoui & Raftery (2007), "Probabilistic forecasts, calibration
    and sharpness".
    """
    _, quantiles = _paired_quantiles(actual_mw, forecast)
    return _mean(quantiles[:, -1] - quantiles[:, 0])


def skill_percent(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """How much smaller the mean absolute error is than that of demand 168 hours before [%]: 1 − MAE / MAE of the naive.

    100 is perfect, 0 no better than a week ago. Pairs without a value a week before are left out, so `actual_mw` should
    reach that much further back; NaN where there are none. Source: relative MAE, Hyndman & Koehler (2006), section 2.4, as
    a skill score, Murphy (1988).
    """
    actual = _reindexed(actual_mw, pd.DatetimeIndex(forecast.index))
    week_ago = _reindexed(actual_mw, pd.DatetimeIndex(forecast.index) - A_WEEK)
    predicted = forecast[FORECAST_MW].to_numpy(dtype=np.float64)
    known = np.isfinite(actual) & np.isfinite(week_ago) & np.isfinite(predicted)
    naive = np.abs(week_ago - actual)[known].sum()
    return 100 - _ratio_percent(np.abs(predicted - actual)[known].sum(), naive)


METRICS: tuple[Callable[[pd.Series, pd.DataFrame], float], ...] = (
    mape_percent,
    wape_percent,
    mae_mw,
    rmse_mw,
    bias_percent,
    pinball_mw,
    crps_mw,
    cover_80_percent,
    width_80_mw,
    skill_percent,
)


def score(actual_mw: pd.Series, forecast: pd.DataFrame) -> dict[str, float]:
    """Every score by name."""
    return {measure.__name__: measure(actual_mw, forecast) for measure in METRICS}


def _mean(values: Array) -> float:
    return float(np.mean(values)) if values.size else float("nan")


def _ratio_percent(part: float, whole: float) -> float:
    return float(part / whole * 100) if whole > 0 else float("nan")


def _reindexed(actual_mw: pd.Series, index: pd.DatetimeIndex) -> Array:
    return actual_mw.reindex(index).to_numpy(dtype=np.float64, na_value=np.nan)


def _error(actual_mw: pd.Series, forecast: pd.DataFrame) -> tuple[Array, Array]:
    actual = _reindexed(actual_mw, pd.DatetimeIndex(forecast.index))
    predicted = forecast[FORECAST_MW].to_numpy(dtype=np.float64)
    both = np.isfinite(actual) & np.isfinite(predicted)
    return predicted[both] - actual[both], actual[both]


def _paired_quantiles(actual_mw: pd.Series, forecast: pd.DataFrame) -> tuple[Array, Array]:
    """Actual values, shape (pairs,), and the deciles forecast for them, shape (pairs, 9)."""
    actual = _reindexed(actual_mw, pd.DatetimeIndex(forecast.index))
    quantiles = forecast[list(QUANTILE_COLUMNS)].to_numpy(dtype=np.float64)
    both = np.isfinite(actual) & np.isfinite(quantiles).all(axis=1)
    return actual[both], quantiles[both]
