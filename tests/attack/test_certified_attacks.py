"""Two malicious weeks of training move a forecaster without a certificate far; the certified one stays in its interval."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from benchmarks.certified_attacks import SPOILERS, Attack, Target, moved, search, spoiled, weeks_of
from benchmarks.yardstick import realised
from data.datasets import EmbeddedDataset
from forecasting.certified import LOWER_MW, MODELS, UPPER_MW
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import forecaster_named
from forecasting.forecaster import FORECAST_MW

R = 2
DAY = date(2013, 5, 15)
TRIES, CANDIDATES = 2, 4


@pytest.fixture(scope="module")
def target(victoria: EmbeddedDataset) -> Target:
    utility, frame = victoria.utility, realised(victoria)
    history = frame.loc[: utility.gate_closure_of(DAY) - utility.step]
    return Target(history, known_until_gate(frame, utility, DAY), DAY, utility, MODELS)


@pytest.fixture(scope="module")
def found(target: Target) -> list[tuple[Attack, list[Attack]]]:
    return [search(target, R, CANDIDATES, np.random.default_rng(seed)) for seed in range(TRIES)]


def test_no_attack_that_was_searched_for_leaves_the_interval(found: list[tuple[Attack, list[Attack]]]):
    tried = [attack for _, on_the_way in found for attack in on_the_way]
    assert len(tried) == TRIES * R * CANDIDATES
    assert max(attack.share for attack in tried) <= 1.0


def test_the_interval_promises_no_more_than_it_must_for_the_search_reaches_its_edge(
    found: list[tuple[Attack, list[Attack]]],
):
    assert max(worst.share for worst, _ in found) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("way", SPOILERS)
def test_no_way_of_spoiling_two_weeks_leaves_the_interval(way: str, target: Target):
    random = np.random.default_rng(5)
    weeks = weeks_of(target.history, target.utility)
    history = target.history
    for week in random.choice(np.unique(weeks), R, replace=False):
        history = spoiled(history, target.history, weeks, int(week), way, random)
    assert moved(target.certified(target.history, R), target.certified(history, 0))[0] <= 1.0


@pytest.mark.parametrize("name", ["linear", "ensemble"])
def test_without_the_certificate_the_same_weeks_move_a_forecast_further_than_the_interval_is_wide(name: str, target: Target):
    random = np.random.default_rng(1)
    weeks = weeks_of(target.history, target.utility)
    history = target.history
    for week in np.unique(weeks)[[-4, -3]]:
        history = spoiled(history, target.history, weeks, int(week), "demand × 3", random)
    clean, spoilt = (
        forecaster_named(name, 1).fit(learned, target.utility).predict(target.known, DAY)[FORECAST_MW]
        for learned in (target.history, history)
    )
    certificate = target.certified(target.history, R)
    width = certificate[UPPER_MW] - certificate[LOWER_MW]
    assert ((spoilt - clean).abs() > width).mean() > 0.5
    assert moved(certificate, target.certified(history, 0))[0] <= 1.0
