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
FEATURES = 7
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
    known = [sizes for sizes in heard if np.isfinite(sizes.sizes[:, 0]).sum() >= FEWEST_DAYS]
    if not known:
        return UnrestModel(np.zeros(FEATURES), np.ones(FEATURES), np.zeros(FEATURES), 0.0)
    level = float(np.median(np.concatenate([sizes.level for sizes in known])))
    features = np.concatenate([_features(sizes, level)[np.isfinite(sizes.sizes[:, 0])] for sizes in known])
    target = np.concatenate([_power(sizes) for sizes in known])
    middle, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    middle[0], scale[0] = 0.0, 1.0
    standard = (features - middle) / scale
    ridge = np.diag([1e-6, *[PENALTY * len(known)] * (FEATURES - 1)])
    weights = np.linalg.solve(standard.T @ standard + ridge, standard.T @ target)
    weights[0] = -np.median(standard[:, 1:] @ weights[1:])
    return UnrestModel(middle, scale, weights, level)


def unrest_of(model: UnrestModel, sizes: DailySizes) -> Array:
    """By how much each day's noise variance differs from the usual, shape (days,), between 0.5 and 6."""
    logarithm = ((_features(sizes, model.level) - model.middle) / model.scale) @ model.weights
    return np.asarray(np.exp(np.clip(logarithm, *np.log(UNREST_BOUNDS))))


def _power(sizes: DailySizes) -> Array:
    """Logarithm of a source's power on the days of which it said something, its mean taken off."""
    offset = sizes.sizes[np.isfinite(sizes.sizes[:, 0]), 0]
    power = (offset - np.median(offset)) ** 2
    target = np.log(power + 0.1 * np.median(power) + 1e-9)
    return np.asarray(target - target.mean())


def _features(sizes: DailySizes, level: float) -> Array:
    warmer = (sizes.level - level) / 5
    columns = [np.ones(len(warmer)), np.maximum(warmer, 0), np.maximum(-warmer, 0)]
    columns += [np.abs(sizes.change) / 3, sizes.span / 5, np.cos(sizes.season), np.sin(sizes.season)]
    return np.column_stack(columns)
