"""`kill -9` at random moments of ingest, snapshot, recovery and backup: `python -m benchmarks.kills [--kills 200] [--json]`.

Each kind of work runs in a process of its own on a copy of a small station (14 months of real demand, three providers),
writes down what was acknowledged to it, and is killed after a random share of the time it takes undisturbed. Then another
process looks: is every file and table as it was signed, is everything there that was acknowledged, once, and does the same
work, asked for again, come to its end? A recovery must end in the very state of one that nobody disturbed. Twenty minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pandas as pd
from pydantic import SecretStr

from benchmarks.station_state import state_of
from data.datasets import EmbeddedDataset, load_victoria
from data.lake.tables import TABLES_BY_NAME
from data.schema import AVAILABLE_AT, DEMAND_MW, PROVIDER
from data.simulation import simulate_providers, simulate_reports
from data.snapshots import pins_of, require_sources, restore
from data.weather_providers import VerifiedReport, to_rows
from pipeline import registry
from pipeline.backup.create import create
from pipeline.backup.verify import Trust, verify
from pipeline.database import transaction
from pipeline.ingest import Readings, load_readings, set_utility, take_demand, take_weather
from pipeline.recovery.plan import RecoveryRequest
from pipeline.recovery.run import recover
from pipeline.releases import follow_releases, open_released
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from pipeline.train import TrainingOrder, train
from pipeline.weather_policy import WeatherPolicy
from security.backup_keys import load_backup_keys
from security.keyring import trusted_keys

KINDS = ("ingest", "snapshot", "recover", "backup")
LIAR = "aurora"
DAYS, BEFORE, ONSET, AMID = 430, 370, 400, 420
PASSPHRASE = SecretStr("only for the benchmark")
BY = "benchmark"


@dataclass(frozen=True)
class Place:
    """Where a work is done. home: the station; acknowledged: a file, one line for each thing that was answered for."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def acknowledged(self) -> Path:
        return self.folder / "acknowledged"

    def station(self) -> Station:
        return open_station(
            Settings(
                home=self.home, forecaster="linear", lake_url="", database_url=SecretStr(""), backup_passphrase=PASSPHRASE
            )
        )

    @property
    def begun(self) -> Path:
        """There once a work has read what it needs, and begins what it may be killed in."""
        return self.folder / "begun"

    def acknowledge(self, word: str) -> None:
        with self.acknowledged.open("a") as stream:
            stream.write(f"{word}\n")

    def words(self) -> list[str]:
        return self.acknowledged.read_text().split() if self.acknowledged.exists() else []


@dataclass(frozen=True)
class Found:
    """What came of one kind of work: kills that met a running process, states that did not verify, things lost."""

    kind: str
    kills: int
    corrupt: int
    lost: int


def build(home: Path) -> None:
    """Fourteen months: two models that believe one provider alone."""
    station = open_station(Settings(home=home, forecaster="linear", lake_url="", database_url=SecretStr("")))
    given = everything()
    set_utility(station, given.utility)
    take_demand(station, given.demand)
    take_weather(station, given.weather)
    readings = load_readings(station)
    for day in (BEFORE, AMID):
        moment = given.demand.index[0] + pd.Timedelta(days=day)
        train(station, readings, TrainingOrder(WeatherPolicy(LIAR), moment, moment.to_pydatetime(), by=BY))
    station.engine.dispose()


def everything() -> Readings:
    """What three simulated providers and the meters told of the first days of the embedded data."""
    whole = load_victoria()
    end = whole.demand_mw.index[0] + pd.Timedelta(days=DAYS)
    days = slice(None, end - whole.utility.step)
    dataset = EmbeddedDataset(
        whole.utility, *(part.loc[days] for part in (whole.demand_mw, whole.demand_watts, whole.temperature_c))
    )
    reports = simulate_reports(dataset.temperature_c, dataset.utility, simulate_providers(1), 1)
    told = [VerifiedReport(content.provider, "", received, "", content) for received, content in reports]
    weather = to_rows([report for report in told if report.provider in (LIAR, "boreas", "cirrus")])
    index = pd.DatetimeIndex(dataset.demand_mw.index)
    known = index + dataset.utility.step
    demand = pd.DataFrame({DEMAND_MW: dataset.demand_mw.to_numpy(), AVAILABLE_AT: known}, index=index)
    return Readings(dataset.utility, demand, weather)


