"""`gridward backtest`."""

from __future__ import annotations

import os
import re
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
from api.written_files import require_folder, write_whole
from data.datasets import load_victoria
from data.schema import AVAILABLE_AT, DEMAND_MW, ISSUED_AT, PROVIDER, TEMPERATURE_C, VALID_AT

if TYPE_CHECKING:
    from pipeline.backtest import BacktestInput

_EMBEDDED = "melbourne"

Day = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="A local day; both ends are included.")]


class ForecasterName(StrEnum):
    """Forecasters that can be tried."""

    ENSEMBLE = "ensemble"
    LINEAR = "linear"
    KERNEL = "kernel"
    DEPARTURE = "departure"
    LIGHTGBM = "lightgbm"
    PROPHET = "prophet"
    SEASONAL_NAIVE = "seasonal-naive"
    CERTIFIED = "certified"
    QUANTILE_TREES = "quantile-trees"


def backtest(  # noqa: PLR0913, PLR0917 (one parameter an option; only typer calls it)
    start: Day,
    end: Day,
    demand: DemandOption = None,
    weather: WeatherOption = None,
    timezone: TimezoneOption = None,
    holidays: HolidaysOption = "none",
    gate_closure: GateClosureOption = "09:00",
    forecaster: Annotated[ForecasterName, typer.Option(help="What forecasts.")] = ForecasterName.ENSEMBLE,
    horizon: Annotated[
        str | None,
        typer.Option(metavar="HOURS|DAYS", help="How far beyond each gate closure, 1h to 7d; default: the next day."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file for every forecast.")] = None,
    report: Annotated[Path | None, typer.Option(help="HTML file: scores by month, hour, regime, lead time.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Months at a time; default: as many as usable cores.")] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast past days as they would have been forecast then, and score them against what was drawn."""
    from pipeline.backtest import run  # noqa: PLC0415 (takes two seconds to import)
    from pipeline.backtest_report import write_report  # noqa: PLC0415 (likewise)

    if end < start:
        raise typer.BadParameter("--end lies before --start")
    ahead = _span(horizon)
    require_folder(out, "--out")
    require_folder(report, "--report")
    with progress(quiet=as_json) as tell:
        tell("reading", -1)
        own = read_own_files(demand, weather or [], timezone, holidays, gate_closure) if demand else None
        if own is None:
            refuse_stray_options(weather or [], timezone)
        source = _source(own)
        result = run(source, start.date(), end.date(), forecaster.value, tell, jobs=jobs or usable_cores(), horizon=ahead)
        if out is not None:
            write_whole({out: lambda draft: _write_predictions(result.predictions, draft)})
        if report is not None:
            tell("writing the report", -1)
            write_whole({report: lambda draft: write_report(result, source, draft)})
    notes = [*result.notes, *(own.notes if own else ())]
    written = {"predictions": out, "report": report}
    if as_json:
        facts = {
            "forecaster": forecaster.value,
            "start": start.date(),
            "end": end.date(),
            "timezone": source.utility.timezone,
        }
        print_json({**facts, "scores": result.scores, "notes": notes, **written})
        return
    print_facts(f"{forecaster.value}, {start:%Y-%m-%d} to {end:%Y-%m-%d}", result.scores)
    for line in notes:
        typer.echo(f"note: {line}")
    for path in filter(None, written.values()):
        typer.echo(f"wrote {path}")


def _span(text: str | None) -> pd.Timedelta | None:
    """A span of time as `--horizon` writes it: 12h, 7d."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,3})([hd])", text)
    if match is None:
        raise typer.BadParameter(f"--horizon {text!r} is no span of time: write it as 12h or 7d")
    return pd.Timedelta(hours=int(match[1]) * (24 if match[2] == "d" else 1))


def usable_cores() -> int:
    """Cores that this process may use, which may be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def _write_predictions(predictions: pd.DataFrame, path: Path) -> None:
    predictions.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ", float_format="%.6f")
