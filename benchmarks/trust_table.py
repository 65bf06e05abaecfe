"""The weather watch's figures as Markdown: a row for each attack, shares with 95 % intervals, bars met or missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.intervals import poisson, wilson
from benchmarks.trust_runs import FEWEST_TO_COMPARE, Attacked, Run
from data.rough_stations import STATIONS
from data.schema import Array

# A bar "within x days" is met when this share of the runs is within it.
REQUIRED_SHARE = 0.95
NAMED, NAMED_BY_DEMAND = 0.99, 0.95
FUSED_RATIO = 1.10
WRONG_IN_TEN_YEARS = 1.0
TEN_YEARS_DAYS = 3652.5
RAMP_BIAS_C = 1.0
# Stations of one utility differ more than providers of one city: twice the delay.
STATIONS_FACTOR = 2
TWO_DAYS = ("offset+3", "offset-3", "fahrenheit", "frozen", "replay", "shift3h")
SEVEN_DAYS = ("offset+1.5", "offset-1.5", "mild+2", "mild-2")
ONSET_DAYS = {"offset": 7.0, "ramp": 21.0}

HEADER = """\
| attack | sources | runs | in time % | bar: days | days: median, 90 % | bias °C at 90 % | named % | nobody % | \
onset error days: median, 90 % | fused error ratio: all, 90 %, others alone | missed |
|---|---|---|---|---|---|---|---|---|---|---|---|"""
TOTALS_HEADER = """\
| sources | lies (left out) | named % | an honest source first % | nobody % | missed |
|---|---|---|---|---|---|"""
WRONG_HEADER = """\
| sources | runs | wrong quarantines | provider-years | in 10 provider-years | missed |
|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Bars:
    """What an attack must meet: days of lying until quarantine, days of onset error, share named, fused error ratio; None
    where no bar is set.
    """

    days: float | None = None
    onset_days: float | None = None
    named: float | None = None
    ratio: float | None = None


def bars_of(attack: str, sources: int, roughness: float) -> Bars:
    """The bars for `attack` with that many sources or more. The patient attacker may stay: his bar is the damage done."""
    if sources < FEWEST_TO_COMPARE:
        return Bars(named=named_bar(sources) if attack != "patient" else None)
    if attack == "patient":
        return Bars(ratio=FUSED_RATIO)
    days = RAMP_BIAS_C / ramp_speed(attack) if ramp_speed(attack) else None
    days = 2.0 if attack in TWO_DAYS else 7.0 if attack in SEVEN_DAYS else days
    return Bars(
        days=days * STATIONS_FACTOR if days and roughness == STATIONS else days,
        onset_days=onset_bar(attack),
        named=named_bar(sources),
        ratio=FUSED_RATIO,
    )


def onset_bar(attack: str) -> float | None:
    """How far the estimated onset may be from the true one [days]; None where nothing is asked."""
    return next((error for kind, error in ONSET_DAYS.items() if attack.startswith(kind)), None)


def named_bar(sources: int) -> float | None:
    """Share of lies whose liar must be named; with one source there is nobody else to name."""
    if sources >= FEWEST_TO_COMPARE:
        return NAMED
    return NAMED_BY_DEMAND if sources == 2 else None


def ramp_speed(attack: str) -> float:
    """How fast a ramp grows [°C a day]; 0 for any other attack."""
    return abs(float(attack.removeprefix("ramp"))) if attack.startswith("ramp") else 0.0


def table_row(label: str, found: Sequence[Attacked], bars: Bars) -> str:
    """One Markdown row under `HEADER`: every run of one attack."""
    days = np.array([one.lie_days for one in found])
    speed = ramp_speed(found[0].attack)
    cells = (
        found[0].attack,
        label,
        str(len(found)),
        share(in_time(found, bars.days), len(found)) if bars.days else "–",
        f"{bars.days:.0f}" if bars.days else "–",
        median_and_most(days),
        f"{upper_decile(days) * speed:.2f}" if speed else "–",
        share(named(found), len(found)),
        f"{100 * sum(one.named is None for one in found) / len(found):.0f}",
        median_and_most(onset_errors(found)),
        ratios(found),
        ", ".join(missed_bars(found, bars)) or "none",
    )
    return f"| {' | '.join(cells)} |"


def missed_bars(found: Sequence[Attacked], bars: Bars) -> list[str]:
    """Which of delay, named, onset, fused all runs together miss."""
    missed = []
    if bars.days is not None and in_time(found, bars.days) < REQUIRED_SHARE * len(found):
        missed.append("delay")
    if bars.named is not None and named(found) < bars.named * len(found):
        missed.append("named")
    onset = onset_errors(found)
    if bars.onset_days is not None and (onset <= bars.onset_days).sum() < REQUIRED_SHARE * len(onset):
        missed.append("onset")
    ratio = fused_ratio([one.error_c for one in found], [one.clean_error_c for one in found])
    if bars.ratio is not None and ratio > bars.ratio:
        missed.append("fused")
    return missed


