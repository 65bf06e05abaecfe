"""Quantiles around a point forecast from honest residuals.

Each residual comes from a model that had not seen its week (cross-fitting); divided by a predicted spread it becomes a
standardised score, and quantiles of the scores, times the spread, become the forecast's quantiles. Sorted scores and a
positive spread cannot cross. Source: Lei, G'Sell, Rinaldo, Tibshirani, Wasserman (2018), "Distribution-free predictive
inference for regression", section 5.2 (locally weighted conformal).
"""

from __future__ import annotations

import numpy as np

from data.schema import QUANTILES, Array


def score_quantiles(residual: Array, spread: Array) -> Array:
    """Quantiles of residual / spread at `data.schema.QUANTILES`, non-decreasing; rows that are not finite are left out."""
    scores = residual / spread
    return np.quantile(scores[np.isfinite(scores)], QUANTILES)


def quantiles_around(centre: Array, spread: Array, scores: Array) -> Array:
    """Forecast quantiles, shape (rows, levels), in order along each row."""
    return centre[:, None] + spread[:, None] * scores[None, :]
