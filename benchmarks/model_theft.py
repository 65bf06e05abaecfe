"""The model thief with and without the query guard: `python -m benchmarks.model_theft [--only NAME …] [--queries N …]`.

The thief's model is held against the real one on scenarios of days that nobody could ask for: every twelfth day of the year
after the theft began, as far as it lies after the last question. Bar: with the guard at least twice the error of the best
strategy with as many questions without, or all its accounts blocked before 2,000 questions. Genuine callers: `genuine_mix`,
of seeds that no threshold was chosen on; none is slowed, none answered further than 0.3 % from what the model says.
With the guard, days that the model in service learned from are not answered at all (`guarded_asking`).
Watermark: how surely what was learned from stolen answers is recognised, and how often a model is accused that was not
learned from this caller's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice

import numpy as np

from api.query_gate import AskedWhatIf
from benchmarks.genuine_mix import Asking, genuine_mix, scenarios
from benchmarks.guarded_asking import SECRET, Heard, SimulatedGuard, is_forecast
from benchmarks.theft_oracle import HELD_OUT, YEAR, Oracle
from benchmarks.thief_questions import STRATEGIES
from data.schema import Array
from forecasting.forecaster import MEDIAN, QUANTILE_COLUMNS
from forecasting.member_says import MemberSays
from pipeline.disguise import disguised
from pipeline.redteam.model_theft import Known, Surrogate, mape_percent
from pipeline.watermark import NAMED_Z, mark_name, recognise
from security.query_guard import Level, watermark_of

QUERIES = (1_000, 5_000, 20_000)
BLOCKED_BEFORE = 2_000
BAR_RATIO = 2.0
TEST_SCENARIOS = 8
FEWEST_LEFT = 5 * TEST_SCENARIOS
FEWEST_LEARNED = 20
MOST_COARSENED = 0.003
# Thresholds were chosen on seeds below this.
MIX_SEEDS_FROM = 2_000
OTHERS = 1_000
_MEDIAN = QUANTILE_COLUMNS.index(MEDIAN)


@dataclass(frozen=True)
class Theft:
    """One strategy with so many questions. error, guarded_error: of the thief's model [%], infinite with too few answers to
    learn from; answered: with the guard; blocked_at: the question at which the last account was blocked, of those that were
    about a forecast, None while one is not.
    """

    strategy: str
    queries: int
    error: float
    guarded_error: float
    answered: int
    blocked_at: int | None

    def holds(self, best_without: float) -> bool:
        """Whether the bar is met. best_without: the best error with as many questions and no guard [%]."""
        blocked = self.blocked_at is not None and self.blocked_at < BLOCKED_BEFORE
        return blocked or self.guarded_error >= BAR_RATIO * best_without


def path_of(oracle: Oracle, asking: Asking) -> Array:
    """The temperatures that a question is about."""
    return asking.asked.temperatures_c if isinstance(asking.asked, AskedWhatIf) else oracle.temperature_c[asking.asked.day]


def says_of(oracle: Oracle, asked: Sequence[Asking]) -> list[MemberSays]:
    """What the model says to each."""
    return oracle.says([one.asked.day for one in asked], np.stack([path_of(oracle, one) for one in asked]))


def known_of(oracle: Oracle, days: Sequence[date], paths_c: Array) -> Known:
    """What the thief knows of its questions."""

    def ago(values: dict[date, Array], number: int) -> Array:
        return np.stack([values[day - timedelta(days=number)] for day in days])

    week = np.stack([ago(oracle.demand_mw, number).mean(axis=1) for number in range(2, 9)])
    latest = ago(oracle.demand_mw, 2)
    features, widths = oracle.open_features(days, paths_c)
    return Known(
        days,
        paths_c,
        ago(oracle.temperature_c, 1),
        ago(oracle.demand_mw, 7),
        latest,
        week.mean(axis=0),
        features,
        widths,
    )


def test_questions(oracle: Oracle) -> tuple[Known, Array]:
    """Genuine scenarios of the held-out days, and what the model says to them."""
    random = np.random.default_rng(99)
    days, paths = [], []
    for day in HELD_OUT:
        drawn = [oracle.temperature_c[day], *scenarios(oracle.temperature_c[day], random, 3)]
        for row in random.permutation(len(drawn))[:TEST_SCENARIOS]:
            days.append(day)
            paths.append(drawn[int(row)])
    truth = medians(oracle.says(days, np.stack(paths)))
    return known_of(oracle, days, np.stack(paths)), truth


def medians(says: Sequence[MemberSays]) -> Array:
    """The medians [MW], shape (questions, 48)."""
    return np.stack([one.quantiles_mw[:, _MEDIAN] for one in says])


def answers_of(heard: Sequence[Heard], says: Sequence[MemberSays]) -> Array:
    """The medians as they are answered, shape (questions, 48)."""
    told = [
        disguised(one, answer.verdict.level, answer.verdict.seed, answer.verdict.watermark)[:, _MEDIAN]
        for answer, one in zip(heard, says, strict=True)
    ]
    return np.stack(told)


def thefts(oracle: Oracle, strategy: str, queries: Sequence[int], test: tuple[Known, Array], seed: int) -> list[Theft]:
    """One strategy, with and without the guard."""
    random = np.random.default_rng(seed)
    asked = list(islice(STRATEGIES[strategy](oracle.temperature_c, random), max(queries)))
    says = says_of(oracle, asked)
    known = known_of(oracle, [one.asked.day for one in asked], np.stack([path_of(oracle, one) for one in asked]))
    forecasts = [row for row, one in enumerate(asked) if is_forecast(one)]
    heard = SimulatedGuard().hear([asked[row] for row in forecasts])
    answers = medians(says)
    guarded = answers.copy()
    if heard:
        guarded[forecasts] = answers_of(heard, [says[row] for row in forecasts])
    errors: dict[tuple[int, int], float] = {}
    found = []
    for count in sorted({min(number, len(asked)) for number in queries}):
        later = np.array([row for row, day in enumerate(test[0].days) if day > asked[count - 1].today])
        if len(later) < FEWEST_LEFT:
            continue
        left = (test[0].rows(later), test[1][later])
        in_time = [(row, one) for row, one in zip(forecasts, heard, strict=True) if row < count]
        let_through = np.array([row for row, one in in_time if one.verdict.level < Level.BLOCKED], dtype=np.int64)
        error = stolen_error(known.rows(np.arange(count)), answers[:count], left, seed)
        if (len(let_through), len(later)) not in errors:
            errors[len(let_through), len(later)] = stolen_error(known.rows(let_through), guarded[let_through], left, seed)
        found.append(
            Theft(
                strategy,
                count,
                error,
                errors[len(let_through), len(later)],
                len(let_through),
                blocked_at([one for _, one in in_time]),
            )
        )
    return found


def stolen_error(known: Known, answers_mw: Array, test: tuple[Known, Array], seed: int) -> float:
    """The error of a model learned from these answers [%]; infinite when they are too few to learn from."""
    if len(answers_mw) < FEWEST_LEARNED:
        return np.inf
    return mape_percent(Surrogate(seed).fit(known, answers_mw).predict(test[0]), test[1])


def blocked_at(heard: Sequence[Heard]) -> int | None:
    """After how many questions the last account was blocked; None while one is not, or nobody was heard."""
    first: dict[str, int | None] = {}
    for number, one in enumerate(heard, start=1):
        subject = one.asking.subject
        if first.get(subject) is None:
            first[subject] = number if one.verdict.level is Level.BLOCKED else None
    numbers = list(first.values())
    return None if not numbers or None in numbers else max(number for number in numbers if number is not None)


def genuine_rows(oracle: Oracle, mixes: int) -> list[str]:
    """A row for each fresh mix: how many were slowed or worse, and how far the furthest answer is from the model's."""
    rows = ["| mix | questions | what-ifs | slowed or worse | furthest answer | bar |", "|---|---|---|---|---|---|"]
    for seed in range(MIX_SEEDS_FROM, MIX_SEEDS_FROM + mixes):
        first = YEAR[int(np.random.default_rng(seed).integers(20, 320))]
        mix = genuine_mix(seed, first, oracle.temperature_c)
        heard = SimulatedGuard().hear(mix)
        held_back = sum(one.verdict.level > Level.OPEN for one in heard)
        says = says_of(oracle, mix)
        furthest = float(np.abs(answers_of(heard, says) / medians(says) - 1).max())
        what_ifs = sum(isinstance(one.asked, AskedWhatIf) for one in mix)
        met = held_back == 0 and furthest <= MOST_COARSENED
        rows.append(
            f"| {seed} | {len(mix)} | {what_ifs} | {held_back} | {furthest:.2%} | {'met' if met else '**missed**'} |"
        )
    return rows