def in_time(found: Sequence[Attacked], days: float) -> int:
    """How many lies were ended within so many days of lying."""
    return sum(one.lie_days <= days for one in found)


def named(found: Sequence[Attacked]) -> int:
    """How often a liar was the first to be quarantined."""
    return sum(one.named is True for one in found)


def onset_errors(found: Sequence[Attacked]) -> Array:
    """Distance of the estimated onset from the true one [days], of liars that were caught."""
    return np.array([abs(one.onset_error_days) for one in found if np.isfinite(one.onset_error_days)])


def totals_row(label: str, runs: Sequence[Run]) -> str:
    """One Markdown row under `TOTALS_HEADER`: every lie but the patient one, whom nobody need name."""
    found = [one for run in runs for one in run.attacked if one.attack != "patient"]
    if not found:
        return f"| {label} | 0 ({sum(run.left_out for run in runs)}) | – | – | – | – |"
    right, mistaken = named(found), sum(one.named is False for one in found)
    bar = named_bar(min(run.setting.sources for run in runs))
    missed = "named" if bar is not None and right < bar * len(found) else "none"
    left_out = sum(run.left_out for run in runs)
    shares = " | ".join(share(hits, len(found)) for hits in (right, mistaken, len(found) - right - mistaken))
    return f"| {label} | {len(found)} ({left_out}) | {shares} | {missed} |"


def wrong_rows(label: str, runs: Sequence[Run]) -> list[str]:
    """Two Markdown rows under `WRONG_HEADER`: honest sources quarantined in runs without a lie, and after a lie began.

    Runs of one seed share their honest readings: the interval of the second row is narrower than the truth.
    """
    attacked = [one for run in runs for one in run.attacked]
    counts = (
        ("without a lie", sum(run.wrong for run in runs), sum(run.honest_days for run in runs)),
        ("during lies", sum(one.wrong for one in attacked), sum(one.honest_days for one in attacked)),
    )
    rows = []
    for when, wrong, days in counts:
        if days == 0:
            continue
        tens = days / TEN_YEARS_DAYS
        low, high = poisson(wrong, tens)
        rate = f"{wrong / tens:.2f} ({low:.2f}–{high:.2f})"
        missed = "wrong" if wrong / tens > WRONG_IN_TEN_YEARS else "none"
        rows.append(f"| {label} | {when} | {wrong} | {10 * tens:.0f} | {rate} | {missed} |")
    return rows


def fused_ratio(errors_c: Sequence[float], clean_c: Sequence[float]) -> float:
    """Root mean square of `errors_c` over that of `clean_c`, the pairs in which both are known; NaN if there is none."""
    pairs = np.array([errors_c, clean_c])
    known = pairs[:, np.isfinite(pairs).all(axis=0)]
    return float(np.sqrt((known[0] ** 2).sum() / (known[1] ** 2).sum())) if known.size else np.nan


def ratios(found: Sequence[Attacked]) -> str:
    """Fused error ratio of all runs together, the one that nine in ten do not exceed, and that of the others alone."""
    clean_c = [one.clean_error_c for one in found]
    each = np.array([fused_ratio([one.error_c], [one.clean_error_c]) for one in found])
    together = fused_ratio([one.error_c for one in found], clean_c)
    others = fused_ratio([one.others_error_c for one in found], clean_c)
    values = (together, upper_decile(each[np.isfinite(each)]), others)
    return ", ".join(f"{value:.2f}" if np.isfinite(value) else "–" for value in values)


def share(hits: int, trials: int, digits: int = 0) -> str:
    """A percentage with its interval."""
    low, high = wilson(hits, trials)
    return f"{100 * hits / trials:.{digits}f} ({100 * low:.{digits}f}–{100 * high:.{digits}f})"


def upper_decile(values: Array) -> float:
    """The smallest of the values that nine in ten do not exceed; infinite values count as the largest."""
    return float(np.quantile(values, 0.9, method="inverted_cdf")) if len(values) else np.nan


def median_and_most(values: Array) -> str:
    """Median and 90 % quantile in words; "never" where infinite."""
    if not len(values):
        return "–"
    both = (float(np.quantile(values, 0.5, method="inverted_cdf")), upper_decile(values))
    return ", ".join("never" if np.isinf(value) else f"{value:.1f}" for value in both)
