"""Weeks that are another week again: from interval to interval they rise and fall together.

What all weeks do at that hour of the week is taken off first; what is left of the steps is chance, which no two weeks
share. Scaled, offset or slightly noisy copies share it still.
"""

from __future__ import annotations

import numpy as np

from data.schema import Array, Integers

# A copy is told from its original where one of the two is further out by this much [robust σ].
TOLD_APART = 1.0
# So far out, two weeks are twins [robust σ].
TWINS = 3.0
MOST = 0.9999
TINY = 1e-9
# A way in which weeks are alike takes at least so many weeks to show.
WEEKS_A_WAY = 5
LEAST_KNOWN = 0.5


def likenesses(values: Array, common: int) -> tuple[Array, Integers]:
    """Of each week the correlation of its steps with those of the week most like it, as Fisher's z, and that week's number.

    values: by slot, NaN where unknown, shape (weeks, slots of a week). common: in how many ways weeks are alike anyway
    (principal components of the steps), to be taken off first. NaN and −1 where less than half of a week is known or it does
    not move.
    """
    steps = np.diff(values, axis=1)
    known = np.isfinite(steps)
    enough = (known.mean(axis=1) >= LEAST_KNOWN) & (np.abs(np.where(known, steps, 0.0)).max(axis=1) > 0)
    usual = np.array([np.median(column[good]) if good.any() else 0.0 for column, good in zip(steps.T, known.T, strict=True)])
    unit = _unit(np.where(known & enough[:, None], steps - usual, 0.0))
    if common:
        _, _, ways = np.linalg.svd(unit, full_matrices=False)
        shared = ways[: min(common, len(unit) // WEEKS_A_WAY)]
        unit = _unit(unit - (unit @ shared.T) @ shared)
    correlation = unit @ unit.T
    np.fill_diagonal(correlation, -np.inf)
    correlation[:, ~enough] = -np.inf
    twin = correlation.argmax(axis=1)
    best = correlation[np.arange(len(values)), twin]
    possible = enough & np.isfinite(best)
    likeness = np.where(possible, np.arctanh(np.clip(np.where(possible, best, 0.0), -MOST, MOST)), np.nan)
    return likeness, np.where(possible, twin, -1).astype(np.int64)


def _unit(rows: Array) -> Array:
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    unit: Array = np.divide(rows, length, out=np.zeros_like(rows), where=length > TINY)
    return unit


def copies_only(score: Array, twin: Integers, misfit: Array) -> Array:
    """`score` without the originals: of two twins, the one that fits its own time clearly better is no copy.

    misfit: how far out each week is by every other test [robust σ]. Where neither fits better both stay accused.
    """
    better = (twin >= 0) & (score >= TWINS) & (misfit + TOLD_APART <= misfit[twin])
    return np.where(better, 0.0, score)
