"""The look at the database: once for all, never older than its second, shared also when it fails."""

from __future__ import annotations

import threading

import pytest

from pipeline import serving_state
from pipeline.serving_state import InService, ServingState, StateWatch
from security.errors import UnavailableError

SEEN = ServingState({}, InService("m", "", 1, 1))


class Database:
    """Counts the looks; `away` makes them fail."""

    def __init__(self) -> None:
        self.looks = 0
        self.away = False
        self.goes_on = threading.Event()
        self.goes_on.set()

    def read(self) -> ServingState:
        self.looks += 1
        assert self.goes_on.wait(timeout=60)
        if self.away:
            raise UnavailableError("away", mend="start it")
        return SEEN


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def watch(database: Database) -> StateWatch:
    return StateWatch(database.read, lambda _seen: None)


def test_before_the_first_look_nothing_holds_and_after_it_the_next_is_spared(watch: StateWatch, database: Database) -> None:
    assert not watch.holds()
    watch.look()
    watch.look()
    assert watch.holds()
    assert database.looks == 1


def test_what_is_older_than_its_time_does_not_hold(
    watch: StateWatch, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.look()
    monkeypatch.setattr(serving_state, "TRUE_FOR_SECONDS", -1.0)
    assert not watch.holds()
    watch.look()
    assert database.looks == 2


def test_who_waited_for_a_look_that_failed_fails_with_it(watch: StateWatch, database: Database) -> None:
    database.away = True
    database.goes_on.clear()
    failed: list[str] = []
    waiting = threading.Barrier(5)

    def ask() -> None:
        waiting.wait(timeout=60)
        try:
            watch.look()
        except UnavailableError as error:
            failed.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    waiting.wait(timeout=60)
    # All have asked when one of them looks; a late one may look once more, but none looks in vain for another.
    threading.Timer(0.2, database.goes_on.set).start()
    for thread in threads:
        thread.join(timeout=60)
    assert failed == ["away — start it"] * 4
    assert database.looks < 4
    assert not watch.holds()


def test_a_change_made_here_is_looked_at_at_once_and_fails_closed(watch: StateWatch, database: Database) -> None:
    watch.look()
    watch.look_again()
    assert database.looks == 2
    database.away = True
    with pytest.raises(UnavailableError):
        watch.look_again()
    assert not watch.holds()


def test_the_next_look_begins_before_the_second_is_over(
    watch: StateWatch, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.look()
    monkeypatch.setattr(serving_state, "TRUE_FOR_SECONDS", 3600.0)
    monkeypatch.setattr(serving_state, "LOOK_AHEAD_SECONDS", -1.0)
    assert watch.holds()
    for thread in [thread for thread in threading.enumerate() if thread.name == "look ahead"]:
        thread.join(timeout=60)
    assert database.looks == 2
