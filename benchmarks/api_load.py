"""What guarding a forecast costs: `python -m benchmarks.api_load [--stores embedded servers] [--home DIR] [--json FILE]`.

The service (`gridward serve`, one worker) and a bare FastAPI route that writes the same cached forecast (`api_bare`) run
side by side on one core; the load comes from a process on the other (`load_client`), which the stores share. Day-ahead
forecast of Victoria, 48 half hours, nine deciles. Asked in turn, block by block, so that the machine's moods meet both:

    median      one connection; difference of the medians, block against block
    throughput  16 connections, closed loop; also against the bare route that evaluates the model for each answer
    p99         Poisson arrivals at 70 % of the service's own throughput, counted from the moment each was meant to be sent
    endurance   100,000 requests of many identities: errors, audit entries, resident memory at 10 %, 50 % and 100 %

`--profile N` runs N requests under cProfile instead (`api_profiled`) and prints where the event loop's time goes. Exit 6
where a bar is missed. Twelve minutes.
"""

from __future__ import annotations

import argparse
import json
import pstats
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import SecretStr
from sqlmodel import col, func, select

from benchmarks.api_bare import EVALUATED
from benchmarks.api_bare import PATH as BARE_PATH
from benchmarks.api_processes import BARE, CLIENT_CORE, SERVICE, Server, environment_for, running, stores, trained
from benchmarks.artifact_station import Row
from benchmarks.load_client import Order, Outcome, ordered, request_text
from pipeline.database import transaction
from pipeline.settings import Settings
from pipeline.station import open_station
from security.audit_log import AuditEntry
from security.identity import Role, issue_token

DAY = "2014-12-20"
BODY = json.dumps({"day": DAY})
PATH = "/v1/forecasts"
CONNECTIONS, OPEN_CONNECTIONS, LOAD = 16, 64, 0.7
SEGMENTS = 20
MEDIAN_MS, SHARE, P99_MS, GROWTH = 1.5, 0.40, 40.0, 0.02


@dataclass(frozen=True)
class Effort:
    """How much of each. blocks: of either server; block_requests, block_seconds: their size; open_seconds: at 70 % load."""

    blocks: int = 6
    block_requests: int = 2000
    block_seconds: float = 5.0
    open_seconds: float = 40.0
    endurance: int = 100_000
    identities: int = 50

    @classmethod
    def small(cls) -> Effort:
        """To see whether everything runs; its figures mean nothing."""
        return cls(2, 200, 0.5, 1.0, 1000, 5)


