"""Levels 3 and 4, day by day: evidence in, changes of standing out; months judged anew when somebody is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from data.schema import Array
from data.trust.collusion import FEWEST_SOURCES, liar_sets, likeliest, margin
from data.trust.drift import DriftSums, Evidence
from data.trust.history import Hours, carried_middle
from data.trust.learning import Learned
from data.trust.panel import Judged, Panel, follow
from data.trust.rules import TrustRules
from data.trust.spikes import SpikeCount
from data.trust.standing import HEARD, TrustEvent, TrustState
from data.trust.verdict import ACCUSED, Accusation, Verdict, weigh

# Two days of context before the first day that is learned from.
FIRST_LEARNED_DAY = 3
RETRIAL_DAYS = 7
# Of five or more: by how much no set of liars without the accused may come near [nats].
NOT_FRAMED = 2.0
KINDS_IN_C = ("offset", "cold", "mild", "warm", "demand")


@dataclass(frozen=True)
class DayRecord:
    """What a judged local day showed, arrays of shape (sources,): score (10 accuses), mean residual [°C]; middle [°C]."""

    day: pd.Timestamp
    scores: Array
    residual_c: Array
    level_c: float


class Court:
    """Judges the sources `names` after the baseline. `hours` holds what is needed to judge the last months anew."""

    def __init__(
        self, learned: Learned, names: Sequence[str], heard: Sequence[int], timezone: str, rules: TrustRules
    ) -> None:
        self._learned, self._names, self._timezone, self._rules = learned, tuple(names), timezone, rules
        self._baseline_end = int(learned.hours.clock.day[-1]) + 1
        self.hours = learned.hours.latest_days(rules.longest_lie_days)
        self.spikes = SpikeCount(learned.usual.spikes_a_day)
        self.doubt_c = np.zeros(len(names))
        self._next_retrial = 0
        self._seat(heard)

    def look_ahead(self, hours: Hours, heard: Sequence[int]) -> tuple[Hours, Judged]:
        """Whole days to come, raw: the same with profiles taken off, and what the panel says of each."""
        coming = hours.less(self._learned.profiles, list(heard), float(self.hours.carried[-1]))
        joined = self.hours.latest_days(3).joined(coming)
        first, last = int(coming.clock.day[0]), int(coming.clock.day[-1])
        return coming, self._panel.judge(joined.days(first, last))

    def hear_day(
        self, day: Hours, judged: Judged, position: int, spikes: Array, standings: list[TrustState], at: pd.Timestamp
    ) -> tuple[list[TrustEvent], DayRecord]:
        """Judge one day, `position` of `judged`; `standings` is changed in place. Who is quarantined is no longer heard."""
        number = int(day.clock.day[0])
        self.hours = self.hours.joined(day).latest_days(self._rules.longest_lie_days)
        evidence = follow(self._sums, judged, position, number, judging=True)
        events: list[TrustEvent] = []
        scores = np.zeros(len(self._names))
        while evidence is not None:
            heard = _heard(standings)
            verdict = weigh(evidence, self._sums, self._panel, heard, self._rules)
            scores = np.maximum(scores, verdict.scores)
            guilty = self._not_framed(verdict, heard, number) or self._retried(verdict, standings, heard, number)
            if guilty is None:
                events += self._suspicions(verdict, standings, heard, at)
                break
            events.append(self._event(guilty, standings, "quarantined", at))
            evidence = self.judge_anew(_heard(standings))
        events += self._spiked(spikes, number, standings, at)
        midnight = self._midnight(number)
        return events, DayRecord(midnight, scores, judged.residual[position], float(np.nanmean(day.carried)))

    def forgive(self, source: int) -> None:
        """An operator trusts a source again: what it said until now is not held against it, nor against the others."""
        self.hours = self.hours.without_past_of(source)
        self.spikes.forget(source)

    def judge_anew(self, heard: Sequence[int]) -> Evidence | None:
        """Seat a panel of `heard` and judge the last months again; the evidence of the last day."""
        self._seat(heard)
        if not heard:
            return None
        carried = carried_middle(self.hours.known, list(heard), float(self.hours.carried[0]))
        self.hours = replace(self.hours, carried=carried)
        return self._replayed(self._panel, self._sums)

    def _seat(self, heard: Sequence[int]) -> None:
        self._panel = self._panel_of(heard)
        self._sums: DriftSums = self._panel.sums()

    def _panel_of(self, heard: Sequence[int]) -> Panel:
        baseline = self._learned.hours.days(FIRST_LEARNED_DAY, self._baseline_end - 1)
        return Panel(baseline, heard, self._learned.witness, self._rules)

    def _replayed(self, panel: Panel, sums: DriftSums) -> Evidence | None:
        until = int(self.hours.clock.day[-1])
        first = max(self._baseline_end, until - self._rules.longest_lie_days + 1)
        if first > until:
            return None
        judged = panel.judge(self.hours.days(first, until))
        evidence = None
        for position in range(until - first + 1):
            evidence = follow(sums, judged, position, first + position, judging=True)
        return evidence

    def _not_framed(self, verdict: Verdict, heard: Sequence[int], number: int) -> Accusation | None:
        """The one found guilty, unless two who tell the same lie explain more: then one of them, or nobody yet."""
        if verdict.guilty is None or len(heard) < FEWEST_SOURCES:
            return verdict.guilty
        strong = [one for one in verdict.accusations.values() if one.score >= self._rules.suspect_at]
        since = max(accusation.onset for accusation in strong)
        said = self.hours.mean_since(since)[list(heard)]
        variance = self._panel.variance_of_mean(number - since + 1)[list(heard)]
        if not np.isfinite(said + variance).all():
            return verdict.guilty
        sets = liar_sets(said, variance)
        liars = [heard[place] for place in likeliest(sets)]
        if len(liars) == 1:
            return verdict.guilty
        accused = max((verdict.accusations[source] for source in liars), key=lambda accusation: accusation.score)
        return accused if margin(sets, heard.index(accused.source)) >= NOT_FRAMED else None

    def _retried(
        self, verdict: Verdict, standings: Sequence[TrustState], heard: Sequence[int], number: int
    ) -> Accusation | None:
        """Two contradict each other for certain and nothing tells who lies: let those quarantined before testify.

        They may have been accused wrongly, and are not believed again by it. Two honest sources never contradict each other,
        so a liar among the witnesses has nothing to testify to.
        """
        witnesses = [source for source, state in enumerate(standings) if state == "quarantined"]
        certain = verdict.scores[list(heard)].max(initial=0.0) >= ACCUSED
        if len(heard) != 2 or not witnesses or not certain or number < self._next_retrial:
            return None
        self._next_retrial = number + RETRIAL_DAYS
        called = sorted([*heard, *witnesses])
        panel = self._panel_of(called)
        sums = panel.sums()
        evidence = self._replayed(panel, sums)
        guilty = weigh(evidence, sums, panel, called, self._rules).guilty if evidence is not None else None
        return guilty if guilty is not None and guilty.source in heard else None

    def _spiked(self, spikes: Array, number: int, standings: list[TrustState], at: pd.Timestamp) -> list[TrustEvent]:
        events = []
        for source, since, count in self.spikes.take(spikes, number, self._rules.accuse_at):
            if standings[source] not in HEARD:
                continue
            reason, name = f"{count} spikes against the others' moves", self._names[source]
            onset = self._midnight(since)
            events.append(TrustEvent(name, at, standings[source], "quarantined", 2, reason, onset, count))
            standings[source] = "quarantined"
            self.judge_anew(_heard(standings))
        return events

    def _suspicions(
        self, verdict: Verdict, standings: list[TrustState], heard: Sequence[int], at: pd.Timestamp
    ) -> list[TrustEvent]:
        suspects = {accusation.source: accusation for accusation in verdict.suspects}
        self.doubt_c = np.zeros(len(self._names))
        events = []
        for source in heard:
            accusation = suspects.get(source)
            if standings[source] == "trusted" and accusation is not None and accusation.score >= self._rules.suspect_at:
                events.append(self._event(accusation, standings, "suspect", at))
            elif standings[source] == "suspect" and accusation is None:
                faded = TrustEvent(
                    self._names[source],
                    at,
                    "suspect",
                    "trusted",
                    3,
                    "the evidence has faded",
                    at,
                    float(verdict.scores[source]),
                )
                events.append(faded)
                standings[source] = "trusted"
            if standings[source] == "suspect" and accusation is not None and accusation.kind in KINDS_IN_C:
                self.doubt_c[source] = abs(accusation.size)
        return events

    def _event(self, accusation: Accusation, standings: list[TrustState], state: TrustState, at: pd.Timestamp) -> TrustEvent:
        source = accusation.source
        event = TrustEvent(
            provider=self._names[source],
            at=at,
            from_state=standings[source],
            to_state=state,
            level=accusation.level,
            reason=accusation.reason,
            onset=self._midnight(accusation.onset),
            statistic=round(accusation.nats, 2),
        )
        standings[source] = state
        return event

    def _midnight(self, day: int) -> pd.Timestamp:
        local = self._learned.hours.clock.first_day + pd.Timedelta(days=day)
        return local.tz_localize(self._timezone, ambiguous=True, nonexistent="shift_forward").tz_convert("UTC")


def _heard(standings: Sequence[TrustState]) -> list[int]:
    return [number for number, state in enumerate(standings) if state in HEARD]