def theft_rows(found: Sequence[Theft]) -> list[str]:
    """A row for each strategy and number of questions, against the best that as many questions teach without a guard."""
    rows = [
        "| strategy | questions | error without | best without | error with | ratio | answered | blocked at | bar |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        at = "never" if one.blocked_at is None else str(one.blocked_at)
        best = min(other.error for other in found if other.queries <= one.queries)
        rows.append(
            f"| {one.strategy} | {one.queries} | {one.error:.2f} % | {best:.2f} % | {one.guarded_error:.2f} % | "
            f"{one.guarded_error / best:.1f} | {one.answered} | {at} | {'met' if one.holds(best) else '**missed**'} |"
        )
    return rows


def watermark_rows(oracle: Oracle, queries: Sequence[int], seed: int) -> list[str]:
    """Models learned from stolen answers that nobody blocked, from plain answers, and from demand itself, all held against
    the thief's mark and those of `OTHERS` callers who did not ask.
    """
    rows = [
        f"| learned from | z of the thief | named at z ≥ {NAMED_Z} | others accused, of {OTHERS} |",
        "|---|---|---|---|",
    ]
    random = np.random.default_rng(seed)
    asked = list(islice(STRATEGIES["present"](oracle.temperature_c, random), max(queries)))
    says = says_of(oracle, asked)
    days = [one.asked.day for one in asked]
    known = known_of(oracle, days, np.stack([path_of(oracle, one) for one in asked]))
    marked = np.stack(
        [
            disguised(one, Level.OPEN, _seed(number), watermark_of(SECRET, "thief", mark_name(day)))[:, _MEDIAN]
            for number, (one, day) in enumerate(zip(says, days, strict=True))
        ]
    )
    year = [day for day in YEAR if day not in HELD_OUT]
    own = np.stack([oracle.temperature_c[day] for day in year])
    asked_of_suspect, own_mw = known_of(oracle, year, own), medians(oracle.says(year, own))
    others = [f"caller-{number}" for number in range(OTHERS)]
    demand = np.stack([oracle.demand_mw[day] for day in days])
    cases = [(f"{count} marked answers", marked, count) for count in queries]
    cases += [(f"{max(queries)} answers without a mark", medians(says), max(queries)), ("demand", demand, max(queries))]
    for name, answers, count in cases:
        suspect = Surrogate(seed).fit(known.rows(np.arange(count)), answers[:count])
        overlaps = recognise(suspect.predict(asked_of_suspect), own_mw, year, ["thief", *others], SECRET)
        thief = next(one for one in overlaps if one.subject == "thief")
        accused = sum(one.recognised for one in overlaps if one.subject != "thief")
        rows.append(f"| {name} ({suspect.by}) | {thief.z:.1f} | {'yes' if thief.recognised else 'no'} | {accused} |")
    return rows


def _seed(number: int) -> bytes:
    return np.random.default_rng(number).bytes(32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--queries", nargs="+", type=int, default=list(QUERIES))
    parser.add_argument("--mixes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-watermark", action="store_true")
    given = parser.parse_args()
    began = time.time()
    oracle = Oracle.learned()
    print(f"shortcut against the model: {oracle.largest_difference(list(YEAR[::20])):.1e} at most\n")
    if given.mixes:
        print("\n".join(genuine_rows(oracle, given.mixes)), flush=True)
    test = test_questions(oracle)
    found: list[Theft] = []
    for strategy in given.only:
        found += thefts(oracle, strategy, given.queries, test, given.seed)
        print(f"  {strategy}: {time.time() - began:.0f} s", flush=True)
    print("\n" + "\n".join(theft_rows(found)), flush=True)
    if not given.no_watermark:
        print("\n" + "\n".join(watermark_rows(oracle, given.queries, given.seed)))
    print(f"\n{time.time() - began:.0f} s of wall time")


if __name__ == "__main__":
    main()
