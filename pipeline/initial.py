"""A station's first day: readings in, a main and a fallback model published."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from data.datasets import load_victoria
from data.lake.heads import forget
from data.lake.tables import RECEIVED_AT
from data.meters import FINAL, PROMPT
from data.schema import Utility
from data.simulation import PROVIDER_NAMES, deliver, simulate_meter_readings, simulate_providers, simulate_reports
from forecasting.errors import TooLittleHistory
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.ingest import (
    Readings,
    holds_readings,
    load_readings,
    set_utility,
    take_demand,
    take_reports,
    take_weather,
)
from pipeline.meter_intake import take_meter_readings
from pipeline.monitor import keep_watch
from pipeline.registry import ModelRecord
from pipeline.station import Station
from pipeline.train import TrainingOrder, train, train_fallback
from pipeline.weather_policy import WeatherPolicy
from security.keyring import load_or_create_signer, register_key
from security.signing import Signer

Progress = Callable[[str, float], None]


def require_fresh(station: Station) -> None:
    """Raise PipelineError when the station holds readings already."""
    if (station.readings / "utility.json").exists() or holds_readings(station):
        raise PipelineError(
            "the station holds readings already", where=str(station.home), mend="choose another folder with GRIDWARD_HOME"
        )


def build_station(
    station: Station,
    utility: Utility,
    demand: pd.DataFrame,
    weather: pd.DataFrame,
    policy: WeatherPolicy,
    seed: int = 1,
) -> tuple[ModelRecord, ModelRecord | None]:
    """Take one's own readings in and publish the first models; answers (main, fallback).

    The fallback is None when there is too little demand for it yet. Raises as `pipeline.train` does.
    """
    require_fresh(station)
    with _all_or_nothing(station):
        set_utility(station, utility)
        take_demand(station, demand)
        take_weather(station, weather)
        readings = load_readings(station)
        return _publish_first(station, readings, _end_of(readings), policy, seed)


def build_embedded_station(
    station: Station, seed: int, policy: WeatherPolicy, progress: Progress = lambda _stage, _share: None
) -> tuple[ModelRecord, ModelRecord | None]:
    """The embedded data set behind simulated meters and five simulated, signing providers; then as `build_station`, but as
    of the gate closure of its last month: no model learned from that month, so that its days can be asked for.
    """
    require_fresh(station)
    dataset = load_victoria()
    utility = replace(dataset.utility, demand_delay=PROMPT)
    with _all_or_nothing(station):
        set_utility(station, utility)
        progress("meter readings", 0.05)
        readings = simulate_meter_readings(dataset, seed)
        take_meter_readings(station, readings, utility, complete_until=readings[RECEIVED_AT].max() + FINAL)
        progress("weather reports", 0.2)
        signers = register_providers(station, station.home / "simulated-providers", datetime.now(UTC))
        deliveries = simulate_reports(dataset.temperature_c, dataset.utility, simulate_providers(seed), seed)
        take_reports(station, deliver(deliveries, signers))
        progress("training", 0.5)
        taken = load_readings(station)
        published = _publish_first(station, taken, _last_month_closes(taken), policy, seed)
    progress("done", 1.0)
    return published


@contextmanager
def _all_or_nothing(station: Station) -> Iterator[None]:
    """Readings that no model came of are not kept: the next attempt finds the station fresh."""
    try:
        yield
    except BaseException:
        # In an object store they stay, and the next attempt is told of them.
        if not station.lake_url:
            shutil.rmtree(station.readings, ignore_errors=True)
            with transaction(station.engine) as session:
                forget(session)
        raise


def _publish_first(
    station: Station, readings: Readings, as_of: pd.Timestamp, policy: WeatherPolicy, seed: int
) -> tuple[ModelRecord, ModelRecord | None]:
    keep_watch(station, readings, _end_of(readings))
    order = TrainingOrder(policy=policy, as_of=as_of, at=datetime.now(UTC), by="first training", seed=seed)
    main = train(station, readings, order)
    try:
        return main, train_fallback(station, readings, order)
    except TooLittleHistory:
        return main, None


def _end_of(readings: Readings) -> pd.Timestamp:
    return pd.Timestamp(readings.demand.index[-1]) + readings.utility.step


def _last_month_closes(readings: Readings) -> pd.Timestamp:
    """Gate closure of the first local day of the month in which demand ends."""
    last = readings.demand.index[-1].tz_convert(readings.utility.zone).date()
    return readings.utility.gate_closure_of(last.replace(day=1))


def register_providers(station: Station, keys: Path, at: datetime) -> dict[str, Signer]:
    """Make the simulated providers' keys in `keys`, on first use, and register their public halves."""
    signers = {name: load_or_create_signer(keys, name) for name in PROVIDER_NAMES}
    with transaction(station.engine) as session:
        for name, signer in signers.items():
            register_key(
                session,
                purpose="provider",
                owner=name,
                public_key=signer.public_key,
                by="delivery contract",
                reason="simulated provider",
                at=at,
            )
    return signers
