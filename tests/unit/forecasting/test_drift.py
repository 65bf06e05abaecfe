"""The detector on forecast against actual: silent while errors are the usual ones, loud when they lean to one side."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting.drift import cusum, first_alarm
from forecasting.errors import TooLittleHistory

DAYS = pd.date_range("2013-01-01", periods=400, freq="D")
LEARN_UNTIL = DAYS[199]
LEANS_FROM = DAYS[260]


def errors(seed: int = 1, memory: float = 0.5) -> pd.Series:
    random = np.random.default_rng(seed)
    values = np.zeros(len(DAYS))
    for day in range(1, len(DAYS)):
        values[day] = memory * values[day - 1] + random.normal(0, 1)
    return pd.Series(values + 0.3, index=DAYS)


@pytest.mark.parametrize("seed", range(1, 9))
def test_usual_errors_raise_no_alarm(seed: int):
    assert first_alarm(cusum(errors(seed), LEARN_UNTIL), LEARN_UNTIL) is None


@pytest.mark.parametrize(("lean", "side"), [(4.0, "over"), (-4.0, "under")])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_errors_that_lean_to_one_side_are_found_and_dated(seed: int, lean: float, side: str):
    leaning = errors(seed)
    leaning.loc[LEANS_FROM:] += lean
    alarm = first_alarm(cusum(leaning, LEARN_UNTIL), LEARN_UNTIL)
    assert alarm is not None
    assert alarm.side == side
    assert LEANS_FROM <= alarm.day <= LEANS_FROM + pd.Timedelta(days=40)
    assert abs(alarm.onset - LEANS_FROM) <= pd.Timedelta(days=10)
    assert alarm.statistic >= 10


def test_sums_depend_on_nothing_that_came_later():
    whole = cusum(errors(), LEARN_UNTIL)
    cut = cusum(errors().loc[: DAYS[300]], LEARN_UNTIL)
    pd.testing.assert_frame_equal(whole.loc[: DAYS[300]], cut)


def test_sums_never_fall_below_zero_and_one_side_rises_while_the_other_rests():
    leaning = errors()
    leaning.loc[LEANS_FROM:] += 3.0
    sums = cusum(leaning, LEARN_UNTIL)
    assert (sums >= 0).all().all()
    assert sums["over"].iloc[-1] > 50
    assert sums["under"].loc[LEANS_FROM + pd.Timedelta(days=60) :].mean() < 1


def test_days_without_a_value_are_passed_over():
    holes = errors()
    holes.iloc[210:220] = np.nan
    sums = cusum(holes, LEARN_UNTIL)
    assert not sums.index.isin(DAYS[210:220]).any()
    assert sums.index[-1] == DAYS[-1]


def test_errors_that_never_moved_can_still_be_watched():
    still = pd.Series(0.0, index=DAYS)
    assert first_alarm(cusum(still, LEARN_UNTIL), LEARN_UNTIL) is None
    still.loc[LEANS_FROM:] = 1.0
    alarm = first_alarm(cusum(still, LEARN_UNTIL), LEARN_UNTIL)
    assert alarm is not None
    assert alarm.day == LEANS_FROM


@pytest.mark.parametrize("days", [0, 5, 13])
def test_a_few_days_are_too_little_to_learn_from(days: int):
    with pytest.raises(TooLittleHistory) as refusal:
        cusum(errors(), DAYS[0] + pd.Timedelta(days=days - 1))
    assert (refusal.value.found_days, refusal.value.needed_days) == (days, 14)
