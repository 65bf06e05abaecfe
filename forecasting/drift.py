"""The anomaly detector on forecast against actual: has the forecaster begun to miss on one side?

A one-sided CUSUM (Page 1954) of the daily mean error, prewhitened: the error of one day leans on the day before's. Centre,
memory and scale are learned on days before the watch begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

MAD_TO_SIGMA = 1.4826
ALLOWANCE = 0.5
THRESHOLD = 10.0


@dataclass(frozen=True)
class DriftAlarm:
    """day: when the sum crossed the threshold; onset: the day it last left zero; side: `over` or `under` forecast."""

    day: pd.Timestamp
    onset: pd.Timestamp
    side: str
    statistic: float


def cusum(daily_error_percent: pd.Series, learn_until: pd.Timestamp) -> pd.DataFrame:
    """Running sums of standardised daily errors after `learn_until`: columns `over`, `under`; index as given.

    daily_error_percent: mean signed error of each day [% of demand], positive when too much was forecast; days without
    a value are passed over.
    """
    errors = daily_error_percent.dropna()
    learned = errors[errors.index <= learn_until].to_numpy(dtype=np.float64)
    centre = float(np.median(learned))
    memory = float(np.clip(np.corrcoef(learned[1:], learned[:-1])[0, 1], 0.0, 0.9))
    whitened = (learned[1:] - centre) - memory * (learned[:-1] - centre)
    scale = max(float(np.median(np.abs(whitened)) * MAD_TO_SIGMA), 1e-6)
    watched = errors[errors.index > learn_until]
    sums = np.zeros((len(watched), 2))
    over = under = previous = 0.0
    for row, error in enumerate(watched.to_numpy(dtype=np.float64)):
        score = ((error - centre) - memory * previous) / scale
        previous = error - centre
        over = max(0.0, over + score - ALLOWANCE)
        under = max(0.0, under - score - ALLOWANCE)
        sums[row] = over, under
    return pd.DataFrame(sums, index=watched.index, columns=["over", "under"])


def first_alarm(sums: pd.DataFrame, threshold: float = THRESHOLD) -> DriftAlarm | None:
    """The first day either sum reaches `threshold`, or None."""
    above = sums[(sums >= threshold).any(axis=1)]
    if above.empty:
        return None
    day = above.index[0]
    side = "over" if above.iloc[0]["over"] >= above.iloc[0]["under"] else "under"
    before = sums.loc[:day, side]
    zeros = before.index[before == 0]
    onset = zeros[-1] if len(zeros) else before.index[0]
    return DriftAlarm(day=day, onset=onset, side=side, statistic=float(above.iloc[0][side]))
