"""`gridward case-study`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from api.output import AsJson, print_facts, print_json, print_table, progress
from pipeline.errors import ClaimsNotMet, PipelineError

_WORLDS = ("clean", "undefended", "defended")
_OURS = {"worlds", "providers", "case_study.json", "report.html", "picture.png"}


def case_study(
    seed: Annotated[int, typer.Option(min=0, help="Decides everything that is random.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the report and its data; emptied first.")] = Path("var/case-study"),
    as_json: AsJson = False,
) -> None:
    """Replay the incident on real demand: clean, undefended and defended worlds, then detection and recovery."""
    from pipeline.case_study import run  # noqa: PLC0415 (loads every room)

    _require_ours(out)
    with progress(quiet=as_json) as report:
        result = run(seed, out, report)
    files = {"report": str(result.report), "data": str(result.data)}
    if as_json:
        print_json({"summary": result.summary, "timings_seconds": result.timings, **files})
    else:
        _print_story(result.summary)
        print_table("Where the time went", ("stage", "seconds"), list(result.timings.items()))
        print_facts("Written", files)
    broken = [str(claim["claim"]) for claim in result.summary["bounds"] if not claim["holds"]]
    if broken:
        raise ClaimsNotMet(broken)


def _require_ours(out: Path) -> None:
    """A run empties its folder first: never one with anything in it that no earlier run made."""
    foreign = sorted(path.name for path in out.iterdir() if path.name not in _OURS) if out.is_dir() else []
    if foreign or (out.exists() and not out.is_dir()):
        what = f"it holds {foreign[0]!r}" if foreign else "it is a file"
        raise PipelineError(f"this is no case-study folder: {what}", where=str(out), mend="name a new folder with --out")


def _print_story(summary: Mapping[str, Any]) -> None:
    timeline = summary["timeline"]
    rows = [(event, *(timeline[world][event] or "—" for world in timeline)) for event in timeline["undefended"]]
    print_table("When it happened", ("", *timeline), rows)
    print_table(
        "Accuracy",
        ("period", "world", "MAPE %", "bias in mild hours %", "forecast too high, MWh"),
        [
            (name, world, window[world]["mape_percent"], window[world]["mild_bias_percent"], window[world]["over_mwh"])
            for name, window in summary["windows"].items()
            for world in _WORLDS
        ],
    )
    kinds = ("snapshots", "models", "forecasts")
    touched = [
        (world, *(len(facts[kind]) for kind in kinds), facts["energy_mwh"]) for world, facts in summary["touched"].items()
    ]
    print_table("What the compromised provider touched", ("world", *kinds, "MWh forecast with it"), touched)
    exchanges = [(item["act"], item["role"], item["request"], item["status"]) for item in summary["service"]]
    print_table("The response", ("", "role", "request", "status"), exchanges)
    print_facts("What it cost the undefended world", summary["cost"])
    print_facts("The poisoned models told the honest weather: what they had learned", summary["learned"])
    claims = [
        (claim["claim"], f"{claim['value']:g}", f"{claim['relation']} {claim['limit']}", "yes" if claim["holds"] else "NO")
        for claim in summary["bounds"]
    ]
    print_table("Claims", ("", "found", "wanted", "holds"), claims)
