"""Demand as a thermometer: it tells what was felt, where it follows temperature, and is silent elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from data.schema import Array
from data.trust.witness import FEWEST_DAYS, Witness, learn_witness, log_demand, missed

DAYS = 730


@dataclass(frozen=True)
class Year:
    demand_mw: Array
    temperature_c: Array
    weekday: Array
    season: Array

    @property
    def before_c(self) -> Array:
        return np.concatenate([self.temperature_c[:1], self.temperature_c[:-1]])

    def learned(self) -> Witness:
        witness = learn_witness(self.demand_mw, self.temperature_c, self.weekday, self.season)
        assert witness is not None
        return witness

    def missed_by(self, witness: Witness, lie_c: float) -> tuple[Array, Array]:
        """What demand misses of a source that reads `lie_c` too warm, and its sensitivity."""
        return missed(witness, self.demand_mw, self.temperature_c + lie_c, self.before_c + lie_c, self.weekday, self.season)


def year(heating: float = 0.02, cooling: float = 0.02, seed: int = 1) -> Year:
    """Two years of days; heating below 14 °C, cooling above 22 °C [share of demand a °C], nothing between."""
    random = np.random.default_rng(seed)
    day = np.arange(DAYS)
    season = 2 * np.pi * day / 365.25
    temperature = 14 - 11 * np.cos(season) + random.normal(0, 3, DAYS)
    degrees = heating * np.maximum(0, 14 - temperature) + cooling * np.maximum(0, temperature - 22)
    weekday = (day % 7).astype(float)
    demand = 1000 * np.exp(degrees + np.where(weekday < 5, 0.1, 0.0) + random.normal(0, 0.01, DAYS))
    return Year(demand, temperature, weekday, season)


@pytest.fixture(scope="module")
def town() -> Year:
    return year()


def test_an_honest_source_leaves_nothing_to_be_missed(town: Year):
    error, _ = town.missed_by(town.learned(), 0.0)
    assert abs(error.mean()) < 0.002
    assert error.std() < 0.03


@pytest.mark.parametrize("lie_c", [3.0, -3.0])
def test_a_lie_is_felt_in_the_cold_with_its_size_and_sign(town: Year, lie_c: float):
    """Demand was drawn as if it were δ colder than the source says."""
    error, slope = town.missed_by(town.learned(), lie_c)
    cold = town.temperature_c < 6
    # A source δ too warm lets expect slope × δ more demand than was drawn.
    felt = -error[cold].mean() / slope[cold].mean()
    assert felt == pytest.approx(lie_c, abs=1.0)


def test_a_lie_is_felt_in_the_heat_as_well(town: Year):
    error, slope = town.missed_by(town.learned(), 3.0)
    hot = town.temperature_c > 25
    assert slope[hot].mean() > 0
    assert -error[hot].mean() / slope[hot].mean() == pytest.approx(3.0, abs=1.2)


def test_sensitivity_is_negative_in_the_cold_positive_in_the_heat_and_almost_nothing_between(town: Year):
    _, slope = town.missed_by(town.learned(), 0.0)
    cold, mild, hot = (
        slope[(town.temperature_c > low) & (town.temperature_c < high)].mean() for low, high in ((-9, 5), (16, 20), (25, 40))
    )
    assert cold < -0.01
    assert hot > 0.008
    assert abs(mild) < 0.4 * min(-cold, hot)


def test_where_demand_does_not_follow_temperature_the_witness_is_silent():
    indifferent = year(heating=0.0, cooling=0.0)
    witness = indifferent.learned()
    error, slope = indifferent.missed_by(witness, 3.0)
    assert np.abs(slope).max() < 0.005
    assert abs(error.mean()) < 0.005


def test_a_few_holidays_and_strikes_do_not_teach_another_weather(town: Year):
    odd = np.random.default_rng(3).choice(DAYS, 30, replace=False)
    struck = town.demand_mw.copy()
    struck[odd] *= 0.6
    plain = town.learned()
    robust = Year(struck, town.temperature_c, town.weekday, town.season).learned()
    _, slope = town.missed_by(plain, 0.0)
    _, again = town.missed_by(robust, 0.0)
    assert np.abs(slope - again).max() < 0.01


def test_fewer_days_than_needed_teach_nothing(town: Year):
    known = np.where(np.arange(DAYS) < FEWEST_DAYS - 1, town.demand_mw, np.nan)
    assert learn_witness(known, town.temperature_c, town.weekday, town.season) is None
    assert learn_witness(town.demand_mw, known * np.nan, town.weekday, town.season) is None


def test_days_without_demand_or_temperature_are_learned_around(town: Year):
    random = np.random.default_rng(4)
    demand, temperature = town.demand_mw.copy(), town.temperature_c.copy()
    demand[random.random(DAYS) < 0.2] = np.nan
    temperature[random.random(DAYS) < 0.2] = np.nan
    gappy = Year(demand, temperature, town.weekday, town.season).learned()
    np.testing.assert_allclose(town.missed_by(gappy, 0.0)[1], town.missed_by(town.learned(), 0.0)[1], atol=0.01)


def test_a_day_without_demand_or_temperatures_says_nothing(town: Year):
    witness = town.learned()
    part = slice(0, 4)
    demand, today, before = town.demand_mw[part].copy(), town.temperature_c[part].copy(), town.before_c[part].copy()
    demand[0], today[1], before[2] = np.nan, np.nan, np.nan
    error, slope = missed(witness, demand, today, before, town.weekday[part], town.season[part])
    assert np.isnan(error).tolist() == [True, True, True, False]
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("demand", [0.0, -5.0, np.nan])
def test_demand_that_is_none_has_no_logarithm(demand: float):
    assert np.isnan(log_demand(np.array([demand])))[0]
    assert log_demand(np.array([np.e]))[0] == pytest.approx(1.0)
