"""Demand as a thermometer: what was drawn tells what was felt, whoever measures it.

A day's demand is explained by the kind of day, the season, and heating and cooling degrees of that day and the day before,
learned on the baseline with each source's temperatures alike. With a source that reads δ °C too warm, demand misses what
that source's temperature lets expect by sensitivity × δ; a source that reads truly leaves nothing. In weather that moves no
demand the witness is silent, and says so by a sensitivity of zero (Sobhani, Hong & Martin, IJF 36, 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.schema import Array, Flags

KNOTS_C = np.array([6.0, 10.0, 14.0, 18.0, 22.0, 26.0])
PENALTY = 1.0
TODAY = 0.7
HUBER = 2.0
FEWEST_DAYS = 120
ROUNDS = 4


@dataclass(frozen=True)
class Witness:
    """What demand follows: weights of the day's features; the logarithm of demand is explained."""

    weights: Array
    kinks: Array


def learn_witness(demand_mw: Array, temperature_c: Array, weekday: Array, season: Array) -> Witness | None:
    """Learn the demand of days, arguments of shape (days,): mean demand [MW] and temperature [°C], 0–6, angle of the year.

    None where fewer than 120 days are known.
    """
    target = log_demand(demand_mw)
    good = np.isfinite(target) & np.isfinite(temperature_c)
    if good.sum() < FEWEST_DAYS:
        return None
    features = _features(_felt(temperature_c), weekday, season)
    ridge = np.diag([1e-6] * 7 + [PENALTY] * (features.shape[1] - 7))
    importance = good.astype(np.float64)
    rows, values = np.where(good[:, None], features, 0.0), np.where(good, target, 0.0)
    weights: Array = np.zeros(features.shape[1])
    for _ in range(ROUNDS):
        weighted = rows * importance[:, None]
        weights = np.asarray(np.linalg.solve(weighted.T @ rows + ridge, weighted.T @ values), dtype=np.float64)
        error = np.abs(values - rows @ weights)
        spread = 1.4826 * float(np.median(error[good])) + 1e-9
        # Holidays and strikes are no weather: days beyond two spreads count less.
        importance = np.where(good, np.minimum(1.0, HUBER * spread / np.maximum(error, 1e-12)), 0.0)
    return Witness(weights, weights[-len(KNOTS_C) - 1 :])


def missed(
    witness: Witness, demand_mw: Array, temperature_c: Array, before_c: Array, weekday: Array, season: Array
) -> tuple[Array, Array]:
    """Logarithm of demand beyond what a source's temperatures let expect, and its sensitivity [1/°C]; shapes (days,).

    temperature_c, before_c: the source's mean of the day and of the day before. NaN where either is unknown.
    """
    felt = TODAY * temperature_c + (1 - TODAY) * before_c
    known = np.where(np.isfinite(felt), felt, 0.0)
    expected = _features(known, weekday, season) @ witness.weights
    slope = _slopes(known) @ witness.kinks
    error = np.where(np.isfinite(felt), log_demand(demand_mw) - expected, np.nan)
    return error, slope


def log_demand(demand_mw: Array) -> Array:
    """Natural logarithm where demand is positive, NaN elsewhere."""
    positive: Flags = demand_mw > 0
    return np.log(demand_mw, out=np.full(demand_mw.shape, np.nan), where=positive)


def _felt(temperature_c: Array) -> Array:
    before = np.concatenate([temperature_c[:1], temperature_c[:-1]])
    felt = TODAY * temperature_c + (1 - TODAY) * np.where(np.isfinite(before), before, temperature_c)
    return np.where(np.isfinite(felt), felt, 0.0)


def _features(felt: Array, weekday: Array, season: Array) -> Array:
    kinds = (weekday[:, None] == np.arange(7)) * 1.0
    yearly = np.column_stack([np.cos(season), np.sin(season), np.cos(2 * season), np.sin(2 * season)])
    return np.column_stack([kinds, yearly, felt / 5, np.maximum(felt[:, None] - KNOTS_C, 0.0) / 5])


def _slopes(felt: Array) -> Array:
    return np.column_stack([np.full(len(felt), 0.2), (felt[:, None] > KNOTS_C) * 0.2])
