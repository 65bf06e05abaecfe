"""What each member of a forecaster says of one day: what an answer may be drawn from instead of the median alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from data.schema import Array
from forecasting.forecaster import MEDIAN, QUANTILE_COLUMNS


@dataclass(frozen=True, eq=False)
class MemberSays:
    """One day's forecast with its members; all in MW but the weights.

    quantiles_mw: the nine deciles, shape (intervals, 9); members_mw: each member's own centre, corrected as the whole is,
    shape (members, intervals); weights: shape (members,), sum 1; offset_mw: from the weighted centre to the median, shape
    (intervals,). weights @ members_mw + offset_mw is the median.
    """

    quantiles_mw: Array
    members_mw: Array
    weights: Array
    offset_mw: Array

    @classmethod
    def alone(cls, frame: pd.DataFrame) -> Self:
        """A forecaster that has one voice. frame: as `predict` answers."""
        quantiles_mw = frame[list(QUANTILE_COLUMNS)].to_numpy(dtype=np.float64)
        median = quantiles_mw[:, QUANTILE_COLUMNS.index(MEDIAN)]
        return cls(quantiles_mw, median[None, :].copy(), np.ones(1), np.zeros(len(median)))

    def widened(self, by: float) -> Self:
        """The same with every decile `by` times as far from the median."""
        median = self.quantiles_mw[:, [QUANTILE_COLUMNS.index(MEDIAN)]]
        return type(self)(median + by * (self.quantiles_mw - median), self.members_mw, self.weights, self.offset_mw)
