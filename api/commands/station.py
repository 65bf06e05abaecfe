"""`gridward forecast`, `models`, `providers`, `revoke`, `readmit`, `trust`, `retrain`: the service's work, without it.

Whoever may run these may read the station's keys; in the audit log they are the operator on the console.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from api.console import ACTOR, open_serving
from api.output import AsJson, print_facts, print_json, print_table, progress
from pipeline.provider_standings import StandingEvent
from pipeline.weather_policy import MULTI_SOURCE, WeatherPolicy

if TYPE_CHECKING:
    from api.schemas.forecasts import Certified

ProviderName = Annotated[str, typer.Argument(help="The provider.")]
Reason = Annotated[str, typer.Option(help="Why; stands in the audit log.")]
PolicyOption = Annotated[str, typer.Option("--weather-policy", help="multi-source, or single:NAME to believe one blindly.")]


def forecast(
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The local day to forecast.")],
    explain: Annotated[bool, typer.Option("--explain", help="Add what each driver contributes, in MW.")] = False,
    as_json: AsJson = False,
) -> None:
    """Forecast a local day from what was known at its gate closure."""
    from api.schemas.forecasts import ForecastAnswer  # noqa: PLC0415 (takes two seconds to import)
    from data.schema import QUANTILES  # noqa: PLC0415 (with the above)

    made = open_serving().forecast(day.date(), ACTOR, explained=explain)
    answer = ForecastAnswer.of(made, QUANTILES)
    parts = None if made.explanation is None else made.explanation.reset_index()
    if as_json:
        explanation = {"explanation": None if parts is None else parts.to_dict("records")} if explain else {}
        print_json(answer.model_dump(mode="json") | explanation)
        return
    made_from = ", ".join(answer.sources) or "no weather at all"
    promised = any(row.certified is not None for row in answer.intervals)
    rows = [
        (f"{row.timestamp:%Y-%m-%d %H:%M}", row.forecast_mw, *_outer(row.quantiles), *_certificate(row.certified))
        for row in answer.intervals
    ]
    title = f"{answer.day}: model {answer.model_id}, weather {answer.weather} from {made_from}"
    bounded = ("not below MW", "not above MW") if promised else ()
    print_table(title, ("UTC", "forecast MW", "q10 MW", "q90 MW", *bounded), rows)
    if promised:
        typer.echo("note: the last two hold if at most two weeks of the training data were malicious (docs/certified.md)")
    if explain and parts is None:
        typer.echo("note: the weather-free fallback answered, which does not explain itself")
    elif parts is not None:
        columns = [name.removesuffix("_mw").replace("_", " ") for name in parts.columns[1:]]
        told = [(f"{row[0]:%Y-%m-%d %H:%M}", *row[1:]) for row in parts.itertuples(index=False)]
        print_table("What moves it, in MW: along each row they add up to the forecast", ("UTC", *columns), told)


def models(as_json: AsJson = False) -> None:
    """List every published model and the one that answers."""
    from api.schemas.models import ModelAnswer, ModelsAnswer  # noqa: PLC0415 (takes two seconds to import)

    serving = open_serving()
    listed = [ModelAnswer.model_validate(record) for record in serving.models()]
    answer = ModelsAnswer(active_model_id=serving.active_model_id, models=listed)
    if as_json:
        print_json(answer.model_dump(mode="json"))
        return
    rows = [(m.model_id, m.role, m.state, m.weather_policy, f"{m.as_of:%Y-%m-%d %H:%M}", m.published_by) for m in listed]
    print_table("Models", ("id", "role", "state", "weather", "as of (UTC)", "published by"), rows)


def providers(as_json: AsJson = False) -> None:
    """List every weather provider, its standing and the state of its key."""
    from api.schemas.providers import ProviderAnswer, ProvidersAnswer  # noqa: PLC0415 (takes two seconds to import)

    answer = ProvidersAnswer(providers=[ProviderAnswer.model_validate(view) for view in open_serving().providers()])
    if as_json:
        print_json(answer.model_dump(mode="json"))
        return
    rows = [(p.name, p.state, p.key, p.onset, p.reason, f"{p.last_heard:%Y-%m-%d %H:%M}") for p in answer.providers]
    print_table("Providers", ("name", "state", "key", "not believed since", "reason", "last heard (UTC)"), rows)


def revoke(
    name: ProviderName,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Stop believing a provider: its keys for good, and its values from the estimated onset on."""
    from api.schemas.providers import RevocationAnswer  # noqa: PLC0415 (takes two seconds to import)

    _require_reason(reason)
    with progress(quiet=as_json) as report:
        report("looking for the onset", -1)
        answer = RevocationAnswer.of(open_serving().revoke(name, by=ACTOR, reason=reason))
    if as_json:
        print_json(answer.model_dump(mode="json"))
        return
    touched = {kind: getattr(answer, kind).count for kind in ("snapshots", "models", "forecasts")}
    facts = {"values refused from": answer.onset, "evidence": answer.evidence, **touched, "energy MWh": answer.energy_mwh}
    print_facts(f"{name} is revoked", facts)


def readmit(name: ProviderName, reason: Reason, as_json: AsJson = False) -> None:
    """Put a quarantined or revoked provider on probation: held against the others, and not heard."""
    _require_reason(reason)
    _print_standing(open_serving().readmit(name, by=ACTOR, reason=reason), as_json=as_json)


def trust(name: ProviderName, reason: Reason, as_json: AsJson = False) -> None:
    """Trust a provider again that was heard every day of its probation and has little against it."""
    _require_reason(reason)
    with progress(quiet=as_json) as report:
        report("weighing the evidence", -1)
        event = open_serving().trust(name, by=ACTOR, reason=reason)
    _print_standing(event, as_json=as_json)


def retrain(
    weather_policy: PolicyOption = MULTI_SOURCE,
    as_of_day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Use nothing known after this local day's gate closure.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train from the last clean backup and what came later, and publish. A running service takes it up on reload."""
    from api.schemas.models import ModelAnswer  # noqa: PLC0415 (takes two seconds to import)

    policy = WeatherPolicy.parse(weather_policy)
    with progress(quiet=as_json) as report:
        report("training", -1)
        day = as_of_day.date() if as_of_day else None
        answer = ModelAnswer.model_validate(open_serving().retrain(by=ACTOR, policy=policy, as_of_day=day))
    if as_json:
        print_json(answer.model_dump(mode="json"))
    else:
        waits = answer.state == "candidate"
        print_facts("Published, waits for operators" if waits else "Published and active", answer.model_dump())
        if waits:
            typer.echo(f"note: two operators `gridward registry approve {answer.model_id}`, then it is promoted")


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise typer.BadParameter("--reason is empty: say why, for the audit log")


def _print_standing(event: StandingEvent, *, as_json: bool) -> None:
    from api.schemas.providers import StandingAnswer  # noqa: PLC0415 (takes two seconds to import)

    answer = StandingAnswer.model_validate(event)
    if as_json:
        print_json(answer.model_dump(mode="json"))
    else:
        print_facts(f"{answer.provider}: {answer.from_state} → {answer.to_state}", {"why": answer.reason})


def _certificate(certified: Certified | None) -> tuple[float, ...]:
    return () if certified is None else (certified.lower_mw, certified.upper_mw)


def _outer(quantiles: dict[str, float]) -> tuple[float, float]:
    return quantiles["0.1"], quantiles["0.9"]
