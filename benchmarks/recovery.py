"""What a recovery costs and leaves behind: `python -m benchmarks.recovery [--seed N] [--json]`, four minutes of a core.

Eight months of 2014 on real demand: the utility trusts one provider alone, which lies from 1 March on (the attack of
decision 0006); models are trained every month and forecasts served every day. On the last day of October
`gridward recover` is run as an operator would run it, with the station's default forecaster, the ensemble. What it serves on
the days that remain is held against a station of the same forecaster that never heard a lie. The months before are served
with `linear`, the fastest member that uses weather.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import SecretStr

from data.datasets import load_victoria
from data.lake.tables import RECEIVED_AT
from data.meters import FINAL, PROMPT
from data.provenance import blast_radius
from data.schema import is_mild
from data.simulation import deliver, simulate_meter_readings, simulate_providers, simulate_reports
from forecasting.metrics import bias_percent, mape_percent
from pipeline import registry
from pipeline.database import transaction
from pipeline.ingest import load_readings, set_utility, take_reports
from pipeline.initial import register_providers
from pipeline.meter_intake import take_meter_readings
from pipeline.operate import Operation, operate
from pipeline.redteam.weather_poisoning import Poisoning, poison
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from pipeline.trace import deliveries_of
from pipeline.train import TrainingOrder, train
from pipeline.weather_policy import WeatherPolicy

LIAR = "aurora"
FIRST_DAY, FIRST_LIE = date(2014, 1, 1), date(2014, 3, 1)
FIRST_CLEAN_DAY, LAST_DAY = date(2014, 11, 1), date(2014, 12, 30)
BLAST_BAR_S, RECOVERY_BAR_S = 1.0, 60.0
MAPE_BAR, MILD_BAR, DISCARDED_BAR_PERCENT = 0.1, 0.2, 5.0
SINGLE, MULTI = WeatherPolicy(LIAR), WeatherPolicy()


@dataclass(frozen=True)
class Scores:
    """Of the days that remain: MAPE, and bias in the hours that really were mild [%]."""

    mape_percent: float
    mild_bias_percent: float


@dataclass(frozen=True)
class Result:
    """What was measured. poisoned: the last two attacked months as they were served; report: as the command printed it."""

    seed: int
    blast_radius_s: float
    recovery_s: float
    poisoned: Scores
    recovered: Scores
    clean: Scores
    clean_days_discarded_percent: float
    report: dict[str, Any]

    def rows(self) -> list[tuple[str, float, float]]:
        """What is asked: name, found, bar."""
        return [
            ("blast radius: deliveries, snapshots, models, forecasts, s", self.blast_radius_s, BLAST_BAR_S),
            ("the command from start to end, s", self.recovery_s, RECOVERY_BAR_S),
            ("MAPE from the clean world's, points", abs(self.recovered.mape_percent - self.clean.mape_percent), MAPE_BAR),
            (
                "bias in mild hours from the clean world's, points",
                abs(self.recovered.mild_bias_percent - self.clean.mild_bias_percent),
                MILD_BAR,
            ),
            ("clean provider-days discarded, %", self.clean_days_discarded_percent, DISCARDED_BAR_PERCENT),
        ]


def measured(seed: int, folder: Path) -> Result:
    """Live both worlds in `folder`, recover the one that was lied to."""
    said_so(f"seed {seed}: what the meters and the providers said")
    clean, lied_to = new_station(folder / "clean", seed, lie=False), new_station(folder / "lied-to", seed, lie=True)
    said_so("eight months of believing the liar")
    attacked = operate(
        replace(lied_to, forecaster="linear"),
        load_readings(lied_to),
        SINGLE,
        (FIRST_DAY, FIRST_CLEAN_DAY - timedelta(days=1)),
        seed=seed,
    )
    since = datetime.combine(FIRST_LIE, datetime.min.time(), UTC)
    began = time.perf_counter()
    deliveries_of(lied_to, LIAR, since)
    with transaction(lied_to.engine) as session:
        blast_radius(session, LIAR, since)
    blast_radius_s = time.perf_counter() - began
    said_so("the recovery")
    report, recovery_s = _recovered(lied_to, seed)
    said_so("the days that remain, in both worlds")
    as_of = load_readings(clean).utility.gate_closure_of(FIRST_CLEAN_DAY)
    train(clean, load_readings(clean), TrainingOrder(MULTI, as_of, as_of.to_pydatetime(), by="benchmark", seed=seed))
    return Result(
        seed=seed,
        blast_radius_s=blast_radius_s,
        recovery_s=recovery_s,
        poisoned=_scores(Operation(attacked.forecasts[-61:])),
        recovered=_scores(_go_on(lied_to, seed)),
        clean=_scores(_go_on(clean, seed)),
        clean_days_discarded_percent=_clean_days_discarded_percent(lied_to, report),
        report=report,
    )


def new_station(home: Path, seed: int, *, lie: bool) -> Station:
    """Meters and five signing providers around real demand and temperature; everything that was said is taken in."""
    dataset = load_victoria()
    station = open_station(Settings(home=home, forecaster="ensemble", lake_url="", database_url=SecretStr("")))
    utility = replace(dataset.utility, demand_delay=PROMPT)
    set_utility(station, utility)
    readings = simulate_meter_readings(dataset, seed)
    take_meter_readings(station, readings, utility, complete_until=readings[RECEIVED_AT].max() + FINAL)
    signers = register_providers(station, home / "simulated-providers", datetime(2012, 1, 1, tzinfo=UTC))
    deliveries = simulate_reports(dataset.temperature_c, dataset.utility, simulate_providers(seed), seed)
    said = poison(deliveries, Poisoning(LIAR, FIRST_LIE)) if lie else deliveries
    take_reports(station, deliver(said, signers))
    return station


def _recovered(station: Station, seed: int) -> tuple[dict[str, Any], float]:
    """The report and the wall time of `gridward recover`, in a process of its own."""
    moment = load_readings(station).utility.gate_closure_of(FIRST_CLEAN_DAY)
    environment = os.environ | {
        "GRIDWARD_HOME": str(station.home),
        "GRIDWARD_LAKE_URL": "",
        "GRIDWARD_DATABASE_URL": "",
        "GRIDWARD_FORECASTER": station.forecaster,
        "GRIDWARD_REPLAY_AT": moment.isoformat(),
    }
    command = [sys.executable, "-m", "api.cli", "recover", "--provider", LIAR, "--seed", str(seed), "--json"]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 (our own)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"gridward recover left with {done.returncode}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report, seconds


def _go_on(station: Station, seed: int) -> Operation:
    """From the recovery to the end, every provider held against the others, monthly refits as ever."""
    with transaction(station.engine) as session:
        model = registry.active(session)
    period = (FIRST_CLEAN_DAY, LAST_DAY)
    return operate(station, load_readings(station), MULTI, period, seed=seed, trained=model)


def _scores(operation: Operation) -> Scores:
    """Against what was really drawn, mild by the temperature that really was."""
    dataset = load_victoria()
    frame = operation.frame()
    mild = frame[is_mild(dataset.temperature_c.loc[frame.index])]
    return Scores(mape_percent(dataset.demand_mw, frame), bias_percent(dataset.demand_mw, mild))


def _clean_days_discarded_percent(station: Station, report: dict[str, Any]) -> float:
    """Of all days that a provider was heard and did not lie on, those that the recovery refuses."""
    plan = report["plan"]
    utility = load_readings(station).utility
    lie = pd.Timestamp(FIRST_LIE, tz="UTC")
    end = pd.Timestamp(plan["as_of"])
    refused = max((lie - pd.Timestamp(plan["refused_from"])) / pd.Timedelta(days=1), 0.0)
    lying = (end - lie) / pd.Timedelta(days=1)
    said_so(f"refused from {plan['refused_from']}, the lie began on {FIRST_LIE} ({utility.timezone})")
    return float(100 * refused / (plan["provider_days"]["heard"] - lying))


def said_so(stage: str) -> None:
    print(stage, file=sys.stderr)


def print_result(result: Result) -> None:
    print(f"seed {result.seed}, {FIRST_CLEAN_DAY} to {LAST_DAY} after the recovery\n")
    print("| days | MAPE % | bias in mild hours % |\n|---|---|---|")
    for name in ("poisoned", "recovered", "clean"):
        scores: Scores = getattr(result, name)
        print(f"| {name} | {scores.mape_percent:.2f} | {scores.mild_bias_percent:+.2f} |")
    print("\n| asked | found | bar | met |\n|---|---|---|---|")
    for name, found, bar in result.rows():
        print(f"| {name} | {found:.3f} | {bar:g} | {'yes' if found <= bar else 'no'} |")
    print("\n| gate | verdict | found |\n|---|---|---|")
    for gate in result.report["gates"]:
        print(f"| {gate['name']} | {gate['verdict']} | {gate['why']} |")
    print("\nseconds of each step:", ", ".join(f"{step} {spent:.1f}" for step, spent in result.report["seconds"].items()))
    touched, days = result.report["plan"]["touched"], result.report["plan"]["provider_days"]
    print(
        f"touched: {len(touched['snapshots'])} snapshots, {len(touched['models'])} models, {touched['forecasts']} forecasts,"
        f" {touched['exposed_hours']:,.0f} hours, {touched['energy_mwh']:,.0f} MWh;"
        f" provider-days refused: {days['discarded']} of {days['heard']}, {days['before_onset']} of them before the onset"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--json", action="store_true", help="print JSON instead of tables")
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gridward-recovery-"))
    try:
        result = measured(chosen.seed, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if chosen.json:
        print(json.dumps(asdict(result), indent=2))
    else:
        print_result(result)


if __name__ == "__main__":
    main()
