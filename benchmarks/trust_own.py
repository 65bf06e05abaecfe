"""The weather watch under every lie, on stations of one's own.

`python -m benchmarks.trust_own --weather NAME=FILE … --timezone Z [--demand FILE] [--baseline-days N] [--moments K]`

Files as for `gridward fuse`; three or more. After the baseline, lies are told at evenly spaced moments, each by one of the
stations in turn; the watch is advanced without lies from one moment to the next. Bars and columns are those of
`python -m benchmarks.trust` for stations of one utility; what the fused temperature should have been is not known here.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from api.own_files import named_files
from benchmarks.trust import attack_rows, chosen
from benchmarks.trust_runs import DAY, Attacked, Run, Setting, days_at_risk, lie_of, outcome, quarantines
from benchmarks.trust_table import HEADER, TOTALS_HEADER, WRONG_HEADER, totals_row, wrong_rows
from data.files import read_demand, read_weather_history
from data.holidays_calendar import zone_named
from data.rough_stations import STATIONS
from data.schema import Array
from data.trust.rules import TrustRules
from data.trust.standing import TrustEvent
from data.trust.watch import WeatherWatch
from pipeline.fuse import common_grid, demand_on, held
from pipeline.redteam.weather_lies import is_mild

# Days after the baseline before the first lie, and after the last one: to be found, a lie needs time.
BEFORE_DAYS, AFTER_DAYS = 30, 60
COLLUDING = "colluding"


@dataclass(frozen=True, eq=False)
class OwnStations:
    """Readings of stations [°C], shape (rows, names), and demand [MW] where it is told, on the rows of `index` (UTC)."""

    names: tuple[str, ...]
    timezone: str
    index: pd.DatetimeIndex
    readings: Array
    demand_mw: Array | None

    @property
    def step(self) -> pd.Timedelta:
        """The length of a row."""
        return pd.Timedelta(self.index[1] - self.index[0])


def own_stations(weather: list[str], demand: Path | None, timezone: str) -> OwnStations:
    """Read the files whole. Raises FileRefused, DataError."""
    histories = {name: read_weather_history(path) for name, path in named_files(weather).items()}
    zone = zone_named(timezone)
    index, step = common_grid(histories, zone)
    readings = np.column_stack([held(history.temperature_c, history.step, index) for history in histories.values()])
    demand_mw = None if demand is None else demand_on(index, step, read_demand(demand))
    return OwnStations(tuple(histories), zone, index, readings, demand_mw)


def run_own(stations: OwnStations, baseline_days: int, moments: int, attacks: tuple[str, ...]) -> Run:
    """Every lie at every moment that all stations are heard at, and the history without one."""
    rules = TrustRules(baseline_days=baseline_days)
    watch = WeatherWatch(stations.names, stations.timezone, stations.step, rules)
    judged_from = stations.index[0] + pd.Timedelta(days=baseline_days + 1)
    first, last = judged_from + BEFORE_DAYS * DAY, stations.index[-1] - AFTER_DAYS * DAY
    events: list[TrustEvent] = []
    attacked: list[Attacked] = []
    left_out = done = 0
    for number, moment in enumerate(pd.date_range(first, last, periods=moments)):
        start = int(stations.index.searchsorted(moment))
        events += _advance(watch, stations, stations.readings, done, start)
        done = start
        if len(watch.heard) < len(stations.names):
            left_out += len(attacks)
            continue
        for turn, attack in enumerate(attacks):
            liar = (number + turn) % len(stations.names)
            attacked.append(_lied_to(watch, stations, attack, start, liar))
    events += _advance(watch, stations, stations.readings, done, len(stations.index))
    out = quarantines(events)
    honest_days = sum(days_at_risk(out, name, judged_from, stations.index[-1]) for name in stations.names)
    setting = Setting(len(stations.names), STATIONS, stations.demand_mw is not None)
    return Run(setting, 0, len(out), honest_days, tuple(attacked), left_out)


def _lied_to(watch: WeatherWatch, stations: OwnStations, attack: str, start: int, liar: int) -> Attacked:
    """A copy of the watch goes on from row `start`, told the lie."""
    copy, told = deepcopy(watch), stations.readings.copy()
    per_hour = int(pd.Timedelta(hours=1) / stations.step)
    told[:, liar] = lie_of(attack, watch, liar)(told[:, liar], start, per_hour, np.random.default_rng([start, liar]))
    index = stations.index[start:]
    progress = copy.advance(index, told[start:], None if stations.demand_mw is None else stations.demand_mw[start:])
    lying = is_mild(stations.readings[:, liar]) if attack.startswith("mild") else np.ones(len(told), dtype=bool)
    honest = [name for name in stations.names if name != stations.names[liar]]
    return outcome(attack, progress, [stations.names[liar]], honest, lying, stations.index, start)


def _advance(watch: WeatherWatch, stations: OwnStations, readings: Array, start: int, stop: int) -> list[TrustEvent]:
    demand_mw = None if stations.demand_mw is None else stations.demand_mw[start:stop]
    return list(watch.advance(stations.index[start:stop], readings[start:stop], demand_mw).events) if stop > start else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weather", action="append", required=True, metavar="NAME=FILE")
    parser.add_argument("--timezone", required=True)
    parser.add_argument("--demand", type=Path)
    parser.add_argument("--baseline-days", type=int, default=TrustRules().baseline_days)
    parser.add_argument("--moments", type=int, default=6)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    given = parser.parse_args()
    attacks = tuple(attack for attack in chosen(given.only) if attack != COLLUDING)
    run = run_own(own_stations(given.weather, given.demand, given.timezone), given.baseline_days, given.moments, attacks)
    label = str(run.setting.sources)
    print("\n".join([HEADER, *attack_rows({label: [run]}, attacks), "", TOTALS_HEADER, totals_row(label, [run])]))
    print("\n".join(["", WRONG_HEADER, *wrong_rows(label, [run])]))


if __name__ == "__main__":
    main()
