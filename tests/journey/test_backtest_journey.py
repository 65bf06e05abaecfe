"""A backtest from one's own files, and one that is interrupted while several processes work on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from datetime import time as clock
from pathlib import Path

import pandas as pd
import pytest

from api.commands.backtest import _source
from api.own_files import read_own_files
from data.datasets import EmbeddedDataset
from pipeline.backtest import BacktestInput, run

FIRST, LAST = date(2013, 3, 25), date(2013, 4, 7)  # Easter, and the end of daylight saving: a day of 25 hours
PROC = Path("/proc")


@pytest.fixture(scope="module")
def from_files(victoria: EmbeddedDataset, tmp_path_factory: pytest.TempPathFactory) -> BacktestInput:
    """The embedded data written as the data contract has it, in local time, and read again."""
    folder = tmp_path_factory.mktemp("own")
    local = pd.DatetimeIndex(victoria.demand_mw.index).tz_convert(victoria.utility.zone)
    stamps = [moment.isoformat() for moment in local]
    for name, values in (("demand_mw", victoria.demand_mw), ("temperature_c", victoria.temperature_c)):
        pd.DataFrame({"timestamp": stamps, name: values.to_numpy()}).to_csv(folder / f"{name}.csv", index=False)
    holidays = folder / "holidays.txt"
    holidays.write_text("".join(f"{day}\n" for day in sorted(victoria.utility.holidays)))
    weather = [f"melbourne={folder}/temperature_c.csv"]
    own = read_own_files(folder / "demand_mw.csv", weather, victoria.utility.timezone, str(holidays), "09:00")
    return BacktestInput(own.utility, own.demand, own.weather, own.perfect_foresight)


def test_what_is_read_from_files_is_the_embedded_data_to_the_last_digit(from_files: BacktestInput) -> None:
    embedded = _source(None)
    assert from_files.utility == embedded.utility
    assert from_files.utility.gate_closure == clock(9)
    assert from_files.perfect_foresight == embedded.perfect_foresight
    pd.testing.assert_frame_equal(from_files.demand, embedded.demand, check_freq=False, check_exact=True)
    pd.testing.assert_frame_equal(from_files.weather, embedded.weather, check_exact=True)


@pytest.mark.parametrize("forecaster", ["seasonal-naive", "ensemble"])
def test_a_backtest_gives_the_same_numbers_from_files_as_from_the_embedded_data(
    from_files: BacktestInput, forecaster: str
) -> None:
    one, two = (run(source, FIRST, LAST, forecaster) for source in (from_files, _source(None)))
    pd.testing.assert_frame_equal(one.predictions, two.predictions, rtol=1e-6)
    assert one.scores == pytest.approx(two.scores, rel=1e-6)
    assert one.notes == two.notes


def members(group: int) -> list[int]:
    """Processes of a process group that have not ended."""
    found = []
    for entry in PROC.glob("[0-9]*/stat"):
        try:
            state, _, its_group = entry.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(entry.parent.name))
    return found


def wait_until(met: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if met():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not PROC.is_dir(), reason="processes are counted in /proc")
@pytest.mark.parametrize(("how", "seconds"), [(signal.SIGINT, 1), (signal.SIGKILL, 3)])
def test_ctrl_c_ends_every_process_of_a_backtest_and_so_does_its_own_end(how: signal.Signals, seconds: float) -> None:
    command = [sys.executable, "-m", "api.cli", "backtest", "--start", "2013-01-01", "--end", "2014-12-31", "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert wait_until(lambda: len(members(process.pid)) >= 4, 60)  # itself, what tracks its resources, two at work
        time.sleep(seconds)
        if how is signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does
            _, complaints = process.communicate(timeout=20)
            assert process.returncode == 130
            assert "Traceback" not in complaints
        else:
            process.kill()
            process.wait(timeout=20)
        assert wait_until(lambda: not members(process.pid), 20), members(process.pid)
    finally:
        for pid in members(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()
