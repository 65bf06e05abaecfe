"""The thief of a model: questions that teach the most, and a model of its own learned from the answers (AML.T0024.002).

It knows everything but the trained model: calendar, weather, demand up to each gate closure, and our published code,
features and kernel included. A surrogate is learned in two ways: the ensemble's own kernel, regressed on landmarks
(Williams, Seeger 2001, "Using the Nyström method to speed up kernel machines"), and gradient boosting over single intervals
with features of the thief's own. The better of the two on days that were kept aside is the thief's model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import lightgbm as lgb
import numpy as np
from scipy.linalg import solve

from data.schema import Array, Flags, Integers
from forecasting.day_table import DayTable
from forecasting.kernel_features import PLAIN, THIRDS, block_features
from forecasting.kernel_learning import starting_kernel

LANDMARKS = 800
KEPT_ASIDE = 0.15
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)
BOOSTED_ROWS = 100_000
BOOSTING = {"objective": "l1", "learning_rate": 0.08, "num_leaves": 63, "verbose": -1, "num_threads": 1, "seed": 1}
ROUNDS = 200


@dataclass(frozen=True, eq=False)
class Known:
    """What anybody knows of the questions. paths_c: asked temperatures, shape (questions, slots); before_c: those of the
    day before; week_ago_mw, latest_mw: demand of a week before and of the latest whole day known, likewise; level_mw: mean
    demand of the last known week, shape (questions,); features, widths: as `open_features`.
    """

    days: Sequence[date]
    paths_c: Array
    before_c: Array
    week_ago_mw: Array
    latest_mw: Array
    level_mw: Array
    features: tuple[Array, ...]
    widths: tuple[tuple[int, ...], ...]

    def rows(self, chosen: Integers) -> Known:
        """Some of the questions."""
        return Known(
            [self.days[int(row)] for row in chosen],
            self.paths_c[chosen],
            self.before_c[chosen],
            self.week_ago_mw[chosen],
            self.latest_mw[chosen],
            self.level_mw[chosen],
            tuple(one[chosen] for one in self.features),
            self.widths,
        )


class Surrogate:
    """The thief's model. by: which of the two ways was the better one."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.by = ""

    def fit(self, known: Known, answers_mw: Array) -> Surrogate:
        """Learn from answers, shape (questions, slots)."""
        aside = self._kept_aside(known.days)
        learned, held = np.flatnonzero(~aside), np.flatnonzero(aside)
        ways: list[KernelSurrogate | BoostedSurrogate] = [KernelSurrogate(self._random), BoostedSurrogate(self._random)]
        errors = []
        for way in ways:
            way.fit(known.rows(learned), answers_mw[learned], known.rows(held), answers_mw[held])
            errors.append(mape_percent(way.predict(known.rows(held)), answers_mw[held]))
        self._best = ways[int(np.argmin(errors))]
        self.by = type(self._best).__name__
        return self

    def _kept_aside(self, asked: Sequence[date]) -> Flags:
        """Whole days, since questions about one day are nearly the same question; of a single day, some of its questions."""
        days = sorted(set(asked))
        groups = np.array([days.index(day) for day in asked]) if len(days) > 1 else np.arange(len(asked))
        count = int(groups.max()) + 1
        return np.isin(groups, self._random.permutation(count)[: max(1, int(KEPT_ASIDE * count))])

    def predict(self, known: Known) -> Array:
        """What the thief's model says [MW], shape (questions, slots)."""
        return self._best.predict(known)


