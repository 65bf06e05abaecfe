"""`gridward fuse`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from api.output import AsJson, print_facts, print_json, print_table, progress
from api.own_files import named_files
from api.written_files import require_folder, write_whole
from data.files import DemandFile, WeatherHistory, read_demand, read_weather_history
from data.holidays_calendar import zone_named
from data.trust.rules import FEWEST_BASELINE_DAYS
from pipeline.errors import PipelineError
from pipeline.fuse import BASELINE_DAYS, fuse_histories
from pipeline.fuse_report import report_of, write_fused, write_json, write_page


def fuse(
    weather: Annotated[list[str], typer.Option("--weather", metavar="NAME=FILE", help="A provider's history; repeatable.")],
    timezone: Annotated[str, typer.Option(help="IANA zone of the utility.")],
    out: Annotated[Path, typer.Option(help="CSV file for the fused temperature, with every reading's flags.")],
    report: Annotated[Path, typer.Option(help="JSON file: what is thought of each provider, since when, and why.")],
    demand: Annotated[Path | None, typer.Option(help="Demand, CSV or Parquet: the independent witness.")] = None,
    html: Annotated[Path | None, typer.Option(help="HTML page: the report with a plot of each provider.")] = None,
    baseline_days: Annotated[
        int, typer.Option(min=FEWEST_BASELINE_DAYS, help="Days at the start in which everybody is trusted.")
    ] = BASELINE_DAYS,
    as_json: AsJson = False,
) -> None:
    """Find out who lied in weather histories, and fuse what the others said into one temperature with its uncertainty."""
    named, zone = named_files(weather), zone_named(timezone)
    outputs = {"--out": out, "--report": report, "--html": html}
    _refuse_overwriting(
        {option: path for option, path in outputs.items() if path}, [*named.values(), *filter(None, [demand])]
    )
    with progress(quiet=as_json) as tell:
        tell("reading", -1)
        histories = {name: read_weather_history(path) for name, path in named.items()}
        witness = read_demand(demand) if demand is not None else None
        tell("watching", -1)
        result = fuse_histories(histories, witness, zone, baseline_days)
        facts = report_of(
            result, _unread({**{str(named[name]): file for name, file in histories.items()}, str(demand): witness})
        )
        tell("writing", -1)
        files: dict[Path, Callable[[Path], None]] = {
            out: lambda draft: write_fused(result, draft),
            report: lambda draft: write_json(facts, draft),
        }
        if html is not None:
            files[html] = lambda draft: write_page(result, facts, draft)
        write_whole(files)
    written = {option.removeprefix("--"): path for option, path in outputs.items()}
    if as_json:
        print_json({**facts, "written": written})
    else:
        _print(facts, list(files))


def _unread(files: Mapping[str, WeatherHistory | DemandFile | None]) -> tuple[str, ...]:
    return tuple(
        f"{path}: columns not read: {', '.join(file.ignored_columns)}"
        for path, file in files.items()
        if file is not None and file.ignored_columns
    )


def _refuse_overwriting(outputs: Mapping[str, Path], inputs: list[Path]) -> None:
    taken = {path.resolve() for path in inputs}
    for option, path in outputs.items():
        require_folder(path, option)
        if path.resolve() in taken:
            mend = f"choose another {option}"
            raise PipelineError("the file is read here, or written twice", where=str(path), mend=mend)
        taken.add(path.resolve())


def _print(facts: dict[str, Any], written: list[Path]) -> None:
    rows = []
    for name, provider in facts["providers"].items():
        last = provider["events"][-1] if provider["events"] else {"at": "", "onset": "", "reason": ""}
        rows.append((name, provider["status"], last["at"][:10], last["onset"][:10], last["reason"], provider["unreadable"]))
    print_table("providers", ("name", "status", "decided", "onset", "reason", "unreadable"), rows)
    coverage = f"{100 * facts['fused']['coverage']:.2f} %"
    print_facts("fused temperature", {**facts["fused"], "coverage": coverage})
    for line in facts["notes"]:
        typer.echo(f"note: {line}")
    for path in written:
        typer.echo(f"wrote {path}")
