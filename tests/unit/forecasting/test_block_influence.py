"""What a week does to the model: leaving it out by downdating is training without it."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from data.schema import DEMAND_MW, TEMPERATURE_C
from forecasting import block_influence
from forecasting.block_influence import WeekGrid, influence
from forecasting.errors import TooLittleHistory


def test_weeks_run_from_monday_to_sunday_and_are_padded(small_world):
    utility, frame = small_world(days=30, start=date(2013, 7, 3))
    grid = WeekGrid.of(pd.DatetimeIndex(frame.index), utility)
    folded = grid.fold(frame[DEMAND_MW].to_numpy())

    assert grid.mondays[0] == date(2013, 7, 1)
    assert folded.shape == (len(grid.mondays), 168)
    assert np.isnan(folded[0, :48]).all()
    assert folded[0, 48] == frame[DEMAND_MW].iloc[0]


def test_leaving_a_week_out_is_training_without_it(small_world, monkeypatch):
    utility, frame = small_world(days=210)
    monkeypatch.setattr(block_influence, "TRIMMED_SHARE", 0.0)
    grid = WeekGrid.of(pd.DatetimeIndex(frame.index), utility)
    honest = influence(frame, grid, utility)
    week = utility.local(frame.index).date >= date(2013, 9, 2)
    week &= utility.local(frame.index).date <= date(2013, 9, 8)
    number = grid.mondays.index(date(2013, 9, 2))
    # Whatever stands in the week, the model without it says the same of it.
    altered = frame.assign(**{DEMAND_MW: frame[DEMAND_MW].where(~week, frame[DEMAND_MW].mean())})
    level = altered[DEMAND_MW].mean() / frame[DEMAND_MW].mean()

    other = influence(altered, grid, utility)

    assert level == pytest.approx(1, abs=0.05)
    assert other.expected_mw[number] == pytest.approx(honest.expected_mw[number], rel=2e-3)
    assert np.nanmax(np.abs(other.departed[number])) > 0.05


def test_a_raised_week_pulls_the_forecasts_up_and_is_foretold_without_itself(small_world):
    utility, frame = small_world(days=210)
    grid = WeekGrid.of(pd.DatetimeIndex(frame.index), utility)
    number = grid.mondays.index(date(2013, 9, 2))
    days = utility.local(frame.index).date
    raised = frame[DEMAND_MW].where((days < date(2013, 9, 2)) | (days > date(2013, 9, 8)), frame[DEMAND_MW] * 1.2)

    before = influence(frame, grid, utility)
    after = influence(frame.assign(**{DEMAND_MW: raised}), grid, utility)

    assert after.pull_percent[number] > before.pull_percent[number] + 0.1
    assert np.nanmean(after.departed[number]) == pytest.approx(0.2, abs=0.05)
    assert after.trimmed[number]


def test_nothing_given_is_changed(small_world):
    utility, frame = small_world(days=150)
    copy = frame.copy()

    influence(frame, WeekGrid.of(pd.DatetimeIndex(frame.index), utility), utility)

    pd.testing.assert_frame_equal(frame, copy)


def test_less_than_twenty_weeks_are_refused(small_world):
    utility, frame = small_world(days=100)

    with pytest.raises(TooLittleHistory) as caught:
        influence(frame[[DEMAND_MW, TEMPERATURE_C]], WeekGrid.of(pd.DatetimeIndex(frame.index), utility), utility)

    assert caught.value.found_days == 100