def batch(number: int, like: Readings) -> Readings:
    """A day that no other batch holds, after everything: what a provider and the meters send the next time."""
    shift = pd.Timedelta(days=DAYS + number)
    first = like.demand.index[0]
    day = like.demand.loc[: first + pd.Timedelta(days=1) - like.utility.step]
    said = like.weather[like.weather["valid_at"] < first + pd.Timedelta(days=1)]
    demand = day.assign(**{AVAILABLE_AT: day[AVAILABLE_AT] + shift}).set_axis(pd.DatetimeIndex(day.index) + shift)
    weather = said.assign(valid_at=said["valid_at"] + shift, issued_at=said["issued_at"] + shift)
    return Readings(like.utility, demand, weather)


def ingest(place: Place) -> None:
    """One batch after the other, acknowledged when both of its kinds are kept."""
    station, like = place.station(), everything()
    place.begun.touch()
    for number in range(len(place.words()), len(place.words()) + 3):
        given = batch(number, like)
        take_weather(station, given.weather)
        take_demand(station, given.demand)
        place.acknowledge(str(number))


def snapshot(place: Place) -> None:
    """A training: readings verified, snapshot sealed, model published and active."""
    station = place.station()
    readings = load_readings(station)
    moment = readings.demand.index[-1] + readings.utility.step + pd.Timedelta(seconds=len(place.words()))
    place.begun.touch()
    trained = train(station, readings, TrainingOrder(WeatherPolicy(), moment, moment.to_pydatetime(), by=BY))
    place.acknowledge(f"{trained.snapshot_id}:{trained.model_id}")


def recovery(place: Place) -> None:
    station = place.station()
    readings = load_readings(station)
    now = (readings.demand.index[-1] + readings.utility.step).to_pydatetime()
    onset = readings.demand.index[0] + pd.Timedelta(days=ONSET)
    place.begun.touch()
    recover(station, readings, RecoveryRequest(LIAR, BY, "killed on purpose", onset.isoformat()), clock=lambda: now)
    place.acknowledge("recovered")


def backup(place: Place) -> None:
    """One more batch of readings, and a backup of everything."""
    station, number = place.station(), 1000 + len(place.words())
    given = batch(number, everything())
    place.begun.touch()
    take_weather(station, given.weather)
    made = create(station, place.folder / "backups", PASSPHRASE, lock_days=0, by=BY)
    place.acknowledge(str(made.backup.sequence))


def look_at_ingest(place: Place) -> int:
    """Lost readings: of acknowledged batches, those that are not there exactly once."""
    station, like = place.station(), everything()
    readings = load_readings(station)
    lost = 0
    for word in place.words():
        given = batch(int(word), like)
        weather = readings.weather.merge(given.weather[[PROVIDER, "issued_at", "valid_at", "temperature_c"]])
        demand = readings.demand.loc[readings.demand.index.isin(given.demand.index)]
        lost += abs(len(given.weather) - len(weather)) + abs(len(given.demand) - len(demand))
    return lost


def look_at_snapshots(place: Place) -> int:
    """Raises for one that does not verify; lost: acknowledged snapshots or models that are not there."""
    station = place.station()
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "snapshot")
        known = {entry.model_id for entry in registry.listing(session)}
    for folder in station.snapshots.iterdir():
        if not folder.name.startswith("."):
            found = restore(station.snapshots, folder.name, trusted)
            require_sources(found, station.lake, trusted)
            if not pins_of(found).keys() == TABLES_BY_NAME.keys():
                raise ValueError(f"snapshot {folder.name} names no lake")
    open_released(station, follow_releases(station, datetime.now(UTC))["main"])
    promised = [word.split(":") for word in place.words()]
    return sum(not (station.snapshots / name).exists() or model not in known for name, model in promised)


