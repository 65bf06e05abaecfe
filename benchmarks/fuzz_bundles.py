"""Spoilt bundles and releases against a running server: `python -m benchmarks.fuzz_bundles [--mutants 5000] [--seed 1]`.

A station of fourteen months serves a model of trees over HTTP, in a process of its own. Its disk is spoilt in one way, the
operator asks it to reload, and what it answers is counted; then the disk is put right. Every refusal has to come with its
reason, the server has to go on forecasting what it forecast before, and nothing may be accepted whose content changed.
`approved` is what two deceived operators signed: there the validator and the trial are all that is left. Exit 6 if the
server crashed or hung, or accepted changed content.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
from pydantic import SecretStr

from benchmarks.bundle_mutants import MUTATORS, TEXT, Yard, release
from benchmarks.kills import DAYS, everything
from pipeline.ingest import load_readings, set_utility, take_demand, take_weather
from pipeline.publish import read_model
from pipeline.releases import believed, repository_of
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from pipeline.train import TrainingOrder, train
from pipeline.weather_policy import WeatherPolicy
from security.identity import Role, issue_token
from security.release_client import trusted_releases
from security.sealed_bundle import id_of

HANGS_AFTER_SECONDS = 30.0
FORECAST_EVERY = 25
# The last day of the readings: no model learned from it.
DAY = date(2013, 3, 5)
ACCEPTED, REFUSED, UNEXPLAINED, HUNG, CRASHED = "accepted", "refused", "without a reason", "hung", "crashed"


class Server:
    """`gridward serve` on a station, and an operator who talks to it."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self._token = issue_token(station.signers["token"], "fuzzer", Role.OPERATOR, timedelta(hours=12), datetime.now(UTC))
        self._log = (station.home.parent / "service.log").open("ab")
        self.start()

    def start(self) -> None:
        """Begin to serve, on a free port."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GRIDWARD_")}
        environment |= {"GRIDWARD_HOME": str(self.station.home), "GRIDWARD_RATE_LIMIT_PER_MINUTE": "1000000"}
        command = [sys.executable, "-m", "api.cli", "serve", "--port", "0"]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=self._log, text=True)  # noqa: S603 (our own command)
        assert self._process.stdout is not None  # noqa: S101 (a pipe was asked for)
        address = json.loads(self._process.stdout.readline())["address"]
        headers = {"Authorization": f"Bearer {self._token}"}
        self._client = httpx.Client(base_url=address, headers=headers, timeout=HANGS_AFTER_SECONDS)

    def stop(self) -> None:
        """Stop serving."""
        self._client.close()
        self._process.kill()
        self._process.wait()

    def reload(self) -> tuple[str, str]:
        """Ask for a reload; answers the outcome and the reason or the model's id."""
        try:
            answer = self._client.post("/v1/models/reload")
        except httpx.TimeoutException:
            return HUNG, ""
        except httpx.TransportError:
            return CRASHED, ""
        if answer.status_code == 200:
            return ACCEPTED, str(answer.json()["active_model_id"])
        reason = str(answer.json().get("detail", "")) if "json" in answer.headers.get("content-type", "") else ""
        return (REFUSED if answer.status_code < 500 and reason else UNEXPLAINED), f"{answer.status_code} {reason}"

    def forecast(self) -> Any:
        """What the server forecasts of a day."""
        answer = self._client.post("/v1/forecasts", json={"day": DAY.isoformat()})
        return answer.json()["intervals"]


def prepare(home: Path) -> Yard:
    """A station with two releases one after the other, and another tenant's bundle beside it."""
    station = open_station(Settings(home=home / "home", forecaster="lightgbm", lake_url="", database_url=SecretStr("")))
    given = everything()
    set_utility(station, given.utility)
    take_demand(station, given.demand)
    take_weather(station, given.weather)
    readings = load_readings(station)
    end = given.demand.index[0] + pd.Timedelta(days=DAYS - 1)
    older = train(station, readings, TrainingOrder(WeatherPolicy(), end - pd.Timedelta(days=30), _now(), by="fuzz")).model_id
    believed(station)
    shutil.copytree(repository_of(station), home / "before")
    shutil.copytree(station.models / older, home / "older")
    model_id = train(station, readings, TrainingOrder(WeatherPolicy(), end, _now(), by="fuzz")).model_id
    tenant = open_station(Settings(home=home / "tenant", forecaster="linear", lake_url="", database_url=SecretStr("")))
    set_utility(tenant, given.utility)
    take_demand(tenant, given.demand)
    take_weather(tenant, given.weather)
    other = train(tenant, load_readings(tenant), TrainingOrder(WeatherPolicy(), end, _now(), by="fuzz")).model_id
    shutil.copytree(tenant.models / other, home / "other")
    if TEXT not in read_model(station, model_id).files:
        raise SystemExit("the ensemble has no trees to spoil")
    return Yard(station, model_id, home / "older", home / "other", home / "before")


