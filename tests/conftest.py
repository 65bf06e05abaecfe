"""Shared by all rooms' tests: real data, small made-up utilities, simulated providers' words, an empty database.

Fixtures that are functions keep what they made: ask twice with the same arguments and nothing is computed again. Never
change a frame in place that came from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, time
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter
from sqlmodel import Session, SQLModel, create_engine

from data.datasets import EmbeddedDataset, load_victoria
from data.schema import DEMAND_MW, TEMPERATURE_C, TIMESTAMP, Utility
from data.simulation import simulate_providers, simulate_reports
from data.weather_fusion import known_at, known_at_gate_closures
from data.weather_providers import VerifiedReport, to_frame
from tests.stores import database_url, own_postgresql, own_redis, postgresql_database, postgresql_url, redis_url  # noqa: F401 (fixtures)

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
ProviderWeather = Callable[[int], tuple[pd.DataFrame, pd.DataFrame]]


@pytest.fixture(scope="session")
def victoria() -> EmbeddedDataset:
    """Three real years of half hours."""
    return load_victoria()


@pytest.fixture(scope="session")
def victoria_2012(victoria: EmbeddedDataset) -> EmbeddedDataset:
    """Its first local year (366 days)."""
    year = slice(victoria.utility.day_index(date(2012, 1, 1))[0], victoria.utility.day_index(date(2012, 12, 31))[-1])
    return EmbeddedDataset(
        victoria.utility, victoria.demand_mw[year], victoria.demand_watts[year], victoria.temperature_c[year]
    )


@pytest.fixture(scope="session")
def small_world() -> SmallWorld:
    """Makes (utility, frame of `demand_mw` around 1000 MW and `temperature_c`) for whole local days; seeded, no gaps."""

    @lru_cache
    def make(
        timezone: str = "Europe/Berlin",
        step_minutes: int = 60,
        days: int = 120,
        start: date = date(2013, 7, 1),
        seed: int = 1,
    ) -> tuple[Utility, pd.DataFrame]:
        step = pd.Timedelta(minutes=step_minutes)
        holidays = frozenset({date(2013, 10, 3), date(2013, 12, 25), date(2013, 12, 26), date(2014, 1, 1)})
        utility = Utility(timezone, step, gate_closure=time(9), holidays=holidays, demand_delay=pd.Timedelta(minutes=30))
        first = utility.day_index(start)[0]
        last = utility.day_index((pd.Timestamp(start) + pd.Timedelta(days=days - 1)).date())[-1]
        index = pd.date_range(first, last, freq=step, name=TIMESTAMP)
        local = utility.local(index)
        random = np.random.default_rng(seed)
        hour = 2 * np.pi * (local.hour + local.minute / 60).to_numpy() / 24
        season = 2 * np.pi * local.day_of_year.to_numpy() / 365.25
        slow = lfilter([1.0], [1.0, -0.995], random.standard_normal(len(index))) * 0.3
        temperature = 11 - 9 * np.cos(season) - 4 * np.cos(hour - 0.6) + slow
        heating = 12 * np.maximum(0, 16 - temperature)
        working = (local.day_of_week < 5) & ~np.isin(local.date, list(holidays))
        demand = 900 + heating + np.where(working, 120, 0) - 150 * np.cos(hour) + random.normal(0, 10, len(index))
        return utility, pd.DataFrame({DEMAND_MW: demand, TEMPERATURE_C: temperature}, index=index)

    return make


@pytest.fixture(scope="session")
def provider_weather(victoria: EmbeddedDataset) -> ProviderWeather:
    """By seed: what five honest providers (measured, forecast at each gate closure) of Melbourne in 2012 and 2013 [°C]."""

    @lru_cache
    def make(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        utility = victoria.utility
        truth = victoria.temperature_c.loc[: utility.day_index(date(2013, 12, 31))[-1]]
        reports = simulate_reports(truth, utility, simulate_providers(seed), seed)
        weather = to_frame([VerifiedReport(content.provider, "key", at, "digest", content) for at, content in reports])
        index = pd.DatetimeIndex(truth.index)
        measured = known_at(weather, index[-1] + pd.Timedelta(days=2), index[0], index[-1], utility.step)
        return measured, known_at_gate_closures(weather, utility, index)

    return make


@pytest.fixture
def session() -> Iterator[Session]:
    """A session on an empty database in memory, with the tables of every module that the test imports."""
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as opened:
        yield opened
    engine.dispose()
