"""`gridward ingest`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from api.console import ACTOR, find_own_station, open_settings
from api.output import AsJson, print_facts, print_json, progress
from api.own_files import WeatherOption, digest_of, named_files
from data.errors import FileRefused
from data.lake.tables import PAYLOAD_SHA256
from security.errors import UnavailableError


def ingest(
    demand: Annotated[Path | None, typer.Option(help="Demand, CSV or Parquet.")] = None,
    weather: WeatherOption = None,
    as_json: AsJson = False,
) -> None:
    """Add readings of one's own to the station: new ones, and corrections, which count as known from now on."""
    from data.files import read_demand, read_weather  # noqa: PLC0415
    from pipeline.add_readings import add_readings  # noqa: PLC0415
    from pipeline.ingest import load_readings, load_utility  # noqa: PLC0415
    from pipeline.monitor import keep_watch  # noqa: PLC0415

    if demand is None and not weather:
        raise typer.BadParameter("give --demand FILE, --weather NAME=FILE, or both")
    settings = open_settings()
    station = find_own_station(settings)
    if station is None:
        raise UnavailableError("there is no station", where=str(settings.home), mend="run `gridward train` first")
    now = settings.replay_at or datetime.now(UTC)
    with progress(quiet=as_json) as report:
        report("reading", -1)
        held, step = load_readings(station), load_utility(station).step
        drawn, said = held.demand.iloc[:0], [held.weather.iloc[:0]]
        if demand is not None:
            demand_file = read_demand(demand)
            _require_step(demand_file.step, step, demand)
            drawn = demand_file.frame
        for name, path in named_files(weather or []).items():
            weather_file = read_weather(path, name)
            _require_step(weather_file.step, step, path)
            said.append(weather_file.frame.assign(**{PAYLOAD_SHA256: digest_of(path)}))
        report("adding", -1)
        added = add_readings(station, drawn, pd.concat(said), now, ACTOR)
        report("watching the providers", -1)
        changed = keep_watch(station, load_readings(station), pd.Timestamp(now))
    standings = [f"{event.provider}: {event.from_state} → {event.to_state}" for event in changed]
    facts = {**vars(added), "standings": standings}
    if as_json:
        print_json(facts)
    else:
        print_facts("Taken in", facts)
        typer.echo("note: a running service takes them up with POST /v1/models/reload")


def _require_step(found: pd.Timedelta, wanted: pd.Timedelta, path: Path) -> None:
    if found != wanted:
        minutes, station_minutes = (step.total_seconds() / 60 for step in (found, wanted))
        problem = f"steps of {minutes:g} minutes, the station has {station_minutes:g}"
        raise FileRefused(problem, path=str(path), mend="resample the file to the station's step")
