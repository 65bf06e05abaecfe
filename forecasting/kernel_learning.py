"""Which differences between days matter for this utility: the kernel's length scales, learned from its last months.

The log marginal likelihood (Rasmussen & Williams 2006, equation 5.8), the scale of each time of day profiled out, is climbed
from a starting point in the middle of what utilities have, and held near it where the data are silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize

from data.schema import Array
from forecasting.day_table import DayTable
from forecasting.kernel_features import GROUPS, Block, block_features

START_NOISE = 0.016
LEARNED_DAYS = 200
LEARNED_FROM = 730
STEPS = 10
PULL = 1.0
EFFECTIVE_SLOTS = 3.0
FURTHEST = 4.0


@dataclass(frozen=True)
class Kernel:
    """length: group → length scale; line: group → weight of the linear part; noise: variance of a day's own whim.

    Both name the same groups of `kernel_features.GROUPS` in the same order.
    """

    length: dict[str, float]
    line: dict[str, float]
    noise: float

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of features it compares."""
        return tuple(self.length)

    def among(self, days: Array, widths: tuple[int, ...]) -> Days:
        """Training days laid out to be compared with. days: standardised features, the groups side by side in the order of
        `groups`, shape (days, features); widths: features of each group.
        """
        length = np.repeat(list(self.length.values()), widths)
        line = np.repeat(list(self.line.values()), widths)
        return Days(length, np.ascontiguousarray((days / length).T), np.ascontiguousarray((days * line).T))


@dataclass(frozen=True)
class Days:
    """Training days in the kernel's own units. length: of each feature; scaled, lines: shape (features, days)."""

    length: Array
    scaled: Array
    lines: Array

    @cached_property
    def squares(self) -> Array:
        """Squared length of each training day."""
        squares: Array = (self.scaled**2).sum(axis=0)
        return squares

    def near(self, asked: Array) -> Array:
        """How near each asked day is to each training day, 1 for the same, shape (asked, days). asked: standardised."""
        own = asked / self.length
        distance = own @ self.scaled
        distance *= -2.0
        distance += (own**2).sum(axis=1)[:, None]
        distance += self.squares
        np.maximum(distance, 0.0, out=distance)
        distance *= -0.5
        near: Array = np.exp(distance, out=distance)
        return near

    def covariance(self, asked: Array) -> Array:
        """Covariance of each asked day with each training day, shape (asked, days). asked: standardised features."""
        covariance: Array = self.near(asked) + asked @ self.lines
        return covariance


def starting_kernel(groups: tuple[str, ...]) -> Kernel:
    """Where the search starts."""
    length = {name: GROUPS[name].length for name in groups}
    return Kernel(length, {name: GROUPS[name].line for name in groups}, START_NOISE)


def learn_kernel(table: DayTable, target: Array, groups: tuple[str, ...], blocks: tuple[Block, ...]) -> Kernel:
    """The kernel under which 200 days, dealt evenly over the last two years and so over the seasons, are most likely, the
    same for all blocks.

    target: relative demand, shape (days, slots).
    """
    recent = np.arange(len(target))[-LEARNED_FROM:]
    recent = recent[:: -max(1, len(recent) // LEARNED_DAYS)][:LEARNED_DAYS][::-1]
    learned = table.at(recent)
    compared = [
        _Block.of(block_features(learned, block, groups), target[recent][:, block.slots(table.slots)]) for block in blocks
    ]
    start = _to_vector(starting_kernel(groups))

    def cost(point: Array) -> tuple[float, Array]:
        answers = [block.cost(point) for block in compared]
        away = point - start
        total = sum(answer[0] for answer in answers) + PULL * float(away @ away)
        slope: Array = np.sum([answer[1] for answer in answers], axis=0) + 2 * PULL * away
        return total, slope

    bounds = [(value - FURTHEST, value + FURTHEST) for value in start]
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
    return _to_kernel(found.x, groups)


@dataclass(frozen=True)
class _Block:
    """What the likelihood needs of one block: distances and products of its days by group, and its centred target."""

    distance: Array
    product: Array
    target: Array

    @staticmethod
    def of(features: dict[str, Array], target: Array) -> _Block:
        standard = [_standardised(values, GROUPS[name].binary) for name, values in features.items()]
        return _Block(
            distance=np.stack([_distance(values, values) for values in standard]),
            product=np.stack([values @ values.T for values in standard]),
            target=target - target.mean(axis=0),
        )

    def cost(self, point: Array) -> tuple[float, Array]:
        """Negative log marginal likelihood up to a constant, and its slope."""
        groups = len(self.distance)
        inverse_square, line, noise = np.exp(-2 * point[:groups]), np.exp(point[groups:-1]), float(np.exp(point[-1]))
        days, slots = self.target.shape
        near = np.exp(-0.5 * np.tensordot(inverse_square, self.distance, axes=1))
        covariance = near + np.tensordot(line, self.product, axes=1) + noise * np.eye(days)
        lower = cholesky(covariance, lower=True)
        inverse = cho_solve((lower, True), np.eye(days))
        weights = inverse @ self.target
        energy = np.maximum((self.target * weights).sum(axis=0), 1e-12)
        share = EFFECTIVE_SLOTS / slots
        value = share * (0.5 * days * np.log(energy / days).sum() + slots * np.log(np.diag(lower)).sum())
        by_entry = share * 0.5 * (slots * inverse - (weights * (days / energy)) @ weights.T)
        by_length = np.tensordot(self.distance, by_entry * near, axes=2) * inverse_square
        by_line = np.tensordot(self.product, by_entry, axes=2) * line
        return float(value), np.concatenate([by_length, by_line, [np.trace(by_entry) * noise]])


def _standardised(values: Array, binary: bool) -> Array:
    good = np.isfinite(values)
    count = np.maximum(good.sum(axis=0), 1)
    centred = np.where(good, values - np.where(good, values, 0.0).sum(axis=0) / count, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=0) / count) * np.sqrt(values.shape[1])
    spread = np.full(values.shape[1], 0.5) if binary else np.where(deviation > 1e-9, deviation, np.inf)
    standard: Array = centred / spread
    return standard


def _distance(first: Array, second: Array) -> Array:
    """Squared Euclidean distance of every row to every row."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :]
    distance: Array = np.maximum(squares - 2 * first @ second.T, 0.0)
    return distance


def _to_vector(kernel: Kernel) -> Array:
    return np.log([*kernel.length.values(), *kernel.line.values(), kernel.noise])


def _to_kernel(point: Array, groups: tuple[str, ...]) -> Kernel:
    values = [float(value) for value in np.exp(point)]
    length = dict(zip(groups, values[: len(groups)], strict=True))
    return Kernel(length, dict(zip(groups, values[len(groups) : -1], strict=True)), values[-1])
