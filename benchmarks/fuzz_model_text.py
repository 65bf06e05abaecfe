"""Spoilt model texts, validated or not, against LightGBM: `python -m benchmarks.fuzz_model_text [--mutants 2000]`.

Signatures are left out: this is what stands between a text that somebody signed by mistake and the parser. Every mutant of
real models (the ensemble's trees, and trees by quantile) goes to a process of its own with limits on memory and time: the
validator first, and what it lets through is loaded, asked for a forecast and an explanation. A sample of the same mutants
goes to LightGBM without the validator. Exit 6 if anything that was let through crashed or hung.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial

import lightgbm as lgb
import numpy as np

from benchmarks.model_text_mutants import MUTATIONS, mutant
from benchmarks.yardstick import alone, realised
from data.datasets import load_victoria
from data.schema import Single
from forecasting.ensemble import EnsembleForecaster
from forecasting.errors import ModelFileRefused
from forecasting.lightgbm_text import BOOSTER, validate_model_text
from forecasting.model_files import dump
from forecasting.quantile_files import BOOSTERS
from forecasting.quantile_trees import QuantileTreesForecaster

TRAINED_DAYS = 400
QUANTILE_TREES = 60
MEMORY_BYTES = 4 * 1024**3
# Of its own time, and of everybody's: other work on the machine makes nothing hang.
LIMIT_S, LIMIT_ON_THE_CLOCK_S = 3, 60
REFUSED, SAME, OTHER, ERROR = "refused", "same forecast", "other forecast", "clean error"
ABORTED, SEGFAULT, HUNG = "aborted", "segfault", "hung"
BAD = (ABORTED, SEGFAULT, HUNG)
SIGNALS: Mapping[int, str] = {signal.SIGSEGV: SEGFAULT, signal.SIGBUS: SEGFAULT, signal.SIGXCPU: HUNG, signal.SIGKILL: HUNG}


@dataclass(frozen=True)
class Original:
    """A real model text, its number of features, and what it forecasts of `rows_for`."""

    text: bytes
    features: int
    answer: str


@dataclass(frozen=True)
class Counted:
    """Outcomes of mutants: validated first, and of a sample of them as they were."""

    validated: Counter[str]
    alone: Counter[str]


def originals() -> dict[str, Original]:
    """By file name: the ensemble's trees and those of three quantiles, trained on the embedded data. Run it with `alone`."""
    victoria = load_victoria()
    end = victoria.utility.gate_closure_of(date(2013, 7, 1))
    frame = realised(victoria).loc[: end - victoria.utility.step].iloc[-TRAINED_DAYS * victoria.utility.steps_per_day :]
    ensemble = EnsembleForecaster("lightgbm", ("lightgbm",)).fit(frame, victoria.utility)
    by_quantile = QuantileTreesForecaster(QUANTILE_TREES).fit(frame, victoria.utility)
    files = dump(ensemble) | dump(by_quantile)
    features = len(by_quantile.line_.columns_) + 1
    texts = {name: files[name] for name in (BOOSTER, BOOSTERS[0], BOOSTERS[4], BOOSTERS[8])}
    return {name: Original(text, features, answer_of(text, features)) for name, text in texts.items()}


def rows_for(features: int) -> Single:
    """What the models are asked, with gaps."""
    chance = np.random.default_rng(1)
    rows = chance.normal(0, 3, (64, features)).astype(np.float32)
    rows[chance.random(rows.shape) < 0.05] = np.nan
    return rows


def outcomes(texts: list[bytes], original: Original, validated: bool) -> list[str]:
    """What becomes of each text, in a fork each. This process must not have used LightGBM, whose threads no fork has."""
    return [_in_a_fork(partial(_outcome, text, original, validated)) for text in texts]


def _outcome(text: bytes, original: Original, validated: bool) -> str:
    if validated:
        try:
            validate_model_text(text, features=original.features)
        except ModelFileRefused:
            return REFUSED
    try:
        answer = answer_of(text, original.features)
    except Exception:
        return ERROR
    return SAME if answer == original.answer else OTHER


def answer_of(text: bytes, features: int) -> str:
    """The digest of a model's forecasts. It is asked for explanations too: they walk the trees another way."""
    booster = lgb.Booster(model_str=text.decode())
    rows = rows_for(features)
    booster.predict(rows[:8], pred_contrib=True, num_threads=1)
    return hashlib.sha256(np.asarray(booster.predict(rows, num_threads=1)).tobytes()).hexdigest()


def _in_a_fork(work: Callable[[], str]) -> str:
    """What `work` answers in a fork with limits, or how the fork died."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        _work_in_limits(work, writable)
    os.close(writable)
    done, _, _ = select.select([readable], [], [], LIMIT_ON_THE_CLOCK_S)
    answer = os.read(readable, 64).decode() if done else ""
    os.close(readable)
    if not done:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    return answer or (SIGNALS.get(os.WTERMSIG(status), ABORTED) if os.WIFSIGNALED(status) else ABORTED)


def _work_in_limits(work: Callable[[], str], writable: int) -> None:
    try:
        for limit, most in (
            (resource.RLIMIT_AS, MEMORY_BYTES),
            (resource.RLIMIT_CPU, LIMIT_S),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(limit, (most, most))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.write(writable, work().encode())
    finally:
        os._exit(0)


def fuzzed(found: Mapping[str, Original], mutants: int, sample: int, seed: int) -> dict[str, Counted]:
    """By kind of mutation. sample: how many of the mutants LightGBM gets without the validator too."""
    chance = random.Random(seed)  # noqa: S311 (mutations, no secrets)
    counted = {}
    for kind in MUTATIONS:
        counts = Counted(Counter(), Counter())
        for original in found.values():
            each, sampled = (-(-count // (len(MUTATIONS) * len(found))) for count in (mutants, sample))
            texts = [_changed(original.text, kind, chance) for _ in range(each)]
            counts.validated.update(outcomes(texts, original, True))
            counts.alone.update(outcomes(texts[:sampled], original, False))
        counted[kind] = counts
    return counted


def _changed(text: bytes, kind: str, chance: random.Random) -> bytes:
    """A mutant that is not the text itself: a digit may become the same digit."""
    while (spoilt := mutant(text, kind, chance)) == text:
        pass
    return spoilt


def table(counted: Mapping[str, Counted]) -> str:
    """Markdown: a row a kind of mutation, and their sum."""
    total = Counted(Counter(), Counter())
    for counts in counted.values():
        total.validated.update(counts.validated)
        total.alone.update(counts.alone)
    shown = (REFUSED, SAME, OTHER, ERROR), (SAME, OTHER, ERROR, ABORTED, SEGFAULT, HUNG)
    head = ["mutation", "mutants", *shown[0], "crashed or hung", "LightGBM alone", *shown[1]]
    lines = [head, ["---"] * len(head)]
    for kind, counts in {**counted, "all": total}.items():
        with_it, without = counts.validated, counts.alone
        told = [with_it.total(), *(with_it[name] for name in shown[0]), bad(with_it)]
        lines.append([kind, *map(str, [*told, without.total(), *(without[name] for name in shown[1])])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bad(counts: Counter[str]) -> int:
    """Crashes and hangs."""
    return sum(counts[name] for name in BAD)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.monotonic()
    counted = fuzzed(alone(originals), options.mutants, options.sample, options.seed)
    print(table(counted))
    got_through = sum(bad(counts.validated) for counts in counted.values())
    print(f"\n{got_through} crashes or hangs behind the validator, in {time.monotonic() - started:.0f} s")
    if got_through:
        sys.exit(6)


if __name__ == "__main__":
    main()
