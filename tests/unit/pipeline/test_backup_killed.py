"""Twenty times killed at a random moment, without a chance to clean up: what was there holds, and a run again ends right."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.backup.contents import check_database
from pipeline.database import transaction
from security.audit_check import verify_log
from tests.unit.pipeline.small_backup import Yard, hurry

KILLS = 20


def killed(work: Callable[[], object], after_seconds: float) -> bool:
    """Run `work` in a process of its own and kill it (SIGKILL); False when it was quicker."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(after_seconds)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def duration(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def require_sound(yard: Yard) -> None:
    """The station's database and audit log, whatever happened to the process that wrote in them."""
    station = yard.station()
    with transaction(station.engine) as session:
        verify_log(session, [])
    station.engine.dispose()
    check_database(yard.home / "gridward.sqlite")


def test_kill_9_at_any_moment_loses_no_backup_and_leaves_the_station_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    chance = random.Random(7)  # noqa: S311 (moments to be killed at, no secrets)
    yard = Yard.at(tmp_path, megabytes=2.5)
    acknowledged = tmp_path / "acknowledged"
    acknowledged.write_text("")

    def create() -> None:
        sequence = yard.create().backup.sequence
        with acknowledged.open("a") as stream:
            stream.write(f"{sequence}\n")

    def prune() -> None:
        yard.prune(keep=3)

    def restore() -> None:
        yard.restore(tmp_path / "out")

    for _ in range(4):
        create()
    longest = {create: duration(create), prune: duration(prune), restore: duration(restore)}
    shutil.rmtree(tmp_path / "out")

    kills, number = 0, 0
    while kills < KILLS:
        number += 1
        assert number < 5 * KILLS
        work = (create, prune, create, restore)[number % 4]
        yard.change(seed=number)
        before = yard.files()
        known = {backup.sequence: backup.digest for backup in yard.verify().backups}
        kills += killed(work, chance.uniform(0, longest[work]))

        found = {backup.sequence: backup.digest for backup in yard.verify(witnessed=True).backups}
        may_be_gone = set(sorted(known)[:-3]) if work is prune else set()
        assert known.items() - found.items() <= {(sequence, known[sequence]) for sequence in may_be_gone}
        assert set(sorted(known)[-3:]) <= set(found)
        assert max(map(int, acknowledged.read_text().split())) <= max(found)
        assert yard.files() == before
        require_sound(yard)
        # The restored station stands there whole, or does not stand there.
        if (tmp_path / "out").exists():
            assert len(yard.files(tmp_path / "out")) == len(before)
            shutil.rmtree(tmp_path / "out")

    create()
    prune()
    restore()
    assert yard.files(tmp_path / "out") == yard.files()
    found_at_last = yard.verify(witnessed=True)
    assert (len(found_at_last.backups), found_at_last.unneeded) == (3, 0)
    assert not list(tmp_path.rglob(".draft-*"))
    assert not list(tmp_path.glob(".*.restoring"))
