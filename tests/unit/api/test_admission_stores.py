"""The door on the stores of several workers: PostgreSQL for who is believed, Redis for who has to wait."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi import Request
from pydantic import SecretStr

from api.admission import Admission
from pipeline.database import transaction
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from security.api_keys import api_keys, make_api_key, pepper_of, revoke_api_key
from security.brute_force import FREE_OF_ADDRESS, BruteForce, Origin, TooManyFailures
from security.errors import TokenRefused
from security.identity import Role
from security.memory_state import MemoryState
from security.redis_state import RedisState


@pytest.fixture
def station(tmp_path: Path, database_url: str) -> Station:
    return open_station(Settings(home=tmp_path / "home", database_url=SecretStr(database_url)))


def asking(shown: str) -> Request:
    headers = [(b"authorization", f"Bearer {shown}".encode())]
    return Request({"type": "http", "headers": headers, "client": ("192.0.2.1", 4711)})


def test_a_key_opens_in_every_worker_and_its_withdrawal_closes_every_door(station: Station) -> None:
    doors = [Admission(station, Settings(home=station.home), MemoryState()) for _ in range(2)]
    now = datetime.now(UTC)
    with transaction(station.engine) as session:
        pepper = pepper_of(station.chest)
        made = make_api_key(session, pepper, "bot", Role.ANALYST, timedelta(days=1), by="test", at=now)

    async def play() -> None:
        for door in doors:
            assert (await door.identify(asking(made.text))).subject == "bot"
        with transaction(station.engine) as session:
            revoke_api_key(session, made.record.key_id, by="test", reason="test", at=now)
        for door in doors:
            door.forget()
            with pytest.raises(TokenRefused):
                await door.identify(asking(made.text))

    asyncio.run(play())
    with transaction(station.engine) as session:
        [record] = api_keys(session)
        assert (record.last_used_on, record.reason) == (now.date().isoformat(), "test")
    station.engine.dispose()


def test_a_guesser_waits_at_every_worker_together(redis_url: str) -> None:
    async def play() -> None:
        states = [RedisState(redis_url) for _ in range(3)]
        guards = [BruteForce(state) for state in states]
        guesses = [guard.begin(Origin.of("192.0.2.1"), "a" * 16) for _ in range(20) for guard in guards]
        outcomes = await asyncio.gather(*guesses, return_exceptions=True)
        judged = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        stopped = [outcome for outcome in outcomes if isinstance(outcome, TooManyFailures)]
        assert (len(judged), len(stopped)) == (FREE_OF_ADDRESS, len(guesses) - FREE_OF_ADDRESS)
        for state in states:
            await state.close()

    asyncio.run(play())
