from __future__ import annotations

import asyncio

from security.query_guard import NEAR, Level, QueryGuard, Question, Verdict
from security.query_sequence import packed
from security.redis_state import RedisState

SECRET = b"s" * 32


def test_two_workers_that_share_a_redis_count_as_one_and_release_together(redis_url: str):
    async def asked() -> tuple[Verdict, Verdict, Verdict]:
        states = RedisState(redis_url), RedisState(redis_url)
        one, other = (QueryGuard(state, SECRET) for state in states)
        for number in range(500):
            await one.judge(
                "ann", "analyst", 0.0, Question(b"", b"", {NEAR: (str(number),)}, packed(1, [float(number)] * 48))
            )
        many = tuple(str(number) for number in range(500, 1100))
        spent = await other.judge("ann", "analyst", 0.0, Question(b"", b"", {NEAR: many}))
        seen = await QueryGuard(states[0], SECRET).judge("ann", "analyst", 0.0, Question(b"", b""))
        await one.release("ann")
        freed = await QueryGuard(states[1], SECRET).judge("ann", "analyst", 0.0, Question(b"", b"", {NEAR: ("new",)}))
        for state in states:
            await state.close()
        return spent, seen, freed

    spent, seen, freed = asyncio.run(asked())

    assert (spent.level, seen.level, freed.level) == (Level.BLOCKED, Level.BLOCKED, Level.OPEN)
