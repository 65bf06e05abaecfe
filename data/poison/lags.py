"""Does a week fit better some hours earlier or later than where it stands?"""

from __future__ import annotations

import numpy as np

from data.poison.offsets import HOURS_A_WEEK
from data.schema import Array

LONGEST_HOURS = 24
LEAST_KNOWN = 0.5
# What is as good as nothing against a spread of one.
TINY = 1e-9


def best_lags(values: Array, expected: Array) -> tuple[Array, Array]:
    """Of each week how much better it fits `expected` elsewhere, and how many hours late it stands; shapes (weeks,).

    values, expected: by slot, NaN where unknown, shape (weeks, slots of a week). With s(k) the spread of what was said over
    what was expected k hours before, 1 ≤ |k| ≤ 24: log(s(0) / smallest s(k)). NaN where less than half of a week is known.
    """
    an_hour = values.shape[1] // HOURS_A_WEEK
    lags = [hours for hours in range(-LONGEST_HOURS, LONGEST_HOURS + 1) if hours != 0]
    here = _spread(values, expected)
    flat = expected.ravel()
    away = np.stack([_spread(values, _moved(flat, hours * an_hour).reshape(expected.shape)) for hours in lags])
    known = np.isfinite(here) & np.isfinite(away).any(axis=0)
    best = np.where(np.isfinite(away), away, np.inf).argmin(axis=0)
    least = np.where(known, away[best, np.arange(len(here))], np.nan)
    gain = np.log(np.maximum(here, TINY)) - np.log(np.maximum(least, TINY))
    return gain, np.where(known, np.array(lags, dtype=np.float64)[best], np.nan)


def _moved(flat: Array, steps: int) -> Array:
    moved = np.full(flat.shape, np.nan)
    if steps > 0:
        moved[steps:] = flat[:-steps]
    else:
        moved[:steps] = flat[-steps:]
    return moved


def _spread(values: Array, expected: Array) -> Array:
    """Standard deviation of the difference in each week."""
    difference = values - expected
    known = np.isfinite(difference)
    count = known.sum(axis=1)
    filled = np.where(known, difference, 0.0)
    mean = filled.sum(axis=1) / np.maximum(count, 1)
    square = (np.where(known, difference - mean[:, None], 0.0) ** 2).sum(axis=1) / np.maximum(count, 1)
    return np.where(count >= LEAST_KNOWN * values.shape[1], np.sqrt(square), np.nan)
