"""A promotion stopped before any of its writes is on the disk: the last good model serves, the same command ends it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import registry
from pipeline.promotion import approve, promote
from pipeline.publish import OpenedModel
from pipeline.serving import Serving
from pipeline.station import Station, open_station
from security.errors import UnavailableError
from tests.unit.api import small_station
from tests.unit.pipeline.republish import AT, BY, candidate_again, demo_operators, states

# Two approvals and a release write far more; a station that writes less has lost some durability.
FEWEST_WRITES = 16


class Stopped(BaseException):
    """Like a kill: nothing catches it."""


FULL = OSError(errno.ENOSPC, "No space left on device")


def stopping_at(wanted: int, how: BaseException, patched: pytest.MonkeyPatch) -> Callable[[], int]:
    """Stop at one write to the disk; answers how many there were."""
    fsync, done = os.fsync, 0

    def counted(descriptor: int) -> None:
        nonlocal done
        done += 1
        if done == wanted:
            raise how
        fsync(descriptor)

    patched.setattr(os, "fsync", counted)
    return lambda: done


def approved_and_promoted(station: Station, model_id: str) -> None:
    """What the operators and whoever promotes run, one after the other."""
    for signer in demo_operators(station)[:2]:
        approve(station, model_id, signer, at=AT)
    promote(station, model_id, by=BY, at=AT)


@pytest.mark.parametrize(
    ("part", "how"),
    [*((part, Stopped()) for part in range(4)), (1, FULL)],
    ids=["killed 1", "killed 2", "killed 3", "killed 4", "disk full"],
)
def test_stopped_before_any_write_the_last_good_model_serves_and_the_same_again_ends_it(
    linear: Station,
    linear_model: OpenedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: int,
    how: BaseException,
) -> None:
    waits = candidate_again(linear, linear_model, "s-2")
    linear.engine.dispose()
    stopped = 0
    for wanted in range(1 + part, 100, 4):
        home = tmp_path / f"stopped-{wanted}"
        shutil.copytree(linear.home, home)
        station = open_station(small_station.settings_for(home, forecaster="linear"))
        with monkeypatch.context() as patched:
            writes = stopping_at(wanted, how, patched)
            try:
                approved_and_promoted(station, waits)
            except (Stopped, UnavailableError, OSError):
                stopped += 1
        assert Serving(station).active_model_id in (linear_model.model_id, waits)
        approved_and_promoted(station, waits)
        assert Serving(station).active_model_id == waits
        assert states(station) == {linear_model.model_id: registry.RETIRED, waits: registry.ACTIVE}
        station.engine.dispose()
        shutil.rmtree(home)
        if writes() < wanted:
            break
    assert stopped >= FEWEST_WRITES // 4
