"""One temperature from those that are believed: a robust weighted mean with an uncertainty.

Each source is freed from its usual bias and weighs by its past accuracy. The weighted median, which fewer than half of the
weight cannot move, says where the middle is; sources further from it than their own spread allows count less, and not at
all far out (one step of an M-estimator; Huber, "Robust Statistics", ch. 4). The uncertainty grows when sources are lost,
when they disagree, and by what a suspect may be lying.
"""

from __future__ import annotations

import numpy as np

from data.schema import Array, Integers
from data.trust.relation import middle_of

# Scales a median absolute deviation to a standard deviation under normality; Rousseeuw & Croux (1993).
MAD_TO_SIGMA = 1.4826
FULL_WEIGHT_SPREADS, NO_WEIGHT_SPREADS = 2.0, 5.0
SUSPECT_SHARE = 0.25
# Sources share what the weather does to all of them: that part of their spread does not average out.
SHARED_SPREAD_C = 0.25
# Nobody's past is so good that everybody else should be silent.
LEAST_SPREAD_C = 0.2
MOST_SHARE = 0.49
# Of a source whose past is not known.
UNKNOWN_SPREAD_C = 1.0


def usual_spread(values: Array, source: int) -> float:
    """How far a source usually is from the middle of the others [°C, 1 σ]; unknown where nobody else said anything.

    values: a baseline, profiles taken off, NaN where unknown, shape (rows, sources).
    """
    distance = values[:, source] - middle_of(np.delete(values, source, axis=1))
    distance = distance[np.isfinite(distance)]
    if not len(distance):
        return UNKNOWN_SPREAD_C
    return max(MAD_TO_SIGMA * float(np.median(np.abs(distance - np.median(distance)))), LEAST_SPREAD_C)


def accuracy_weights(spread_c: Array) -> Array:
    """Weight of each source by its usual spread [°C], shape (sources,): of three or more, none outweighs all the others.

    Fewer than half of the weight shall never be one source (AML.T0020).
    """
    weights = np.asarray(1 / (spread_c**2 + LEAST_SPREAD_C**2))
    if len(weights) < 3:
        return weights
    first = int(np.argmax(weights))
    others = weights.sum() - weights[first]
    weights[first] = min(weights[first], MOST_SHARE / (1 - MOST_SHARE) * others)
    return weights


def fused_of(values: Array, weights: Array, spread_c: Array, doubt_c: Array) -> tuple[Array, Array, Integers]:
    """Temperature [°C], its uncertainty [°C, 1 σ] and number of sources of each row; NaN and 0 where nobody is believed.

    values: profiles taken off, NaN where unusable, shape (rows, sources); weights: ≥ 0, same shape; spread_c: usual
    hourly spread of each source; doubt_c: how far it is suspected to be off, 0 for the trusted; shapes (sources,).
    """
    weights = np.where(np.isfinite(values), weights, 0.0)
    total = weights.sum(axis=1)
    middle = _weighted_median(values, weights, total)
    distance = np.abs(np.where(weights > 0, values, middle[:, None]) - middle[:, None]) / spread_c
    reach = (NO_WEIGHT_SPREADS - distance) / (NO_WEIGHT_SPREADS - FULL_WEIGHT_SPREADS)
    kept = weights * np.clip(reach, 0.0, 1.0)
    # Where all are far from the middle, as it lies between two that contradict each other, the nearest count.
    nearest = np.where(weights > 0, distance, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    kept = np.where(kept.sum(axis=1, keepdims=True) > 0, kept, weights * (distance <= nearest * (1 + 1e-9)))
    kept_total = kept.sum(axis=1)
    some = kept_total > 0
    share = np.divide(kept, kept_total[:, None], out=np.zeros_like(kept), where=some[:, None])
    mean = np.where(some, (share * np.where(kept > 0, values, 0.0)).sum(axis=1), np.nan)
    model = (share**2 * spread_c**2).sum(axis=1)
    gap = np.where(kept > 0, values, mean[:, None]) - mean[:, None]
    sources = (kept > 0).sum(axis=1)
    seen = (share * gap**2).sum(axis=1) / np.maximum(sources - 1, 1)
    doubted = ((share * doubt_c) ** 2).sum(axis=1)
    uncertainty = np.sqrt(SHARED_SPREAD_C**2 + np.maximum(model, seen) + doubted)
    return mean, np.where(some, uncertainty, np.nan), np.where(some, sources, 0)


def _weighted_median(values: Array, weights: Array, total: Array) -> Array:
    """The value at half of the weight; the mean of both sides where half is met exactly; NaN without any weight."""
    order = np.argsort(np.where(weights > 0, values, np.inf), axis=1)
    rows = np.arange(len(values))
    ordered = np.take_along_axis(values, order, axis=1)
    reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    half = total[:, None] / 2
    below = (reached < half * (1 - 1e-9)).sum(axis=1)
    above = (reached <= half * (1 + 1e-9)).sum(axis=1)
    last = np.maximum((weights > 0).sum(axis=1) - 1, 0)
    low, high = np.minimum(below, last), np.minimum(above, last)
    return np.where(total > 0, (ordered[rows, low] + ordered[rows, high]) / 2, np.nan)
