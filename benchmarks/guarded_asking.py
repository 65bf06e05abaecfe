"""The guarded world on a clock of its own: what it lets through of a month, or of a year, of questions within seconds.

Before the real query guard hears of it, a question about a day that the model in service learned from is refused
(`pipeline.learned_days`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from api.query_gate import question_of
from benchmarks.genuine_mix import Asking, learned_until
from security.memory_state import MemoryState
from security.query_budget import Limits
from security.query_guard import LIMITS, Level, QueryGuard, Verdict

SECRET = b"the secret of a benchmark's guard"[:32]


def is_forecast(asking: Asking) -> bool:
    """Whether what is asked is a forecast at all: about a day that the model in service did not learn from."""
    return asking.asked.day > learned_until(asking.today)


@dataclass(frozen=True, eq=False)
class Heard:
    """A question and how the guard had it answered; a blocked one was not."""

    asking: Asking
    verdict: Verdict


class SimulatedGuard:
    """A guard whose present moment is the question's own; its shared state is the memory of one worker."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.at = 0.0
        self.guard = QueryGuard(MemoryState(most_keys=1_000_000), SECRET, limits=limits, now=lambda: self.at)

    def hear(self, asked: Iterable[Asking]) -> list[Heard]:
        """The verdicts, in order. A caller that is challenged shows a fresh token each time: the thief has the password."""
        return asyncio.run(self._hear(asked))

    async def _hear(self, asked: Iterable[Asking]) -> list[Heard]:
        heard = []
        for one in asked:
            self.at = one.at
            question = question_of(one.asked, one.today + timedelta(days=1))
            heard.append(Heard(one, await self.guard.judge(one.subject, "analyst", one.at + 1.0, question)))
        return heard


def highest(heard: Sequence[Heard]) -> dict[str, Level]:
    """The highest level that each caller met."""
    found: dict[str, Level] = {}
    for one in heard:
        subject = one.asking.subject
        found[subject] = max(found.get(subject, Level.OPEN), one.verdict.level)
    return found
