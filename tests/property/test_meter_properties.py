"""Demand does not depend on how its readings came: in what order, or how often."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from data.meters import aggregate, demand_as_of
from data.quality import repair
from data.schema import Utility

HOURLY = Utility("UTC", pd.Timedelta(hours=1))
HOURS = 24 * 12
seeds = st.integers(0, 2**32 - 1)


def readings_of(seed: int) -> pd.DataFrame:
    """Four meters with gaps, late readings, contradictions (some received in the same second) and a unit slip."""
    random = np.random.default_rng(seed)
    index = pd.date_range("2013-01-01", periods=HOURS, freq="h", tz="UTC")
    parts = []
    for meter in "ABCD":
        power = 1_000_000 + random.integers(0, 400_000, HOURS)
        begin = random.integers(48, HOURS - 10)
        power[begin : begin + 8] = power[begin] if meter == "B" else power[begin : begin + 8]
        if meter == "C":
            power[begin : begin + 8] //= 1000
        delay = pd.to_timedelta(random.choice([120, 900, 5 * 3600, 4 * 86400], HOURS, p=[0.5, 0.4, 0.08, 0.02]), unit="s")
        parts.append(
            pd.DataFrame({"meter": meter, "timestamp": index, "received_at": index + HOURLY.step + delay, "power_w": power})
        )
    readings = pd.concat(parts, ignore_index=True)
    readings = readings[random.random(len(readings)) > 0.03]
    contradictions = readings.sample(20, random_state=int(random.integers(2**31)))
    contradictions = contradictions.assign(
        power_w=contradictions["power_w"] + 7,
        received_at=contradictions["received_at"] + pd.to_timedelta(random.choice([0, 300], 20), unit="s"),
    )
    return pd.concat([readings, contradictions], ignore_index=True)


@settings(deadline=None, max_examples=25)
@given(seed=seeds, order=seeds)
def test_any_order_of_the_readings_gives_the_same_demand(seed: int, order: int):
    readings = readings_of(seed)
    shuffled = readings.sample(frac=1, random_state=order % 2**32, ignore_index=True)
    expected, found = aggregate(readings, HOURLY), aggregate(shuffled, HOURLY)
    pd.testing.assert_frame_equal(found.demand, expected.demand)
    assert found.findings == expected.findings


@settings(deadline=None, max_examples=25)
@given(seed=seeds, again=seeds, later=st.integers(0, 10**6))
def test_readings_that_come_again_change_nothing(seed: int, again: int, later: int):
    readings = readings_of(seed)
    twice = readings.sample(50, random_state=again % 2**32)
    twice = twice.assign(received_at=twice["received_at"] + pd.Timedelta(seconds=later))
    found = aggregate(pd.concat([readings, twice], ignore_index=True), HOURLY)
    pd.testing.assert_frame_equal(found.demand, aggregate(readings, HOURLY).demand)


@settings(deadline=None, max_examples=15)
@given(seed=seeds, factor=st.integers(2, 50))
def test_twice_the_power_is_twice_the_demand(seed: int, factor: int):
    readings = readings_of(seed)
    larger = readings.assign(power_w=readings["power_w"] * factor)
    total, findings = repair(readings, HOURLY)
    larger_total, larger_findings = repair(larger, HOURLY)
    np.testing.assert_allclose(larger_total.to_numpy(), total.to_numpy() * factor, rtol=1e-9)
    assert larger_findings == findings


@settings(deadline=None, max_examples=25)
@given(seed=seeds, hours=st.integers(0, 30 * 24))
def test_what_was_known_once_never_depends_on_versions_that_came_later(seed: int, hours: int):
    demand = aggregate(readings_of(seed), HOURLY).demand
    moment = pd.Timestamp("2013-01-01", tz="UTC") + pd.Timedelta(hours=hours)
    known = demand_as_of(demand, moment)
    assert not known.index.has_duplicates
    assert known.index.is_monotonic_increasing
    pd.testing.assert_series_equal(known, demand_as_of(demand[demand["available_at"] <= moment], moment))
