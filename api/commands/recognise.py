"""`gridward recognise FILE`: whose answers a suspect model was learned from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.console import ACTOR, open_serving
from api.output import AsJson, print_json, print_table

_SHOWN = 10


def recognise(
    file: Annotated[Path, typer.Argument(help="The suspect's forecasts: CSV with timestamp and forecast_mw.")],
    callers: Annotated[
        list[str] | None, typer.Option("--caller", help="Whom to suspect; repeatable. Default: everybody who was answered.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hold a suspect model's forecasts of past days against the watermark of every caller."""
    from pipeline.database import transaction  # noqa: PLC0415 (takes two seconds to import)
    from pipeline.suspect_model import callers_served, held_against, read_suspect  # noqa: PLC0415 (with the above)
    from pipeline.watermark import NAMED_Z  # noqa: PLC0415 (with the above)

    forecast, serving = read_suspect(file), open_serving()
    if not callers:
        with transaction(serving.station.engine) as session:
            callers = callers_served(session)
    suspicion = held_against(serving, forecast, callers, by=ACTOR)
    if as_json:
        shown = [{"caller": one.subject, "z": one.z, "p": one.p, "recognised": one.recognised} for one in suspicion.overlaps]
        print_json({"days": suspicion.days, "named_from_z": NAMED_Z, "callers": shown})
        return
    rows = [(one.subject, one.z, one.p, "yes" if one.recognised else "") for one in suspicion.overlaps[:_SHOWN]]
    title = f"{suspicion.days} days against the marks of {len(callers)} callers; named from z {NAMED_Z}"
    print_table(title, ("caller", "z", "share of made-up callers above", "learned from its answers"), rows)
