"""How long ten million meter readings take into the lake, and into a snapshot: `python -m benchmarks.lake`.

Readings of 200 meters come in month by month, each batch judged by its contract, written, signed, and summed to demand with
the nine weeks before it. The snapshot verifies every live file's SHA-256, and seals them. The readings are made before each
clock starts.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import SecretStr

from data.lake.pins import require_files
from data.lake.tables import METER_READINGS, TABLES_BY_NAME
from data.schema import DEMAND_MW, TIMESTAMP, Utility
from data.snapshots import freeze
from pipeline.ingest import load_readings, set_utility
from pipeline.meter_intake import take_meter_readings
from pipeline.settings import Settings
from pipeline.station import open_station

UTILITY = Utility("UTC", pd.Timedelta(minutes=30))
METERS = 200
START = pd.Timestamp("2020-01-01", tz="UTC")
BAR_SECONDS, BAR_GIB = 60.0, 2.0


def months(count: int, seed: int) -> Iterator[pd.DataFrame]:
    """Batches of raw readings that add up to at least `count`."""
    random = np.random.default_rng(seed)
    names = np.array([f"meter-{number:03d}" for number in range(METERS)], dtype=object)
    usual = random.uniform(0.2e6, 2e6, METERS)
    first, made = START, 0
    while made < count:
        index = pd.date_range(first, first + pd.DateOffset(months=1), freq=UTILITY.step, inclusive="left", unit="us")
        hour = (index.hour + index.minute / 60).to_numpy()[:, None]
        power = usual * (1 + 0.3 * np.sin(2 * np.pi * (hour - 6) / 24)) + random.normal(0, 2e4, (len(index), METERS))
        late = pd.to_timedelta(random.uniform(60, 1500, power.size).astype(int), unit="s").as_unit("us")
        ends = index.repeat(METERS) + UTILITY.step
        yield pd.DataFrame(
            {
                "meter": np.tile(names, len(index)),
                TIMESTAMP: index.repeat(METERS),
                "received_at": ends + late,
                "power_w": power.ravel().round(),
            }
        )
        first, made = first + pd.DateOffset(months=1), made + power.size


def measure(count: int, home: Path, seed: int = 1) -> dict[str, float]:
    """Take them in and seal them; seconds, bytes and peak memory."""
    station = open_station(Settings(home=home, lake_url="", database_url=SecretStr("")))
    set_utility(station, UTILITY)
    taken, seconds = 0, 0.0
    for batch in months(count, seed):
        began = time.perf_counter()
        take_meter_readings(station, batch, UTILITY)
        seconds += time.perf_counter() - began
        taken += len(batch)
    began = time.perf_counter()
    readings = load_readings(station)
    for table, pin in readings.pins.items():
        require_files(station.lake, TABLES_BY_NAME[table], pin)
    training = readings.demand.loc[~readings.demand.index.duplicated(keep="last"), [DEMAND_MW]]
    facts = {"lake": {table: pin.to_json() for table, pin in readings.pins.items()}}
    freeze(station.snapshots, training, training, facts, station.signers["snapshot"])
    sealing = time.perf_counter() - began
    station.engine.dispose()
    size = sum(readings.pins[METER_READINGS.name].files.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "readings": taken,
        "meters": METERS,
        "ingest_seconds": seconds,
        "snapshot_seconds": sealing,
        "seconds": seconds + sealing,
        "megabytes": size / 1e6,
        "peak_gib": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=10_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.readings, Path(folder))
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{found['readings']:,.0f} readings of {METERS} meters, {found['megabytes']:.0f} MB in the lake")
    print(f"taken in {found['ingest_seconds']:.1f} s, snapshot {found['snapshot_seconds']:.1f} s")
    for name, value, bar in (("seconds", found["seconds"], BAR_SECONDS), ("peak GiB", found["peak_gib"], BAR_GIB)):
        print(f"{name}: {value:.1f}, bar {bar:.0f}: {'met' if value <= bar else 'missed'}")


if __name__ == "__main__":
    main()
