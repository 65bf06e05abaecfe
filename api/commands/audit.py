"""`gridward audit verify`, `gridward trace provider`, `forecast`, `delivery`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from api.audit_reading import verified_entries
from api.console import open_own_station
from api.output import AsJson, print_facts, print_json, print_table
from data.provenance import blast_radius, exposed_hours
from pipeline.database import transaction
from pipeline.ingest import load_utility
from pipeline.trace import Deliveries, deliveries_of
from pipeline.trace import trace_delivery as trace_on
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
    moment, station = _moment(since), open_own_station()
    delivered, utility = deliveries_of(station, name, moment), load_utility(station)
    with transaction(station.engine) as session:
        touched = blast_radius(session, name, moment)
        hours = exposed_hours(session, touched, utility)
    if as_json:
        print_json({**asdict(touched), "exposed_hours": hours, "delivered": asdict(delivered)})
        return
    counts = {kind: len(getattr(touched, kind)) for kind in ("snapshots", "models", "forecasts")}
    listed = {"snapshot ids": touched.snapshots, "model ids": touched.models}
    exposure = {"energy MWh": touched.energy_mwh, "hours of delivery": hours}
    heard = {"readings": delivered.readings, "payloads": delivered.payloads, "keys": delivered.key_ids}
    title = f"Touched by {name} since {touched.since:%Y-%m-%d %H:%M} UTC"
    print_facts(title, {**heard, "flagged readings": delivered.flagged, **counts, **listed, **exposure})


def trace_forecast(
    forecast_id: Annotated[str, typer.Argument(help="The forecast's id, as it was answered.")], as_json: AsJson = False
) -> None:
    """Show what a forecast rests on: model, snapshot, and each provider with its standing then and now."""
    traced = trace_back(open_own_station(), forecast_id, datetime.now(UTC))
    facts = asdict(traced)
    if as_json:
        print_json(facts)
        return
    del facts["sources"]
    facts["lake"] = ", ".join(f"{table} version {version}" for table, version in facts["lake"].items())
    print_facts(f"Forecast {facts.pop('forecast_id')}", facts)
    rows = [
        (one.provider, one.learned_until, *_delivered(one.delivered), "yes" if one.forecast else "no", one.then, one.now)
        for one in traced.sources
    ]
    names = ("provider", "learned until", "readings", "payloads", "keys", "forecast used", "standing then", "now")
    print_table("Providers", names, rows)


def trace_delivery(
    payload_sha256: Annotated[
        str, typer.Argument(help="SHA-256 of a message's bytes, as intake records and the lake have it.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show what a provider's message was, and what its values went into."""
    traced = trace_on(open_own_station(), payload_sha256)
    if as_json:
        print_json(asdict(traced))
        return
    first, last = traced.speaks_of
    facts = {
        **asdict(traced.delivered),
        "speaks of": f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC",
        **{kind: len(getattr(traced, kind)) for kind in ("snapshots", "models", "forecasts")},
        "snapshot ids": traced.snapshots,
        "model ids": traced.models,
    }
    print_facts(f"Delivery {payload_sha256}", facts)


def _delivered(deliveries: Deliveries | None) -> tuple[str, str, str]:
    if deliveries is None:
        return "", "", ""
    return str(deliveries.readings), str(deliveries.payloads), ", ".join(deliveries.key_ids)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"--since {text!r} is no ISO 8601 time") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"--since {text!r} has no offset: end it in Z, or in one such as +11:00")
    return moment.astimezone(UTC)
