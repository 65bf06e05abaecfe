"""One certified model: what weather and calendar make of demand, learned from its own weeks and from nothing else.

A ridge regression for each time of day that leans on its neighbouring times. The errors of a week's days lean on one
another; the weeks are taken as independent (generalised least squares).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.schema import QUANTILES, Array, Integers
from forecasting.certified_departures import HOURS, RECENT_DAYS, by_hour, carried_over
from forecasting.certified_features import CALENDAR_COLUMNS, FEATURES

# Chosen on 2013 (python -m benchmarks.certified_settings).
PENALTY = 0.004
CALENDAR_PENALTY = 0.0004
LEVEL_PENALTY = 0.01
LEANING_HOURS = 0.4
# What the days of a week share, against what each has of its own, and how long it lasts.
SHARED, SHARED_DAYS = 2.5, 10.0
# The median misses by less than one model that has lost a week: by how much less, 2013 told.
OF_THE_MEDIAN = 0.55
SMOOTHED_HOURS = 2


@dataclass(frozen=True)
class Week:
    """A block's usable days.

    day: number of each in its week; kinds: of each (certified_features.Kind); demand_mw: shape (days, slots), no gaps;
    features: shape (days, slots, features).
    """

    day: Integers
    kinds: tuple[int, ...]
    demand_mw: Array
    features: Array


@dataclass(frozen=True)
class CertifiedModel:
    """usual_mw: shape (slots,); coefficients_mw: shape (slots, features); offsets_mw: of the quantiles from the forecast,
    in order, shape (slots, levels).
    """

    usual_mw: Array
    coefficients_mw: Array
    offsets_mw: Array

    def explained(self, features: Array) -> Array:
        """What weather and calendar make of demand [MW], shape (days, slots)."""
        explained: Array = self.usual_mw + np.einsum("dsp,sp->ds", features, self.coefficients_mw)
        return explained


def learn(weeks: Sequence[Week], slots: int, known_slots: int, lead_days: int) -> CertifiedModel:
    """The model of these weeks; of none, one that says nothing.

    known_slots: of the gate closure's own day that are known then; lead_days: see data.schema.Utility.
    """
    nothing = CertifiedModel(np.zeros(slots), np.zeros((slots, FEATURES)), np.zeros((slots, len(QUANTILES))))
    if not weeks:
        return nothing
    usual_mw = np.concatenate([week.demand_mw for week in weeks]).mean(axis=0)
    lean = leaning(slots)
    normals = np.stack([np.tensordot(lean, _normal(week, usual_mw), axes=1) for week in weeks])
    whole = normals.sum(axis=0)
    missed = []
    for week, normal in zip(weeks, normals, strict=True):
        without = CertifiedModel(usual_mw, _solved(whole - normal), nothing.offsets_mw)
        missed.append(_missed(without, week, known_slots, lead_days))
    return CertifiedModel(usual_mw, _solved(whole), _offsets(np.concatenate(missed)))


def _normal(week: Week, usual_mw: Array) -> Array:
    """X'X and X'y side by side, of days made independent; shape (slots, features, features + 1)."""
    apart = np.abs(np.subtract.outer(week.day, week.day))
    covariance = np.eye(len(week.day)) + SHARED * np.exp(-apart / SHARED_DAYS)
    both = np.concatenate([week.features, (week.demand_mw - usual_mw)[:, :, None]], axis=2)
    independent = np.linalg.solve(np.linalg.cholesky(covariance), both.reshape(len(both), -1)).reshape(both.shape)
    by_slot = independent.transpose(1, 0, 2)
    normal: Array = np.matmul(by_slot[:, :, :-1].transpose(0, 2, 1), by_slot)
    return normal


def _solved(normal: Array) -> Array:
    """Coefficients of each slot, shape (slots, features)."""
    penalty = np.diag(_penalties())
    return np.asarray(np.linalg.solve(normal[:, :, :-1] + penalty, normal[:, :, -1:])[:, :, 0], dtype=np.float64)


def _penalties() -> Array:
    penalties = np.full(FEATURES, PENALTY)
    penalties[-CALENDAR_COLUMNS:] = CALENDAR_PENALTY
    penalties[0] = LEVEL_PENALTY
    return penalties


def leaning(slots: int) -> Array:
    """How much each time of day learns from every other, shape (slots, slots)."""
    apart = np.abs(np.subtract.outer(np.arange(slots), np.arange(slots)))
    hours = np.minimum(apart, slots - apart) * HOURS / slots
    weights = np.exp(-0.5 * (hours / LEANING_HOURS) ** 2)
    shares: Array = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _missed(model: CertifiedModel, week: Week, known_slots: int, lead_days: int) -> Array:
    """What each day's forecast would have missed by, had the week before its gate closure been all that is known [MW]."""
    departed = week.demand_mw - model.explained(week.features)
    missed = departed.copy()
    slots = departed.shape[1]
    for row, day in enumerate(week.day):
        recent = np.full((RECENT_DAYS + 1, slots), np.nan)
        kinds = [-1] * RECENT_DAYS + [week.kinds[row]]
        for earlier in range(len(week.day)):
            ago = int(day - week.day[earlier])
            if ago < max(lead_days, 1):
                continue
            known = known_slots if ago == lead_days else slots
            recent[-1 - ago, :known] = departed[earlier, :known]
            kinds[-1 - ago] = week.kinds[earlier]
        if lead_days == 0:
            recent[-1, :known_slots] = departed[row, :known_slots]
        missed[row] -= carried_over(by_hour(recent), tuple(kinds), slots)
    return missed


def _offsets(missed_mw: Array) -> Array:
    """Quantiles of such misses by time of day, from their median, shape (slots, levels)."""
    size = np.abs(missed_mw).mean(axis=0)
    width = max(1, SMOOTHED_HOURS * len(size) // HOURS) | 1
    smooth = np.convolve(np.pad(size, width // 2, mode="wrap"), np.full(width, 1.0 / width), mode="valid")
    scores = np.quantile(np.divide(missed_mw, smooth, out=np.zeros_like(missed_mw), where=smooth > 0), QUANTILES)
    offsets: Array = OF_THE_MEDIAN * smooth[:, None] * (scores - scores[len(scores) // 2])
    return offsets
