"""A ridge regression for each time of day, bending with temperature: the member that extrapolates into heat and frost.

Trees cannot answer hotter than they have seen; a line can. Hinged temperatures let the line bend where heating stops and
cooling starts: at fixed quantiles of the training temperatures, so nothing is tuned to one climate.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from data.schema import Array, Flags, Integers
from forecasting.day_table import DayTable, Driver
from forecasting.member import Explained, Honest, Lesson

# Chosen on 2013 (python -m benchmarks.settings).
PENALTY = 1.0
UNPENALISED = 1e-9
# The deviation of a feature that never moves: whatever is asked, it says nothing.
UNMOVED = 1e300
KNOT_LEVELS = (0.25, 0.65, 0.92)
HINGED = (
    "temperature",
    "temperature_memory_6h",
    "temperature_memory_24h",
    "temperature_memory_72h",
    "temperature_day_max",
)
# The design of every time of day at once would be most of a fit's memory.
SLOTS_AT_ONCE = 12


class LinearMember:
    """Learned: columns_; knots_ name → bend points [°C]; centre_, spread_ of each design column; coefficients_, shape
    (slots, 1 + design).
    """

    def fit(self, lesson: Lesson) -> Honest:
        """See Member. With weather as served, each day counts twice: as it was and as it was forecast."""
        table = lesson.table
        self.columns_ = tuple(table.columns)
        self.knots_ = {name: tuple(_quantiles(table.columns[name])) for name in HINGED}
        self.centre_, self.spread_ = self._scales(table)
        said_seen = np.empty_like(lesson.target)
        said_served = np.empty_like(lesson.target)
        coefficients = []
        for slots in _chunks(table.slots):
            designs = [self._design(served, slots) for served in (table, lesson.served) if served is not None]
            learned, honest = _fit_with_folds(designs, lesson.target[:, slots].T, lesson.fold, lesson.trust)
            coefficients.append(learned)
            said_seen[:, slots], said_served[:, slots] = honest[0], honest[-1]
        self.coefficients_ = np.concatenate(coefficients)
        return Honest(said_seen, said_served)

    def prepared(self, table: DayTable) -> DayTable:
        """See Member: it needs nothing more."""
        return table

    def predict(self, table: DayTable) -> Array:
        """See Member; a missing feature counts as its training mean."""
        answer: Array = np.einsum("snp,sp->ns", self._design(table, slice(0, table.slots)), self.coefficients_)
        return answer

    def explain(self, table: DayTable) -> Explained:
        """See Member: each coefficient times its standardised feature."""
        parts = self._design(table, slice(0, table.slots)) * self.coefficients_[:, None, :]
        of_column = [table.drivers[name] for name in self._design_names()]
        drivers = {
            driver: parts[:, :, [1 + number for number, found in enumerate(of_column) if found is driver]].sum(axis=2).T
            for driver in Driver
        }
        base = np.repeat(self.coefficients_[None, :, 0], len(table.days), axis=0)
        return Explained(base, drivers)

    def _design_names(self) -> list[str]:
        """The feature each design column comes from."""
        return [*self.columns_, *(name for name in HINGED for _ in self.knots_[name])]

    def _design_columns(self, table: DayTable) -> Iterator[Array]:
        for name in self.columns_:
            yield table.columns[name]
        for name in HINGED:
            for knot in self.knots_[name]:
                yield np.maximum(0.0, table.columns[name] - knot)

    def _scales(self, table: DayTable) -> tuple[Array, Array]:
        good = [values[np.isfinite(values)] for values in self._design_columns(table)]
        centre = np.array([values.mean() if values.size else 0.0 for values in good])
        spread = np.array([values.std() if values.size else 0.0 for values in good])
        return centre, np.where(spread > 1e-9, spread, UNMOVED)

    def _design(self, table: DayTable, slots: slice) -> Array:
        """Standardised features with a leading one, shape (slots, days, 1 + design)."""
        count = len(range(*slots.indices(table.slots)))
        design = np.ones((count, len(table.days), 1 + len(self.centre_)))
        for number, values in enumerate(self._design_columns(table)):
            design[:, :, 1 + number] = values[:, slots].T
        standard = design[:, :, 1:]
        standard -= self.centre_
        standard /= self.spread_
        standard[~np.isfinite(standard)] = 0.0
        return design


def _fit_with_folds(designs: list[Array], target: Array, fold: Integers, trust: Array) -> tuple[Array, list[Array]]:
    """Coefficients of each slot, learned from all designs of the same days; and for each design what fits without each fold
    say.

    A fold is left out by taking its share off the normal equations.
    """
    columns = designs[0].shape[2]
    penalty = PENALTY * len(designs) * np.eye(columns)
    penalty[0, 0] = UNPENALISED

    def normal(days: Flags) -> Array:
        parts = [_normal(design[:, days], target[:, days], trust[days]) for design in designs]
        return np.asarray(np.sum(parts, axis=0), dtype=np.float64)

    whole = normal(np.ones(len(fold), dtype=np.bool_))
    honest: list[Array] = [np.empty(target.T.shape) for _ in designs]
    for number in np.unique(fold):
        out = fold == number
        coefficients = _solved(whole - normal(out), penalty)
        for said, design in zip(honest, designs, strict=True):
            said[out] = np.einsum("snp,sp->ns", design[:, out], coefficients)
    return _solved(whole, penalty), honest


def _solved(normal: Array, penalty: Array) -> Array:
    return np.asarray(np.linalg.solve(normal[:, :, :-1] + penalty, normal[:, :, -1:])[:, :, 0], dtype=np.float64)


def _normal(design: Array, target: Array, trust: Array) -> Array:
    """X'WX and X'Wy side by side, shape (slots, p, p + 1); W: how much each day counts."""
    normal: Array = np.matmul(
        (design * trust[None, :, None]).transpose(0, 2, 1), np.concatenate([design, target[:, :, None]], axis=2)
    )
    return normal


def _quantiles(values: Array) -> list[float]:
    good = values[np.isfinite(values)]
    return [float(knot) for knot in np.quantile(good, KNOT_LEVELS)] if good.size else [0.0] * len(KNOT_LEVELS)


def _chunks(slots: int) -> Iterator[slice]:
    """A few times of day at once."""
    for start in range(0, slots, SLOTS_AT_ONCE):
        yield slice(start, min(start + SLOTS_AT_ONCE, slots))
