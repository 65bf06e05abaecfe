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
# `swing` and `late` are about how a day moves: its mean is taken off their marks.
CENTRED = slice(KINDS.index("swing"), KINDS.index("late") + 1)


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
    first = np.searchsorted(day, np.arange(int(day[-1]) + 1))

    def total(hourly: Array) -> Array:
        return np.asarray(np.add.reduceat(hourly, first, axis=0), dtype=np.float64)

    known = np.isfinite(residual)[:, None]
    low, high = rules.regimes_c
    regimes = [others < low, (others >= low) & (others <= high), others > high]
    marks = np.column_stack([quiet[clock.hour[cut] * BLOCKS // 24], *regimes, others, slope, before - others])
    seen = np.where(known, marks, 0.0)
    hours = np.maximum(total(known * 1.0), 1.0)
    seen[:, CENTRED] = np.where(known, seen[:, CENTRED] - (total(seen[:, CENTRED]) / hours)[day], 0.0)
    product = total(seen * np.where(known, residual[:, None], 0.0))
    # The mean of a day weighs its hours as they are; all other kinds by least squares.
    weights = np.column_stack([total(seen[:, 0]), total(seen[:, 1:] ** 2), total(np.isfinite(moved) * 1.0)])
    sizes = np.full(weights.shape, np.nan)
    np.divide(product, weights[:, :-1], out=sizes[:, :-1], where=weights[:, :-1] > 0)
    power = total(np.nan_to_num(moved) ** 2) / np.maximum(weights[:, -1], 1.0)
    sizes[:, -1] = np.log(np.sqrt(power) + SMALLEST_MOVE_C)
    length = total(np.ones(len(day)))
    return DailySizes(
        sizes=np.where(weights >= LEAST_WEIGHT, sizes, np.nan),
        weights=weights,
        level=total(others) / length,
        change=total(others - before) / length,
        span=np.maximum.reduceat(others, first) - np.minimum.reduceat(others, first),
        season=np.arctan2(total(clock.harmonics[cut, 6]), total(clock.harmonics[cut, 5])),
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
