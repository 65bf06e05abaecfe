"""Quantiles of any level out of the nine deciles.

Between two deciles in a straight line over normal scores: exact where demand errs normally, and never out of order. Beyond
the outer ones the line goes on as steep as between the last two; what that covers is measured
(`python -m benchmarks.forecast_horizons`). Source: Gilchrist (2000),
"Statistical Modelling with Quantile Functions", chapter 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.special import ndtri

from data.schema import QUANTILES, Array, Integers

LOWEST, HIGHEST = 0.01, 0.99
_LAST = len(QUANTILES) - 1


def at_levels(deciles_mw: Array, levels: Sequence[float]) -> Array:
    """Quantiles at `levels` in their order, shape (intervals, levels) [MW]; a decile is answered as it is.

    deciles_mw: shape (intervals, 9), none below the one before it; levels: 0 < level < 1.
    """
    start, base, beyond = _placed(tuple(levels))
    line = deciles_mw[:, base] + (deciles_mw[:, start + 1] - deciles_mw[:, start]) * beyond
    # A last digit gained in the multiplication must not put two levels out of order.
    next_up = np.where(base < _LAST, deciles_mw[:, np.minimum(base + 1, _LAST)], np.inf)
    answer: Array = np.minimum(line, next_up)
    return answer


@lru_cache(maxsize=512)
def _placed(levels: tuple[float, ...]) -> tuple[Integers, Integers, Array]:
    """Of each level: the decile its line comes from, the one it is counted from, and how many of the line's steps on."""
    scores = ndtri(np.array(QUANTILES))
    base = np.maximum(np.searchsorted(np.array(QUANTILES), np.array(levels), side="right") - 1, 0)
    start = np.minimum(base, _LAST - 1)
    wanted = np.where(np.isin(levels, QUANTILES), scores[base], ndtri(np.array(levels)))
    return start, base, (wanted - scores[base]) / (scores[start + 1] - scores[start])
