"""What a forecaster may learn from, as it was known at one moment."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.schema import Utility
from data.training_set import LONGEST_TRAINING, assemble, with_forecast

UTILITY = Utility("Europe/Berlin", pd.Timedelta(minutes=30))
INDEX = pd.date_range("2010-01-01", periods=48 * 1200, freq="30min", tz="UTC", name="timestamp")
DEMAND = pd.Series(np.arange(len(INDEX), dtype=float), index=INDEX)
WARMTH = pd.Series(np.arange(len(INDEX), dtype=float) / 7, index=INDEX)


def test_nothing_that_ended_after_the_moment_is_let_through():
    as_of = pd.Timestamp("2010-03-01T08:00Z")
    frame = assemble(DEMAND, WARMTH, UTILITY, as_of)
    assert frame.index[-1] == as_of - UTILITY.step
    assert frame.index[0] == INDEX[0]


@pytest.mark.parametrize("as_of", ["2013-03-01T08:00Z", "2013-03-01T08:10Z", "2013-03-01T08:29:59Z"])
def test_the_last_two_and_a_half_years_are_kept_whatever_the_minute(as_of: str):
    moment = pd.Timestamp(as_of)
    frame = assemble(DEMAND, WARMTH, UTILITY, moment)
    assert frame.notna().all().all()
    assert frame.index[0] >= moment - LONGEST_TRAINING > frame.index[0] - UTILITY.step
    assert frame.index[-1] + UTILITY.step <= moment < frame.index[-1] + 2 * UTILITY.step
    assert (np.diff(frame.index) == UTILITY.step).all()


def test_values_stay_at_their_times_and_gaps_stay_gaps():
    holes = DEMAND.drop(INDEX[5:8])
    frame = assemble(holes, WARMTH.iloc[2:], UTILITY, INDEX[100])
    assert frame["demand_mw"].isna().sum() == 3
    assert frame["temperature_c"].isna().tolist() == [True, True] + [False] * 98
    assert frame["demand_mw"].dropna().equals(holes.iloc[:97])
    assert frame.columns.tolist() == ["demand_mw", "temperature_c"]


def test_what_had_been_forecast_and_how_uncertain_it_was_stand_beside_where_they_are_given():
    as_of, half_a_degree = INDEX[100], pd.Series(0.5, index=INDEX[50:])
    frame = assemble(DEMAND, WARMTH, UTILITY, as_of, WARMTH + 1, half_a_degree)
    assert frame.columns.tolist() == ["demand_mw", "temperature_c", "forecast_temperature_c", "temperature_uncertainty_c"]
    assert frame["temperature_uncertainty_c"].isna().tolist() == [True] * 50 + [False] * 50
    assert (frame["forecast_temperature_c"] == WARMTH.iloc[:100] + 1).all()
    asked = with_forecast(DEMAND.iloc[:100].to_frame("demand_mw"), WARMTH.iloc[50:200], half_a_degree)
    assert asked["temperature_uncertainty_c"].notna().tolist() == [False] * 50 + [True] * 150


def test_training_ends_with_the_demand_even_if_it_is_asked_later():
    frame = assemble(DEMAND.iloc[:500], WARMTH, UTILITY, INDEX[1000])
    assert frame.index[-1] == INDEX[499]


def test_a_forecast_is_asked_with_demand_so_far_and_temperatures_to_the_end():
    frame = with_forecast(DEMAND.iloc[:100].to_frame("demand_mw"), WARMTH.iloc[50:200])
    assert frame.index.equals(INDEX[:200])
    assert frame["demand_mw"].notna().sum() == 100
    assert frame["temperature_c"].iloc[:50].isna().all()
    assert frame["temperature_c"].iloc[50:].equals(WARMTH.iloc[50:200].rename("temperature_c"))
    assert frame.columns.tolist() == ["demand_mw", "temperature_c"]
