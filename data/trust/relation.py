"""How each source relates to the others: what it should have measured, given what they say.

Two steps, both learned on the baseline.

    profile    each source's usual bias against the middle of all, by time of day and season; taken off first
    relation   what is left of a source against the mean of the others, by ridge regression on the calendar, on how the
               others depart from their own mean, and on the weather: yesterday's range, the change since the day before,
               the level, the last hours' change. The penalty is chosen by leaving fortnights out.

The residual of the relation is small where neighbours really follow one another, and an hour of the baseline gets the one
of a relation that did not see its fortnight, so that the noise learned from the baseline is the noise of later years.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.schema import Array, Flags
from data.trust.calendar import HARMONICS, HourlyClock

CONTEXT_HOURS = 48
PENALTIES = (30.0, 300.0, 3000.0)
CALENDAR_PENALTY = 30.0
FORTNIGHT = 14
LEVERAGE_C = 6.0


@dataclass(frozen=True)
class Relation:
    """The learned relation of one source: standardised weights, and the others it rests on (column numbers)."""

    source: int
    others: tuple[int, ...]
    middle: Array
    scale: Array
    weights: Array


def learn_profiles(hourly: Array, clock: HourlyClock) -> Array:
    """Usual bias of each source against the middle of all, as harmonics: shape (11, sources) [°C].

    hourly: shape (hours, sources) [°C], NaN where unknown, a trusted baseline.
    """
    middle = middle_of(hourly)
    profiles = np.zeros((HARMONICS, hourly.shape[1]))
    for source in range(hourly.shape[1]):
        difference = hourly[:, source] - middle
        good = np.isfinite(difference)
        block = clock.harmonics[good]
        # A touch of ridge keeps the seasons flat that the baseline has not seen.
        normal = block.T @ block + np.diag([1e-6, *[20.0] * (HARMONICS - 1)])
        profiles[:, source] = np.linalg.solve(normal, block.T @ difference[good])
    return profiles


def middle_of(values: Array) -> Array:
    """Median of each row without its missing values, NaN where there is none; shape (rows,)."""
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    count = np.isfinite(values).sum(axis=1)
    ordered = np.sort(values, axis=1)  # missing values last
    row = np.arange(len(values))
    below, above = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[1] - 1)
    return np.asarray((ordered[row, below] + ordered[row, above]) / 2)


def design(values: Array, clock: HourlyClock, source: int, others: Sequence[int]) -> tuple[Array, Array]:
    """Features of the relation, shape (hours, features), and the mean of the others [°C].

    values: profiles taken off, gaps filled. Rows depend on the 48 hours before them only. No single source can pull the
    others' features further than LEVERAGE_C from the middle of all.
    """
    middle = np.median(values[:, sorted({source, *others})], axis=1)[:, None]
    heard = np.clip(values[:, list(others)], middle - LEVERAGE_C, middle + LEVERAGE_C)
    mean = heard.mean(axis=1)
    departure = heard - mean[:, None]
    cosine, sine = clock.harmonics[:, 1:2], clock.harmonics[:, 2:3]
    window = _rolling(mean[:, None], 24)[:, 0]
    level = window.mean(axis=1)
    span = (window.max(axis=1) - window.min(axis=1))[:, None]
    change = (level - _delayed(level, 24))[:, None]
    columns = [clock.harmonics, departure, departure * cosine, departure * sine, _rolling(departure, 24).mean(axis=2)]
    columns += [span, span * cosine, span * sine, change, change * cosine, change * sine]
    # A baseline that has not seen a year knows neither seasons nor where the level bends.
    columns += [level[:, None], (level**2)[:, None] / 20 * clock.yearly]
    columns += [(mean - _delayed(mean, 1))[:, None], (mean - _delayed(mean, 3))[:, None]]
    return np.column_stack(columns), mean


def learn_relation(
    values: Array, target: Array, clock: HourlyClock, source: int, others: Sequence[int]
) -> tuple[Relation, Array]:
    """The relation of `source` to `others` on a baseline, and its residual there with each hour's fortnight left out [°C].

    values: shape (hours, sources), filled; target: the source's own values, profile taken off, NaN where unknown.
    """
    features, mean = design(values, clock, source, others)
    wanted = target - mean
    good = np.isfinite(wanted)
    middle, scale = features[good].mean(axis=0), features[good].std(axis=0)
    middle[0], scale[0] = 0.0, 1.0
    scale = np.where(scale < 1e-9, 1.0, scale)
    standard = (features - middle) / scale
    blocks = _fortnights(standard, wanted, good, clock)
    fits = [_left_out(standard, wanted, blocks, penalty) for penalty in PENALTIES]
    losses = [np.mean(np.minimum(np.abs(residual[good]), 4.0) ** 2) for _, residual in fits]
    weights, residual = fits[int(np.argmin(losses))]
    return Relation(source, tuple(others), middle, scale, weights), residual


def residual_of(relation: Relation, values: Array, target: Array, clock: HourlyClock) -> tuple[Array, Array]:
    """What a source says beyond what the others let expect [°C], NaN where it says nothing; and the others' mean [°C]."""
    features, mean = design(values, clock, relation.source, relation.others)
    return target - mean - ((features - relation.middle) / relation.scale) @ relation.weights, mean


@dataclass(frozen=True)
class _Fortnight:
    rows: Flags
    gram: Array
    moment: Array


def _fortnights(standard: Array, wanted: Array, good: Flags, clock: HourlyClock) -> list[_Fortnight]:
    number = (clock.day - clock.day[0]) // FORTNIGHT
    blocks = []
    for fortnight in range(int(number[-1]) + 1):
        rows = good & (number == fortnight)
        part = standard[rows]
        blocks.append(_Fortnight(rows, part.T @ part, part.T @ wanted[rows]))
    return blocks


def _left_out(standard: Array, wanted: Array, blocks: list[_Fortnight], penalty: float) -> tuple[Array, Array]:
    ridge = np.full(standard.shape[1], penalty)
    ridge[0], ridge[1:HARMONICS] = 1e-6, CALENDAR_PENALTY
    gram = np.sum([block.gram for block in blocks], axis=0) + np.diag(ridge)
    moment = np.sum([block.moment for block in blocks], axis=0)
    residual = np.full(len(wanted), np.nan)
    for block in blocks:
        weights = np.linalg.solve(gram - block.gram, moment - block.moment)
        residual[block.rows] = wanted[block.rows] - standard[block.rows] @ weights
    return np.linalg.solve(gram, moment), residual


def _rolling(values: Array, hours: int) -> Array:
    """Windows of the last `hours` rows of each column, the first row repeated before the start; (rows, columns, hours)."""
    padded = np.concatenate([np.repeat(values[:1], hours - 1, axis=0), values])
    return np.lib.stride_tricks.sliding_window_view(padded, hours, axis=0)


def _delayed(values: Array, hours: int) -> Array:
    return np.concatenate([np.repeat(values[:1], min(hours, len(values))), values[: max(len(values) - hours, 0)]])
