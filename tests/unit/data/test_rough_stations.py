"""The made-up stations are as rough as the 25 real ones that were measured, and deliver as clumsily."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.datasets import EmbeddedDataset
from data.rough_stations import PROVIDERS, ROUNDINGS_C, STATIONS, simulate_stations

SEEDS = (0, 1, 2)
# Of 25 real stations of one utility, each against the median of all.
REAL_SPREAD_C, REAL_MEAN_SPREAD_C = (0.6, 2.2), 1.0
REAL_MEMORY = (0.26, 0.57)
REAL_BIAS_C, REAL_SWING_C = 4.3, (0.4, 5.2)


@pytest.fixture(scope="module")
def differences(victoria: EmbeddedDataset) -> list[pd.DataFrame]:
    """Twenty-five stations against their median, by seed; index local time."""
    local = victoria.utility.local(pd.DatetimeIndex(victoria.temperature_c.index)).tz_localize(None)
    found = []
    for seed in SEEDS:
        readings = simulate_stations(victoria.temperature_c, victoria.utility, seed, 25)
        found.append(readings.sub(readings.median(axis=1), axis=0).set_index(local))
    return found


@pytest.fixture(scope="module")
def stations(victoria: EmbeddedDataset) -> pd.DataFrame:
    return simulate_stations(victoria.temperature_c, victoria.utility, 1, 25)


def test_daily_means_differ_as_much_as_those_of_real_stations(differences: list[pd.DataFrame]):
    spread = np.concatenate([one.resample("D").mean().std().to_numpy() for one in differences])
    assert spread.mean() == pytest.approx(REAL_MEAN_SPREAD_C, abs=0.1)
    assert np.quantile(spread, 0.1) > REAL_SPREAD_C[0] - 0.05
    assert spread.max() < REAL_SPREAD_C[1]


def test_from_day_to_day_differences_last_as_long_as_those_of_real_stations(differences: list[pd.DataFrame]):
    memory = []
    for one in differences:
        daily = one.resample("D").mean()
        # Without what the season explains; with it they last longer than real ones, which is harder to see through.
        daily -= daily.groupby(pd.DatetimeIndex(daily.index).month).transform("mean")
        memory += [daily[name].autocorr() for name in daily]
    low, high = np.quantile(memory, [0.05, 0.95])
    assert REAL_MEMORY[0] < low < high < REAL_MEMORY[1] + 0.02


def test_biases_and_their_swing_through_the_day_are_those_of_real_stations(differences: list[pd.DataFrame]):
    bias = np.concatenate([one.mean().to_numpy() for one in differences])
    by_hour = [one.groupby(pd.DatetimeIndex(one.index).hour).mean() for one in differences]
    swing = np.concatenate([(hourly.max() - hourly.min()).to_numpy() for hourly in by_hour])
    assert 1.0 < bias.std() < REAL_BIAS_C / 2
    assert np.abs(bias).max() < REAL_BIAS_C + 1
    assert REAL_SWING_C[0] < swing.min() < swing.max() < REAL_SWING_C[1]


def test_differences_have_heavy_tails(differences: list[pd.DataFrame]):
    kurtosis = np.concatenate([one.resample("h").mean().diff().kurt().to_numpy() for one in differences])
    assert np.median(kurtosis) > 1.0


def test_differences_swing_more_under_a_clear_sky(differences: list[pd.DataFrame], victoria: EmbeddedDataset):
    days = [one.resample("D") for one in differences]
    swing = pd.concat([(day.max() - day.min()).mean(axis=1) for day in days], axis=1).mean(axis=1)
    local = victoria.utility.local(pd.DatetimeIndex(victoria.temperature_c.index)).tz_localize(None)
    daily = victoria.temperature_c.set_axis(local).resample("D")
    span = daily.max() - daily.min()
    assert swing[span > span.quantile(0.8)].mean() > 1.2 * swing[span < span.quantile(0.2)].mean()


def test_every_station_rounds_to_its_own_step(stations: pd.DataFrame):
    fits = dict.fromkeys(ROUNDINGS_C, 0)
    for name in stations:
        values = stations[name].dropna().to_numpy()
        steps = [step for step in ROUNDINGS_C if np.allclose(values / step, np.round(values / step), atol=1e-4)]
        assert steps
        fits[max(steps)] += 1
    assert all(fits.values())


def test_readings_are_missing_singly_and_for_hours(stations: pd.DataFrame):
    missing = stations.isna()
    assert missing.mean().between(0.0005, 0.05).all()
    longest = missing.apply(lambda column: column.groupby((~column).cumsum()).sum().max())
    assert (longest > 12).all()
    assert (longest <= 3 * 96).all()


def test_honest_readings_stick_for_hours_but_not_for_a_day(stations: pd.DataFrame):
    fine = [name for name in stations if np.round(stations[name] * 2 % 1, 3).nunique() > 2]
    assert fine
    for name in fine:
        same = stations[name].diff() == 0
        longest = same.groupby((~same).cumsum()).sum().max()
        assert 4 < longest < 24


def test_providers_of_one_city_differ_less_than_stations(victoria: EmbeddedDataset):
    found = {}
    for roughness in (PROVIDERS, STATIONS):
        readings = simulate_stations(victoria.temperature_c, victoria.utility, 5, 10, roughness)
        found[roughness] = readings.sub(victoria.temperature_c, axis=0).std().mean()
    assert 0.25 < found[PROVIDERS] / found[STATIONS] < 0.5


def test_the_same_seed_gives_the_same_readings_and_another_seed_others(victoria: EmbeddedDataset):
    week = victoria.temperature_c.iloc[: 7 * 48]
    once, again, other = (simulate_stations(week, victoria.utility, seed, 3) for seed in (4, 4, 5))
    pd.testing.assert_frame_equal(once, again)
    assert not once.equals(other)
    assert list(once) == ["station-1", "station-2", "station-3"]
    assert once.index.equals(week.index)
