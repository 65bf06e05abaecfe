"""Membership inference on Victoria: `python -m benchmarks.membership [--models N] [--weeks N] [--open-models N]`.

Models are trained with and without weeks of the training period, half of them each. With the guard they are asked as
`POST /v1/forecasts` answers: for days after the training, and the attacker looks for what the weeks left in the forecast and
in its width. Without it some are asked for days of these weeks themselves. The attacker knows the demand, the code and
everything else that was trained on. Bar: advantage (TPR − FPR) at most 0.05; met when the whole interval lies below.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
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
from pipeline.redteam.membership import Advantage, advantage, likelihood_scores, trace_scores

BAR = 0.05
ASKED_WEEKDAYS = (1, 5)
# The house trains each month anew: so many days a model is asked for.
LATER = YEAR[:31]
LOW, MIDDLE, HIGH = 0, 4, 8
LEARNED_KINDS = ("error, plain", "error, disguised", "width, plain", "width, disguised")
PLAIN_KINDS = ("forecast, plain", "width, plain")
DISGUISED_KINDS = ("forecast, disguised", "width, disguised")
LATER_KINDS = (*PLAIN_KINDS, *DISGUISED_KINDS)


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


@dataclass(frozen=True)
class Attacked:
    """The attacker's scores of each model and week, by what it looks at, and which weeks each model saw. learned: from
    answers for the weeks themselves, of the first models only; later: from answers for days after the training.
    """

    learned: dict[str, Array]
    later: dict[str, Array]
    member: Flags


def attacked(models: int, open_models: int, weeks: int, seed: int) -> Attacked:
    """Train `models` models and ask them, the first `open_models` also for what the guard refuses."""
    random = np.random.default_rng(seed)
    dataset = load_victoria()
    frame, utility = realised(dataset), dataset.utility
    mondays = weeks_of(weeks, random)
    member = np.stack([random.permutation(weeks) < weeks // 2 for _ in range(models)])
    found = {kind: np.empty((open_models, weeks)) for kind in LEARNED_KINDS}
    later: dict[str, list[Array]] = {kind: [] for kind in LATER_KINDS}
    gate = utility.gate_closure_of(BEGINS)
    for model in range(models):
        left = without(frame, utility, [monday for row, monday in enumerate(mondays) if not member[model, row]])
        forecaster = EnsembleForecaster("ensemble", MEMBERS, seed=1).fit(left[left.index < gate], utility)
        for row, monday in enumerate(mondays if model < open_models else ()):
            days = [monday + timedelta(days=ahead) for ahead in ASKED_WEEKDAYS]
            values = np.array([_asked(forecaster, frame, utility, day) for day in days]).mean(axis=0)
            for kind, value in zip(LEARNED_KINDS, values, strict=True):
                found[kind][model, row] = value
        answers = [_answers(forecaster, frame, utility, day) for day in LATER]
        for number, (forecast, width) in enumerate((PLAIN_KINDS, DISGUISED_KINDS)):
            said = np.concatenate([answer[number] for answer in answers])
            later[forecast].append(np.log(said[:, MIDDLE]))
            later[width].append(np.log(said[:, HIGH] - said[:, LOW]))
    return Attacked(
        {kind: _all(likelihood_scores, values, member[:open_models]) for kind, values in found.items() if open_models},
        {kind: _all(trace_scores, np.stack(values), member) for kind, values in later.items()},
        member,
    )


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
    parser.add_argument("--models", type=int, default=256)
    parser.add_argument("--open-models", type=int, default=32, help="of these, asked without the guard as well; 0: none")
    parser.add_argument("--weeks", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.time()
    found = attacked(given.models, given.open_models, given.weeks, given.seed)
    print("| days asked for | attacker looks at | models | advantage | 95 % interval | bar |\n|---|---|---|---|---|---|")
    for kind, values in found.learned.items():
        print(
            _row(
                "learned, without the guard", kind, advantage(values, found.member[: given.open_models], given.seed), values
            )
        )
    print("| learned, with the guard | nothing: none is answered | | | | met |")
    for kind, values in found.later.items():
        print(_row("after the training", kind, advantage(values, found.member, given.seed), values))
    print(f"\n{given.weeks} weeks, {len(LATER)} days after the training, {time.time() - began:.0f} s of wall time")


def _row(days: str, kind: str, gained: Advantage, values: Array) -> str:
    met = "met" if gained.high <= BAR else "**missed**" if gained.low > BAR else "cannot be told"
    interval = f"{gained.low:.3f} … {gained.high:.3f}"
    return f"| {days} | {kind} | {len(values)} | {gained.value:.3f} | {interval} | {met} |"


if __name__ == "__main__":
    main()
