"""Certified mode against its bars: `python -m benchmarks.certified [--year 2014] [--only accuracy|attacks]`.

Victoria, day ahead, weather A, monthly refits (benchmarks/yardstick.py). Its accuracy, the width of the certificate by the
number of malicious weeks, and how far the worst attacks found by benchmarks/certified_attacks.py move it, and move
forecasters without a certificate. CPU time of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import date

import numpy as np
import pandas as pd

from benchmarks.certified_attacks import Attack, Target, search
from benchmarks.yardstick import months, realised
from data.datasets import EmbeddedDataset, load_victoria
from forecasting.certified import LOWER_MW, MODELS, UPPER_MW, CertifiedForecaster
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import forecaster_named
from forecasting.forecaster import FORECAST_MW
from forecasting.metrics import score

MALICIOUS_WEEKS = range(6)
BAR_WEEKS = 2
CANDIDATES = 3
# An attack that was worst for the certified forecaster is tried on the others every so many tries: they take seconds to fit.
COMPARED_EVERY = 25
WITHOUT_CERTIFICATE = ("linear", "ensemble")


def fitted_months(dataset: EmbeddedDataset, year: int) -> Iterator[tuple[list[date], pd.DataFrame]]:
    """The days of each month, and the history at its first gate closure."""
    frame = realised(dataset)
    for days in months(year):
        yield days, frame[frame.index < dataset.utility.gate_closure_of(days[0])]


def accuracy(dataset: EmbeddedDataset, year: int, copies: int) -> None:
    """Print the scores of the year and the certificate's width by r. copies: how many models each week goes to."""
    frame, utility = realised(dataset), dataset.utility
    answers: list[pd.DataFrame] = []
    widths: list[pd.DataFrame] = []
    refit_s, day_s = [], []
    for days, history in fitted_months(dataset, year):
        began = time.process_time()
        forecaster = CertifiedForecaster(copies=copies).fit(history, utility)
        refit_s.append(time.process_time() - began)
        for day in days:
            known = known_until_gate(frame, utility, day)
            began = time.process_time()
            answers.append(forecaster.certified(known, day, BAR_WEEKS))
            day_s.append(time.process_time() - began)
            widths.append(pd.DataFrame({r: _width_percent(forecaster.certified(known, day, r)) for r in MALICIOUS_WEEKS}))
    found = score(dataset.demand_mw, pd.concat(answers))
    print("| models | copies | MAPE % | pinball MW | cover 80 % | refit s | day ms |\n|---|---|---|---|---|---|---|")
    scores = f"{found['mape_percent']:.2f} | {found['pinball_mw']:.1f} | {found['cover_80_percent']:.1f}"
    print(f"| {MODELS} | {copies} | {scores} | {np.mean(refit_s):.2f} | {1000 * np.mean(day_s):.1f} |\n")
    print("| malicious weeks | median width % | 95 % of widths below % |\n|---|---|---|")
    for r, width in pd.concat(widths).items():
        print(f"| {r} | {width.median():.2f} | {width.quantile(0.95):.2f} |")


def _width_percent(answer: pd.DataFrame) -> pd.Series:
    """Width of the certificate, of the forecast."""
    width: pd.Series = 100 * (answer[UPPER_MW] - answer[LOWER_MW]) / answer[FORECAST_MW]
    return width


def attacks(dataset: EmbeddedDataset, year: int, tries: int, seed: int) -> None:
    """Print how far the worst of many attacks moves the forecast of a day, and of the way to the certificate's edge."""
    random = np.random.default_rng(seed)
    frame, utility = realised(dataset), dataset.utility
    by_month = list(fitted_months(dataset, year))
    shares: list[float] = []
    moves: dict[str, list[float]] = {name: [] for name in ("certified", *WITHOUT_CERTIFICATE)}
    began = time.process_time()
    for number in range(tries):
        days, history = by_month[int(random.integers(len(by_month)))]
        day = days[int(random.integers(len(days)))]
        target = Target(history, known_until_gate(frame, utility, day), day, utility, MODELS)
        worst, on_the_way = search(target, BAR_WEEKS, CANDIDATES, random)
        shares.extend(attack.share for attack in on_the_way)
        moves["certified"].append(worst.move_percent)
        if number % COMPARED_EVERY == 0:
            for name in WITHOUT_CERTIFICATE:
                moves[name].append(_move_percent(name, target, worst))
    took_s = time.process_time() - began
    print(f"\n{tries} tries of {BAR_WEEKS} weeks, {len(shares)} attacks, seed {seed}, {took_s:.0f} CPU s\n")
    print("| forecaster | tries | largest move of a day %, median | of all % |\n|---|---|---|---|")
    for name, percent in moves.items():
        print(f"| {name} | {len(percent)} | {np.median(percent):.2f} | {max(percent):.2f} |")
    print(f"\nlargest move, of the way to the edge of the interval: {max(shares):.6f}")
    print(f"attacks that left the interval: {sum(share > 1 for share in shares)} of {len(shares)}")


def _move_percent(name: str, target: Target, attack: Attack) -> float:
    """The largest move of a day [%] when another forecaster learns from the same spoiled history."""
    clean, spoilt = (
        forecaster_named(name, 1).fit(history, target.utility).predict(target.known, target.day)[FORECAST_MW]
        for history in (target.history, attack.history)
    )
    return float((100 * (spoilt - clean).abs() / clean.abs()).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--year", type=int, default=2014)
    parser.add_argument("--copies", type=int, default=1, help="models each week goes to, for the accuracy and the width")
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("accuracy", "attacks"))
    given = parser.parse_args()
    dataset = load_victoria()
    print(f"Victoria {given.year}, day ahead, weather A, refitted monthly; CPU time of one thread\n")
    if given.only != "attacks":
        accuracy(dataset, given.year, given.copies)
    if given.only != "accuracy":
        attacks(dataset, given.year, given.tries, given.seed)


if __name__ == "__main__":
    main()