class KernelSurrogate:
    """The ensemble's own kernel, from the published code, over its own features; by regression on landmarks."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def fit(self, known: Known, answers_mw: Array, aside: Known, aside_mw: Array) -> None:
        """Learn; the ridge by what was kept aside."""
        wanted = answers_mw / known.level_mw[:, None] - 1
        chosen = self._random.permutation(len(wanted))[:LANDMARKS]
        kernel = starting_kernel(PLAIN)
        self._usual = wanted.mean(axis=0)
        self._blocks = []
        candidates: list[list[Array]] = [[] for _ in RIDGES]
        for block, features, widths in zip(THIRDS, known.features, known.widths, strict=True):
            centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
            standard = _standard(features, centre, spread)
            landmarks = kernel.among(standard[chosen], widths)
            towards = landmarks.covariance(standard)
            gram, own = towards.T @ towards, towards[chosen]
            slots = block.slots(wanted.shape[1])
            right = towards.T @ (wanted - self._usual)[:, slots]
            for ridge, weights in zip(RIDGES, candidates, strict=True):
                damped = gram + ridge * own + 1e-7 * float(np.trace(gram)) / len(gram) * np.eye(len(gram))
                weights.append(solve(damped, right, assume_a="sym"))
            self._blocks.append((slots, landmarks, centre, spread))
        errors = []
        for weights in candidates:
            self._weights = weights
            errors.append(mape_percent(self.predict(aside), aside_mw))
        self._weights = candidates[int(np.argmin(errors))]

    def predict(self, known: Known) -> Array:
        """See Surrogate."""
        relative = np.tile(self._usual + 1, (len(known.days), 1))
        for (slots, landmarks, centre, spread), features, weights in zip(
            self._blocks, known.features, self._weights, strict=True
        ):
            relative[:, slots] += landmarks.covariance(_standard(features, centre, spread)) @ weights
        return np.asarray(relative * known.level_mw[:, None])


class BoostedSurrogate:
    """Gradient boosting over single intervals."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def fit(self, known: Known, answers_mw: Array, aside: Known, aside_mw: Array) -> None:
        """Learn from at most `BOOSTED_ROWS` intervals, chosen at random."""
        del aside, aside_mw
        features, slots = interval_features(known), answers_mw.shape[1]
        relative = (answers_mw / known.level_mw[:, None] - known.week_ago_mw / known.level_mw[:, None]).ravel()
        rows = self._random.permutation(len(relative))[:BOOSTED_ROWS]
        data = lgb.Dataset(features[rows], relative[rows], free_raw_data=True)
        few = {"min_data_in_leaf": max(1, min(20, len(known.days) // 10))}
        self._trees, self._slots = lgb.train(BOOSTING | few, data, ROUNDS), slots

    def predict(self, known: Known) -> Array:
        """See Surrogate."""
        said = np.asarray(self._trees.predict(interval_features(known))).reshape(-1, self._slots)
        return np.asarray(said * known.level_mw[:, None] + known.week_ago_mw)


def open_features(table: DayTable) -> tuple[tuple[Array, ...], tuple[tuple[int, ...], ...]]:
    """What the published code makes of the questions: features by block of hours, and how many each group has."""
    features: list[Array] = []
    widths = []
    for block in THIRDS:
        groups = block_features(table, block, PLAIN)
        features.append(np.concatenate(list(groups.values()), axis=1))
        widths.append(tuple(values.shape[1] for values in groups.values()))
    return tuple(features), tuple(widths)


def interval_features(known: Known) -> Array:
    """Features of single intervals, shape (questions · slots, features)."""
    count, slots = known.paths_c.shape
    whole = np.concatenate([known.before_c, known.paths_c], axis=1)

    def ago(intervals: int) -> Array:
        return whole[:, slots - intervals : 2 * slots - intervals]

    level = known.level_mw[:, None]
    by_interval = [
        np.broadcast_to(np.arange(slots, dtype=np.float64), (count, slots)),
        *(ago(intervals) for intervals in (0, 2, 6, 12, 24, 48)),
        known.week_ago_mw / level,
        known.latest_mw / level,
    ]
    by_day = [
        known.paths_c.mean(axis=1),
        known.paths_c.max(axis=1),
        known.paths_c.min(axis=1),
        known.before_c.mean(axis=1),
        known.level_mw,
        known.latest_mw.mean(axis=1) / known.level_mw,
        *_calendar(known.days)[:, 7:].T,
        np.array([day.weekday() for day in known.days], dtype=np.float64),
    ]
    columns = [*by_interval, *(np.broadcast_to(values[:, None], (count, slots)) for values in by_day)]
    return np.stack(columns, axis=-1).reshape(count * slots, len(columns))


def mape_percent(said_mw: Array, wanted_mw: Array) -> float:
    """Mean absolute difference in per cent of what was wanted."""
    return float(np.mean(np.abs(said_mw / wanted_mw - 1)) * 100)


def _calendar(days: Sequence[date]) -> Array:
    """Weekday as seven columns, then the season as four."""
    rows = []
    for day in days:
        turn = 2 * np.pi * day.timetuple().tm_yday / 365.25
        weekday = [float(day.weekday() == number) for number in range(7)]
        rows.append([*weekday, np.sin(turn), np.cos(turn), np.sin(2 * turn), np.cos(2 * turn)])
    return np.array(rows)


def _standard(features: Array, centre: Array, spread: Array) -> Array:
    standard = (features.astype(np.float64) - centre) / spread
    return np.where(np.isfinite(standard), standard, 0.0)
