"""What recent demand tells of the day: how far the last days departed from a model, carried over by rules fixed in the code.

Departures are taken for a Gaussian process over days and hours: a slow part (the level and shape of these weeks), a part of
the kind of day, a fast part (these hours), and noise. Its best linear prediction is a table of weights that follows from
which hours are known, and from no demand that was ever measured. Source: Rasmussen & Williams (2006), "Gaussian Processes
for Machine Learning", equation 2.23.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from data.schema import Array

HOURS = 24
RECENT_DAYS = 14
# Parts of the variance, noise included, and how long they last. Chosen on 2013 (python -m benchmarks.certified_settings).
SLOW, SLOW_DAYS, SLOW_WHOLE_DAY = 0.6, 60.0, 0.1
KIND, KIND_DAYS = 0.075, 30.0
FAST, FAST_HOURS = 0.08, 30.0
NOISE = 0.3
ALIKE_HOURS = 0.5


@dataclass(frozen=True)
class _Points:
    """Where departures are: number of the day, hour of the day, kind of day."""

    day: Array
    hour: Array
    kind: Array


def carried_over(departed: Array, kinds: tuple[int, ...], slots: int) -> Array:
    """What to expect of each slot of the last day, shape (…, slots).

    departed: by hour of consecutive days, the last of them the day that is forecast, shape (…, days, 24), NaN where not
    known (`by_hour`; for all leading indices alike); kinds: of these days (certified_features.Kind).
    """
    known = np.isfinite(departed).reshape(-1, *departed.shape[-2:])[0]
    expected: Array = departed[..., known] @ _weights(known.tobytes(), kinds, slots).T
    return expected


def by_hour(values: Array) -> Array:
    """Means of the hours, shape (…, 24), over what is known of each; NaN where nothing is. values: shape (…, slots)."""
    first = np.arange(HOURS) * values.shape[-1] // HOURS
    good = np.isfinite(values)
    total = np.add.reduceat(np.where(good, values, 0.0), first, axis=-1)
    count = np.add.reduceat(good.astype(np.int64), first, axis=-1)
    mean: Array = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


@lru_cache(maxsize=512)  # most days know the same hours of the days before
def _weights(known: bytes, kinds: tuple[int, ...], slots: int) -> Array:
    """How much each known hour counts for each slot, shape (slots, known hours)."""
    day, hour = np.nonzero(np.frombuffer(known, dtype=np.bool_).reshape(-1, HOURS))
    of_day = np.array(kinds, dtype=np.float64)
    last = np.full(slots, len(kinds) - 1)
    points = _Points(day.astype(np.float64), np.asarray(hour + 0.5, dtype=np.float64), of_day[day])
    middles = np.asarray((np.arange(slots) + 0.5) * HOURS / slots, dtype=np.float64)
    asked = _Points(last.astype(np.float64), middles, of_day[last])
    among = _covariance(points, points) + NOISE * np.eye(len(day))
    return np.asarray(np.linalg.solve(among, _covariance(points, asked)).T, dtype=np.float64)


def _covariance(one: _Points, other: _Points) -> Array:
    """Of departures at these points, shape (one, other)."""
    days, hours = (np.abs(np.subtract.outer(a, b)) for a, b in ((one.day, other.day), (one.hour, other.hour)))
    apart = np.abs(np.subtract.outer(one.day * HOURS + one.hour, other.day * HOURS + other.hour))
    alike = np.exp(-0.5 * (np.minimum(hours, HOURS - hours) / ALIKE_HOURS) ** 2)
    slow = SLOW * np.exp(-days / SLOW_DAYS) * (SLOW_WHOLE_DAY + (1 - SLOW_WHOLE_DAY) * alike)
    same_kind = KIND * np.equal.outer(one.kind, other.kind) * alike * np.exp(-days / KIND_DAYS)
    covariance: Array = slow + same_kind + FAST * np.exp(-apart / FAST_HOURS)
    return covariance
