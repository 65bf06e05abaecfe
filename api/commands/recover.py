"""`gridward recover`: from the lie of a provider back to a model that can be trusted, in one command that may be killed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from api.console import ACTOR, find_own_station, open_settings
from api.output import AsJson, print_facts, print_json, print_table, progress
from security.errors import UnavailableError

if TYPE_CHECKING:
    from pipeline.recovery.plan import RecoveryPlan
    from pipeline.recovery.report import RecoveryReport

DEFAULT_REASON = "recovery from a lie"
# What is being done once a state is reached; nothing comes after the last.
STAGES = {"planned": "revoking", "revoked": "training", "trained": "asking the gates", "judged": "promoting"}


def recover(
    provider: Annotated[str, typer.Option(help="The provider that lied.")],
    since: Annotated[str, typer.Option(help="auto, an ISO moment (UTC), or a date (local midnight).")] = "auto",
    reason: Annotated[str, typer.Option(help="Why; stands in the audit log.")] = DEFAULT_REASON,
    as_of_day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Use nothing known after this local day's gate closure.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides everything that is random in training.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Revoke a provider, train anew without its lie, and put the model in service if it passes. Run it again to go on."""
    from pipeline.ingest import load_readings  # noqa: PLC0415 (takes two seconds to import)
    from pipeline.recovery import run  # noqa: PLC0415
    from pipeline.recovery.plan import RecoveryRequest  # noqa: PLC0415
    from pipeline.serving import wall_clock  # noqa: PLC0415

    settings = open_settings()
    replayed = settings.replay_at
    clock = wall_clock if replayed is None else lambda: replayed
    day = as_of_day.date() if as_of_day else None
    request = RecoveryRequest(provider, ACTOR, reason.strip() or DEFAULT_REASON, since, day, seed)
    with progress(quiet=as_json) as report:
        report("reading what was taken in", -1)
        station = find_own_station(settings)
        if station is None:
            raise UnavailableError("there is no station", where=str(settings.home), mend="run `gridward train` first")
        readings = load_readings(station)
        report("looking for the onset", -1)
        if dry_run:
            plan = run.preview(station, readings, request, clock())
        else:
            made = run.recover(
                station, readings, request, clock=clock, reached=lambda state: report(STAGES.get(state, "finishing"), -1)
            )
    if dry_run:
        _print_plan(plan, as_json=as_json)
    else:
        _print_report(made, as_json=as_json)


def _print_plan(plan: RecoveryPlan, *, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": True, "plan": plan.to_json_object()})
        return
    print_facts(f"{plan.recovery_id}: what would be done about {plan.provider}; nothing was changed", _facts(plan))


def _print_report(report: RecoveryReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
        return
    print_facts(f"{report.plan.recovery_id}: {report.plan.provider} is revoked", _facts(report.plan))
    rows = [(gate.name, gate.verdict, gate.why) for gate in report.gates]
    print_table("Gates", ("gate", "verdict", "found"), rows)
    print_table("Seconds", ("step", "seconds"), [*report.seconds.items(), ("in all", sum(report.seconds.values()))])
    print_facts("In service", {"model": report.model_id, "models withdrawn": len(report.withdrawn)})
    typer.echo("note: a running service takes it up with POST /v1/models/reload")


def _facts(plan: RecoveryPlan) -> dict[str, object]:
    days = plan.provider_days
    share = 100 * days.discarded / days.heard if days.heard else 0.0
    backup = f"{plan.clean_snapshot} as of {plan.clean_snapshot_as_of}" if plan.clean_snapshot else "none: all is fused anew"
    return {
        "lies since": plan.onset,
        "evidence": plan.evidence,
        "values refused from": plan.refused_from,
        "last clean snapshot": backup,
        "trained on what was known at": plan.as_of,
        "forecaster": f"{plan.forecaster}, {plan.weather_policy}, seed {plan.seed}",
        "model in service": plan.model_in_service or "none",
        "snapshots, models, forecasts touched": (
            f"{len(plan.touched.snapshots)}, {len(plan.touched.models)}, {plan.touched.forecasts}"
        ),
        "energy forecast with it, MWh": plan.touched.energy_mwh,
        "hours forecast with it": plan.touched.exposed_hours,
        "provider-days discarded": f"{days.discarded} of {days.heard} ({share:.1f} %)",
        "of them before the onset": days.before_onset,
    }
