"""Weeks of training data altered before they are signed (AML.T0020, ML02): no signature sees it, the audit does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from benchmarks.audit_data import WORLDS, snapshot_of
from data.schema import DEMAND_MW
from data.snapshots import Snapshot
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import forecaster_named
from forecasting.forecaster import FORECAST_MW
from pipeline.audit_data import DEMAND, DataAudit, audit_data
from pipeline.redteam.data_poisoning import Poisoned, biased, planted, warmed

SHARE = 0.1


@pytest.fixture(scope="module")
def honest(victoria) -> Snapshot:
    return snapshot_of(victoria, WORLDS[0], (2012, 2013), seed=101)


@pytest.fixture(scope="module")
def raised(victoria, honest) -> Poisoned:
    """One week in ten a fifth too high."""
    return planted(honest, victoria.utility, DEMAND, biased(20), SHARE, seed=101)


@pytest.fixture(scope="module")
def audited(victoria, raised) -> DataAudit:
    return audit_data(raised.snapshot, victoria.utility)


def forecast_mean(training: pd.DataFrame, honest: Snapshot, utility) -> float:
    """Mean forecast of a day in each season by a model of `training`, from honest readings [MW]."""
    forecaster = forecaster_named("linear", 1).fit(training, utility)
    days = [date(2013, 3, 13), date(2013, 6, 12), date(2013, 9, 11), date(2013, 11, 20)]
    known = [known_until_gate(honest.training, utility, day) for day in days]
    return float(
        np.mean([forecaster.predict(frame, day)[FORECAST_MW].mean() for frame, day in zip(known, days, strict=True)])
    )


def without(training: pd.DataFrame, mondays: set[date], utility) -> pd.DataFrame:
    """Demand of these weeks unknown."""
    monday = pd.DatetimeIndex(utility.local(training.index).tz_localize(None).to_period("W").start_time).date
    return training.assign(**{DEMAND_MW: training[DEMAND_MW].where(~np.isin(monday, list(mondays)))})


def test_raised_weeks_pull_the_model_and_without_the_suspects_it_is_back(victoria, honest, raised, audited):
    utility = victoria.utility
    suspects = {block.monday for block in audited.blocks if block.suspect and block.source == DEMAND}

    clean = forecast_mean(honest.training, honest, utility)
    pulled = forecast_mean(raised.snapshot.training, honest, utility)
    mended = forecast_mean(without(raised.snapshot.training, suspects, utility), honest, utility)

    assert abs(pulled - clean) > 0.002 * clean
    assert abs(mended - clean) < 0.5 * abs(pulled - clean)


def test_raised_weeks_stand_at_the_head_of_the_ranking(raised, audited):
    own = [block for block in audited.blocks if block.source == DEMAND]
    head = {block.monday for block in own[: len(own) // 5]}

    assert len(head & set(raised.mondays)) >= 0.9 * len(raised.mondays)


def test_weather_that_demand_was_never_true_to_is_named_with_its_provider(victoria, honest):
    utility = victoria.utility
    provider = str(honest.readings.columns[1])
    poisoned = planted(honest, utility, provider, warmed(3), 0.05, seed=101)

    # The safeguard off: the fused temperature hardly moves, and nothing is out of the ordinary in it.
    moved = (poisoned.snapshot.training["temperature_c"] - honest.training["temperature_c"]).abs()
    assert moved.max() < 3

    suspects = {(block.source, block.monday) for block in audit_data(poisoned.snapshot, utility).blocks if block.suspect}
    assert {(provider, monday) for monday in poisoned.mondays} <= suspects


def test_an_attacker_who_alters_all_providers_alike_is_not_seen_by_them(victoria, honest):
    """The limit that the document states: without an honest witness only demand can tell, and it is not as sure."""
    utility = victoria.utility
    everywhere = honest
    for provider in honest.readings.columns:
        poisoned = planted(everywhere, utility, str(provider), warmed(1.5), 0.05, seed=101)
        everywhere = replace(poisoned.snapshot, snapshot_id="everywhere")
    alone = planted(honest, utility, str(honest.readings.columns[0]), warmed(1.5), 0.05, seed=101)

    def worst(snapshot: Snapshot, mondays: tuple[date, ...]) -> float:
        blocks = audit_data(snapshot, utility).blocks
        return float(np.mean([b.score for b in blocks if b.monday in mondays and b.source == honest.readings.columns[0]]))

    assert worst(everywhere, alone.mondays) < worst(alone.snapshot, alone.mondays)
