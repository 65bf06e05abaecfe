"""Whatever the workers ask of what they know together, one worker's memory and Redis answer the same."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from security.errors import RateLimited
from security.rate_limit import RateLimiter
from security.shared_state import (
    AddToSet,
    Delete,
    Get,
    Increment,
    Push,
    Put,
    PutIfAbsent,
    SetSize,
    Step,
    open_shared_state,
)

MINUTE = 60.0
# A key holds one kind of thing for life: its first letter says which.
numbers, sets, lists, values = (st.sampled_from([f"{kind}1", f"{kind}2"]) for kind in "nslv")
# Mostly short, so that the same come again; any byte, also what is no text.
few_bytes = st.binary(max_size=2) | st.binary(max_size=300)
any_text = st.text("abc", max_size=2) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
steps = st.one_of(
    st.builds(Increment, numbers, st.integers(-3, 9), st.just(MINUTE)),
    st.builds(AddToSet, sets, st.lists(any_text, min_size=1).map(tuple), st.just(MINUTE)),
    st.builds(SetSize, sets),
    st.builds(Push, lists, few_bytes, st.integers(1, 3), st.just(MINUTE)),
    st.builds(PutIfAbsent, values, few_bytes, st.just(MINUTE)),
    st.builds(Put, values, few_bytes, st.just(MINUTE)),
    st.builds(Get, values),
    st.builds(Delete, st.one_of(numbers, sets, lists, values)),
)


def answers(url: str, batches: list[list[Step]]) -> list[list[Any]]:
    async def run() -> list[list[Any]]:
        state = open_shared_state(url)
        await state.apply(*(Delete(f"{kind}{number}") for kind in "nslv" for number in (1, 2)))
        told = [await state.apply(*batch) for batch in batches]
        await state.close()
        return told

    return asyncio.run(run())


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(steps, min_size=1, max_size=6), max_size=6))
def test_memory_and_redis_answer_the_same(redis_url: str, batches: list[list[Step]]):
    assert answers("", batches) == answers(redis_url, batches)


@settings(max_examples=30, deadline=None)
@given(budget=st.integers(1, 9), costs=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 10)), max_size=30))
def test_nobody_spends_more_than_the_budget_and_refusals_are_free(budget: int, costs: list[tuple[str, int]]):
    async def run() -> None:
        limiter, spent = RateLimiter(budget), {"a": 0, "b": 0}
        for who, cost in costs:
            try:
                await limiter.charge(who, cost)
                spent[who] += cost
                assert spent[who] <= budget
            except RateLimited:
                assert spent[who] + cost > budget

    asyncio.run(run())
