from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import Session

from benchmarks.private_stores import PrivateServer
from security import audit_writer
from security.audit_heads import sign_head
from security.audit_writer import Act, AuditWriter
from security.errors import UnavailableError
from tests.unit.security.audit_station import NOON, AuditStation, audit_station

LONG = 30.0


def act(number: int = 1, **details: object) -> Act:
    return Act("olga", "request.answered", f"question {number}", {"number": number, **details}, NOON)


class Store:
    """The station's transactions, which a test holds up or breaks."""

    def __init__(self, station: AuditStation) -> None:
        self.station = station
        self.broken = False
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.entered = threading.Event()
        self.sizes: list[int] = []
        self.signed: list[int] = []
        self.witness_away = False

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        if self.broken:
            raise OSError("no such server")
        with self.station.transaction() as session:
            before = self.count(session)
            yield session
            self.sizes.append(self.count(session) - before)
            self.entered.set()
            assert self.goes_on.wait(LONG)

    def witness(self, at: datetime) -> None:
        if self.witness_away:
            raise OSError("no such disk")
        with self.station.transaction() as session:
            self.signed.append(sign_head(session, self.station.signer, self.station.heads, at).seq)

    @staticmethod
    def count(session: Session) -> int:
        found: int = session.connection().execute(text("SELECT COUNT(*) FROM audit_entry")).scalar_one()
        return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with audit_station("", tmp_path / "home") as station:
        yield Store(station)


@pytest.fixture
def writer(store: Store) -> Iterator[AuditWriter]:
    made = AuditWriter(store.transaction, store.witness)
    yield made
    store.goes_on.set()
    made.close()


def subjects(station: AuditStation) -> dict[int, str]:
    with station.transaction() as session:
        rows = session.connection().execute(text("SELECT seq, subject FROM audit_entry"))
        return {row.seq: row.subject for row in rows}


async def outcomes(writer: AuditWriter, numbers: range) -> list[int | BaseException]:
    return await asyncio.gather(*(writer.write(act(number)) for number in numbers), return_exceptions=True)


