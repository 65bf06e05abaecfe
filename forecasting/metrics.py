"""Scores of a forecast, all with one signature: (actual_mw, forecast) → a number. Pairs with a missing side are left out.

MAPE is undefined where demand is zero and misleading where it is negative: `mape_percent` then answers NaN, and
`wape_percent` (error over mean absolute demand) is the figure to report. A score of nothing is NaN.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from data.schema import QUANTILES, Array
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS, quantile_column


def mape_percent(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Mean absolute percentage error [%]; NaN when any demand is not positive. Hyndman & Koehler (2006), section 2.2."""
    error, actual = _error(actual_mw, forecast)
    if not len(actual) or (actual <= 0).any():
        return float("nan")
    return float(np.mean(np.abs(error) / actual) * 100)


def wape_percent(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Mean absolute error over mean absolute demand [%]. Kolassa & Schütz (2007), "Advantages of the MAD/mean ratio"."""
    error, actual = _error(actual_mw, forecast)
    return _ratio_percent(np.abs(error).sum(), np.abs(actual).sum())


def mae_mw(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Mean absolute error [MW]. Hyndman & Koehler (2006), section 2.1."""
    error, _ = _error(actual_mw, forecast)
    return float(np.mean(np.abs(error))) if len(error) else float("nan")


def rmse_mw(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Root mean squared error [MW]. Hyndman & Koehler (2006), section 2.1."""
    error, _ = _error(actual_mw, forecast)
    return float(np.sqrt(np.mean(error**2))) if len(error) else float("nan")


def bias_percent(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Sum of errors over sum of absolute demand [%]; positive means too much was forecast."""
    error, actual = _error(actual_mw, forecast)
    return _ratio_percent(error.sum(), np.abs(actual).sum())


def pinball_mw(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Mean pinball loss over the nine deciles [MW]. Koenker & Bassett (1978); Gneiting (2011), section 3."""
    paired = forecast.join(actual_mw.rename("actual_mw"), how="inner").dropna()
    losses = []
    for level in QUANTILES:
        short = paired["actual_mw"] - paired[quantile_column(level)]
        losses.append(np.maximum(level * short, (level - 1) * short).mean())
    return float(np.mean(losses))


def cover_80_percent(actual_mw: pd.Series, forecast: pd.DataFrame) -> float:
    """Share of actual values within [q10, q90] [%]; 80 is right. Gneiting & Raftery (2007), section 6.1."""
    paired = forecast.join(actual_mw.rename("actual_mw"), how="inner").dropna()
    inside = paired["actual_mw"].between(paired[QUANTILE_COLUMNS[0]], paired[QUANTILE_COLUMNS[-1]])
    return float(inside.mean() * 100)


def score(actual_mw: pd.Series, forecast: pd.DataFrame) -> dict[str, float]:
    """Every score by name."""
    return {
        measure.__name__: measure(actual_mw, forecast)
        for measure in (mape_percent, wape_percent, mae_mw, rmse_mw, bias_percent, pinball_mw, cover_80_percent)
    }


def _ratio_percent(part: float, whole: float) -> float:
    return float(part / whole * 100) if whole > 0 else float("nan")


def _error(actual_mw: pd.Series, forecast: pd.DataFrame) -> tuple[Array, Array]:
    actual = actual_mw.reindex(forecast.index).to_numpy(dtype=np.float64, na_value=np.nan)
    predicted = forecast[FORECAST_MW].to_numpy(dtype=np.float64)
    both = np.isfinite(actual) & np.isfinite(predicted)
    return predicted[both] - actual[both], actual[both]
