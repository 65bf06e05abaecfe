"""`gridward audit verify`, `gridward trace provider`, `gridward trace forecast`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from api.audit_reading import verified_entries
from api.console import open_own_station
from api.output import AsJson, print_facts, print_json, print_table
from data.provenance import blast_radius
from pipeline.database import transaction
from pipeline.trace import trace_forecast as trace_back


def verify(as_json: AsJson = False) -> None:
    """Check the whole audit log: its chain, and its signed heads."""
    count = verified_entries(open_own_station())
    if as_json:
        print_json({"verified": count})
    else:
        typer.echo(f"all {count} entries hold")


def trace_provider(
    name: Annotated[str, typer.Argument(help="The provider.")],
    since: Annotated[str, typer.Option(metavar="ISO", help="A moment with an offset, as 2014-03-01T00:00Z.")],
    as_json: AsJson = False,
) -> None:
    """Show everything that a provider's readings or forecasts went into since a moment."""
    moment = _moment(since)
    with transaction(open_own_station().engine) as session:
        touched = blast_radius(session, name, moment)
    if as_json:
        print_json(asdict(touched))
        return
    counts = {kind: len(getattr(touched, kind)) for kind in ("snapshots", "models", "forecasts")}
    listed = {"snapshot ids": touched.snapshots, "model ids": touched.models, "energy MWh": touched.energy_mwh}
    print_facts(f"Touched by {name} since {touched.since:%Y-%m-%d %H:%M} UTC", {**counts, **listed})


def trace_forecast(
    forecast_id: Annotated[str, typer.Argument(help="The forecast's id, as it was answered.")], as_json: AsJson = False
) -> None:
    """Show what a forecast rests on: model, snapshot, and each provider with its standing then and now."""
    with transaction(open_own_station().engine) as session:
        traced = trace_back(session, forecast_id, datetime.now(UTC))
    facts = asdict(traced)
    if as_json:
        print_json(facts | {name: facts[name].isoformat() for name in ("made_at", "snapshot_as_of")})
        return
    sources = facts.pop("sources")
    print_facts(f"Forecast {facts.pop('forecast_id')}", facts)
    rows = [
        (one["provider"], one["learned_until"], "yes" if one["forecast"] else "no", one["then"], one["now"])
        for one in sources
    ]
    print_table("Providers", ("provider", "learned until", "forecast used", "standing then", "now"), rows)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"--since {text!r} is no ISO 8601 time") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"--since {text!r} has no offset: end it in Z, or in one such as +11:00")
    return moment.astimezone(UTC)
