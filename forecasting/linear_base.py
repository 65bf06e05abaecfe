"""A ridge regression for each time of day: the part of the forecast that extrapolates into heat and frost.

Trees cannot answer hotter than they have seen; a line can. Hinged temperatures let the line bend where heating stops and
cooling starts: at fixed quantiles of the training temperatures, so nothing is tuned to one climate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from data.schema import Array, Integers
from forecasting.features import SLOT

PENALTY = 3.0
KNOT_LEVELS = (0.25, 0.65, 0.92)
HINGED = (
    "temperature",
    "temperature_memory_6h",
    "temperature_memory_24h",
    "temperature_memory_72h",
    "temperature_day_max",
)
LEFT_OUT = (SLOT, "weekday")


@dataclass(frozen=True)
class LinearBase:
    """Fitted coefficients. knots: column → bend points [°C]; coefficients: shape (slots, 1 + columns), standardised."""

    columns: tuple[str, ...]
    knots: dict[str, tuple[float, ...]]
    centre: Array
    spread: Array
    coefficients: Array

    @classmethod
    def fit(cls, features: pd.DataFrame, target: Array, slots: int) -> Self:
        """Least squares with an L2 penalty, one system a slot; rows with no target are left out."""
        columns = tuple(name for name in features.columns if name not in LEFT_OUT)
        knots = {name: tuple(features[name].quantile(list(KNOT_LEVELS)).fillna(0.0)) for name in HINGED}
        design = _design(features, columns, knots)
        centre, spread = _centre_and_spread(design)
        standard = _standardise(design, centre, spread)
        coefficients = np.zeros((slots, standard.shape[1]))
        penalty = PENALTY * np.eye(standard.shape[1])
        penalty[0, 0] = 0.0
        slot = features[SLOT].to_numpy(dtype=np.int64)
        for number in np.unique(slot):
            rows = (slot == number) & np.isfinite(target)
            if rows.any():
                block = standard[rows]
                coefficients[number] = np.linalg.solve(block.T @ block + penalty, block.T @ target[rows])
        return cls(columns, knots, centre, spread, coefficients)

    def predict(self, features: pd.DataFrame) -> Array:
        """Target for each row; a missing feature counts as its training mean."""
        standard = _standardise(_design(features, self.columns, self.knots), self.centre, self.spread)
        slot: Integers = features[SLOT].to_numpy(dtype=np.int64)
        answer: Array = np.einsum("ij,ij->i", standard, self.coefficients[slot])
        return answer


def _design(features: pd.DataFrame, columns: tuple[str, ...], knots: dict[str, tuple[float, ...]]) -> Array:
    plain = features.loc[:, list(columns)].to_numpy(dtype=np.float64)
    bends = [np.maximum(0.0, features[name].to_numpy(dtype=np.float64) - knot) for name in HINGED for knot in knots[name]]
    return np.column_stack([plain, *bends])


def _centre_and_spread(design: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column, missing values left out; zero for a column without any."""
    good = np.isfinite(design)
    count = np.maximum(good.sum(axis=0), 1)
    centre: Array = np.where(good, design, 0.0).sum(axis=0) / count
    spread: Array = np.sqrt((np.where(good, design - centre, 0.0) ** 2).sum(axis=0) / count)
    return centre, spread


def _standardise(design: Array, centre: Array, spread: Array) -> Array:
    standard = (design - centre) / np.where(spread > 0, spread, 1.0)
    return np.column_stack([np.ones(len(standard)), np.nan_to_num(standard, nan=0.0)])
