"""Days like this one: a Gaussian process over whole days, the member that knows how weather, week and season work together.

A day is cut into blocks of hours; within a block every time of day shares one kernel: a squared exponential over groups of
features, each group with a length scale of its own, plus a line. The length scales are learned from the utility's own
last months (`kernel_learning`). Source: Rasmussen & Williams (2006), "Gaussian Processes for Machine Learning",
equations 2.23 (mean) and 5.12 (leave-one-out, here a fold at a time).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import factorial

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from data.schema import Array, Flags, Integers
from forecasting.day_table import DayTable, Driver
from forecasting.kernel_features import GROUPS, PLAIN, THIRDS, Block, block_features
from forecasting.kernel_learning import Days, Kernel, learn_kernel
from forecasting.member import Explained, Honest, Lesson

# A feature that moves less than this does not move.
NO_SPREAD = 1e-9
UNMOVED = 1e300
SUBSETS = tuple(frozenset(present) for size in range(len(Driver) + 1) for present in combinations(Driver, size))
NOWHERE = np.zeros(1, dtype=np.int64)


@dataclass(frozen=True)
class BlockModel:
    """One block of hours, fitted.

    kernel: it compares days with; widths: features in each group of it; centre, spread: of each feature; standard: the
    training days' features in these units, shape (days, features); weights: shape (days, slots); usual: mean target of each
    slot.
    """

    kernel: Kernel
    widths: tuple[int, ...]
    centre: Array
    spread: Array
    standard: Array
    weights: Array
    usual: Array

    @cached_property
    def days(self) -> Days:
        """The training days as the kernel sees them."""
        return self.kernel.among(self.standard, self.widths)

    @cached_property
    def slopes(self) -> Array:
        """The linear part, shape (features, slots)."""
        slopes: Array = self.days.lines @ self.weights
        return slopes

    def standardised(self, table: DayTable, block: Block) -> Array:
        """Features of each day in the units of the training days; a missing one counts as usual."""
        features = np.concatenate(list(block_features(table, block, self.kernel.groups).values()), axis=1)
        return _standard(features, self.centre, self.spread)

    def said(self, asked: Array) -> Array:
        """The forecast of days with these standardised features, shape (asked, slots)."""
        said: Array = self.days.near(asked) @ self.weights + asked @ self.slopes + self.usual
        return said


class KernelMember:
    """groups: of features, by which it compares days; blocks: of hours, together the whole day.

    Learned: kernel_; models_, one a block.
    """

    def __init__(self, groups: tuple[str, ...] = PLAIN, blocks: tuple[Block, ...] = THIRDS) -> None:
        self.groups = groups
        self.blocks = blocks

    def fit(self, lesson: Lesson) -> Honest:
        """See Member. It learns from realised weather alone."""
        table = lesson.table
        self.kernel_ = learn_kernel(table, lesson.target, self.groups, self.blocks)
        models = []
        seen, served = np.empty_like(lesson.target), np.empty_like(lesson.target)
        for block in self.blocks:
            slots = block.slots(table.slots)
            features = block_features(table, block, self.groups)
            said = None if lesson.served is None else block_features(lesson.served, block, self.groups)
            model, honest = _fit_block(self.kernel_, features, said, lesson.target[:, slots], lesson)
            models.append(model)
            seen[:, slots], served[:, slots] = honest.seen, honest.served
        self.models_ = tuple(models)
        return Honest(seen, served)

    def prepared(self, table: DayTable) -> DayTable:
        """See Member: it needs nothing more."""
        return table

    def predict(self, table: DayTable) -> Array:
        """See Member."""
        answer = np.empty((len(table.days), table.slots))
        for block, model in zip(self.blocks, self.models_, strict=True):
            answer[:, block.slots(table.slots)] = model.said(model.standardised(table, block))
        return answer

    def explain(self, table: DayTable) -> Explained:
        """See Member: Shapley values over the drivers, absent ones at their training mean (Shapley 1953; exact)."""
        shape = (len(table.days), table.slots)
        base = np.zeros(shape)
        drivers: dict[Driver, Array] = {driver: np.zeros(shape) for driver in Driver}
        for block, model in zip(self.blocks, self.models_, strict=True):
            slots = block.slots(table.slots)
            worth = _worth(model, model.standardised(table, block))
            base[:, slots] = worth[frozenset()]
            for driver in Driver:
                drivers[driver][:, slots] = _shapley(worth, driver)
        return Explained(base, drivers)


def _worth(model: BlockModel, asked: Array) -> dict[frozenset[Driver], Array]:
    """The forecast with only some drivers as asked, the others at their training mean."""
    of_feature = np.repeat([GROUPS[name].driver for name in model.kernel.groups], model.widths)
    here = {driver: of_feature == driver for driver in Driver}
    partly = np.concatenate([asked * sum((here[driver] for driver in present), NOWHERE) for present in SUBSETS])
    said = model.said(partly).reshape(len(SUBSETS), len(asked), -1)
    return dict(zip(SUBSETS, said, strict=True))


def _shapley(worth: dict[frozenset[Driver], Array], driver: Driver) -> Array:
    players = len(Driver)
    total: Array = np.zeros_like(worth[frozenset()])
    for without, value in worth.items():
        if driver not in without:
            weight = factorial(len(without)) * factorial(players - len(without) - 1) / factorial(players)
            total = total + weight * (worth[without | {driver}] - value)
    return total


def _fit_block(
    kernel: Kernel, by_group: dict[str, Array], served: dict[str, Array] | None, target: Array, lesson: Lesson
) -> tuple[BlockModel, Honest]:
    """The fitted block, and what fits without each fold say of its days."""
    widths = tuple(values.shape[1] for values in by_group.values())
    features = np.concatenate(list(by_group.values()), axis=1)
    centre = _mean(features)
    binary = np.repeat([GROUPS[name].binary for name in by_group], widths)
    spread = _spread(features - centre, binary, np.repeat(widths, widths))
    # In single precision, as they are written: a model that was stored forecasts the same.
    standard = _standard(features, centre, spread).astype(np.float32).astype(np.float64)
    days = kernel.among(standard, widths)
    usual = target.mean(axis=0)
    covariance = days.covariance(standard) + np.diag(kernel.noise / lesson.trust)
    inverse = cho_solve(cho_factor(covariance), np.eye(len(target)))
    weights = inverse @ (target - usual)
    model = BlockModel(kernel, widths, centre, spread, standard, weights, usual)
    said = None if served is None else _standard(np.concatenate(list(served.values()), axis=1), centre, spread)
    seen = np.empty_like(target)
    as_served = np.empty_like(target)
    for number in np.unique(lesson.fold):
        out = lesson.fold == number
        missing = np.linalg.solve(inverse[np.ix_(out, out)], weights[out])
        seen[out] = target[out] - missing
        if said is not None:
            rest = weights - inverse[:, out] @ missing
            as_served[out] = days.covariance(said[out]) @ rest + usual
    return model, Honest(seen, seen if said is None else as_served)


def _standard(features: Array, centre: Array, spread: Array) -> Array:
    standard = (features - centre) / spread
    return np.where(np.isfinite(standard), standard, 0.0)


def _mean(values: Array) -> Array:
    good = np.isfinite(values)
    mean: Array = np.where(good, values, 0.0).sum(axis=0) / np.maximum(good.sum(axis=0), 1)
    return mean


def _spread(centred: Array, binary: Flags, width: Integers) -> Array:
    """What one unit of distance is: a standard deviation, or half a step for yes and no; shared out over a group."""
    deviation = np.sqrt(_mean(centred**2))
    shared = np.where(deviation > NO_SPREAD, deviation, UNMOVED) * np.sqrt(width)
    return np.where(binary, 0.5, shared)
