"""How wrong weather forecasts are: learned from simulated ones, replayed as they were."""

from __future__ import annotations

from datetime import date, time, timedelta

import numpy as np
import pandas as pd
import pytest

from data.schema import FORECAST_TEMPERATURE_C, TEMPERATURE_C, TIMESTAMP, Utility
from forecasting.weather_error import NEEDED_DAYS, WeatherError

UTILITY = Utility("UTC", pd.Timedelta(hours=1), gate_closure=time(9))
TRUE = WeatherError(at_gate_c=0.5, per_hour_c=0.04, memory=0.9)
FIRST = date(2013, 1, 1)


def history(error: WeatherError | None, days: int = 400) -> pd.DataFrame:
    """Real temperatures, and forecasts of each day from its gate closure the day before."""
    index = pd.date_range(FIRST, periods=24 * days, freq="h", tz="UTC", name=TIMESTAMP)
    real = 10 + np.random.default_rng(1).normal(0, 5, len(index))
    missed = np.zeros(len(index))
    if error is not None:
        wanted = tuple(FIRST + timedelta(days=number) for number in range(days))
        missed = error.replay(wanted, UTILITY, seed=7)[:, 24:].ravel()
    return pd.DataFrame({TEMPERATURE_C: real, FORECAST_TEMPERATURE_C: real + missed}, index=index)


def test_deviation_growth_and_memory_are_learned_from_what_was_forecast_and_what_came():
    found = WeatherError.learn(history(TRUE), UTILITY)
    assert found is not None
    assert found.memory == pytest.approx(TRUE.memory, abs=0.03)
    assert found.per_hour_c == pytest.approx(TRUE.per_hour_c, rel=0.3)
    assert found.at_gate_c + 27 * found.per_hour_c == pytest.approx(TRUE.at_gate_c + 27 * TRUE.per_hour_c, rel=0.1)


def test_a_bias_by_time_of_day_is_no_error_to_replay():
    biased = history(TRUE)
    hour = pd.DatetimeIndex(biased.index).hour.to_numpy()
    biased[FORECAST_TEMPERATURE_C] += np.where(hour > 12, 5.0, -5.0)
    found, plain = WeatherError.learn(biased, UTILITY), WeatherError.learn(history(TRUE), UTILITY)
    assert found is not None
    assert plain is not None
    assert found.per_hour_c == pytest.approx(plain.per_hour_c)


@pytest.mark.parametrize("case", ["no column", "perfect", "rounded", "nothing forecast", "too few days"])
def test_forecasts_that_are_missing_perfect_or_too_few_teach_nothing(case: str):
    frame = history(TRUE, days=60)
    if case == "no column":
        frame = frame.drop(columns=FORECAST_TEMPERATURE_C)
    elif case == "perfect":
        frame = history(None)
    elif case == "rounded":
        frame = frame.assign(**{FORECAST_TEMPERATURE_C: frame[TEMPERATURE_C].round(1)})
    elif case == "nothing forecast":
        frame = frame.assign(**{FORECAST_TEMPERATURE_C: np.nan})
    else:
        frame.iloc[24 * (NEEDED_DAYS - 1) :, frame.columns.get_loc(FORECAST_TEMPERATURE_C)] = np.nan
    assert WeatherError.learn(frame, UTILITY) is None


def test_fourteen_days_are_enough_and_days_with_a_gap_do_not_count():
    frame = history(TRUE, days=NEEDED_DAYS + 1)
    frame.iloc[30, frame.columns.get_loc(FORECAST_TEMPERATURE_C)] = np.nan
    assert WeatherError.learn(frame, UTILITY) is not None


def test_a_replayed_error_begins_at_the_gate_closure_and_grows_as_learned():
    days = tuple(FIRST + timedelta(days=number) for number in range(3000))
    replayed = TRUE.replay(days, UTILITY, seed=1)
    assert replayed.shape == (3000, 48)
    assert (replayed[:, :9] == 0).all()
    assert replayed[:, 9].std() == pytest.approx(0.5, rel=0.05)
    assert replayed[:, -1].std() == pytest.approx(0.5 + 0.04 * 38, rel=0.05)
    assert np.corrcoef(replayed[:, 30], replayed[:, 31])[0, 1] == pytest.approx(0.9, abs=0.02)


def test_each_days_error_is_its_own_whatever_other_days_are_asked_for():
    one, both = (TRUE.replay(days, UTILITY, seed=1) for days in ((FIRST,), (FIRST - timedelta(days=1), FIRST)))
    np.testing.assert_array_equal(one[0], both[1])
    assert not np.array_equal(both[0], both[1])
    assert not np.array_equal(one, TRUE.replay((FIRST,), UTILITY, seed=2))


def test_a_longer_lead_is_replayed_from_its_own_gate_closure():
    utility = Utility("UTC", pd.Timedelta(hours=1), gate_closure=time(9), lead_days=3)
    replayed = TRUE.replay((FIRST,), utility, seed=1)
    assert replayed.shape == (1, 96)
    assert np.flatnonzero(replayed[0])[0] == 9
