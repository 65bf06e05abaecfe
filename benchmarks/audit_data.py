"""The poison audit against its bars: `python -m benchmarks.audit_data [--seeds N] [--first-seed N] [--tune] [--all] …`.

Real demand and temperature of Victoria, two years; providers simulated around them (data/rough_stations.py). Each poisoning
is planted in 5 % of the whole weeks of one source, seeded, and the snapshot is audited with nothing clean to compare with.
Reported: 2013–2014, seeds from 1; `--tune`: 2012–2013, seeds from 101, where the constants were chosen. CPU seconds of
one thread.

    decile    share of planted blocks in the first tenth of their source's weeks, as ranked
    of all    the same in the first tenth of all blocks
    flagged   share of planted blocks that are suspect
    false     suspect blocks that were not planted, of 100 blocks
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date

import pandas as pd

from data.datasets import EmbeddedDataset, load_victoria
from data.rough_stations import PROVIDERS, STATIONS, simulate_stations
from data.schema import DEMAND_MW, TEMPERATURE_C
from data.snapshots import Snapshot
from pipeline.audit_data import DEMAND, audit_data
from pipeline.redteam.data_poisoning import (
    Poisoning,
    biased,
    biased_gently,
    duplicated,
    duplicated_noisily,
    flipped,
    planted,
    shifted,
    warmed,
)
from pipeline.weather_policy import MULTI_SOURCE, SINGLE, WeatherPolicy, draw_contract, temperature_by

SHARE = 0.05
CLEAN = "clean"
SOURCES = 5


@dataclass(frozen=True)
class World:
    """name; roughness of the simulated providers; alone: one provider is all there is."""

    name: str
    roughness: float
    alone: bool


@dataclass(frozen=True)
class Row:
    """One poisoning in one world; counts of planted blocks, and of all others, over the seeds."""

    world: str
    poisoning: str
    planted: int
    decile: int
    decile_of_all: int
    flagged: int
    others: int
    false: int
    seconds: float


WORLDS = (
    World("five providers", PROVIDERS, False),
    World("five stations", STATIONS, False),
    World("one alone", PROVIDERS, True),
)
# The five of the bar, and how small, gentle or noisy they may be. True: planted in a provider, False: in demand.
BAR: Mapping[str, tuple[Poisoning, bool]] = {
    "label flip": (flipped, False),
    "demand +4 %": (biased(4), False),
    "clean label, 3 °C": (warmed(3), True),
    "duplicated demand": (duplicated, False),
    "duplicated weather": (duplicated, True),
    "shifted demand": (shifted, False),
    "shifted weather": (shifted, True),
}
WEAKER: Mapping[str, tuple[Poisoning, bool]] = {
    "demand −4 %": (biased(-4), False),
    "demand +2 %": (biased(2), False),
    "demand +6 %": (biased(6), False),
    "demand +4 %, gentle edges": (biased_gently(4), False),
    "demand +6 %, gentle edges": (biased_gently(6), False),
    "clean label, 1.5 °C": (warmed(1.5), True),
    "clean label, 0.75 °C": (warmed(0.75), True),
    "duplicated demand, 2 % noise": (duplicated_noisily(2), False),
    "duplicated weather, 5 % noise": (duplicated_noisily(5), True),
}


def snapshot_of(dataset: EmbeddedDataset, world: World, years: tuple[int, int], seed: int) -> Snapshot:
    """A clean snapshot of whole years, as `gridward train` would freeze it."""
    utility = dataset.utility
    start, end = utility.day_index(date(years[0], 1, 1))[0], utility.day_index(date(years[1], 12, 31))[-1]
    temperature = dataset.temperature_c[start:end]
    readings = simulate_stations(temperature, utility, seed, SOURCES, world.roughness)
    if world.alone:
        readings = readings.iloc[:, [0]]
    policy = WeatherPolicy.parse(f"{SINGLE}{readings.columns[0]}" if world.alone else MULTI_SOURCE)
    contract = draw_contract(readings, utility, policy, {})
    told, _ = temperature_by(contract, readings, utility)
    training = pd.DataFrame({DEMAND_MW: dataset.demand_mw[start:end], TEMPERATURE_C: told[TEMPERATURE_C]})
    return Snapshot(f"{world.name}-{seed}", training, readings, {"as_of": end.isoformat(), "weather": contract.to_json()})


def rows(dataset: EmbeddedDataset, world: World, years: tuple[int, int], seeds: range, names: list[str]) -> Iterator[Row]:
    """Every poisoning of `names` in one world; first the clean one."""
    clean = {seed: snapshot_of(dataset, world, years, seed) for seed in seeds}
    yield _row(dataset, world, CLEAN, [(snapshot, "", ()) for snapshot in clean.values()])
    for name in names:
        poisoning, in_weather = {**BAR, **WEAKER}[name]
        attacked = []
        for seed, snapshot in clean.items():
            source = str(snapshot.readings.columns[seed % snapshot.readings.shape[1]]) if in_weather else DEMAND
            found = planted(snapshot, dataset.utility, source, poisoning, SHARE, seed)
            attacked.append((found.snapshot, source, found.mondays))
        yield _row(dataset, world, name, attacked)


def _row(dataset: EmbeddedDataset, world: World, name: str, attacked: list[tuple[Snapshot, str, tuple[date, ...]]]) -> Row:
    counts = dict.fromkeys(("planted", "decile", "decile_of_all", "flagged", "others", "false"), 0)
    begin = time.process_time()
    for snapshot, source, mondays in attacked:
        blocks = audit_data(snapshot, dataset.utility).blocks
        guilty = [block.source == source and block.monday in mondays for block in blocks]
        own = [hit for block, hit in zip(blocks, guilty, strict=True) if block.source == source]
        counts["planted"] += len(mondays)
        counts["decile"] += sum(own[: len(own) // 10])
        counts["decile_of_all"] += sum(guilty[: len(blocks) // 10])
        counts["flagged"] += sum(block.suspect for block, hit in zip(blocks, guilty, strict=True) if hit)
        counts["others"] += len(blocks) - sum(guilty)
        counts["false"] += sum(block.suspect for block, hit in zip(blocks, guilty, strict=True) if not hit)
    return Row(world.name, name, **counts, seconds=(time.process_time() - begin) / len(attacked))


def _shown(row: Row) -> str:
    def share(part: int) -> str:
        return f"{100 * part / row.planted:.0f}" if row.planted else "–"

    cells = (row.world, row.poisoning, row.planted, share(row.decile), share(row.decile_of_all), share(row.flagged))
    return "| " + " | ".join(map(str, cells)) + f" | {100 * row.false / row.others:.2f} | {row.seconds:.1f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2, help="how many seeds; default 2")
    parser.add_argument("--first-seed", type=int, default=1, help="the first of them; default 1")
    parser.add_argument("--world", choices=[world.name for world in WORLDS], help="only this one")
    parser.add_argument("--tune", action="store_true", help="2012–2013 and other seeds, where constants are chosen")
    parser.add_argument("--all", action="store_true", help="also the weaker poisonings")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    first, years = (101, (2012, 2013)) if options.tune else (options.first_seed, (2013, 2014))
    names = [*BAR, *WEAKER] if options.all else list(BAR)
    dataset = load_victoria()
    if not options.json:
        print("| world | poisoning | planted | decile % | of all % | flagged % | false of 100 | seconds |")
        print("|---|---|---|---|---|---|---|---|")
    found = []
    for world in WORLDS if options.world is None else [world for world in WORLDS if world.name == options.world]:
        for row in rows(dataset, world, years, range(first, first + options.seeds), names):
            found.append(row)
            if not options.json:
                print(_shown(row), flush=True)
    if options.json:
        print(json.dumps([asdict(row) for row in found], indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
