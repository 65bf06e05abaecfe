"""The audit of a small snapshot: every block once, the planted ones first, and an honest word on who could be judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.schema import DEMAND_MW
from data.snapshots import Snapshot
from data.weather_fusion import Exclusion
from pipeline.audit_data import DEMAND, DataAudit, audit_data
from pipeline.redteam.data_poisoning import biased, duplicated, flipped, planted, shifted, warmed
from pipeline.weather_policy import WeatherContract
from tests.unit.pipeline.small_snapshot import PROVIDERS, small_snapshot

DAYS = 420


@pytest.fixture(scope="module")
def snapshot(small_world) -> tuple[Snapshot, object]:
    utility, frame = small_world(days=DAYS)
    return small_snapshot(utility, frame), utility


def first_of(audit: DataAudit, source: str, count: int) -> set[object]:
    return {block.monday for block in [block for block in audit.blocks if block.source == source][:count]}


def test_every_block_stands_in_the_ranking_once_the_highest_score_first(snapshot):
    audit = audit_data(*snapshot)
    blocks = [(block.source, block.monday) for block in audit.blocks]
    scores = [block.score for block in audit.blocks]

    assert len(set(blocks)) == len(blocks)
    assert {source for source, _ in blocks} == {DEMAND, *PROVIDERS}
    assert scores == sorted(scores, reverse=True)
    assert audit.notes == ()


def test_honest_providers_are_rarely_suspect(snapshot):
    blocks = [block for block in audit_data(*snapshot).blocks if block.source != DEMAND]

    assert sum(block.suspect for block in blocks) <= 0.02 * len(blocks)


@pytest.mark.parametrize(
    ("source", "poisoning", "kind"),
    [
        (DEMAND, flipped, None),
        (DEMAND, biased(8), "demand offset"),
        (DEMAND, duplicated, "duplicate"),
        (DEMAND, shifted, None),
        ("boreas", warmed(2), None),
        ("boreas", duplicated, None),
        ("boreas", shifted, None),
    ],
)
def test_planted_weeks_come_first_and_are_suspect(snapshot, source, poisoning, kind):
    whole, utility = snapshot
    poisoned = planted(whole, utility, source, poisoning, 0.05, seed=3)

    audit = audit_data(poisoned.snapshot, utility)
    guilty = [block for block in audit.blocks if block.source == source and block.monday in poisoned.mondays]

    assert set(poisoned.mondays) <= first_of(audit, source, 6)
    assert all(block.suspect for block in guilty)
    if kind:
        assert all(kind in block.kind for block in guilty)


def test_a_duplicate_names_its_twin(snapshot):
    whole, utility = snapshot
    poisoned = planted(whole, utility, "boreas", duplicated, 0.02, seed=3)

    audit = audit_data(poisoned.snapshot, utility)
    twins = [
        block.twin for block in audit.blocks if block.kind == "duplicate" and block.source == "boreas" and block.suspect
    ]

    assert all(twin is not None for twin in twins)


def test_one_provider_alone_is_said_to_be(small_world):
    utility, frame = small_world(days=DAYS)

    audit = audit_data(small_snapshot(utility, frame, "single:aurora", providers=1), utility)

    assert {block.source for block in audit.blocks} == {DEMAND, "aurora"}
    assert "aurora is alone" in audit.notes[0]


def test_the_providers_that_a_contract_does_not_use_are_witnesses_only(small_world):
    utility, frame = small_world(days=DAYS)
    snapshot = small_snapshot(utility, frame, "single:aurora")
    poisoned = planted(snapshot, utility, "aurora", warmed(2), 0.05, seed=3)

    audit = audit_data(poisoned.snapshot, utility)

    assert {block.source for block in audit.blocks} == {DEMAND, "aurora"}
    assert set(poisoned.mondays) <= first_of(audit, "aurora", 6)


def test_what_was_left_out_of_the_training_is_not_audited(snapshot):
    whole, utility = snapshot
    contract = WeatherContract.from_json(whole.facts["weather"])
    excluded = replace(contract, excluded={"cirrus": Exclusion(whole.training.index[0])})

    audit = audit_data(replace(whole, facts={**whole.facts, "weather": excluded.to_json()}), utility)

    assert {block.source for block in audit.blocks} == {DEMAND, "aurora", "boreas"}
    assert "two providers" in audit.notes[0]


def test_without_weather_demand_is_judged_alone(small_world):
    utility, frame = small_world(days=DAYS)
    whole = small_snapshot(utility, frame)
    blind = replace(whole, training=whole.training.assign(temperature_c=np.nan), readings=whole.readings.iloc[:, :0])

    audit = audit_data(blind, utility)

    assert {block.source for block in audit.blocks} == {DEMAND}
    assert "no provider" in audit.notes[0]


def test_planting_changes_nothing_but_the_weeks_it_names(snapshot):
    whole, utility = snapshot
    before = whole.training.copy()
    poisoned = planted(whole, utility, DEMAND, biased(5), 0.05, seed=1)
    changed = poisoned.snapshot.training[DEMAND_MW] != whole.training[DEMAND_MW]
    days = utility.local(changed.index[changed]).date

    assert len(poisoned.mondays) == 3
    assert {day.isocalendar()[:2] for day in days} == {day.isocalendar()[:2] for day in poisoned.mondays}
    assert changed.sum() == 3 * 168
    assert whole.training.equals(before)