@contextlib.contextmanager
def put_right(yard: Yard, home: Path, *, releases: bool) -> Iterator[None]:
    """What happens to the released bundle is undone afterwards, and to the releases where they are spoilt: they grow."""
    kept = home / "kept"
    if not kept.exists():
        shutil.copytree(yard.bundle, kept / "bundle")
    if releases:
        shutil.rmtree(kept / "registry", ignore_errors=True)
        shutil.copytree(yard.registry, kept / "registry")
    try:
        yield
    finally:
        for path in [yard.bundle, *yard.bundle.parent.glob(".away*")]:
            path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(kept / "bundle", yard.bundle)
        if releases:
            shutil.rmtree(yard.registry)
            shutil.copytree(kept / "registry", yard.registry)


def spoil(yard: Yard, server: Server, kind: str, chance: random.Random, home: Path, baseline: Any) -> tuple[str, str]:
    """One mutant: what came of it, and why. Changed content that is taken is `accepted`, the same content `unchanged`."""
    mutate = MUTATORS[kind][1]
    if kind == "other trees, approved":
        digest = read_model(yard.station, yard.model_id).digest
        mutate(yard, chance)
        outcome, why = server.reload()
        shutil.rmtree(yard.station.models / _released_id(yard))
        release(yard.station, digest)
        server.reload()
        return (outcome if outcome != ACCEPTED else "accepted as approved"), why
    with put_right(yard, home, releases=kind.startswith("releases")):
        mutate(yard, chance)
        outcome, why = server.reload()
        if outcome == ACCEPTED and why == yard.model_id and server.forecast() == baseline and not _differs(yard, home):
            outcome = "unchanged"
    return outcome, why


def _differs(yard: Yard, home: Path) -> bool:
    """Whether the bundle's folder holds other bytes than it should."""
    kept = home / "kept" / "bundle"
    here = {path.name: path.read_bytes() for path in yard.bundle.iterdir() if path.is_file()}
    return here != {path.name: path.read_bytes() for path in kept.iterdir()}


def _released_id(yard: Yard) -> str:
    pin = (yard.registry / "metadata" / "1.root.json").read_bytes()
    with tempfile.TemporaryDirectory() as client:
        return id_of(trusted_releases(yard.registry, Path(client), pin).by_role["main"].model)


def _now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 (a choice of mutants)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        yard = prepare(home)
        server = Server(yard.station)
        baseline = server.forecast()
        counted: dict[str, Counter[str]] = {kind: Counter() for kind in MUTATORS}
        reasons: dict[str, str] = {}
        wrong, began = 0, time.perf_counter()
        try:
            for number in range(options.mutants):
                kind = list(MUTATORS)[number % len(MUTATORS)]
                outcome, why = spoil(yard, server, kind, chance, home, baseline)
                counted[kind][outcome] += 1
                reasons.setdefault(f"{kind}: {outcome}", why)
                if outcome in (HUNG, CRASHED):
                    server.stop()
                    server.start()
                if number % FORECAST_EVERY == 0:
                    wrong += server.forecast() != baseline and outcome != "accepted as approved"
        finally:
            server.stop()
        seconds = time.perf_counter() - began
    print_found(counted, reasons, wrong, seconds, as_json=options.json)
    total = sum(counted.values(), Counter())
    sys.exit(6 if wrong or total[HUNG] or total[CRASHED] or total[ACCEPTED] or total[UNEXPLAINED] else 0)


def print_found(
    counted: dict[str, Counter[str]], reasons: dict[str, str], wrong: int, seconds: float, *, as_json: bool
) -> None:
    """The table, and for every kind and outcome one reason as it was given."""
    total = sum(counted.values(), Counter())
    if as_json:
        print(
            json.dumps({"kinds": counted, "total": total, "wrong forecasts": wrong, "seconds": seconds, "reasons": reasons})
        )
        return
    for kind, outcomes in counted.items():
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        print(f"{MUTATORS[kind][0]:22s} {kind:38s} {told}")
    print(f"{sum(total.values())} mutants in {seconds:.0f} s: {dict(total)}; other forecasts meanwhile: {wrong}")
    for kind, why in sorted(reasons.items()):
        print(f"  {kind}: {why[:150]}")


if __name__ == "__main__":
    main()
