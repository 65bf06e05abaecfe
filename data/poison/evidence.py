"""What a test says of each week of one source, in units that all tests share.

A week is held against the other weeks of the same set: their median, and a spread that a twentieth of planted weeks hardly
moves (Rousseeuw & Croux 1993; an upper quantile stands in where tails are heavier than a normal's).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data.schema import Array, Flags
from data.trust.consensus import MAD_TO_SIGMA

# Of a normal's values, 85 % lie within 1.440 σ, and 85 % below 1.036 σ.
TAIL_LEVEL, WITHIN_SIGMAS, BELOW_SIGMAS = 0.85, 1.440, 1.036
# Fewer weeks than this have no spread of their own.
FEWEST_ALIKE = 12
# Spread of a kind of weeks over that of all, at most.
WIDEST = 2.0
SMALLEST_PERCENT = 1e-4


# What tells a gross alteration would drown what tells a fine one, were it heard as loudly. Chosen on 2012–2013.
QUIET = 0.6


@dataclass(frozen=True)
class Evidence:
    """One test of one source. kind: what a week that fails it is called; score: how far out each week is [robust σ], 0 where
    it could not be tested; statistic: what was measured, NaN there; both of shape (weeks,).
    """

    kind: str
    score: Array
    statistic: Array


def two_sided(kind: str, statistic: Array, alike: Flags) -> Evidence:
    """Evidence against weeks that are far out on either side."""
    return Evidence(kind, np.abs(standardised(statistic, alike)), statistic)


def upper(kind: str, statistic: Array, alike: Flags) -> Evidence:
    """Evidence against weeks that are far above the others; only the upper tail says how far that is."""
    return Evidence(kind, np.maximum(standardised(statistic, alike, upper_tail=True), 0.0), statistic)


def pull_evidence(kind: str, percent: Array, alike: Flags) -> Evidence:
    """Evidence against weeks that pull much harder than others, by orders of magnitude: hot weeks pull hard and honestly."""
    return Evidence(kind, upper(kind, np.log(np.maximum(np.abs(percent), SMALLEST_PERCENT)), alike).score, percent)


def quieter(evidence: Evidence) -> Evidence:
    """The same, counting for less."""
    return replace(evidence, score=QUIET * evidence.score)


def standardised(values: Array, alike: Flags, *, upper_tail: bool = False) -> Array:
    """Robust σ from the median, shape (weeks,), each week among those of its kind; 0 where a value is NaN.

    alike: True for the weeks of one kind, False for those of the other. A kind of fewer than 12 known weeks is held against
    all. Where the weeks do not differ at all, none is far out.
    """
    score = np.zeros(len(values))
    known = np.isfinite(values)
    if not known.any():
        return score
    usual = _spread(values[known] - np.median(values[known]), upper_tail=upper_tail)
    for kind in (True, False):
        own = known & (alike == kind)
        peers = values[own] if own.sum() >= FEWEST_ALIKE else values[known]
        if len(peers):
            # A few planted weeks are a large part of a rare kind, and would widen what counts as usual for it.
            spread = min(_spread(peers - np.median(peers), upper_tail=upper_tail), WIDEST * usual)
            score[own] = (values[own] - np.median(peers)) / spread if spread > 0 else 0.0
    return score


def _spread(distance: Array, *, upper_tail: bool) -> float:
    middle = MAD_TO_SIGMA * float(np.median(np.abs(distance)))
    if upper_tail:
        return max(middle, float(np.quantile(distance, TAIL_LEVEL)) / BELOW_SIGMAS)
    return max(middle, float(np.quantile(np.abs(distance), TAIL_LEVEL)) / WITHIN_SIGMAS)


def strongest(evidence: Sequence[Evidence]) -> tuple[Array, tuple[str, ...], Array]:
    """Of each week the largest score, the kind it comes from, and what was measured there."""
    scores = np.stack([item.score for item in evidence])
    best = scores.argmax(axis=0)
    weeks = np.arange(scores.shape[1])
    statistics = np.stack([item.statistic for item in evidence])
    return scores[best, weeks], tuple(evidence[number].kind for number in best), statistics[best, weeks]
