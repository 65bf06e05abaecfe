"""Whatever a guesser and the honest do, in whatever order: what is judged stays bounded, and who is right is let in."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from security import memory_state
from security.brute_force import LONGEST_WAIT_SECONDS, BruteForce, Origin, TooManyFailures
from security.memory_state import MemoryState
from tests.unit.security.small_clock import Moment

KEY = "a" * 16
GUESSER, HONEST = Origin.of("192.0.2.1"), Origin.of("203.0.113.5")

steps = st.lists(st.tuples(st.sampled_from(["guess", "right", "honest"]), st.floats(0, 600)), min_size=1, max_size=80)


@settings(max_examples=60, deadline=None)
@given(played=steps)
def test_a_guesser_is_judged_a_bounded_number_of_times_and_the_honest_always(
    played: list[tuple[str, float]],
) -> None:
    moment, judged, waits = Moment(), list[float](), list[float]()

    async def play() -> None:
        guard = BruteForce(MemoryState(), moment)
        for act, pause in played:
            moment.pass_seconds(pause)
            if act == "honest":
                await guard.right(await guard.begin(HONEST, KEY))
                continue
            try:
                tried = await guard.begin(GUESSER, KEY)
            except TooManyFailures as told:
                waits.append(told.retry_after_seconds)
                continue
            if act == "right":
                # With a key of its own, which it showed between guesses.
                await guard.right(tried)
            else:
                judged.append(moment())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_state, "time", SimpleNamespace(monotonic=moment))
        asyncio.run(play())

    assert all(0 <= wait <= LONGEST_WAIT_SECONDS for wait in waits)
    assert all(sum(start <= at < start + 3600 for at in judged) <= 24 for start in judged)
