"""From evidence to accusations: certain enough, ahead of the others, and with two sources only what demand says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data.schema import Array
from data.trust.drift import SHAPES, Evidence
from data.trust.lies import KINDS
from data.trust.panel import ALL_KINDS, DEMAND
from data.trust.rules import TrustRules
from data.trust.verdict import SAYINGS, Verdict, weigh

RULES = TrustRules()
SOURCES = 3
WIDTH = len(ALL_KINDS)
OFFSET, ROUGH = KINDS.index("offset"), KINDS.index("rough")
MUCH, LITTLE = 40.0, 1.0


class Case:
    """Evidence by source and kind, changed cell by cell; what demand says of each source in every window."""

    def __init__(self) -> None:
        self.nats = np.zeros((SOURCES, WIDTH))
        self.size = np.ones((SOURCES, WIDTH))
        self.lead = np.zeros((SOURCES, WIDTH))
        self.said = np.zeros(SOURCES)
        self.shape = np.zeros((SOURCES, WIDTH), dtype=np.int64)
        self.plain: Array | None = None  # as the evidence, unless said

    def against(self, source: int, kind: int, nats: float, lead: float, size: float = 2.0) -> Case:
        self.nats[source, kind], self.lead[source, kind], self.size[source, kind] = nats, lead, size
        return self

    def demand_says(self, *nats: float) -> Case:
        self.said = np.array(nats)
        return self

    def judged(
        self, heard: list[int], needed: float | Array = RULES.accuse_at, needed_plain: float | Array = np.inf
    ) -> Verdict:
        flat = SOURCES * WIDTH
        evidence = Evidence(
            nats=self.nats.ravel(),
            plain=(self.nats if self.plain is None else self.plain).ravel(),
            size=self.size.ravel(),
            onset=np.full(flat, 17),
            shape=self.shape.ravel(),
            window=np.zeros(flat, dtype=np.int64),
            lead=self.lead.ravel(),
        )
        naming = np.zeros((1, SOURCES, WIDTH))
        naming[0, :, DEMAND] = self.said
        sums: Any = SimpleNamespace(naming=lambda: naming.reshape(1, flat))
        panel: Any = SimpleNamespace(
            sources=SOURCES,
            needed=np.broadcast_to(needed, flat).astype(np.float64),
            needed_plain=np.broadcast_to(needed_plain, flat).astype(np.float64),
        )
        return weigh(evidence, sums, panel, heard, RULES)


def test_nothing_against_anybody_is_no_verdict():
    verdict = Case().judged([0, 1, 2])
    assert verdict.guilty is None
    assert verdict.suspects == ()
    assert (verdict.scores == 0).all()


def test_who_is_certain_enough_and_ahead_is_guilty():
    verdict = Case().against(1, OFFSET, MUCH, lead=RULES.lead + 10).judged([0, 1, 2])
    assert verdict.guilty is not None
    assert (verdict.guilty.source, verdict.guilty.level, verdict.guilty.kind) == (1, 3, "offset")
    assert verdict.guilty.onset == 17
    assert verdict.guilty.nats == MUCH


@pytest.mark.parametrize("sources", [[0, 1, 2], [0, 1], [1]])
def test_evidence_that_is_not_certain_enough_makes_a_suspect_at_most(sources: list[int]):
    almost = 0.9 * RULES.accuse_at
    verdict = Case().against(1, OFFSET, almost, lead=99.0).demand_says(0, 99, 0).judged(sources)
    assert verdict.guilty is None
    assert [accusation.source for accusation in verdict.suspects] == [1]


def test_little_evidence_does_not_even_make_a_suspect():
    assert Case().against(1, OFFSET, LITTLE, lead=99.0).judged([0, 1, 2]).suspects == ()


def test_a_restless_stream_needs_more():
    needed = np.full((SOURCES, WIDTH), RULES.accuse_at)
    needed[1] = 2 * MUCH
    case = Case().against(1, OFFSET, MUCH, lead=99.0)
    assert case.judged([0, 1, 2], needed.ravel()).guilty is None
    assert case.judged([0, 1, 2]).guilty is not None


def test_one_who_is_certain_is_not_hidden_behind_one_with_more_nats_who_is_not():
    needed = np.full((SOURCES, WIDTH), RULES.accuse_at)
    needed[0] = 100.0
    case = Case().against(0, OFFSET, 2 * MUCH, lead=99.0).against(1, OFFSET, MUCH, lead=99.0)
    guilty = case.judged([0, 1, 2], needed.ravel()).guilty
    assert guilty is not None
    assert guilty.source == 1


def test_the_one_ahead_is_named_though_another_has_a_hair_more_drawn_in_evidence():
    """Drawn in, a lie of six degrees looks the same in the liar and in those he is held against."""
    case = Case().against(0, OFFSET, MUCH + 0.1, lead=-500.0, size=-1.2).against(1, OFFSET, MUCH, lead=500.0)
    case.plain = np.zeros((SOURCES, WIDTH))
    case.plain[:2, OFFSET] = 500.0, 1000.0
    guilty = case.judged([0, 1, 2], needed_plain=MUCH).guilty
    assert guilty is not None
    assert guilty.source == 1


def test_evidence_that_is_less_drawn_in_accuses_where_it_is_more_than_that_needs():
    """A lie of many degrees is as certain on its second day as a small one in a week."""
    case = Case().against(1, OFFSET, LITTLE, lead=99.0)
    case.plain = np.zeros((SOURCES, WIDTH))
    case.plain[1, OFFSET] = 10 * MUCH
    assert case.judged([0, 1, 2], needed_plain=11 * MUCH).guilty is None
    guilty = case.judged([0, 1, 2], needed_plain=5 * MUCH).guilty
    assert guilty is not None
    assert guilty.source == 1


def test_who_is_not_ahead_of_the_others_is_not_named():
    assert Case().against(1, OFFSET, MUCH, lead=RULES.lead - 1).judged([0, 1, 2]).guilty is None


def test_demand_may_settle_a_close_lead_and_unsettle_a_clear_one():
    close = Case().against(1, OFFSET, MUCH, lead=RULES.lead - 1)
    assert close.demand_says(0.0, 3.0, 0.0).judged([0, 1, 2]).guilty is not None
    clear = Case().against(1, OFFSET, MUCH, lead=RULES.lead + 1)
    assert clear.demand_says(0.0, 0.0, 9.0).judged([0, 1, 2]).guilty is None


def test_demand_alone_outweighs_no_lead_however_much_it_says():
    """Demand has reasons of its own; among three the others' word comes first."""
    assert Case().against(1, OFFSET, MUCH, lead=-50.0).demand_says(0, 1e6, 0).judged([0, 1, 2]).guilty is None
    assert Case().against(1, OFFSET, MUCH, lead=50.0).demand_says(1e6, 0, 0).judged([0, 1, 2]).guilty is not None


