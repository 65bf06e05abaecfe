"""The weather watch under every lie: `python -m benchmarks.trust [--seeds K] [--providers 3,4,5] [--only NAME] [--jobs 2]`.

Tables by roughness (data/rough_stations.py): providers of one city (0.35), stations of one utility (1.0), where delays may
be twice as long. Three and more sources are not told demand unless --demand asks for it; two and one are. Shares carry their
95 % interval. Days count only while the source lies; a bar on days is met where 95 % of the runs are within it. Fused errors
are root mean squares from the start of the lie to the end of 2014 over those without a lie; "others alone": of a watch that
never heard the liar.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.trust_cost import (
    COST_HEADER,
    DAMAGE_HEADER,
    DAMAGING,
    REVOKED,
    cost_rows,
    damage_row,
    mape_percent,
    measured_cost,
)
from benchmarks.trust_runs import ATTACKS, FEWEST_TO_COMPARE, Attacked, Run, Setting, run_seed
from benchmarks.trust_summary import summary_header, summary_rows
from benchmarks.trust_table import HEADER, TOTALS_HEADER, WRONG_HEADER, bars_of, table_row, totals_row, wrong_rows
from benchmarks.yardstick import ONE_THREAD, alone
from data.rough_stations import PROVIDERS, STATIONS

ROUGHNESS = {"providers of one city": PROVIDERS, "stations of one utility": STATIONS}
SEEDS = 10


def settings_of(providers: Sequence[int], roughness: Sequence[float], *, demand: bool) -> list[Setting]:
    """Every combination; demand is always told where fewer than three sources are left."""
    return [Setting(count, rough, demand or count < FEWEST_TO_COMPARE) for rough in roughness for count in providers]


def run_all(settings: Sequence[Setting], seeds: int, attacks: tuple[str, ...], jobs: int) -> list[Run]:
    """All seeds of all settings, in `jobs` processes of one thread each."""
    with _processes(jobs) as pool:
        tasks = [pool.submit(run_seed, setting, seed, attacks) for seed in range(seeds) for setting in settings]
        return [task.result() for task in tasks]


def tables(runs: Sequence[Run], attacks: Sequence[str]) -> list[str]:
    """Tables of one roughness: every attack with all numbers of sources, the same by number, totals, wrong quarantines."""
    together, apart = groups_of(runs)
    lines = [HEADER, *attack_rows(together, attacks), ""]
    if together.keys() != apart.keys():
        lines += [HEADER, *attack_rows(apart, attacks), ""]
    groups = together | apart
    lines += [TOTALS_HEADER, *(totals_row(label, members) for label, members in groups.items()), ""]
    return [*lines, WRONG_HEADER, *(row for label, members in groups.items() for row in wrong_rows(label, members))]


def attack_rows(groups: Mapping[str, Sequence[Run]], attacks: Sequence[str]) -> list[str]:
    """A row for each attack and group in which it was tried."""
    rows = []
    for attack in attacks:
        for label, members in groups.items():
            found = [one for run in members for one in run.attacked if one.attack == attack]
            if found:
                setting = members[0].setting
                fewest = min(run.setting.sources for run in members)
                rows.append(table_row(label, found, bars_of(attack, fewest, setting.roughness)))
    return rows


def groups_of(runs: Sequence[Run]) -> tuple[dict[str, list[Run]], dict[str, list[Run]]]:
    """Runs by what stands in the column `sources`: three and more together; every number apart."""
    counts = sorted({run.setting.sources for run in runs}, reverse=True)
    apart = {_label(count, runs): [run for run in runs if run.setting.sources == count] for count in counts}
    compared = [count for count in counts if count >= FEWEST_TO_COMPARE]
    if len(compared) < 2:
        return apart, apart
    together = {f"{compared[-1]}–{compared[0]}": [run for run in runs if run.setting.sources in compared]}
    return together | {_label(count, runs): apart[_label(count, runs)] for count in counts if count not in compared}, apart


def _label(count: int, runs: Sequence[Run]) -> str:
    told = any(run.setting.demand for run in runs if run.setting.sources == count)
    return f"{count} and demand" if told else str(count)


def print_tables(runs: Sequence[Run], attacks: Sequence[str]) -> None:
    """The summary, then everything by roughness."""
    kinds = {
        name: [run for run in runs if run.setting.roughness == roughness]
        for name, roughness in ROUGHNESS.items()
        if any(run.setting.roughness == roughness for run in runs)
    }
    print("\n".join([summary_header(list(kinds)), *summary_rows(kinds)]))
    for name, members in kinds.items():
        seeds = len({run.seed for run in members})
        print(f"\n**{name.capitalize()}** (roughness {ROUGHNESS[name]:g}, {seeds} seeds)\n")
        print("\n".join(tables(members, attacks)), flush=True)


def damage_rows(attacks: Sequence[str], jobs: int) -> list[str]:
    """A row for each of the damaging attacks among `attacks`, and one for the loss of a source alone."""
    names = [*(attack for attack in DAMAGING if attack in attacks), REVOKED]
    with _processes(jobs) as pool:
        clean, *damaged = pool.map(mape_percent, [None, *names])
    return [damage_row(name, mape, clean) for name, mape in zip(names, damaged, strict=True)]


def _processes(jobs: int) -> ProcessPoolExecutor:
    os.environ.update(ONE_THREAD)
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))


def chosen(only: Sequence[str]) -> tuple[str, ...]:
    """The attacks whose names begin with one of `only`; all of them if that is empty."""
    return tuple(attack for attack in ATTACKS if not only or attack.startswith(tuple(only)))


def as_json(runs: Sequence[Run]) -> str:
    """Every run and lie; null where a number is infinite (never) or unknown."""

    def finite(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in pairs}

    return json.dumps([asdict(run, dict_factory=finite) for run in runs], indent=1)


def from_json(text: str) -> list[Run]:
    """What `as_json` wrote."""

    def restored(fields: dict[str, Any]) -> dict[str, Any]:
        unknown = {"delay_days": math.inf, "lie_days": math.inf}
        return {
            name: unknown.get(name, math.nan) if value is None and name != "named" else value
            for name, value in fields.items()
        }

    return [
        Run(
            setting=Setting(**run["setting"]),
            attacked=tuple(Attacked(**restored(one)) for one in run["attacked"]),
            **{name: value for name, value in run.items() if name not in ("setting", "attacked")},
        )
        for run in json.loads(text)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--providers", type=lambda text: [int(count) for count in text.split(",")], default=[5, 4, 3, 2, 1])
    parser.add_argument(
        "--roughness", type=float, nargs="+", choices=list(ROUGHNESS.values()), default=list(ROUGHNESS.values())
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="attacks whose names begin so: " + " ".join(ATTACKS).replace("%", "%%"),
    )
    parser.add_argument("--demand", action="store_true", help="tell demand to three and more sources too")
    parser.add_argument("--no-cost", action="store_true", help="leave out seconds, memory and MAPE")
    parser.add_argument("--cost-alone", action="store_true", help="print seconds and memory, and nothing else")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="every run, as JSON")
    parser.add_argument("--again", type=Path, metavar="FILE", help="print the tables of runs that --json wrote, run nothing")
    given = parser.parse_args()
    attacks = chosen(given.only)
    began = time.time()
    if given.cost_alone:
        print("\n".join([COST_HEADER, *cost_rows(alone(measured_cost))]))
        return
    if given.again is not None:
        print_tables(from_json(given.again.read_text()), attacks)
        return
    runs = run_all(settings_of(given.providers, given.roughness, demand=given.demand), given.seeds, attacks, given.jobs)
    print_tables(runs, attacks)
    if not given.no_cost:
        print("\n".join(["", COST_HEADER, *cost_rows(alone(measured_cost))]), flush=True)
        print("\n".join(["", DAMAGE_HEADER, *damage_rows(attacks, given.jobs)]), flush=True)
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(as_json(runs))
    print(f"\n{time.time() - began:.0f} s of wall time")


if __name__ == "__main__":
    main()
