"""A writer that is killed (SIGKILL) at random moments, and one that goes on after it: nothing acknowledged is lost."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from security.keyring import load_or_create_signer
from tests.unit.data.small_lake import Pond, weather_rows

KILLS = 6


def test_kill_9_at_any_moment_loses_no_acknowledged_reading(tmp_path: Path) -> None:
    chance = random.Random(3)  # noqa: S311 (moments to be killed at, no secrets)
    acknowledged = tmp_path / "acknowledged"
    acknowledged.write_text("")
    command = [sys.executable, "-m", "tests.unit.data.small_lake", str(tmp_path)]
    for _ in range(KILLS):
        before = acknowledged.read_text()
        writer = subprocess.Popen(command, cwd=Path(__file__).parents[3])
        deadline = time.monotonic() + 60
        while acknowledged.read_text() == before and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.2))
        writer.kill()
        assert writer.wait() < 0, "it ended by itself"
        numbers = [int(number) for number in acknowledged.read_text().split()]
        assert numbers == list(range(len(numbers)))
        pond = Pond(tmp_path, signer=load_or_create_signer(tmp_path, "snapshot"))
        there = pond.read()
        rows = len(weather_rows(days=2))
        # The batch that was being added is there whole, or not at all.
        assert len(there) in (rows * len(numbers), rows * (len(numbers) + 1))
        sent = pd.concat([weather_rows(days=2, seed=number) for number in numbers])
        assert len(there.merge(sent.drop_duplicates(), how="right", indicator=True).query("_merge != 'both'")) == 0
    pond.append(weather_rows(days=2, seed=len(numbers)))
    assert {path.relative_to(pond.table()).as_posix() for path in pond.files()} == set(pond.pin().files)
