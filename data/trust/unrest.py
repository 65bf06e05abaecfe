"""How far apart neighbours are on a day of such weather: a factor of every source's noise, learned from all of them.

Log-linear in the level, change and range of the others' temperature and in the season. Nothing that a source says of itself
enters: a liar would otherwise ask for patience with its own lie, and get it. One model serves all sources of a panel, so
that their evidence can be compared on any day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.schema import Array
from data.trust.lies import DailySizes

FEWEST_DAYS = 30
# Leans a year of days towards "no difference": the logarithm of one day's power has a spread of 2.2.
PENALTY = 100.0
UNREST_BOUNDS = (0.5, 6.0)


@dataclass(frozen=True)
class UnrestModel:
    """Log-linear factor of a day's noise: standardised features' middle, scale and weights; level: the usual one [°C]."""

    middle: Array
    scale: Array
    weights: Array
    level: float


def learn_unrest(heard: Sequence[DailySizes]) -> UnrestModel:
    """From the baselines of the heard sources; every day is as good as another where fewer than 30 days are known."""
    level = float(np.median(np.concatenate([sizes.level for sizes in heard]))) if heard else 0.0
    known = [_known(sizes, level) for sizes in heard]
    features = np.concatenate([rows for rows, _ in known]) if known else np.zeros((0, 7))
    target = np.concatenate([powers for _, powers in known]) if known else np.zeros(0)
    if len(target) < FEWEST_DAYS:
        return UnrestModel(np.zeros(7), np.ones(7), np.zeros(7), level)
    middle, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    middle[0], scale[0] = 0.0, 1.0
    standard = (features - middle) / scale
    ridge = np.diag([1e-6, *[PENALTY * len(heard)] * (features.shape[1] - 1)])
    weights = np.linalg.solve(standard.T @ standard + ridge, standard.T @ target)
    weights[0] = -np.median(standard[:, 1:] @ weights[1:])
    return UnrestModel(middle, scale, weights, level)


def unrest_of(model: UnrestModel, sizes: DailySizes) -> Array:
    """By how much each day's noise variance differs from the usual, shape (days,), between 0.5 and 6."""
    logarithm = ((_features(sizes, model.level) - model.middle) / model.scale) @ model.weights
    return np.asarray(np.exp(np.clip(logarithm, *np.log(UNREST_BOUNDS))))


def _known(sizes: DailySizes, level: float) -> tuple[Array, Array]:
    """Features of the days of which a source said something, and the logarithm of its power then over its usual one."""
    offset = sizes.sizes[:, 0]
    good = np.isfinite(offset)
    power = (offset[good] - np.median(offset[good])) ** 2 if good.any() else np.zeros(0)
    usual = float(np.median(power)) if good.any() else 1.0
    target = np.log(power + 0.1 * usual + 1e-9)
    return _features(sizes, level)[good], target - target.mean() if good.any() else target


def _features(sizes: DailySizes, level: float) -> Array:
    warmer = (sizes.level - level) / 5
    columns = [np.ones(len(warmer)), np.maximum(warmer, 0), np.maximum(-warmer, 0)]
    columns += [np.abs(sizes.change) / 3, sizes.span / 5, np.cos(sizes.season), np.sin(sizes.season)]
    return np.column_stack(columns)
