"""`gridward backtest`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer

from api.output import AsJson, print_facts, print_json, progress
from api.own_files import (
    DemandOption,
    GateClosureOption,
    HolidaysOption,
    OwnFiles,
    TimezoneOption,
    WeatherOption,
    read_own_files,
    refuse_stray_options,
)
from data.datasets import load_victoria
from data.schema import AVAILABLE_AT, DEMAND_MW, ISSUED_AT, PROVIDER, TEMPERATURE_C, VALID_AT
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.backtest import BacktestInput

_EMBEDDED = "melbourne"

Day = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="A local day; both ends are included.")]


class ForecasterName(StrEnum):
    """Forecasters that can be tried."""

    LIGHTGBM = "lightgbm"
    PROPHET = "prophet"
    SEASONAL_NAIVE = "seasonal-naive"


def backtest(  # noqa: PLR0913, PLR0917 (one parameter an option; only typer calls it)
    start: Day,
    end: Day,
    demand: DemandOption = None,
    weather: WeatherOption = None,
    timezone: TimezoneOption = None,
    holidays: HolidaysOption = "none",
    gate_closure: GateClosureOption = "09:00",
    forecaster: Annotated[ForecasterName, typer.Option(help="What forecasts.")] = ForecasterName.LIGHTGBM,
    out: Annotated[Path | None, typer.Option(help="CSV file for every forecast.")] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast past days as they would have been forecast then, and score them against what was drawn."""
    from pipeline.backtest import run  # noqa: PLC0415 (takes two seconds to import)

    if end < start:
        raise typer.BadParameter("--end lies before --start")
    if out is not None and not out.parent.is_dir():
        raise PipelineError("the folder does not exist", where=str(out), mend="make it first, or choose another --out")
    with progress(quiet=as_json) as report:
        report("reading", -1)
        own = read_own_files(demand, weather or [], timezone, holidays, gate_closure) if demand else None
        if own is None:
            refuse_stray_options(weather or [], timezone)
        source = _source(own)
        result = run(source, start.date(), end.date(), forecaster.value, report)
    if out is not None:
        _write_whole(result.predictions, out)
    notes = [*result.notes, *(own.notes if own else ())]
    if as_json:
        written = str(out) if out else None
        facts = {
            "forecaster": forecaster.value,
            "start": start.date(),
            "end": end.date(),
            "timezone": source.utility.timezone,
        }
        print_json({**facts, "scores": result.scores, "notes": notes, "predictions": written})
        return
    print_facts(f"{forecaster.value}, {start:%Y-%m-%d} to {end:%Y-%m-%d}", result.scores)
    for line in notes:
        typer.echo(f"note: {line}")
    if out is not None:
        typer.echo(f"wrote {out}")


def _source(own: OwnFiles | None) -> BacktestInput:
    """One's own files, or the embedded data with its real temperatures, which are perfect foresight."""
    from pipeline.backtest import BacktestInput  # noqa: PLC0415 (takes two seconds to import)

    if own is not None:
        return BacktestInput(own.utility, own.demand, own.weather, own.perfect_foresight)
    dataset = load_victoria()
    ended = pd.DatetimeIndex(dataset.demand_mw.index) + dataset.utility.step
    demand = pd.DataFrame({DEMAND_MW: dataset.demand_mw, AVAILABLE_AT: ended})
    realised = {
        PROVIDER: _EMBEDDED,
        ISSUED_AT: ended,
        VALID_AT: demand.index,
        TEMPERATURE_C: dataset.temperature_c.to_numpy(),
    }
    return BacktestInput(dataset.utility, demand, pd.DataFrame(realised), perfect_foresight=(_EMBEDDED,))


def _write_whole(predictions: pd.DataFrame, out: Path) -> None:
    """Write beside, then rename: nobody finds half a file."""
    draft = out.with_name(f".{out.name}.draft")
    predictions.to_csv(draft, index=False, date_format="%Y-%m-%dT%H:%M:%SZ", float_format="%.6f")
    draft.replace(out)
