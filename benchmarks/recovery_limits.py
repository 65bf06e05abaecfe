"""Where the limits of the recovery's gates come from: `python -m benchmarks.recovery_limits [--seed N]`. 2013 only.

A clean station of five simulated providers, refitted with `linear` every month; at the first of each month from March on the
recipe without one provider is judged as a recovery would judge it. Nobody lies, so no gate may fail.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd

from benchmarks.recovery import LIAR, MULTI, new_station
from data.schema import DEMAND_MW, TEMPERATURE_C, VALID_AT
from data.weather_fusion import Exclusion
from pipeline import registry
from pipeline.database import transaction
from pipeline.ingest import load_readings
from pipeline.recover import clean_past
from pipeline.recovery.gates import BACKTEST_TOLERANCE, backtest_gate, mild_gate
from pipeline.recovery.served_again import Served, serve_again
from pipeline.train import TrainingOrder, train
from pipeline.weather_policy import temperature_by

REFUSED = pd.Timedelta(days=100)
LAST_MOMENT = pd.Timestamp("2014-01-01", tz="UTC")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=1)
    seed = options.parse_args().seed
    folder = Path(tempfile.mkdtemp(prefix="gridward-limits-"))
    try:
        judge_year(folder, seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def judge_year(folder: Path, seed: int) -> None:
    station = replace(new_station(folder, seed, lie=False), forecaster="linear")
    readings = load_readings(station)
    readings = replace(readings, weather=readings.weather[readings.weather[VALID_AT] < LAST_MOMENT])
    print("| first of | MAPE over what was served | bias in mild hours % |\n|---|---|---|")
    for month in range(2, 13):
        as_of = readings.utility.gate_closure_of(date(2013, month, 1))
        order = TrainingOrder(MULTI, as_of, as_of.to_pydatetime(), by="monthly schedule", seed=seed)
        with transaction(station.engine) as session:
            against = registry.active_id(session)
        excluded = {LIAR: Exclusion(as_of - REFUSED)}
        served = serve_again(station, readings, order, excluded, against)
        if isinstance(served, Served):
            past = clean_past(station, readings, order, excluded, None)
            fused, _ = temperature_by(past.contract, past.wide, readings.utility)
            temperature_c = fused[TEMPERATURE_C].reindex(past.demand_mw.index)
            training = pd.DataFrame({DEMAND_MW: past.demand_mw, TEMPERATURE_C: temperature_c})
            backtest, mild = backtest_gate(served, training), mild_gate(served, training)
            ratio = (backtest.found or 0.0) / (backtest.limit or 1.0) * BACKTEST_TOLERANCE
            told = "not judged" if mild.found is None else f"{mild.found:+.2f}"
            print(f"| 2013-{month:02d} | {ratio:.3f} | {told} |", flush=True)
        train(station, readings, order)


if __name__ == "__main__":
    main()
