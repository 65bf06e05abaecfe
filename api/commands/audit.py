"""`gridward audit verify`, `prove`, `export`; `gridward trace provider`, `forecast`, `delivery`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from api.audit_reading import export as export_part
from api.audit_reading import proof_of_entry, proof_of_growth, public_keys, verified_log
from api.console import open_own_station
from api.output import AsJson, print_facts, print_json, print_table
from api.written_files import require_folder
from data.provenance import blast_radius, exposed_hours
from pipeline.database import transaction
from pipeline.ingest import load_utility
from pipeline.station import catch_up
from pipeline.trace import Deliveries, deliveries_of
from pipeline.trace import trace_delivery as trace_on
from pipeline.trace import trace_forecast as trace_back
from security.audit_export import verify_export
from security.audit_heads import SignedHead
from security.audit_proofs import ConsistencyProof, InclusionProof


def verify(
    export: Annotated[Path | None, typer.Option(help="An exported file, verified without any station; needs --key.")] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="The auditor's public key, hex or a PEM file; repeatable; with --export.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the whole audit log: chain, Merkle tree, and every signed head, here and at the witness."""
    if (export is None) != (not key):
        raise typer.BadParameter("--export and --key go together")
    if export is not None:
        verified, keys = verify_export(export, [_key_text(one) for one in key or ()]), {}
    else:
        station = open_own_station()
        verified, keys = verified_log(station, datetime.now(UTC)), public_keys(station)
    if as_json:
        print_json({**asdict(verified), **({"keys": keys} if keys else {})})
        return
    facts = {"entries": verified.entries, "signed heads": verified.heads, "root": verified.root_hash}
    print_facts("All of it holds", {**facts, **{f"public key {name}": text for name, text in keys.items()}})


def prove(
    seq: Annotated[int | None, typer.Argument(min=1, help="The entry's number.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Of the log to prove it in; default: the newest signed.")] = None,
    since: Annotated[int | None, typer.Option(min=1, help="Instead: prove that the log of this size only grew.")] = None,
) -> None:
    """Print a proof that an entry stands in the log, or that the log only grew, with the newest signed head, as JSON."""
    station = open_own_station()
    catch_up(station, datetime.now(UTC))
    try:
        if seq is not None and since is None:
            proof, head = _as_facts(proof_of_entry(station, seq, size))
        elif seq is None and since is not None:
            proof, head = _as_facts(proof_of_growth(station, since, size))
        else:
            raise typer.BadParameter("give an entry's number, or --since SIZE")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    print_json({"proof": proof, "head": head})


def export(
    out: Annotated[Path, typer.Option(help="A new file.")],
    after: Annotated[int, typer.Option(min=0, help="Only the entries that follow this one.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write the audit log with its signed heads to a file that is verified without the station."""
    require_folder(out, "--out")
    verified = export_part(open_own_station(), out, after, datetime.now(UTC))
    if as_json:
        print_json({**asdict(verified), "file": str(out)})
    else:
        typer.echo(f"{verified.entries} entries and {verified.heads} signed heads hold and are in {out}")


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


def _as_facts(proved: tuple[InclusionProof | ConsistencyProof, SignedHead]) -> tuple[dict[str, object], dict[str, object]]:
    proof, head = proved
    return asdict(proof), {**asdict(head), "signed": head.signed}


def _key_text(key: str) -> str:
    path = Path(key)
    return path.read_text(encoding="ascii", errors="replace") if path.is_file() else key


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
