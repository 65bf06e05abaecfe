"""Membership inference on Victoria: `python -m benchmarks.membership [--models N] [--weeks N]`.

Models are trained with and without weeks of the training period, half of them each, and asked as `POST /v1/forecasts`
answers: for days of these weeks themselves, and for days after the training. The attacker knows the demand, the code and
everything else that was trained on. Bar: advantage (TPR − FPR) at most 0.05.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd

from benchmarks.theft_oracle import ARCHIVE_BEGINS, BEGINS, MEMBERS, YEAR
from benchmarks.yardstick import realised
from data.datasets import load_victoria
from data.schema import DEMAND_MW, Array, Flags, Utility, days_between
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from pipeline.disguise import disguised
from pipeline.redteam.membership import advantage, likelihood_scores, trace_scores

BAR = 0.05
ASKED_WEEKDAYS = (1, 5)
LATER = YEAR[2::30]
LOW, MIDDLE, HIGH = 0, 4, 8


def weeks_of(count: int, random: np.random.Generator) -> list[date]:
    """Mondays of the training period."""
    mondays = [day for day in days_between(ARCHIVE_BEGINS, BEGINS - timedelta(days=14)) if day.weekday() == 0]
    return sorted(mondays[int(row)] for row in random.permutation(len(mondays))[:count])


def without(frame: pd.DataFrame, utility: Utility, mondays: list[date]) -> pd.DataFrame:
    """The history without the demand of these weeks."""
    left = frame.copy()
    for monday in mondays:
        last = utility.day_index(monday + timedelta(days=6))[-1]
        left.loc[utility.day_index(monday)[0] : last, DEMAND_MW] = np.nan
    return left


def attacked(models: int, weeks: int, seed: int) -> tuple[dict[str, Array], Flags]:
    """The attacker's scores of each model and week, by what it looks at, and which weeks each model saw."""
    random = np.random.default_rng(seed)
    dataset = load_victoria()
    frame, utility = realised(dataset), dataset.utility
    mondays = weeks_of(weeks, random)
    member = np.stack([random.permutation(weeks) < weeks // 2 for _ in range(models)])
    kinds = ("error, plain", "error, disguised", "width, plain", "width, disguised")
    found = {kind: np.empty((models, weeks)) for kind in kinds}
    later: dict[str, list[Array]] = {"later days, plain": [], "later days, disguised": []}
    gate = utility.gate_closure_of(BEGINS)
    for model in range(models):
        left = without(frame, utility, [monday for row, monday in enumerate(mondays) if not member[model, row]])
        forecaster = EnsembleForecaster("ensemble", MEMBERS, seed=1).fit(left[left.index < gate], utility)
        for row, monday in enumerate(mondays):
            days = [monday + timedelta(days=ahead) for ahead in ASKED_WEEKDAYS]
            values = np.array([_asked(forecaster, frame, utility, day) for day in days]).mean(axis=0)
            for kind, value in zip(kinds, values, strict=True):
                found[kind][model, row] = value
        answers = [_answers(forecaster, frame, utility, day) for day in LATER]
        for kind, number in zip(later, range(2), strict=True):
            later[kind].append(np.concatenate([np.log(answer[number][:, MIDDLE]) for answer in answers]))
    scores = {kind: _all(likelihood_scores, values, member) for kind, values in found.items()}
    return scores | {kind: _all(trace_scores, np.stack(values), member) for kind, values in later.items()}, member


def _all(scores: Callable[[Array, Flags, int], Array], values: Array, member: Flags) -> Array:
    return np.stack([scores(values, member, target) for target in range(len(values))])


def _answers(forecaster: EnsembleForecaster, frame: pd.DataFrame, utility: Utility, day: date) -> tuple[Array, Array]:
    """The nine quantiles of a day, plain and disguised."""
    _, says = forecaster.predict_with_members(known_until_gate(frame, utility, day), day)
    seed = np.random.default_rng(day.toordinal()).bytes(64)
    return says.quantiles_mw, disguised(says, 0, seed[:32], seed[32:])


def _asked(forecaster: EnsembleForecaster, frame: pd.DataFrame, utility: Utility, day: date) -> list[float]:
    """Error and width of one day's answer, plain and disguised, relative, as logarithms."""
    drawn = frame.loc[utility.day_index(day), DEMAND_MW].to_numpy()
    answers = _answers(forecaster, frame, utility, day)
    errors = [float(np.log(np.mean(np.abs(answer[:, MIDDLE] / drawn - 1)))) for answer in answers]
    return errors + [float(np.log(np.mean(answer[:, HIGH] - answer[:, LOW]))) for answer in answers]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=32)
    parser.add_argument("--weeks", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.time()
    scores, member = attacked(given.models, given.weeks, given.seed)
    print("| attacker looks at | advantage | 95 % interval | bar |\n|---|---|---|---|")
    for kind, values in scores.items():
        gained = advantage(values, member, given.seed)
        met = "met" if gained.value <= BAR else "**missed**"
        print(f"| {kind} | {gained.value:.3f} | {gained.low:.3f} … {gained.high:.3f} | {met} |")
    print(f"\n{given.models} models, {given.weeks} weeks, {time.time() - began:.0f} s of wall time")


if __name__ == "__main__":
    main()
