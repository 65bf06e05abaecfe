"""A small station with one model from before a lie and one that learned from it, and a process that recovers it.

    python -m tests.unit.pipeline.small_recovery HOME [STATE]

recovers the station at HOME, and kills itself the moment STATE is reached.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.database import transaction
from pipeline.ingest import load_readings, set_utility, take_demand, take_weather
from pipeline.recovery.plan import RecoveryRequest
from pipeline.recovery.report import RecoveryReport
from pipeline.recovery.run import recover
from pipeline.station import Station, open_station
from pipeline.train import TrainingOrder, train
from pipeline.weather_policy import WeatherPolicy
from security.keyring import register_key
from security.signing import new_signer
from tests.unit.api import small_station
from tests.unit.api.small_station import START, UTILITY

LIAR = "aurora"
ONSET = "2023-05-01"
BEFORE, AMID, NOW = (START + pd.Timedelta(days=days) for days in (92, 140, 150))
AT: datetime = NOW.to_pydatetime()


def opened(home: Path) -> Station:
    """The station at `home`, which trains the fastest forecaster."""
    return open_station(small_station.settings_for(home, forecaster="linear"))


def build(home: Path) -> Path:
    """Three providers with keys, two models that believe the liar alone."""
    station = opened(home)
    demand, weather = small_station.demand_and_weather()
    set_utility(station, UTILITY)
    take_demand(station, demand)
    take_weather(station, weather)
    readings = load_readings(station)
    for moment in (BEFORE, AMID):
        train(station, readings, TrainingOrder(WeatherPolicy(LIAR), moment, moment.to_pydatetime(), by="fixture"))
    with transaction(station.engine) as session:
        key = new_signer().public_key
        register_key(session, purpose="provider", owner=LIAR, public_key=key, by="ann", reason="contract", at=AT)
    station.engine.dispose()
    return home


def request(**changes: Any) -> RecoveryRequest:
    """To recover from the liar, whose onset an operator knows."""
    return RecoveryRequest(**{"provider": LIAR, "by": "olga", "reason": "compromised", "since": ONSET, **changes})


def run(station: Station, asked: RecoveryRequest | None = None, **options: Any) -> RecoveryReport:
    """Recover at the station's present moment."""
    return recover(station, load_readings(station), asked or request(), clock=lambda: AT, **options)


def _killed_at(wanted: str) -> Any:
    def reached(state: str) -> None:
        if state == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


if __name__ == "__main__":
    lied_to = opened(Path(sys.argv[1]))
    print("opened", flush=True)  # noqa: T201 (whoever kills this process waits for it)
    run(lied_to, reached=_killed_at(sys.argv[2] if len(sys.argv) > 2 else ""))