class Bench:
    """Both servers of one kind of stores, and the load on them."""

    def __init__(self, guarded: Server, bare: Server, tokens: list[str], effort: Effort) -> None:
        self.guarded = guarded
        self.bare = bare
        self.effort = effort
        host = guarded.host
        self._texts = {
            guarded.port: [request_text(host, PATH, BODY, token) for token in tokens],
            bare.port: [request_text(host, BARE_PATH, BODY)],
        }

    def ask(self, server: Server, **how: Any) -> Outcome:
        """One order to the load generator."""
        order = Order(server.host, server.port, self._texts[server.port], core=CLIENT_CORE, **how)
        return ordered(order)

    def medians(self) -> tuple[list[float], list[float]]:
        """Median latency [ms] of either server, block by block, one request at a time."""
        pairs = [self._pair(count=self.effort.block_requests) for _ in range(self.effort.blocks)]
        return [pair[0].milliseconds["p50"] for pair in pairs], [pair[1].milliseconds["p50"] for pair in pairs]

    def throughputs(self) -> tuple[list[float], list[float]]:
        """Answers a second of either server, block by block, sixteen requests at a time."""
        how = {"connections": CONNECTIONS, "seconds": self.effort.block_seconds}
        pairs = [self._pair(**how) for _ in range(self.effort.blocks)]
        return [pair[0].per_second for pair in pairs], [pair[1].per_second for pair in pairs]

    def evaluated(self) -> float:
        """Answers a second of the bare route that evaluates the model for each."""
        text = request_text(self.bare.host, EVALUATED, BODY)
        seconds = 2 * self.effort.block_seconds
        return ordered(
            Order(self.bare.host, self.bare.port, [text], connections=CONNECTIONS, seconds=seconds, core=CLIENT_CORE)
        ).per_second

    def at_load(self, rate: float) -> Outcome:
        """The service alone under Poisson arrivals."""
        return self.ask(self.guarded, connections=OPEN_CONNECTIONS, rate=rate, seconds=self.effort.open_seconds)

    def endured(self) -> tuple[list[Outcome], list[int]]:
        """The long run, by segment: what came of it, and the resident memory [KiB] after each."""
        outcomes, memory = [], []
        for _ in range(SEGMENTS):
            outcomes.append(self.ask(self.guarded, connections=CONNECTIONS, count=self.effort.endurance // SEGMENTS))
            memory.append(self.guarded.resident_kib())
        return outcomes, memory

    def _pair(self, **how: Any) -> tuple[Outcome, Outcome]:
        return self.ask(self.guarded, **how), self.ask(self.bare, **how)


def measured(home: Path, environment: Mapping[str, str], effort: Effort) -> tuple[list[Row], dict[str, Any]]:
    """Every bar on one kind of stores, and the figures behind them."""
    log = home.parent / "service.log"
    with running(SERVICE, environment, log) as guarded, running(BARE, environment, log) as bare:
        bench = Bench(guarded, bare, tokens(home, environment, effort.identities), effort)
        for server in (guarded, bare):
            bench.ask(server, count=effort.block_requests)
        guarded_ms, bare_ms = bench.medians()
        guarded_rate, bare_rate = bench.throughputs()
        evaluated_rate = bench.evaluated()
        rate = LOAD * statistics.median(guarded_rate)
        at_load = bench.at_load(rate)
        before = entries(home, environment)
        outcomes, memory = bench.endured()
    entered = entries(home, environment) - before
    figures = {
        "milliseconds": {"guarded": guarded_ms, "bare": bare_ms},
        "per_second": {"guarded": guarded_rate, "bare": bare_rate, "evaluated": evaluated_rate, "open": rate},
        "open": asdict(at_load),
        "endurance": {"segments": [asdict(one) for one in outcomes], "resident_kib": memory, "audit_entries": entered},
    }
    rows = [
        median_row(guarded_ms, bare_ms),
        throughput_row(guarded_rate, bare_rate),
        evaluated_row(guarded_rate, evaluated_rate),
        load_row(at_load, rate),
    ]
    return [*rows, *endurance_rows(outcomes, memory, entered)], figures


def median_row(guarded_ms: list[float], bare_ms: list[float]) -> Row:
    """Guard, audit and validation together, at the median."""
    apart = [ours - theirs for ours, theirs in zip(guarded_ms, bare_ms, strict=True)]
    cost = statistics.median(apart)
    found = f"{cost:.2f} ms ({min(apart):.2f}–{max(apart):.2f}): {statistics.median(guarded_ms):.2f} against "
    return Row("cost at the median", f"≤ {MEDIAN_MS} ms", f"{found}{statistics.median(bare_ms):.2f}", cost <= MEDIAN_MS)


def throughput_row(guarded: list[float], bare: list[float]) -> Row:
    """The share of the bare route's throughput that guarding takes."""
    shares = [1 - ours / theirs for ours, theirs in zip(guarded, bare, strict=True)]
    share = statistics.median(shares)
    found = f"{share:.0%} ({min(shares):.0%}–{max(shares):.0%}): {statistics.median(guarded):.0f}/s against "
    return Row("cost of throughput", f"≤ {SHARE:.0%}", f"{found}{statistics.median(bare):.0f}/s", share <= SHARE)


def evaluated_row(guarded: list[float], evaluated: float) -> Row:
    """The same against a route whose inputs are ready and which evaluates the model for each answer."""
    rate = statistics.median(guarded)
    share = 1 - rate / evaluated
    found = f"{share:.0%}: {rate:.0f}/s against {evaluated:.0f}/s"
    return Row("cost of throughput, the bare route evaluating the model", f"≤ {SHARE:.0%}", found, share <= SHARE)


def load_row(at_load: Outcome, rate: float) -> Row:
    """The tail at 70 % load; a request that failed misses the bar whatever its latency."""
    p99 = at_load.milliseconds["p99"]
    failed = f"{at_load.errors} of {at_load.asked} failed"
    found = f"{p99:.1f} ms at {rate:.0f}/s (median {at_load.milliseconds['p50']:.1f}; {failed})"
    return Row(f"p99 at {LOAD:.0%} load", f"≤ {P99_MS:.0f} ms", found, p99 <= P99_MS and not at_load.errors)


def endurance_rows(outcomes: list[Outcome], memory: list[int], entered: int) -> list[Row]:
    """Errors, entries and memory of the long run. The first tenth warms up."""
    errors, asked = sum(one.errors for one in outcomes), sum(one.asked for one in outcomes)
    served = asked - errors
    tenth, half = SEGMENTS // 10, SEGMENTS // 2
    growth = memory[-1] / memory[tenth - 1] - 1
    per_segment = asked / SEGMENTS / 1000
    slope = float(np.polyfit(np.arange(SEGMENTS - tenth + 1) * per_segment, memory[tenth - 1 :], 1)[0])
    sizes = " → ".join(f"{memory[at - 1] / 1024:.1f}" for at in (tenth, half, SEGMENTS))
    found = f"{growth:+.1%} ({sizes} MiB at 10, 50, 100 %; {slope:+.1f} KiB per 1,000)"
    return [
        Row(f"errors in {asked} requests", "0", str(errors), errors == 0),
        Row("answers without an audit entry", "0", str(max(0, served - entered)), entered >= served),
        Row("growth of memory", f"< {GROWTH:.0%}", found, growth < GROWTH),
    ]


def tokens(home: Path, environment: Mapping[str, str], identities: int) -> list[str]:
    """A token for each of many analysts."""
    station, now = open_station(settings_of(home, environment)), datetime.now(UTC)
    signer = station.signers["token"]
    station.engine.dispose()
    return [issue_token(signer, f"load-{n}", Role.ANALYST, timedelta(hours=2), now) for n in range(identities)]


def entries(home: Path, environment: Mapping[str, str]) -> int:
    """How many entries the audit log has."""
    station = open_station(settings_of(home, environment))
    with transaction(station.engine) as session:
        counted = session.exec(select(func.count(col(AuditEntry.seq)))).one()
    station.engine.dispose()
    return counted


def settings_of(home: Path, environment: Mapping[str, str]) -> Settings:
    """The settings of a station in another environment than this process's."""
    return Settings(home=home, lake_url="", database_url=SecretStr(environment.get("GRIDWARD_DATABASE_URL", "")))


def profiled(home: Path, environment: Mapping[str, str], requests: int) -> None:
    """Where the event loop's time goes, by function: its own, and with what it calls."""
    saved = home.parent / "profile"
    with running(("-m", "benchmarks.api_profiled", str(saved), *SERVICE[2:]), environment, home.parent / "log") as server:
        texts = [request_text(server.host, PATH, BODY, token) for token in tokens(home, environment, Effort().identities)]
        order = Order(server.host, server.port, texts, count=requests, core=CLIENT_CORE)
        ordered(order)
        server.process.send_signal(signal.SIGUSR1)
        outcome = ordered(order)
        server.process.send_signal(signal.SIGUSR2)
        while not saved.exists():
            time.sleep(0.1)
    print(
        f"{outcome.asked} requests, {outcome.errors} failed, median {outcome.milliseconds['p50']:.2f} ms under the profiler"
    )
    found = pstats.Stats(str(saved)).strip_dirs()
    found.sort_stats("tottime").print_stats(45)
    found.sort_stats("cumulative").print_stats(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", choices=("embedded", "servers"), default=["embedded", "servers"])
    parser.add_argument("--home", type=Path, help="a trained station to copy; embedded stores only")
    parser.add_argument("--small", action="store_true", help="see whether everything runs; the figures mean nothing")
    parser.add_argument("--profile", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[Row] = []
    told: dict[str, Any] = {}
    for kind in options.stores:
        with tempfile.TemporaryDirectory() as name, stores(kind) as named:
            home = Path(name) / "home"
            environment = environment_for(home, named)
            trained(home, environment, options.home)
            if options.profile:
                profiled(home, environment, options.profile)
                continue
            found, told[kind] = measured(home, environment, Effort.small() if options.small else Effort())
        rows += [Row(f"{row.bar}, {kind}", row.asked, row.found, row.met) for row in found]
    print("| bar | asked | found | |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.bar} | {row.asked} | {row.found} | {'met' if row.met else '**missed**'} |")
    if options.json:
        options.json.write_text(json.dumps({"figures": told, "rows": [asdict(row) for row in rows]}, indent=1))
    sys.exit(6 if not all(row.met for row in rows) else 0)


if __name__ == "__main__":
    main()
