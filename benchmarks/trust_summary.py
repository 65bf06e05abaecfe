"""The bars of the weather watch in one table, as the README quotes it: what was asked, what each kind of station gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.intervals import poisson
from benchmarks.trust_runs import FEWEST_TO_COMPARE, Attacked, Run
from benchmarks.trust_table import (
    FUSED_RATIO,
    NAMED,
    NAMED_BY_DEMAND,
    REQUIRED_SHARE,
    TEN_YEARS_DAYS,
    WRONG_IN_TEN_YEARS,
    bars_of,
    fused_ratio,
    in_time,
    named,
    onset_bar,
    onset_errors,
    share,
)

# Lies whose delay has the same bar, and what the README calls them.
IN_TIME: Mapping[str, tuple[str, ...]] = {
    "offset 3 °C out in 2 days": ("offset+3", "offset-3"),
    "Fahrenheit, frozen, replay, 3 h late out in 2 days": ("fahrenheit", "frozen", "replay", "shift3h"),
    "offset 1.5 °C out in 7 days": ("offset+1.5", "offset-1.5"),
    "2 °C in mild weather out in 7 days of mild hours": ("mild+2", "mild-2"),
    "ramps out before they reach 1 °C": ("ramp+0.02", "ramp-0.02", "ramp+0.05", "ramp-0.05"),
}
ONSETS = "onset within 7 days (offsets), 21 days (ramps)"


def summary_header(kinds: Sequence[str]) -> str:
    """The Markdown header over `summary_rows`."""
    return f"| 3–5 sources | asked | {' | '.join(kinds)} |\n|---|---|{'---|' * len(kinds)}"


def summary_rows(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """Markdown rows under `summary_header`, a column for each kind of stations. Delays count twice for the roughest."""
    kinds = list(runs.values())
    compared = [[run for run in kind if run.setting.sources >= FEWEST_TO_COMPARE] for kind in kinds]
    two = [[run for run in kind if run.setting.sources == 2] for kind in kinds]
    asked = f"{100 * REQUIRED_SHARE:.0f} %"
    rows = [(label, asked, [_in_time(kind, attacks) for kind in compared]) for label, attacks in IN_TIME.items()]
    rows += [
        (ONSETS, asked, [_onsets(kind) for kind in compared]),
        ("liar named", f"{100 * NAMED:.0f} %", [_named(kind) for kind in compared]),
        ("liar named, two sources and demand", f"{100 * NAMED_BY_DEMAND:.0f} %", [_named(kind) for kind in two]),
        ("honest sources out in 10 provider-years", f"≤ {WRONG_IN_TEN_YEARS:.0f}", [_wrong(kind) for kind in compared]),
        ("fused error, one liar over clean (others alone)", f"≤ {FUSED_RATIO:.2f}", [_ratios(kind) for kind in compared]),
    ]
    return [f"| {label} | {bar} | {' | '.join(cells)} |" for label, bar, cells in rows]


def _attacked(runs: Sequence[Run], attacks: Sequence[str] | None = None) -> list[tuple[Attacked, Run]]:
    return [(one, run) for run in runs for one in run.attacked if attacks is None or one.attack in attacks]


def _in_time(runs: Sequence[Run], attacks: Sequence[str]) -> str:
    found = _attacked(runs, attacks)
    bars = [bars_of(one.attack, run.setting.sources, run.setting.roughness).days or np.inf for one, run in found]
    hits = sum(in_time([one], days) for (one, _), days in zip(found, bars, strict=True))
    return _share(hits, len(found), bar=REQUIRED_SHARE)


def _onsets(runs: Sequence[Run]) -> str:
    found = [(onset_errors([one]), onset_bar(one.attack)) for one, _ in _attacked(runs)]
    within = [bool((error <= bar).all()) for error, bar in found if bar is not None and len(error)]
    return _share(sum(within), len(within), bar=REQUIRED_SHARE)


def _named(runs: Sequence[Run]) -> str:
    found = [one for one, _ in _attacked(runs) if one.attack != "patient"]
    bar = NAMED if runs and runs[0].setting.sources > 2 else NAMED_BY_DEMAND
    return _share(named(found), len(found), bar=bar, digits=1)


def _wrong(runs: Sequence[Run]) -> str:
    wrong, tens = sum(run.wrong for run in runs), sum(run.honest_days for run in runs) / TEN_YEARS_DAYS
    if not tens:
        return "–"
    low, high = poisson(wrong, tens)
    return f"{wrong / tens:.2f} ({low:.2f}–{high:.2f}){_mark(wrong / tens > WRONG_IN_TEN_YEARS)}"


def _ratios(runs: Sequence[Run]) -> str:
    found = [one for one, _ in _attacked(runs) if one.attack != "colluding"]
    clean = [one.clean_error_c for one in found]
    together, others = (
        fused_ratio(errors, clean) for errors in ([one.error_c for one in found], [one.others_error_c for one in found])
    )
    return f"{together:.2f} ({others:.2f}){_mark(together > FUSED_RATIO)}" if found else "–"


def _share(hits: int, trials: int, *, bar: float, digits: int = 0) -> str:
    return f"{share(hits, trials, digits)}{_mark(hits < bar * trials)}" if trials else "–"


def _mark(missed: bool) -> str:
    return ", missed" if missed else ""
