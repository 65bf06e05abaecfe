"""`gridward train`."""

from __future__ import annotations

from typing import Annotated

import typer

from api.commands.station import PolicyOption
from api.console import open_own_station
from api.output import AsJson, print_json, print_table, progress
from api.own_files import (
    DemandOption,
    GateClosureOption,
    HolidaysOption,
    TimezoneOption,
    WeatherOption,
    read_own_files,
    refuse_stray_options,
)
from data.lake.tables import PAYLOAD_SHA256
from data.schema import PROVIDER
from pipeline.weather_policy import MULTI_SOURCE, WeatherPolicy

_DEMO_OPERATORS = (
    "three demo operators approved these models, and this station keeps their keys; docs/artifacts.md says how real ones"
    " take their place"
)

_KEPT_OUT = "the last month of the embedded data was kept out of training: the service can be asked for its days"


def train(
    demand: DemandOption = None,
    weather: WeatherOption = None,
    timezone: TimezoneOption = None,
    holidays: HolidaysOption = "none",
    gate_closure: GateClosureOption = "09:00",
    weather_policy: PolicyOption = MULTI_SOURCE,
    seed: Annotated[int, typer.Option(min=0, help="Decides everything that is random.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Fill a fresh station with readings, train a main and a fallback model on them, and publish both."""
    from api.schemas.models import ModelAnswer  # noqa: PLC0415 (takes two seconds to import)
    from pipeline.initial import build_embedded_station, build_station  # noqa: PLC0415 (with the above)
    from pipeline.promotion import keeps_demo_operators  # noqa: PLC0415 (with the above)

    policy = WeatherPolicy.parse(weather_policy)
    notes: tuple[str, ...] = ()
    with progress(quiet=as_json) as report:
        report("reading", -1)
        if demand is None:
            refuse_stray_options(weather or [], timezone)
            station = open_own_station()
            published = build_embedded_station(station, seed, policy, report)
            notes = (_KEPT_OUT,)
        elif not weather:
            raise typer.BadParameter("--demand needs at least one --weather NAME=FILE")
        else:
            own = read_own_files(demand, weather, timezone, holidays, gate_closure)
            notes = (*own.notes, *(_no_forecasts(name) for name in own.perfect_foresight))
            station = open_own_station()
            report("training", -1)
            weather_rows = own.weather.assign(**{PAYLOAD_SHA256: own.weather[PROVIDER].map(own.digests)})
            published = build_station(station, own.utility, own.demand, weather_rows, policy, seed)
    answers = [ModelAnswer.model_validate(record) for record in published if record is not None]
    if as_json:
        print_json({"models": [answer.model_dump(mode="json") for answer in answers], "notes": notes})
        return
    rows = [(a.model_id, a.role, a.state, a.forecaster, a.weather_policy, f"{a.as_of:%Y-%m-%d %H:%M}") for a in answers]
    print_table(f"Published in {station.home}", ("id", "role", "state", "forecaster", "weather", "as of (UTC)"), rows)
    if keeps_demo_operators(station):
        notes = (*notes, _DEMO_OPERATORS)
    for line in notes:
        typer.echo(f"note: {line}")


def _no_forecasts(name: str) -> str:
    return f"weather {name} holds no forecasts: it can be learned from, but no day is forecast with it"