async def everyone_has_asked() -> None:
    """Tasks that make tasks: after some turns of the loop each has come to its write."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_each_of_many_callers_gets_its_own_entrys_number(database_url: str, tmp_path: Path) -> None:
    with audit_station(database_url, tmp_path / "home") as station:
        writer = AuditWriter(station.transaction, lambda at: station.sign(at) and None)

        numbers = asyncio.run(outcomes(writer, range(700)))
        writer.close()

        stored = subjects(station)
        assert [stored[number] for number in numbers] == [f"question {number}" for number in range(700)]
        assert station.verify().entries == 700
        assert station.read_heads()[-1].seq == 700


def test_several_workers_write_one_log_and_one_file_of_heads(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "HEAD_EVERY_SECONDS", 0.0)
    with audit_station(database_url, tmp_path / "home") as station:
        writers = [AuditWriter(station.transaction, lambda at: station.sign(at) and None) for _ in range(3)]

        async def run() -> list[int]:
            asked = [writer.write(act(number)) for number in range(40) for writer in writers]
            return list(await asyncio.gather(*asked))

        numbers = asyncio.run(run()) + asyncio.run(run())
        for writer in writers:
            writer.close()

        assert sorted(numbers) == list(range(1, 241))
        assert station.verify().entries == 240
        assert len(station.read_heads()) > 1


def test_what_waits_at_the_same_moment_is_one_transaction(store: Store, writer: AuditWriter) -> None:
    store.goes_on.clear()

    async def run() -> None:
        first = asyncio.ensure_future(writer.write(act()))
        await asyncio.to_thread(store.entered.wait, LONG)
        others = asyncio.ensure_future(outcomes(writer, range(2, 902)))
        await everyone_has_asked()
        store.goes_on.set()
        await asyncio.gather(first, others)

    asyncio.run(run())
    assert store.sizes == [1, audit_writer.BATCH, 900 - audit_writer.BATCH]


def test_after_a_crowd_a_commit_waits_for_who_comes_next_and_after_one_alone_it_does_not(
    store: Store, writer: AuditWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "GATHERED_SECONDS", 0.5)

    async def apart(number: int) -> None:
        await asyncio.sleep(0.05 * number)
        await writer.write(act(number))

    async def run() -> float:
        began = time.monotonic()
        await writer.write(act())
        await writer.write(act())
        alone = time.monotonic() - began
        store.goes_on.clear()
        one = asyncio.ensure_future(writer.write(act()))
        crowd = asyncio.ensure_future(outcomes(writer, range(audit_writer.CROWD)))
        await everyone_has_asked()
        store.goes_on.set()
        await asyncio.gather(one, crowd)
        await asyncio.gather(*(apart(number) for number in range(3)))
        return alone

    assert asyncio.run(run()) < 0.5
    assert store.sizes[-1] == 3


def test_nobody_is_answered_before_the_commit(store: Store, writer: AuditWriter) -> None:
    store.goes_on.clear()

    async def run() -> int:
        waiting = asyncio.ensure_future(writer.write(act()))
        await asyncio.to_thread(store.entered.wait, LONG)
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert not waiting.done()
        assert store.signed == []
        store.goes_on.set()
        return await waiting

    assert asyncio.run(run()) == 1


def test_a_store_that_fails_fails_every_waiting_write_and_works_again_when_it_is_back(
    store: Store, writer: AuditWriter
) -> None:
    async def run() -> None:
        assert await writer.write(act()) == 1
        store.broken = True
        refused = await outcomes(writer, range(2, 50))
        assert all(isinstance(one, UnavailableError) for one in refused)
        store.broken = False
        assert await writer.write(act(50)) == 2

    asyncio.run(run())
    assert list(subjects(store.station).values()) == ["question 1", "question 50"]


def test_a_store_that_hangs_is_not_waited_for_and_works_again_when_it_is_back(
    store: Store, writer: AuditWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert audit_writer.WAIT_SECONDS <= 2
    monkeypatch.setattr(audit_writer, "WAIT_SECONDS", 0.05)

    async def run() -> None:
        store.goes_on.clear()
        refused = await outcomes(writer, range(5))
        assert all(isinstance(one, UnavailableError) for one in refused)
        store.goes_on.set()
        monkeypatch.setattr(audit_writer, "WAIT_SECONDS", LONG)
        # What hung while it was committed stands in the log; who still waited in the queue was told no, and does not.
        assert await writer.write(act(6)) == sum(store.sizes)

    asyncio.run(run())


def test_no_more_than_a_bounded_number_waits(store: Store, writer: AuditWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_writer, "WAITING_LIMIT", 3)

    async def run() -> list[int | BaseException]:
        store.goes_on.clear()
        first = asyncio.ensure_future(writer.write(act()))
        await asyncio.to_thread(store.entered.wait, LONG)
        several = asyncio.ensure_future(outcomes(writer, range(2, 8)))
        await everyone_has_asked()
        store.goes_on.set()
        await first
        return await several

    refused = [one for one in asyncio.run(run()) if isinstance(one, UnavailableError)]
    assert len(refused) == 3
    assert "too many wait" in str(refused[0])


def test_what_may_not_be_logged_is_refused_to_its_caller_alone(writer: AuditWriter) -> None:
    async def run() -> list[int | BaseException]:
        bad = [writer.write(act(1, password="x")), writer.write(act(2, x=float("nan")))]  # noqa: S106 (refused is the point)
        return await asyncio.gather(*bad, writer.write(act(3)), return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert isinstance(first, ValueError)
    assert isinstance(second, ValueError)
    assert third == 1


def test_closing_writes_what_waits_and_signs_it(store: Store) -> None:
    writer = AuditWriter(store.transaction, store.witness)

    async def run() -> list[int | BaseException]:
        waiting = asyncio.ensure_future(outcomes(writer, range(20)))
        await everyone_has_asked()
        await asyncio.to_thread(writer.close)
        with pytest.raises(UnavailableError, match="closed"):
            await writer.write(act())
        return await waiting

    assert asyncio.run(run()) == list(range(1, 21))
    assert store.signed[-1] == 20
    writer.close()


def test_heads_are_signed_now_and_then_and_at_the_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_writer, "HEAD_EVERY_SECONDS", 3600.0)
    writer = AuditWriter(store.transaction, store.witness)

    async def run() -> None:
        for number in range(30):
            await writer.write(act(number))

    asyncio.run(run())
    writer.close()
    assert store.signed == [1, 30]
    assert store.station.verify().entries == 30


def test_a_log_that_is_idle_is_signed_to_its_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_writer, "HEAD_EVERY_SECONDS", 0.05)
    writer = AuditWriter(store.transaction, store.witness)

    async def run() -> None:
        for number in range(5):
            await writer.write(act(number))
        while store.signed[-1:] != [5]:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), LONG))
    signed = list(store.signed)
    writer.close()
    assert store.signed == signed


def test_a_witness_that_is_away_stops_no_write_and_gets_its_head_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "HEAD_EVERY_SECONDS", 0.01)
    store.witness_away = True
    writer = AuditWriter(store.transaction, store.witness)

    async def run() -> None:
        assert [await writer.write(act(number)) for number in range(3)] == [1, 2, 3]
        store.witness_away = False
        while not store.signed:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), LONG))
    writer.close()
    assert store.station.verify().entries == 3


def test_others_may_append_in_between(store: Store, writer: AuditWriter) -> None:
    async def run() -> list[int]:
        first = await writer.write(act(1))
        await asyncio.to_thread(store.station.write, 3)
        return [first, await writer.write(act(2)), await writer.write(act(3))]

    assert asyncio.run(run()) == [1, 5, 6]
    store.station.sign()
    assert store.station.verify().entries == 6


def test_a_caller_whose_loop_is_gone_stops_nobody_else(store: Store, writer: AuditWriter) -> None:
    store.goes_on.clear()
    loop = asyncio.new_event_loop()
    gone = loop.create_task(writer.write(act(1)))
    loop.run_until_complete(asyncio.sleep(0.01))
    gone.cancel()
    loop.run_until_complete(asyncio.gather(gone, return_exceptions=True))
    loop.close()
    store.goes_on.set()

    assert asyncio.run(writer.write(act(2))) >= 1


def test_no_answered_entry_is_lost_when_postgresql_is_killed_and_the_same_writer_goes_on_after(
    own_postgresql: PrivateServer, tmp_path: Path
) -> None:
    with audit_station(own_postgresql.url, tmp_path / "home") as station:
        writer = AuditWriter(station.transaction, lambda at: station.sign(at) and None)

        async def tried(number: int) -> list[int]:
            try:
                return [await writer.write(act(number))]
            except UnavailableError:
                return []

        async def run() -> list[int]:
            answered = [seq for number in range(20) for seq in await tried(number)]
            own_postgresql.kill()
            assert await tried(20) == []
            await asyncio.to_thread(own_postgresql.start)
            again: list[int] = []
            while not again:
                again = await tried(21)
            return answered + again

        answered = asyncio.run(asyncio.wait_for(run(), LONG))
        writer.close()

        assert len(answered) == 21
        assert set(answered) <= set(subjects(station))
        assert station.verify().entries == max(answered)


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.unit.security.audit_station import audit_station
from tests.unit.security.test_audit_writer import act
from security.audit_writer import AuditWriter

async def one(writer, number):
    while True:
        print(await writer.write(act(number)), flush=True)

async def run(writer):
    await asyncio.gather(*(one(writer, number) for number in range(8)))

with audit_station("", Path(sys.argv[1])) as station:
    asyncio.run(run(AuditWriter(station.transaction, lambda at: None)))
"""


def test_what_was_answered_for_stands_in_the_log_of_a_process_that_was_killed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-c", KILLED, str(home)]
    answered: list[int] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout is not None
        for line in process.stdout:
            answered.append(int(line))
            if len(answered) == 100:
                process.send_signal(signal.SIGKILL)
                break
        answered += [int(line) for line in process.stdout.read().splitlines()]

    with audit_station("", home) as station:
        station.sign()
        assert station.verify().entries >= max(answered)
        assert set(answered) <= set(subjects(station))
