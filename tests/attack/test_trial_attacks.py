"""Bundles that would take the server down with them (AML.T0018 manipulated model, AML.T0029 denial of service).

Each attack is made twice: in a process without the safeguard, a fork of this one that may die of it, where it wins; and in a
trial, where it loses, this process lives, and the next good bundle is still loaded. What LightGBM does to itself needs no
help; what only code of an attacker's could do is done by a server made for it (hostile_trial_child).
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.schema import Utility
from forecasting.arrays import packed
from forecasting.ensemble import EnsembleForecaster
from forecasting.errors import ModelFileRefused
from forecasting.golden import golden_case
from pipeline import trial
from pipeline.bundle import bundle_files
from pipeline.errors import TrialFailed
from pipeline.trial import Limits, start_trials, stop_trials, try_bundle
from tests.attack.hostile_trial_child import HOSTILE, eat, loop, parse, write
from tests.unit.forecasting.small_model_text import model_text

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
Bundle = Mapping[str, bytes]
SHORT = Limits(seconds=2)
PLANTED = "planted-and-never-to-be-seen"


@pytest.fixture(scope="module")
def bundle(small_world: SmallWorld) -> Bundle:
    utility, frame = small_world(days=100)
    return bundle_files(EnsembleForecaster("linear", ("linear",)).fit(frame, utility), "main", frame, {})


@pytest.fixture(scope="module", autouse=True)
def hostile_server() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRIDWARD_KEY_PASSPHRASE", PLANTED)
        patch.setattr(trial, "SERVER", (sys.executable, "-P", "-s", str(Path(__file__).with_name("hostile_trial_child.py"))))
        stop_trials()
        start_trials()
        yield
        stop_trials()


def acting(bundle: Bundle, act: str, *arguments: object) -> Bundle:
    return {**bundle, HOSTILE: json.dumps({"act": act, "with": arguments}).encode()}


def end_without_safeguard(act: Callable[..., object], *arguments: object, wait_seconds: float = 20) -> int | None:
    """How a fork of this process ends that does this itself: its status, None where it had to be ended."""
    forked = os.fork()
    if forked == 0:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        faulthandler.disable()
        try:
            act(*arguments)
        finally:
            os._exit(0)
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(forked, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(forked, signal.SIGKILL)
    os.waitpid(forked, 0)
    return None


def assert_good_bundles_still_pass(bundle: Bundle) -> None:
    expected = golden_case(bundle["golden.json"]).expected
    np.testing.assert_allclose(try_bundle(bundle).answered, expected, rtol=1e-12)


def test_a_text_that_aborts_the_parser_ends_who_parses_it_and_only_fails_a_trial(bundle: Bundle, tmp_path: Path) -> None:
    text = tmp_path / "booster.txt"
    whole = model_text()
    text.write_bytes(whole[: whole.index(b"Tree=3") + 200])
    ended = end_without_safeguard(parse, str(text))
    assert ended is not None
    assert ended < 0
    # Abort here, a bad access there: what it does with nonsense depends on what lies in its memory.
    with pytest.raises(TrialFailed, match=r"crashed \(signal \d+\)"):
        try_bundle(acting(bundle, "parse", str(text)))
    assert_good_bundles_still_pass(bundle)


def test_a_bundle_that_eats_memory_gets_what_it_wants_or_is_out_of_it(bundle: Bundle) -> None:
    wanted = 300
    assert end_without_safeguard(eat, wanted) == 0
    assert try_bundle(acting(bundle, "eat", wanted), Limits(memory_bytes=2**30)).answered.size
    with pytest.raises(TrialFailed, match="out of memory"):
        try_bundle(acting(bundle, "eat", wanted), Limits(memory_bytes=2**27))
    assert_good_bundles_still_pass(bundle)


@pytest.mark.parametrize("act", ["loop", "sleep"])
def test_a_bundle_that_never_ends_is_ended(act: str, bundle: Bundle) -> None:
    assert end_without_safeguard(loop, wait_seconds=0.5) is None
    # A server that starts takes seconds to import, and many on a busy machine: they are none of the trial's.
    assert_good_bundles_still_pass(bundle)
    began, server = time.monotonic(), trial._here.server
    with pytest.raises(TrialFailed, match="hung"):
        try_bundle(acting(bundle, act), SHORT)
    # By the server, which goes on: we would end both after START_SECONDS more, and say the same.
    assert time.monotonic() - began < 10 * SHORT.seconds
    assert trial._here.server is server
    assert_good_bundles_still_pass(bundle)
    assert trial._here.server is server


def test_a_bundle_that_writes_leaves_no_byte(bundle: Bundle, tmp_path: Path) -> None:
    for name in ("off", "on"):
        (tmp_path / name).write_bytes(b"")
    assert end_without_safeguard(write, str(tmp_path / "off")) == 0
    assert (tmp_path / "off").stat().st_size > 0
    with pytest.raises(TrialFailed):
        try_bundle(acting(bundle, "write", str(tmp_path / "on")))
    assert (tmp_path / "on").stat().st_size == 0
    assert_good_bundles_still_pass(bundle)


def test_a_bundle_sees_no_secret_in_its_environment_and_no_open_file_of_ours(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tmp_path / "found"
    # Long enough, where coverage is measured, to cut off what is looked for.
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)
    stop_trials()
    end_without_safeguard(lambda: found.write_text(os.environ["GRIDWARD_KEY_PASSPHRASE"]))
    assert found.read_text() == PLANTED
    with found.open(), pytest.raises(ModelFileRefused) as told:
        try_bundle(acting(bundle, "looked_around"))
    seen = told.value.problem
    assert '"open": ["/dev/null", "/dev/null", "/dev/null", "pipe"' in seen
    assert found.name not in seen
    assert '"LANG": "C.UTF-8"' in seen
    assert PLANTED not in seen
    assert "GRIDWARD" not in seen
    stop_trials()


def test_a_bundle_that_ends_the_server_fails_and_the_next_one_has_another(bundle: Bundle) -> None:
    with pytest.raises(TrialFailed, match="server ended"):
        try_bundle(acting(bundle, "kill_the_server"))
    assert_good_bundles_still_pass(bundle)


def test_an_answer_without_end_is_cut_off(bundle: Bundle) -> None:
    with pytest.raises(TrialFailed, match="answer without end"):
        try_bundle(acting(bundle, "babble"))
    assert_good_bundles_still_pass(bundle)


def answered(values: object) -> str:
    return json.dumps({"answered": packed(np.asarray(values, dtype=np.float64))})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "null",
        "[" * 100_000,
        "nonsense",
        '{"answered": null}',
        '{"answered": {"shape": [24, 10], "type": "<f8", "base64": ""}}',
        '{"answered": {"shape": [1000000000, 10], "type": "<f8", "base64": ""}}',
        answered(np.full((24, 10), np.nan)),
        answered(np.zeros((24, 9))),
        '{"refused": "x"}',
        '{"refused": 1, "part": "model.json"}',
        '{"refused": "x", "part": "/etc/passwd"}',
        json.dumps({"refused": "x" * 10_000, "part": "model.json"}),
        '{"failed": {}}',
        '{"failed": "x", "more": 1}',
    ],
)
def test_an_answer_that_a_taken_over_worker_made_up_is_none(content: str, bundle: Bundle) -> None:
    with pytest.raises(TrialFailed) as failed:
        try_bundle(acting(bundle, "answer", content))
    assert str(failed.value).isprintable()
    assert_good_bundles_still_pass(bundle)


def test_what_a_taken_over_worker_says_is_shown_printable(bundle: Bundle) -> None:
    told: Any
    for content, kind in (
        ('{"refused": "\\u001b[2J\\u202e", "part": "model.json"}', ModelFileRefused),
        ('{"failed": "\\u001b[2J\\u202e"}', TrialFailed),
    ):
        with pytest.raises(kind) as told:
            try_bundle(acting(bundle, "answer", content))
        assert str(told.value).isprintable()


def test_forecasts_that_are_not_the_golden_ones_are_refused(bundle: Bundle) -> None:
    expected = golden_case(bundle["golden.json"]).expected
    with pytest.raises(ModelFileRefused, match="is off by"):
        try_bundle(acting(bundle, "answer", answered(expected * 1.001)))
