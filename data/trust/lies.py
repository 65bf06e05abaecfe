"""The ways a source can lie, each as a mark it leaves on a day's residuals.

A lie of a kind adds (its size) × (its mark) to the residual of every hour. For each local day and each kind the residuals
are projected on the mark: the least-squares size of the lie on that day, and the weight of the estimate.

    kind      mark of an hour                                      unit of its size
    offset    1, hours weighed by how quiet they are               °C
    cold      1 below the mild band, else 0                        °C
    mild      1 in the mild band, else 0                           °C
    warm      1 above the mild band, else 0                        °C
    swing     the others' mean, its mean of the day taken off      °C a °C (a pull towards mild, a wrong scale)
    late      the others' value two hours ago less the one now     2 hours
    replay    the others' value a day ago less the one now         share of the reading that is yesterday's
    rough     logarithm of how much the residual moves in the day  factor e
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.schema import Array, Integers
from data.trust.calendar import HourlyClock
from data.trust.rules import TrustRules

KINDS = ("offset", "cold", "mild", "warm", "swing", "late", "replay", "rough")
# A day says nothing of a kind below this weight: hours of a regime; °C² of others' movement.
LEAST_WEIGHT = np.array([8.0, 4.0, 4.0, 4.0, 30.0, 4.0, 100.0, 8.0])
BLOCKS = 8
SMALLEST_MOVE_C = 0.02


@dataclass(frozen=True)
class DailySizes:
    """Least-squares sizes of each kind of lie and their weights, shape (days, kinds); NaN sizes where nothing is said.

    level, change, span: the others' mean of the day, its change since the day before and its range [°C]; season: angle of
    the year; all of shape (days,).
    """

    sizes: Array
    weights: Array
    level: Array
    change: Array
    span: Array
    season: Array


def daily_sizes(
    residual: Array, others: Array, clock: HourlyClock, quiet: Array, rules: TrustRules, skip: int
) -> DailySizes:
    """Sizes of every local day after the first `skip` hours, which serve as the past only.

    residual, others: [°C], shape (hours,); quiet: weight of each of the day's eight three-hour blocks, shape (8,).
    """
    before = np.concatenate([np.repeat(others[:1], min(24, len(others))), others[: max(len(others) - 24, 0)]])
    moved = np.diff(residual, prepend=np.nan)
    slope = np.concatenate([np.repeat(others[:1], 2), others[:-2]]) - others
    cut = slice(skip, None)
    residual, others, before, moved, slope = residual[cut], others[cut], before[cut], moved[cut], slope[cut]
    day = clock.day[cut] - clock.day[skip]
    days = int(day[-1]) + 1
    known = np.isfinite(residual)
    value = np.where(known, residual, 0.0)

    def total(hourly: Array) -> Array:
        return np.asarray(np.bincount(day, hourly, days), dtype=np.float64)

    hours = np.maximum(total(known * 1.0), 1.0)
    low, high = rules.regimes_c
    block = clock.hour[cut] * BLOCKS // 24
    marks = (
        quiet[block],
        (others < low) * 1.0,
        ((others >= low) & (others <= high)) * 1.0,
        (others > high) * 1.0,
        others,
        slope,
        before - others,
    )
    sizes, weights = np.full((days, len(KINDS)), np.nan), np.zeros((days, len(KINDS)))
    for kind, mark in enumerate(marks):
        seen = np.where(known, mark, 0.0)
        if kind in (4, 5):
            seen = np.where(known, mark - (total(seen) / hours)[day], 0.0)
        product, weights[:, kind] = total(seen * value), total(seen * (known if kind == 0 else seen))
        np.divide(product, weights[:, kind], out=sizes[:, kind], where=weights[:, kind] > 0)
    paired = np.isfinite(moved)
    pairs = total(paired * 1.0)
    power = total(np.where(paired, moved, 0.0) ** 2)
    sizes[:, 7] = np.where(pairs > 0, np.log(np.sqrt(power / np.maximum(pairs, 1)) + SMALLEST_MOVE_C), np.nan)
    weights[:, 7] = pairs
    sizes = np.where(weights >= LEAST_WEIGHT, sizes, np.nan)
    level = total(others) / np.maximum(total(np.ones(len(day))), 1)
    extremes = _extremes(others, day, days)
    return DailySizes(
        sizes=sizes,
        weights=weights,
        level=level,
        change=total(others - before) / np.maximum(total(np.ones(len(day))), 1),
        span=extremes,
        season=_season(clock, cut, day, days),
    )


def quiet_blocks(residual: Array, clock: HourlyClock) -> Array:
    """How much each three-hour block of the day counts in its mean: most where honest residuals stay smallest; mean 1.

    Generalised least squares on the blocks' covariance, half of single days and half of means of four days.
    """
    day = clock.day - clock.day[0]
    days = int(day[-1]) + 1
    table = block_means(residual, day, clock.hour * BLOCKS // 24, days)
    table = table[np.isfinite(table).all(axis=1)]
    if len(table) < 40:
        return np.ones(BLOCKS)
    spread = table.std(axis=0)
    table = np.clip(table - np.median(table, axis=0), -3 * spread, 3 * spread)
    fours = table[: len(table) // 4 * 4].reshape(-1, 4, BLOCKS).mean(axis=1) * 2
    covariance = (np.cov(table.T) + np.cov(fours.T)) / 2
    covariance = 0.7 * covariance + 0.3 * np.diag(np.diag(covariance)) + 1e-6 * np.eye(BLOCKS)
    best = np.maximum(np.linalg.solve(covariance, np.ones(BLOCKS)), 0.0)
    return np.asarray(best / best.mean()) if best.sum() > 0 else np.ones(BLOCKS)


def block_means(residual: Array, day: Integers, block: Integers, days: int) -> Array:
    """Mean residual of each three-hour block of each day, NaN where none; shape (days, 8)."""
    known = np.isfinite(residual)
    place = day * BLOCKS + block
    count = np.bincount(place, known * 1.0, days * BLOCKS)
    total = np.bincount(place, np.where(known, residual, 0.0), days * BLOCKS)
    means = np.divide(total, count, out=np.full(days * BLOCKS, np.nan), where=count > 0)
    return np.asarray(means.reshape(days, BLOCKS))


def _extremes(others: Array, day: Integers, days: int) -> Array:
    highest, lowest = np.full(days, -np.inf), np.full(days, np.inf)
    np.maximum.at(highest, day, others)
    np.minimum.at(lowest, day, others)
    return np.where(np.isfinite(highest), highest - lowest, 0.0)


def _season(clock: HourlyClock, cut: slice, day: Integers, days: int) -> Array:
    cosine = np.bincount(day, clock.harmonics[cut, 5], days)
    sine = np.bincount(day, clock.harmonics[cut, 6], days)
    return np.arctan2(sine, cosine)
