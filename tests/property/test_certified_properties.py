"""Whatever a few weeks of the history say, the certified forecast stays in its interval."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import DEMAND_MW, TEMPERATURE_C, Utility
from forecasting.certified import LOWER_MW, UPPER_MW, CertifiedForecaster
from forecasting.certified_blocks import block_of
from forecasting.day_grid import known_until_gate
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
DAY = date(2013, 10, 28)
MODELS = 5
WEEKS = 18
WAYS = ("numbers", "scaled", "missing", "left out", "rows left out")


@pytest.fixture(scope="module")
def world(small_world: SmallWorld) -> tuple[Utility, pd.DataFrame]:
    return small_world()


@pytest.fixture(scope="module")
def fitted(world: tuple[Utility, pd.DataFrame]) -> CertifiedForecaster:
    utility, frame = world
    return CertifiedForecaster(MODELS).fit(frame, utility)


def weeks_of(frame: pd.DataFrame, utility: Utility) -> np.ndarray:
    """The local week of each row, counted from the first."""
    days = utility.local(pd.DatetimeIndex(frame.index)).date
    blocks = {day: block_of(day) for day in set(days)}
    return np.array([blocks[day] for day in days]) - min(blocks.values())


def spoiled(frame: pd.DataFrame, rows: np.ndarray, way: str, seed: int, size: float) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    changed = frame.copy()
    columns = [[DEMAND_MW], [TEMPERATURE_C], [DEMAND_MW, TEMPERATURE_C]][seed % 3]
    count = (int(rows.sum()), len(columns))
    if way == "numbers":
        changed.loc[rows, columns] = random.normal(0, size, count)
    elif way == "scaled":
        changed.loc[rows, columns] *= random.choice([-size, size])
    elif way == "missing":
        changed.loc[rows, columns] = np.where(random.random(count) < 0.3, np.nan, changed.loc[rows, columns])
    else:
        gone = rows if way == "left out" else rows & (random.random(len(rows)) < 0.3)
        changed = changed[~gone]
    return changed


@given(
    weeks=st.lists(st.integers(0, WEEKS - 1), max_size=2, unique=True),
    way=st.sampled_from(WAYS),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([2.0, 1e3, 1e6, 1e12, 1e300]),
    offset=st.integers(0, 30),
)
@settings(deadline=None, max_examples=30)
def test_no_two_weeks_of_the_history_move_the_forecast_out_of_its_interval(
    weeks: list[int],
    way: str,
    seed: int,
    size: float,
    offset: int,
    world: tuple[Utility, pd.DataFrame],
    fitted: CertifiedForecaster,
):
    utility, frame = world
    day = DAY - timedelta(days=offset)
    known = known_until_gate(frame, utility, day)
    promised = fitted.certified(known, day, len(weeks))
    rows = np.isin(weeks_of(frame, utility), weeks)
    found = CertifiedForecaster(MODELS).fit(spoiled(frame, rows, way, seed, size), utility).predict(known, day)
    assert (found[FORECAST_MW] >= promised[LOWER_MW]).all()
    assert (found[FORECAST_MW] <= promised[UPPER_MW]).all()
    assert (np.diff(found[list(QUANTILE_COLUMNS)], axis=1) >= 0).all()


@given(
    offset=st.integers(0, 60),
    lost=st.sampled_from([0.0, 0.3, 1.0]),
    size=st.sampled_from([1.0, 1e4, 1e9]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=30)
def test_the_interval_holds_the_forecast_and_grows_with_the_number_of_malicious_weeks(
    offset: int, lost: float, size: float, seed: int, world: tuple[Utility, pd.DataFrame], fitted: CertifiedForecaster
):
    utility, frame = world
    day = DAY - timedelta(days=offset)
    random = np.random.default_rng(seed)
    known = known_until_gate(frame, utility, day)
    for column in (DEMAND_MW, TEMPERATURE_C):
        known[column] = (known[column] + random.normal(0, size, len(known))).mask(random.random(len(known)) < lost)
    lower, upper = None, None
    for r in range(4):
        answer = fitted.certified(known, day, r)
        assert (np.diff(answer[list(QUANTILE_COLUMNS)], axis=1) >= 0).all()
        assert answer[FORECAST_MW].between(answer[LOWER_MW], answer[UPPER_MW]).all()
        if lower is not None and upper is not None:
            assert (answer[LOWER_MW] <= lower).all()
            assert (answer[UPPER_MW] >= upper).all()
        lower, upper = answer[LOWER_MW], answer[UPPER_MW]
