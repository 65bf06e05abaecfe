"""All sources held against those that are heard: what is learned of them, and the evidence against each, day by day.

A panel belongs to one set of heard sources. When somebody is no longer heard a new panel is made for the rest, learned
anew on the baseline without the accused, and the last months are judged again: the others are cleared of what the liar had
done to the mean they were held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data.schema import Array, Integers
from data.trust.calendar import HourlyClock
from data.trust.drift import DriftSums, Evidence, stacked
from data.trust.honesty import Honesty, Noise, expected_taken_off, learn_honesty, learn_noise, slow_spread
from data.trust.lies import KINDS, DailySizes, daily_sizes, quiet_blocks
from data.trust.relation import CONTEXT_HOURS, Relation, design, learn_relation, residual_of
from data.trust.rules import TrustRules
from data.trust.unrest import learn_unrest, unrest_of
from data.trust.witness import Witness, missed

ALL_KINDS = (*KINDS, "demand")
DEMAND = len(KINDS)
CALIBRATED_FROM_DAY = 20
SILENT = Noise(np.nan, np.nan, np.nan, np.nan, np.nan)
# Demand's own slow drift, as a share of its daily spread: a town grows while its thermometers stay.
DEMAND_WANDER = 0.25
LEAST_DEMAND_VARIANCE = 0.002**2
SMALLEST_FELT_C = 1.0


@dataclass(frozen=True)
class Days:
    """Consecutive local days of hourly values, the first CONTEXT_HOURS hours being the past of the first.

    values: (hours, sources) profiles taken off, gaps filled [°C]; known: the same, NaN where a source says nothing usable;
    clock: of those hours; demand_mw, weekday, season (angle of the year): (days,), of the days themselves; first: number of
    the first day.
    """

    values: Array
    known: Array
    clock: HourlyClock
    demand_mw: Array
    weekday: Array
    season: Array
    first: int


@dataclass(frozen=True)
class Judged:
    """What a panel says of days: shape (days, sources × kinds), and mean residual, shape (days, sources) [°C]."""

    sizes: Array
    weights: Array
    unrest: Array
    marks: Array
    residual: Array


@dataclass(frozen=True)
class _Member:
    relation: Relation
    quiet: Array
    honesty: Honesty


class Panel:
    """The sources `heard` against one another, everybody else against them. `needed`: evidence that accuses, by
    stream, and the same for evidence that is hardly drawn in."""

    def __init__(self, baseline: Days, heard: Sequence[int], witness: Witness | None, rules: TrustRules) -> None:
        self.heard, self._rules, self._witness = tuple(heard), rules, witness
        self.sources = baseline.values.shape[1]
        related = [self._relate(baseline, source) for source in range(self.sources)]
        self._unrest = learn_unrest([known[2] for source in self.heard if (known := related[source]) is not None])
        self._members = [self._member(known) for known in related]
        judged = _joined(
            [
                self._with_demand(baseline, source, known[2] if known is not None else None)
                for source, known in enumerate(related)
            ]
        )
        self.noise = stacked([noise for source in range(self.sources) for noise in self._noises(source, judged)])
        self.needed, self.needed_plain = self._calibrated(judged)

    def sums(self) -> DriftSums:
        """New sums, at rest."""
        return DriftSums(self.noise, self.sources, self._rules.longest_lie_days, self.heard)

    def judge(self, days: Days) -> Judged:
        """Sizes of every kind of lie, source by source, on `days`."""
        return _joined([self._judge_source(days, source) for source in range(self.sources)])

    def variance_of_mean(self, days: int) -> Array:
        """Variance of the mean offset of an honest source over so many days [°C²], shape (sources,)."""
        fast, white, memory, wander = (
            part[:: len(ALL_KINDS)] for part in (self.noise.fast, self.noise.white, self.noise.memory, self.noise.wander)
        )
        return np.asarray(wander + (fast * (1 + memory) / (1 - memory) + white) / days)

    def _others(self, source: int) -> list[int]:
        return [other for other in self.heard if other != source]

    def _relate(self, baseline: Days, source: int) -> tuple[Relation, Array, DailySizes] | None:
        """The relation of a source to the others, its quiet hours and the sizes of its baseline; None where it has none."""
        others = self._others(source)
        if not others or not np.isfinite(baseline.known[:, source]).any():
            return None
        relation, residual = learn_relation(baseline.values, baseline.known[:, source], baseline.clock, source, others)
        quiet = quiet_blocks(residual[CONTEXT_HOURS:], baseline.clock.part(CONTEXT_HOURS, len(baseline.clock)))
        mean = design(baseline.values, baseline.clock, source, others)[1]
        return relation, quiet, daily_sizes(residual, mean, baseline.clock, quiet, self._rules, CONTEXT_HOURS)

    def _member(self, related: tuple[Relation, Array, DailySizes] | None) -> _Member | None:
        if related is None:
            return None
        relation, quiet, sizes = related
        honesty = learn_honesty(sizes, unrest_of(self._unrest, sizes), sees_a_year=self._rules.sees_a_year)
        return _Member(relation, quiet, honesty)

    def _judge_source(self, days: Days, source: int) -> Judged:
        member = self._members[source]
        if member is None:
            return self._with_demand(days, source, None)
        residual, mean = residual_of(member.relation, days.values, days.known[:, source], days.clock)
        sizes = daily_sizes(residual, mean, days.clock, member.quiet, self._rules, CONTEXT_HOURS)
        return self._with_demand(days, source, sizes)

    def _with_demand(self, days: Days, source: int, sizes: DailySizes | None) -> Judged:
        count, member = len(days.demand_mw), self._members[source]
        table = np.full((count, len(ALL_KINDS)), np.nan)
        weights, marks = np.ones((count, len(ALL_KINDS))), np.ones((count, len(ALL_KINDS)))
        unrest: Array = np.ones(count)
        residual: Array = np.full(count, np.nan)
        if sizes is not None and member is not None:
            sizes = expected_taken_off(member.honesty.rough, sizes)
            table[:, :DEMAND], weights[:, :DEMAND] = sizes.sizes, sizes.weights
            residual = sizes.sizes[:, 0]
            unrest = unrest_of(self._unrest, sizes)
        if self._witness is not None:
            table[:, DEMAND], marks[:, DEMAND] = self._demand_size(days, source, count)
        return Judged(table, weights, np.repeat(unrest[:, None], len(ALL_KINDS), axis=1), marks, residual[:, None])

    def _demand_size(self, days: Days, source: int, count: int) -> tuple[Array, Array]:
        assert self._witness is not None  # noqa: S101 (told by the only caller)
        day = days.clock.day - days.first
        own = days.known[:, source]
        today, before = _daily_mean(own, day, count), _daily_mean(own, day + 1, count)
        error, slope = missed(self._witness, days.demand_mw, today, before, days.weekday, days.season)
        # A source δ too warm lets expect slope × δ more demand than was drawn.
        return error, -slope

    def _noises(self, source: int, judged: Judged) -> list[Noise]:
        member, stream = self._members[source], source * len(ALL_KINDS) + DEMAND
        demand = learn_noise(judged.sizes[:, stream], judged.weights[:, stream], LEAST_DEMAND_VARIANCE)
        if np.isfinite(demand.fast):
            wander = max(slow_spread(judged.sizes[:, stream], demand), DEMAND_WANDER * np.sqrt(demand.fast + demand.white))
            demand = replace(demand, wander=wander**2, smallest=SMALLEST_FELT_C)
        return [*(member.honesty.noise if member else [SILENT] * DEMAND), demand]

    def _calibrated(self, judged: Judged) -> tuple[Array, Array]:
        sums, largest, plain = self.sums(), np.zeros(judged.sizes.shape[1]), np.zeros(judged.sizes.shape[1])
        for day in range(len(judged.sizes)):
            evidence = sums.take(*row(judged, day), day, judged.marks[day], judging=day >= CALIBRATED_FROM_DAY)
            if evidence is not None:
                largest = np.maximum(largest, evidence.nats)
                plain = np.maximum(plain, evidence.plain)
        rules = self._rules
        return (
            np.clip(rules.calm_factor * largest, rules.accuse_at, rules.most_evidence),
            np.maximum(rules.calm_factor * plain, rules.plain_factor * rules.accuse_at),
        )


def row(judged: Judged, day: int) -> tuple[Array, Array, Array]:
    """Sizes, weights and unrest of one day."""
    return judged.sizes[day], judged.weights[day], judged.unrest[day]


def follow(sums: DriftSums, judged: Judged, position: int, day: int, *, judging: bool) -> Evidence | None:
    """Let the sums take the day at `position` of `judged`."""
    return sums.take(*row(judged, position), day, judged.marks[position], judging=judging)


def _daily_mean(hourly: Array, day: Integers, days: int) -> Array:
    """Mean of each day numbered 0 to days − 1 [as given], NaN with fewer than 12 hours; other numbers do not count."""
    inside = (day >= 0) & (day < days) & np.isfinite(hourly)
    count = np.bincount(day[inside], minlength=days)
    total = np.bincount(day[inside], hourly[inside], days)
    return np.asarray(np.divide(total, count, out=np.full(days, np.nan), where=count >= 12))


def _joined(parts: Sequence[Judged]) -> Judged:
    return Judged(
        sizes=np.hstack([part.sizes for part in parts]),
        weights=np.hstack([part.weights for part in parts]),
        unrest=np.hstack([part.unrest for part in parts]),
        marks=np.hstack([part.marks for part in parts]),
        residual=np.hstack([part.residual for part in parts]),
    )
