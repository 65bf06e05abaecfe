"""The door of one worker: who it lets in, for how long it believes it, and what it does when a store is away."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request
from sqlalchemy.exc import OperationalError

from api import admission
from api.admission import LONGEST_BELIEVED_SECONDS, Admission
from pipeline.database import transaction
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from security.api_keys import api_keys, make_api_key, pepper_of, revoke_api_key
from security.brute_force import FREE_OF_ADDRESS, TooManyFailures
from security.credentials import Credentials
from security.errors import TokenRefused, UnavailableError
from security.identity import Identity, Role, issue_token, new_token_id
from security.memory_state import MemoryState
from security.revoked_tokens import revoke_token

HOUR = timedelta(hours=1)
WRONG = f"gw_{'0' * 16}_{'0' * 64}"


class Clock:
    """The door's monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(admission, "time", clock)
    return clock


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return open_station(Settings(home=tmp_path / "home"))


@pytest.fixture
def door(station: Station) -> Admission:
    return Admission(station, Settings(home=station.home), MemoryState())


@pytest.fixture
def reads(door: Admission, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A line for each time the database is read."""
    seen: list[float] = []
    read = door._from_database
    monkeypatch.setattr(door, "_from_database", lambda: seen.append(time.monotonic()) or read())
    return seen


def asking(shown: str, address: str = "192.0.2.1") -> Request:
    headers = [(b"authorization", f"Bearer {shown}".encode("utf-8", "surrogateescape"))] if shown else []
    return Request({"type": "http", "headers": headers, "client": (address, 4711)})


def token(station: Station, **changes: Any) -> str:
    arguments = {"lifetime": HOUR, "now": datetime.now(UTC), **changes}
    return issue_token(station.signers["token"], "ann", Role.ANALYST, **arguments)


def key(station: Station, owner: str = "bot") -> str:
    with transaction(station.engine) as session:
        pepper = pepper_of(station.chest)
        return make_api_key(session, pepper, owner, Role.ANALYST, HOUR, by="test", at=datetime.now(UTC)).text


def within(play: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await play()
        # What was begun beside the answers is waited for, as a running service would.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait({task})

    asyncio.run(run())


async def refused(door: Admission, shown: str, address: str = "192.0.2.1") -> str:
    with pytest.raises(TokenRefused) as refusal:
        await door.identify(asking(shown, address))
    return str(getattr(refusal.value, "reason", ""))


def test_a_token_and_an_api_key_open(station: Station, door: Admission) -> None:
    text, program = token(station), key(station)

    async def play() -> None:
        assert (await door.identify(asking(text))).subject == "ann"
        assert (await door.identify(asking(program))).method == "api-key"

    within(play)


def test_a_signature_is_computed_once_as_long_as_nothing_is_withdrawn(
    station: Station, door: Admission, clock: Clock, reads: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    identify = Credentials.identify
    monkeypatch.setattr(Credentials, "identify", lambda self, *asked: judged.append(asked[0]) or identify(self, *asked))
    text, withdrawn, program = token(station), new_token_id(), key(station)

    async def ask_for_a_while() -> None:
        for _ in range(5):
            clock.now += LONGEST_BELIEVED_SECONDS + 0.1
            for shown in (text, program):
                await door.identify(asking(shown))

    async def play() -> None:
        await ask_for_a_while()
        # The first use of an API key is noted with it: it is judged once more for that.
        assert len(reads) == 5
        assert judged.count(text) <= 2
        before = judged.count(text)
        with transaction(station.engine) as session:
            revoke_token(session, withdrawn, by="test", reason="test", at=datetime.now(UTC))
        await ask_for_a_while()
        assert judged.count(text) == before + 1

    within(play)


@pytest.mark.usefixtures("clock")
def test_known_callers_cost_no_reading_of_the_database(station: Station, door: Admission, reads: list[float]) -> None:
    texts = [token(station) for _ in range(20)]

    async def play() -> None:
        for _ in range(50):
            for text in texts:
                await door.identify(asking(text))
        assert len(reads) == 1

    within(play)


def test_a_withdrawn_token_opens_for_two_seconds_at_most(station: Station, door: Admission, clock: Clock) -> None:
    token_id = new_token_id()
    text = token(station, token_id=token_id)

    async def play() -> None:
        await door.identify(asking(text))
        with transaction(station.engine) as session:
            revoke_token(session, token_id, by="test", reason="test", at=datetime.now(UTC))
        clock.now += 0.9
        await door.identify(asking(text))
        clock.now += 1.1
        assert await refused(door, text) == "revoked"

    within(play)


@pytest.mark.usefixtures("clock")
def test_a_withdrawal_in_this_worker_works_at_once(station: Station, door: Admission) -> None:
    text = key(station)

    async def play() -> None:
        caller = await door.identify(asking(text))
        with transaction(station.engine) as session:
            revoke_api_key(session, caller.key_id, by="test", reason="test", at=datetime.now(UTC))
        door.forget()
        assert await refused(door, text) == "revoked API key"

    within(play)


def test_what_was_read_before_a_withdrawal_does_not_stand_after_it(
    station: Station, door: Admission, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_id = new_token_id()
    text = token(station, token_id=token_id)
    read, has_read, may_end = door._from_database, threading.Event(), threading.Event()

    def slow() -> Any:
        believed = read()
        has_read.set()
        may_end.wait(10)
        return believed

    async def play() -> None:
        await door.identify(asking(text))
        clock.now += 1.5
        monkeypatch.setattr(door, "_from_database", slow)
        await door.identify(asking(text))
        beside = door._reading
        assert beside is not None
        await asyncio.to_thread(has_read.wait, 10)
        with transaction(station.engine) as session:
            revoke_token(session, token_id, by="test", reason="test", at=datetime.now(UTC))
        door.forget()
        may_end.set()
        await beside
        assert await refused(door, text) == "revoked"

    within(play)


def test_a_second_old_belief_is_renewed_beside_the_answer_and_nobody_waits(
    station: Station, door: Admission, clock: Clock, reads: list[float]
) -> None:
    text = token(station)

    async def play() -> None:
        await door.identify(asking(text))
        clock.now += 1.2
        await asyncio.gather(*(door.identify(asking(text)) for _ in range(30)))
        assert door._reading is not None
        await door._reading
        assert len(reads) == 2

    within(play)


def test_a_key_made_a_moment_ago_in_another_worker_opens(station: Station, door: Admission, clock: Clock) -> None:
    async def play() -> None:
        await door.identify(asking(token(station)))
        program = key(station)
        clock.now += 0.3
        assert (await door.identify(asking(program))).subject == "bot"

    within(play)


@pytest.mark.usefixtures("clock")
def test_made_up_names_do_not_have_the_database_read_each_time(door: Admission, reads: list[float]) -> None:
    async def play() -> None:
        for number in range(40):
            with pytest.raises((TokenRefused, TooManyFailures)):
                await door.identify(asking(f"gw_{number:016x}_{'0' * 64}", f"10.{number}.0.1"))
        assert len(reads) == 1

    within(play)


@pytest.mark.usefixtures("clock")
def test_a_token_that_runs_out_while_it_is_remembered_is_refused(
    station: Station, door: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = token(station, lifetime=timedelta(seconds=30))

    async def play() -> None:
        await door.identify(asking(text))
        later = datetime.now(UTC) + timedelta(seconds=31)
        monkeypatch.setattr(admission, "datetime", SimpleNamespace(now=lambda _zone: later))
        assert await refused(door, text) == "expired"

    within(play)


def test_without_the_database_nobody_is_let_in_but_whom_it_named_within_two_seconds(
    station: Station, door: Admission, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, stranger = token(station), token(station)

    def away() -> Any:
        raise OperationalError("SELECT 1", {}, Exception("connection refused"))

    async def play() -> None:
        await door.identify(asking(text))
        monkeypatch.setattr(door, "_from_database", away)
        clock.now += 1.5
        await door.identify(asking(text))
        await door.identify(asking(stranger))
        clock.now += 0.6
        for shown in (text, stranger):
            with pytest.raises(UnavailableError):
                await door.identify(asking(shown))
        monkeypatch.undo()
        assert (await door.identify(asking(text))).subject == "ann"

    within(play)


def test_a_database_that_hangs_is_not_waited_for(door: Admission, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_STORE_PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(door, "_from_database", lambda: time.sleep(0.2))

    async def play() -> None:
        with pytest.raises(UnavailableError, match="does not answer"):
            await door.identify(asking(WRONG))

    within(play)


def test_a_guesser_is_stopped_and_whoever_was_right_before_is_not_stopped_with_it(station: Station, door: Admission) -> None:
    text, fresh = token(station), token(station)

    async def play() -> None:
        await door.identify(asking(text))
        for _ in range(FREE_OF_ADDRESS):
            assert await refused(door, WRONG) == "wrong API key"
        with pytest.raises(TooManyFailures):
            await door.identify(asking(WRONG))
        with pytest.raises(TooManyFailures):
            await door.identify(asking(fresh))
        door.forget()
        assert (await door.identify(asking(text))).subject == "ann"
        assert (await door.identify(asking(fresh, "198.51.100.9"))).subject == "ann"

    within(play)


def test_showing_what_was_ours_once_is_no_guess(station: Station, door: Admission) -> None:
    old = token(station, now=datetime.now(UTC) - 3 * HOUR)

    async def play() -> None:
        for _ in range(4 * FREE_OF_ADDRESS):
            assert await refused(door, old) == "expired"
            assert await refused(door, "") == "no bearer token"

    within(play)


def test_no_token_lies_in_memory_after_its_request(station: Station, door: Admission) -> None:
    async def play() -> None:
        program = key(station)
        await door.identify(asking(program))
        secret = program.rpartition("_")[2]
        kept = [door._believed, door._seen, door._used_keys, door._brute_force]
        gc.collect()
        reached = list[Any](kept)
        for _ in range(6):
            reached += [inner for inner in gc.get_referents(*reached) if isinstance(inner, str | bytes | dict | set)]
        assert not any(secret in text for text in reached if isinstance(text, str))

    within(play)


def test_a_flood_of_right_tokens_does_not_grow_the_memory(
    station: Station, door: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_REMEMBERED", 3)

    async def play() -> None:
        for _ in range(10):
            await door.identify(asking(token(station)))
        assert door._believed is not None
        assert (len(door._believed.callers), len(door._seen)) == (3, 3)

    within(play)


def test_the_last_use_of_a_key_is_noted_once_a_day_beside_the_answers(
    station: Station, door: Admission, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, notes = key(station), list[Any]()
    note = admission.note_used
    monkeypatch.setattr(admission, "note_used", lambda *arguments: notes.append(1) or note(*arguments))

    async def play() -> None:
        for _ in range(6):
            await door.identify(asking(program))
            clock.now += 2.1
        assert len(notes) == 1

    within(play)
    with transaction(station.engine) as session:
        assert [record.last_used_on for record in api_keys(session)] == [datetime.now(UTC).date().isoformat()]


def test_an_exchanged_token_ends_with_its_key_and_within_fifteen_minutes(door: Admission) -> None:
    now = datetime.now(UTC)

    def shown(ends_in: timedelta) -> Identity:
        return Identity("bot", Role.ANALYST, "0" * 16, now + ends_in, now, "api-key", "0" * 16)

    assert timedelta(minutes=14) < door.exchange(shown(HOUR)).expires_at - now < timedelta(minutes=16)
    assert door.exchange(shown(timedelta(minutes=2))).expires_at - now < timedelta(minutes=3)