def look_at_recovery(place: Place) -> int:
    """Run again, it ends in the state of the one that nobody disturbed (`reference`, beside the place)."""
    load_readings(place.station())
    recovery(place)
    reached = json.dumps(state_of(place.station()), default=str, sort_keys=True)
    reference = (place.folder.parent / "reference.json").read_text()
    if reached != reference:
        raise ValueError("it ended in another state than undisturbed")
    return 0


def look_at_backups(place: Place) -> int:
    """Raises for a chain that does not verify; lost: acknowledged backups that are not in it."""
    station = place.station()
    load_readings(station)
    if not (place.folder / "backups").exists() or not list((place.folder / "backups").iterdir()):
        return len(place.words())
    keys = load_backup_keys(place.home / "keys" / "backup.keyset", PASSPHRASE)
    found = {backup.sequence for backup in verify(place.folder / "backups", Trust(keys, station, ""), by=BY).backups}
    return sum(int(word) not in found for word in place.words())


WORK: dict[str, tuple[Callable[[Place], None], Callable[[Place], int]]] = {
    "ingest": (ingest, look_at_ingest),
    "snapshot": (snapshot, look_at_snapshots),
    "recover": (recovery, look_at_recovery),
    "backup": (backup, look_at_backups),
}


def in_a_process(
    work: Callable[[], object], *, begun: Path | None = None, kill_after: float | None = None
) -> tuple[int, bool]:
    """Run `work` in a fork; answers its exit code, 255 when it raised or died, and whether it was killed.

    kill_after: seconds from when the file `begun` is there.
    """
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            answer = work()
            code = min(answer, 254) if isinstance(answer, int) else 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    if kill_after is not None and begun is not None:
        while not begun.exists() and os.waitpid(pid, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    return (os.WEXITSTATUS(status), False) if os.WIFEXITED(status) else (255, True)


def killed(kind: str, kills: int, template: Path, yard: Path, chance: random.Random) -> Found:
    """Kill one kind of work so many times; recoveries begin on a fresh copy each time, the others go on."""
    work, look = WORK[kind]
    place = _fresh(template, yard / kind)
    if in_a_process(partial(work, place))[0]:
        raise SystemExit(f"{kind} fails undisturbed")
    longest = time.time() - place.begun.stat().st_mtime
    if kind == "recover":
        code, _ = in_a_process(partial(_write_reference, place))
        if code:
            raise SystemExit("the undisturbed recovery cannot be told")
    hit = corrupt = lost = 0
    while hit < kills:
        if kind == "recover":
            place = _fresh(template, yard / kind)
        place.begun.unlink(missing_ok=True)
        code, met = in_a_process(partial(work, place), begun=place.begun, kill_after=chance.uniform(0, longest))
        if code and not met:
            raise SystemExit(f"{kind} failed before it was killed")
        hit += met
        code, _ = in_a_process(partial(look, place))
        corrupt += code == 255
        lost += code if code != 255 else 0
    return Found(kind, hit, corrupt, lost)


def _write_reference(place: Place) -> None:
    state = json.dumps(state_of(place.station()), default=str, sort_keys=True)
    (place.folder.parent / "reference.json").write_text(state)


def _fresh(template: Path, folder: Path) -> Place:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(template, folder / "home")
    return Place(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 (moments to be killed at, no secrets)
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "template"
        if in_a_process(partial(build, template))[0]:
            raise SystemExit("the station cannot be built")
        share = -(-options.kills // len(KINDS))
        found = [killed(kind, share, template, Path(folder), chance) for kind in KINDS]
    if options.json:
        print(json.dumps([asdict(one) for one in found], indent=1))
        return
    for one in found:
        print(f"{one.kind:9} {one.kills:4} kills, {one.corrupt} corrupt states, {one.lost} acknowledged things lost")
    bad = sum(one.corrupt + one.lost for one in found)
    print(f"{sum(one.kills for one in found)} kills: {'met' if not bad else 'missed'}")


if __name__ == "__main__":
    main()
