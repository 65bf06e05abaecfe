"""From a day's evidence to accusations: who stands out, is it certain enough, and is he the one?

With three or more sources heard the others tell who lies. With two, both are equally far from each other, and demand
decides between them; without demand both stay suspects. With one, demand alone can accuse (level 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.schema import Array
from data.trust.drift import SHAPES, DriftSums, Evidence
from data.trust.panel import ALL_KINDS, DEMAND, Panel
from data.trust.rules import TrustRules

ACCUSED = 10.0
MOST_SUPPORT = 6.0

SAYINGS = {
    "offset": ("reads too warm against the others", "reads too cold against the others"),
    "cold": ("reads too warm in cold weather", "reads too cold in cold weather"),
    "mild": ("reads too warm in mild weather", "reads too cold in mild weather"),
    "warm": ("reads too warm in warm weather", "reads too cold in warm weather"),
    "swing": ("its days swing too far", "its days swing too little"),
    "late": ("runs behind the others", "runs ahead of the others"),
    "replay": ("repeats the day before", "runs a day ahead"),
    "rough": ("is noisier than it was", "is smoother than it was"),
    "demand": ("demand was drawn as in colder and warmer weather than it says", "demand contradicts its temperatures"),
}


@dataclass(frozen=True)
class Accusation:
    """Evidence against one source: on the scale where 10 accuses; level 3 or 4; onset: day; size in the kind's unit."""

    source: int
    score: float
    nats: float
    level: int
    kind: str
    size: float
    onset: int
    ramp: bool

    @property
    def reason(self) -> str:
        """The evidence in words."""
        return f"{SAYINGS[self.kind][self.size < 0]} ({self.kind} {self.size:+.2f})"


@dataclass(frozen=True)
class Verdict:
    """guilty: the one to quarantine, or None; suspects: those whose evidence makes them so; scores: of each source;
    accusations: the strongest against each of the heard.
    """

    guilty: Accusation | None
    suspects: tuple[Accusation, ...]
    scores: Array
    accusations: Mapping[int, Accusation]


def weigh(evidence: Evidence, sums: DriftSums, panel: Panel, heard: Sequence[int], rules: TrustRules) -> Verdict:
    """Judge one day's evidence against what the panel needs to accuse."""
    shape = (panel.sources, len(ALL_KINDS))
    scores = np.maximum(evidence.nats / panel.needed, evidence.plain / panel.needed_plain).reshape(shape) * ACCUSED
    if len(heard) > 1:
        scores[:, DEMAND] = 0.0
    # What decided, on the scale of the evidence that is drawn in.
    nats = scores / ACCUSED * panel.needed.reshape(shape)
    accusations = {source: _accusation(evidence, nats, scores, source) for source in heard}
    best = scores.max(axis=1)
    suspects = tuple(
        accusation
        for source, accusation in accusations.items()
        if best[source] >= rules.suspect_at / 2 and (len(heard) < 3 or _lead(evidence, scores, source) >= 0)
    )
    certain = [accusation for accusation in accusations.values() if accusation.score >= ACCUSED]
    guilty = max(certain, key=lambda accusation: _lead(evidence, scores, accusation.source), default=None)
    if guilty is not None and len(heard) >= 3:
        lead = _lead(evidence, scores, guilty.source) + _support(evidence, sums, scores, guilty.source, heard)
        guilty = guilty if lead >= rules.lead else None
    elif guilty is not None and len(heard) == 2:
        guilty = _by_demand(evidence, sums, scores, accusations, rules)
    return Verdict(guilty, suspects, best, accusations)


def _accusation(evidence: Evidence, nats: Array, scores: Array, source: int) -> Accusation:
    kind = int(np.argmax(scores[source]))
    stream = source * len(ALL_KINDS) + kind
    return Accusation(
        source=source,
        score=float(scores[source, kind]),
        nats=float(nats[source, kind]),
        level=4 if kind == DEMAND else 3,
        kind=ALL_KINDS[kind],
        size=float(evidence.size[stream]),
        onset=int(evidence.onset[stream]),
        ramp=SHAPES[int(evidence.shape[stream])] == "ramp",
    )


def _lead(evidence: Evidence, scores: Array, source: int) -> float:
    return float(evidence.lead[source * len(ALL_KINDS) + int(np.argmax(scores[source]))])


def _demand_nats(evidence: Evidence, sums: DriftSums, scores: Array, source: int) -> Array:
    """What demand says against every source in the window that is best against this one [nats]; shape (sources,)."""
    stream = source * len(ALL_KINDS) + int(np.argmax(scores[source]))
    said: Array = sums.naming()[int(evidence.window[stream])].reshape(-1, len(ALL_KINDS))[:, DEMAND]
    return np.nan_to_num(said)


def _support(evidence: Evidence, sums: DriftSums, scores: Array, source: int, heard: Sequence[int]) -> float:
    said = _demand_nats(evidence, sums, scores, source)
    others = max(said[other] for other in heard if other != source)
    return float(np.clip(said[source] - others, -MOST_SUPPORT, MOST_SUPPORT))


def _by_demand(
    evidence: Evidence, sums: DriftSums, scores: Array, accusations: dict[int, Accusation], rules: TrustRules
) -> Accusation | None:
    top = max(accusations.values(), key=lambda accusation: accusation.score)
    said = _demand_nats(evidence, sums, scores, top.source)
    one, other = sorted(accusations, key=lambda source: -said[source])
    if said[one] - said[other] < rules.demand_lead:
        return None
    mirrored = -top.size if one != top.source and top.kind != "rough" else top.size
    return Accusation(one, top.score, top.nats, 4, top.kind, mirrored, top.onset, top.ramp)