def test_demand_accuses_nobody_while_others_are_there_to_tell():
    assert Case().against(1, DEMAND, MUCH, lead=99.0).judged([0, 1, 2]).guilty is None
    assert Case().against(1, DEMAND, MUCH, lead=99.0).judged([0, 1]).guilty is None


def two() -> Case:
    return Case().against(0, OFFSET, MUCH + 1, lead=0.1, size=3.0).against(1, OFFSET, MUCH, lead=-0.1, size=-3.0)


def test_of_two_without_demand_both_are_suspects_and_neither_is_named():
    verdict = two().judged([0, 1])
    assert verdict.guilty is None
    assert [accusation.source for accusation in verdict.suspects] == [0, 1]


@pytest.mark.parametrize(("liar", "sign"), [(0, 1), (1, -1)])
def test_of_two_demand_names_the_liar_with_the_sign_of_his_own_lie(liar: int, sign: int):
    said = [0.0, 0.0, 0.0]
    said[liar] = RULES.demand_lead + 1
    guilty = two().demand_says(*said).judged([0, 1]).guilty
    assert guilty is not None
    assert (guilty.source, guilty.level) == (liar, 4)
    assert np.sign(guilty.size) == sign


def test_of_two_demand_that_is_not_sure_names_nobody():
    assert two().demand_says(RULES.demand_lead - 1, 0.0, 0.0).judged([0, 1]).guilty is None


def test_rougher_is_rougher_whoever_is_named():
    case = Case().against(0, ROUGH, MUCH + 1, lead=0.0, size=0.7).against(1, ROUGH, MUCH, lead=0.0, size=0.7)
    guilty = case.demand_says(0.0, RULES.demand_lead + 1, 0.0).judged([0, 1]).guilty
    assert guilty is not None
    assert guilty.source == 1
    assert guilty.size == 0.7


def test_of_one_demand_alone_accuses():
    guilty = Case().against(2, DEMAND, MUCH, lead=99.0).judged([2]).guilty
    assert guilty is not None
    assert (guilty.source, guilty.level, guilty.kind) == (2, 4, "demand")


def test_nobody_heard_is_nobody_judged():
    verdict = Case().against(1, OFFSET, MUCH, lead=99.0).judged([])
    assert verdict.guilty is None
    assert verdict.suspects == ()


def test_who_is_no_longer_heard_is_scored_but_not_accused():
    verdict = Case().against(1, OFFSET, MUCH, lead=99.0).judged([0, 2])
    assert verdict.guilty is None
    assert verdict.scores[1] > verdict.scores[0]


@pytest.mark.parametrize("kind", range(WIDTH))
def test_every_lie_has_words_for_both_ways(kind: int):
    heard = [0] if kind == DEMAND else [0, 1, 2]
    said = []
    for size in (1.5, -1.5):
        guilty = Case().against(0, kind, MUCH, lead=99.0, size=size).judged(heard).guilty
        assert guilty is not None
        said.append(guilty.reason)
        assert ALL_KINDS[kind] in guilty.reason
        assert f"{size:+.2f}" in guilty.reason
    assert said[0] != said[1]
    assert [reason.split(" (")[0] for reason in said] == list(SAYINGS[ALL_KINDS[kind]])


def test_a_growing_lie_is_told_from_a_step():
    case = Case().against(1, OFFSET, MUCH, lead=99.0)
    step = case.judged([0, 1, 2]).guilty
    case.shape[1, OFFSET] = SHAPES.index("ramp")
    ramp = case.judged([0, 1, 2]).guilty
    assert step is not None
    assert ramp is not None
    assert (step.ramp, ramp.ramp) == (False, True)
