"""The anomaly detector on forecast against actual: has the forecaster begun to miss on one side?

A one-sided CUSUM (Page 1954) of the daily mean error, prewhitened: the error of one day leans on the day before's. Centre,
memory and scale are learned on days before the watch begins, best a whole year: what a utility calls an unusual run of
days, a heat wave for one, has to be in them. The control limit is 3 times the largest sum of that time (a trial limit of
phase I; Montgomery, "Statistical Quality Control", section 6.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from forecasting.errors import TooLittleHistory

MAD_TO_SIGMA = 1.4826
ALLOWANCE = 0.5
LOWEST_LIMIT = 10.0
LIMIT_OVER_LEARNED = 3.0
NEEDED_DAYS = 14


@dataclass(frozen=True)
class DriftAlarm:
    """day: when the sum crossed the threshold; onset: the day it last left zero; side: `over` or `under` forecast."""

    day: pd.Timestamp
    onset: pd.Timestamp
    side: str
    statistic: float


def cusum(daily_error_percent: pd.Series, learn_until: pd.Timestamp) -> pd.DataFrame:
    """Running sums of standardised daily errors, the days learned from included: columns `over`, `under`; index as given.

    daily_error_percent: mean signed error of each day [% of demand], positive when too much was forecast; days without
    a value are passed over. Raises TooLittleHistory when fewer than 14 days can be learned from.
    """
    errors = daily_error_percent.dropna()
    learned = errors[errors.index <= learn_until].to_numpy(dtype=np.float64)
    if len(learned) < NEEDED_DAYS:
        raise TooLittleHistory(found_days=len(learned), needed_days=NEEDED_DAYS)
    centre = float(np.median(learned))
    moves = np.std(learned[1:]) > 0 and np.std(learned[:-1]) > 0
    memory = float(np.clip(np.corrcoef(learned[1:], learned[:-1])[0, 1], 0.0, 0.9)) if moves else 0.0
    whitened = (learned[1:] - centre) - memory * (learned[:-1] - centre)
    scale = max(float(np.median(np.abs(whitened)) * MAD_TO_SIGMA), 1e-6)
    sums = np.zeros((len(errors), 2))
    over = under = previous = 0.0
    for row, error in enumerate(errors.to_numpy(dtype=np.float64)):
        score = ((error - centre) - memory * previous) / scale
        previous = error - centre
        over = max(0.0, over + score - ALLOWANCE)
        under = max(0.0, under - score - ALLOWANCE)
        sums[row] = over, under
    return pd.DataFrame(sums, index=errors.index, columns=["over", "under"])


def control_limit(sums: pd.DataFrame, learn_until: pd.Timestamp) -> pd.Series:
    """Where an alarm is raised, for `over` and `under`: 3 times the largest sum up to `learn_until`, and 10 at least."""
    limits: pd.Series = (sums.loc[:learn_until].max() * LIMIT_OVER_LEARNED).clip(lower=LOWEST_LIMIT)
    return limits


def first_alarm(sums: pd.DataFrame, learn_until: pd.Timestamp) -> DriftAlarm | None:
    """The first day after `learn_until` on which either sum reaches its control limit, or None."""
    share = sums / control_limit(sums, learn_until)
    above = share[(share >= 1).any(axis=1) & (share.index > learn_until)]
    if above.empty:
        return None
    day = above.index[0]
    side = "over" if above.iloc[0]["over"] >= above.iloc[0]["under"] else "under"
    before = sums.loc[:day, side]
    zeros = before.index[before == 0]
    onset = zeros[-1] if len(zeros) else before.index[0]
    return DriftAlarm(day=day, onset=onset, side=side, statistic=float(before.iloc[-1]))
