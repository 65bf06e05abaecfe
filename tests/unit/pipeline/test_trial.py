"""The trial of a bundle in another process: what passes, what is refused, and the server that does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.schema import Utility
from forecasting.certified import CertifiedForecaster
from forecasting.ensemble import EnsembleForecaster
from forecasting.errors import ModelFileRefused
from forecasting.golden import GOLDEN_JSON, golden_case
from forecasting.lightgbm_text import BOOSTER
from forecasting.model_files import MODEL_JSON
from forecasting.prophet_forecaster import ProphetForecaster
from pipeline import trial
from pipeline.bundle import BUNDLE_JSON, bundle_files
from pipeline.errors import TrialFailed
from pipeline.trial import Limits, start_trials, stop_trials, try_bundle
from pipeline.trial_child import serve, set_limits, tried

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
Bundle = Mapping[str, bytes]


@pytest.fixture(scope="module")
def bundle(small_world: SmallWorld) -> Bundle:
    utility, frame = small_world(days=100)
    return bundle_files(EnsembleForecaster("linear", ("linear",)).fit(frame, utility), "main", frame, {})


@pytest.fixture(autouse=True, scope="module")
def no_server_stays() -> Iterator[None]:
    yield
    stop_trials()


def server_id() -> int:
    assert trial._here.server is not None
    return trial._here.server.pid


def is_alive(process_id: int) -> bool:
    """Whether a process runs; one that has ended and waits to be asked for does not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends_within(process_id: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not is_alive(process_id):
            return True
        time.sleep(0.05)
    return False


def test_a_bundle_as_published_passes_and_gives_its_golden_forecasts(bundle: Bundle) -> None:
    found = try_bundle(bundle)
    np.testing.assert_allclose(found.answered, golden_case(bundle[GOLDEN_JSON]).expected, rtol=1e-12)
    assert found.seconds > 0


@pytest.mark.parametrize("make", [EnsembleForecaster, lambda: CertifiedForecaster(models=5), ProphetForecaster])
def test_bundles_of_every_kind_pass(make: Callable[[], EnsembleForecaster], small_world: SmallWorld) -> None:
    utility, frame = small_world(days=130)
    assert try_bundle(bundle_files(make().fit(frame, utility), "main", frame, {})).answered.size


def test_one_server_tries_one_bundle_after_the_other(bundle: Bundle) -> None:
    try_bundle(bundle)
    first = server_id()
    try_bundle(bundle)
    assert server_id() == first


def test_a_bundle_without_a_golden_forecast_is_refused(bundle: Bundle) -> None:
    without = {name: content for name, content in bundle.items() if name != GOLDEN_JSON}
    with pytest.raises(ModelFileRefused) as refused:
        try_bundle(without)
    assert refused.value.part == GOLDEN_JSON


@pytest.mark.parametrize("name", [MODEL_JSON, GOLDEN_JSON, BUNDLE_JSON])
def test_a_file_that_is_another_is_refused_by_name(name: str, bundle: Bundle) -> None:
    with pytest.raises(ModelFileRefused) as refused:
        try_bundle({**bundle, name: bundle[name].replace(b":", b";", 1)})
    assert refused.value.part == name


def test_a_tree_that_is_none_is_refused_by_tree_and_line(small_world: SmallWorld) -> None:
    utility, frame = small_world(days=90)
    files = bundle_files(EnsembleForecaster("lightgbm", ("lightgbm",)).fit(frame, utility), "main", frame, {})
    broken = files[BOOSTER].replace(b"left_child=", b"left_child=99 ", 1)
    with pytest.raises(ModelFileRefused) as refused:
        try_bundle({**files, BOOSTER: broken})
    assert refused.value.part.startswith(f"{BOOSTER}, tree ")


def test_a_model_with_one_other_number_does_not_give_the_golden_forecasts(bundle: Bundle) -> None:
    changed = bundle[MODEL_JSON].replace(b'"scale_mw":1', b'"scale_mw":2').replace(b'"scale_mw":9', b'"scale_mw":8')
    assert changed != bundle[MODEL_JSON]
    with pytest.raises(ModelFileRefused, match="is off by"):
        try_bundle({**bundle, MODEL_JSON: changed})


def test_a_bundle_larger_than_any_is_not_even_sent(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MOST_REQUEST_BYTES", 1000)
    with pytest.raises(TrialFailed, match="at most 1,000 are tried"):
        try_bundle(bundle)


def test_a_server_that_was_ended_is_started_again(bundle: Bundle) -> None:
    start_trials()
    first = server_id()
    os.kill(first, signal.SIGKILL)
    assert ends_within(first, 5)
    assert try_bundle(bundle).answered.size
    assert server_id() != first


def test_a_server_that_does_not_answer_is_given_up(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    start_trials()
    stopped = server_id()
    os.kill(stopped, signal.SIGSTOP)
    monkeypatch.setattr(trial, "START_SECONDS", 0)
    with pytest.raises(TrialFailed, match="hung"):
        try_bundle(bundle, Limits(seconds=1))
    monkeypatch.undo()
    assert ends_within(stopped, 5)
    assert try_bundle(bundle).answered.size


def test_threads_take_turns(bundle: Bundle) -> None:
    expected = golden_case(bundle[GOLDEN_JSON]).expected
    found: list[float] = []

    def once() -> None:
        found.append(float(np.abs(try_bundle(bundle).answered - expected).max()))

    threads = [threading.Thread(target=once) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert max(found) < 1e-6


def test_a_fork_has_a_server_of_its_own_and_leaves_its_parents_alone(bundle: Bundle) -> None:
    start_trials()
    ours = server_id()
    forked = os.fork()
    if forked == 0:
        status = 1
        try:
            answered = try_bundle(bundle).answered.size
            status = 0 if answered and server_id() != ours else 2
            stop_trials()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
    assert is_alive(ours)
    try_bundle(bundle)
    assert server_id() == ours


def test_a_parent_that_ignores_the_end_of_its_children_tries_bundles_all_the_same(bundle: Bundle) -> None:
    forked = os.fork()
    if forked == 0:
        status = 1
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            status = 0 if try_bundle(bundle).answered.size else 2
            stop_trials()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit(0)"])
def test_the_server_ends_with_its_parent_however_that_ends(ending: str) -> None:
    program = (
        "import os, signal, sys\n"
        "from pipeline import trial\n"
        "trial.start_trials()\n"
        "print(trial._here.server.pid, flush=True)\n"
        f"{ending}\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert ends_within(int(told.stdout), 30)
    assert told.stderr == ""


def test_the_server_is_given_nothing_of_our_environment_but_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDWARD_KEY_PASSPHRASE", "x")
    monkeypatch.setenv("LD_PRELOAD_OF_OURS", "x")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "HASWELL")
    given = trial._clean_environment()
    assert given["OPENBLAS_CORETYPE"] == "HASWELL"
    assert given["OMP_NUM_THREADS"] == "1"
    assert not [name for name in given if name.startswith("GRIDWARD") or name.startswith("LD_")]


def test_an_unforeseen_error_of_a_bundle_is_told_by_its_kind_alone(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Bundle) -> None:
        raise IndexError("at 0x7f, in /home/of/somebody")

    monkeypatch.setattr("pipeline.trial_child.restore", fails)
    assert tried(bundle) == {"failed": "IndexError"}


def test_what_a_worker_answers_is_the_golden_forecast_or_the_reason(bundle: Bundle) -> None:
    assert tried(bundle)["answered"]["shape"] == [24, 10]
    assert tried({})["part"] == GOLDEN_JSON
    assert tried({**bundle, MODEL_JSON: b"{"})["part"] == MODEL_JSON


LIMITED = [
    lambda: bytearray(2**28),
    lambda: Path(os.environ["GRIDWARD_TEST_FILE"]).write_bytes(b"x"),
    lambda: [os.open(os.devnull, os.O_RDONLY) for _ in range(50)],
]


@pytest.mark.parametrize("act", LIMITED)
def test_limits_hold_in_the_process_that_set_them(
    act: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"")
    monkeypatch.setenv("GRIDWARD_TEST_FILE", str(tmp_path / "a"))
    ended = []
    for limited in (False, True):
        forked = os.fork()
        if forked == 0:
            status = 3
            try:
                if limited:
                    os.closerange(3, 1000)
                    set_limits(5, 2**27)
                act()
                status = 0
            except (MemoryError, OSError):
                status = 1
            finally:
                os._exit(status)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]))
    assert ended == [0, 1]


def test_a_server_whose_parent_closes_its_input_returns() -> None:
    forked = os.fork()
    if forked == 0:
        status = 1
        try:
            reading, writing = os.pipe()
            os.dup2(reading, 0)
            os.close(writing)
            serve(tried)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
