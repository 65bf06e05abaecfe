"""`gridward registry …` and `gridward operator-key`: which model runs, and who decides it.

An operator's key is a file of the operator's own, opened with the operator's passphrase; the station keeps only the
public half. `--demo` signs with the demo operators' keys, which a station keeps itself until real ones take their place.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr

from api.console import ACTOR, find_own_station, open_settings
from api.output import AsJson, print_facts, print_json, print_table
from pipeline.settings import Settings
from security.errors import UnavailableError
from security.operators import create_operator_key, load_operator, read_public_key
from security.release_rotation import operators

if TYPE_CHECKING:
    from pipeline.station import Station
    from security.signing import PublicKey, Signer

ModelId = Annotated[str, typer.Argument(help="The model, as `gridward registry list` shows it.")]
Reason = Annotated[str, typer.Option(help="Why; stands in the audit log.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key", help="The operator's key file; GRIDWARD_OPERATOR_PASSPHRASE opens it.")
]
Demo = Annotated[bool, typer.Option("--demo", help="Sign with the demo operators' keys that the station keeps.")]
Replace = Annotated[bool, typer.Option("--replace", help="Drop what others were asked to sign instead.")]

RELOAD = "a running service takes it up on POST /v1/models/reload"


def operator_key(
    file: Annotated[Path, typer.Argument(help="The new key file; keep it where the station is not.")],
    as_json: AsJson = False,
) -> None:
    """Make an operator's key, opened by GRIDWARD_OPERATOR_PASSPHRASE, and print its public half."""
    public_text = create_operator_key(file, _passphrase(open_settings()))
    if as_json:
        print_json({"file": str(file), "public_key": public_text})
    else:
        typer.echo(public_text, nl=False)


def list_releases(as_json: AsJson = False) -> None:
    """Show which model runs in each role, every model's state, who decides, and what waits for them."""
    from pipeline.database import transaction  # noqa: PLC0415 (takes two seconds to import)
    from pipeline.promotion import waiting  # noqa: PLC0415 (with the above)
    from pipeline.registry import listing  # noqa: PLC0415 (with the above)
    from pipeline.releases import believed, repository_of  # noqa: PLC0415 (with the above)
    from pipeline.rotate_operators import waiting_rotation  # noqa: PLC0415 (with the above)

    station = _station()
    releases = believed(station)
    with transaction(station.engine) as session:
        models = [
            {
                "id": record.model_id,
                "role": record.role,
                "state": record.state,
                "as_of": record.as_of,
                "published_by": record.published_by,
            }
            for record in listing(session)
        ]
    waits, turning = waiting(station), waiting_rotation(station)
    facts = {
        "operators": operators(repository_of(station)),
        "approvals_expire": min(releases.expires["root"], releases.expires["targets"]),
        "waits": None if waits is None else vars(waits),
        "rotation": None if turning is None else vars(turning),
    }
    running = [vars(release) for release in releases.by_role.values()]
    if as_json:
        print_json({"releases": running, "versions": vars(releases.versions), "models": models, **facts})
        return
    print_table("Releases in force", ("role", "model", "version"), [tuple(release.values()) for release in running])
    print_table(
        "Models", ("id", "role", "state", "as of (UTC)", "published by"), [tuple(model.values()) for model in models]
    )
    print_facts(
        "Who decides", {"operators": facts["operators"], "approvals expire": f"{facts['approvals_expire']:%Y-%m-%d}"}
    )
    if waits is not None:
        print_facts("A model waits", vars(waits))
    if turning is not None:
        print_facts("A rotation waits", vars(turning))


def approve(
    model_id: ModelId, key: KeyFile = None, demo: Demo = False, replace: Replace = False, as_json: AsJson = False
) -> None:
    """Sign, as an operator, that a model shall run in its role; enough operators who do so let it be promoted."""
    from pipeline import promotion  # noqa: PLC0415 (takes two seconds to import)

    settings = open_settings()
    station = _station()
    for number, signer in enumerate(_signers(station, settings, key, demo)):
        approval = promotion.approve(station, model_id, signer, at=_now(settings), replace=replace and number == 0)
    facts = vars(approval)
    if as_json:
        print_json(facts)
    else:
        print_facts("Approved" if approval.approved else "Signed", facts)


def promote(model_id: ModelId, as_json: AsJson = False) -> None:
    """Put a model in service that enough operators approved."""
    from pipeline import promotion  # noqa: PLC0415 (takes two seconds to import)

    record = promotion.promote(_station(), model_id, by=ACTOR, at=_now(open_settings()))
    _print_state(record.model_id, record.role, record.state, as_json=as_json)
    if not as_json:
        typer.echo(f"note: {RELOAD}")


def retire(model_id: ModelId, reason: Reason, as_json: AsJson = False) -> None:
    """Put a model aside that is not in service; it may be approved again."""
    _withdraw(model_id, "retired", reason, as_json=as_json)


def revoke(model_id: ModelId, reason: Reason, as_json: AsJson = False) -> None:
    """Withdraw a model that is not in service, for good."""
    _withdraw(model_id, "revoked", reason, as_json=as_json)


def refresh(as_json: AsJson = False) -> None:
    """Verify the releases, bring the registry in line with them, and sign the newest state anew where it runs out soon."""
    from pipeline.releases import believed, follow_releases  # noqa: PLC0415 (takes two seconds to import)

    station = _station()
    follow_releases(station, _now(open_settings()))
    releases = believed(station)
    facts = {"versions": vars(releases.versions), "expires": dict(releases.expires)}
    if as_json:
        print_json(facts)
        return
    rows = [(kind, facts["versions"][kind], f"{facts['expires'][kind]:%Y-%m-%d %H:%M}") for kind in facts["versions"]]
    print_table("Verified", ("metadata", "version", "expires (UTC)"), rows)


def found_again(reason: Reason, as_json: AsJson = False) -> None:
    """Begin the releases anew, with demo operators, from what the registry says: for a station restored without its keys."""
    from pipeline.found_again import found_again as begin_anew  # noqa: PLC0415 (takes two seconds to import)
    from pipeline.releases import repository_of  # noqa: PLC0415 (with the above)

    if not reason.strip():
        raise typer.BadParameter("--reason is empty: say why, for the audit log")
    station = _station()
    begin_anew(station, by=ACTOR, reason=reason, at=_now(open_settings()))
    names = operators(repository_of(station))
    if as_json:
        print_json({"operators": names})
    else:
        print_facts("Founded again", {"operators": names})


def trust_restored(reason: Reason, as_json: AsJson = False) -> None:
    """Believe the releases of a restored backup beside newer keys, which remember later ones."""
    from pipeline import releases  # noqa: PLC0415 (takes two seconds to import)

    if not reason.strip():
        raise typer.BadParameter("--reason is empty: say why, for the audit log")
    station = _station()
    releases.trust_restored(station, by=ACTOR, reason=reason, at=_now(open_settings()))
    facts = {"versions": vars(releases.believed(station).versions)}
    if as_json:
        print_json(facts)
    else:
        print_facts("Believed", facts["versions"])


def rotate_root(
    key: KeyFile = None,
    demo: Demo = False,
    leave: Annotated[list[str] | None, typer.Option(help="An operator who leaves; repeatable.")] = None,
    join: Annotated[list[str] | None, typer.Option(help="NAME=FILE: who comes, with the public key; repeatable.")] = None,
    new_online_key: Annotated[bool, typer.Option("--new-online-key", help="Replace the station's online key.")] = False,
    replace: Replace = False,
    publish: Annotated[bool, typer.Option("--publish", help="Put in force what enough operators signed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Sign, as an operator, who decides from now on; with --publish, put in force what enough operators signed."""
    from pipeline.rotate_operators import propose_rotation, publish_rotation  # noqa: PLC0415 (takes two seconds to import)

    settings = open_settings()
    station = _station()
    if publish:
        if key or demo or leave or join or new_online_key or replace:
            raise typer.BadParameter("--publish stands alone: what is published was signed before")
        facts, title = vars(publish_rotation(station, by=ACTOR, at=_now(settings))), "In force"
    else:
        named = [_named_key(text) for text in join or []]
        into = dict(named)
        if len(into) < len(named) or len(set(leave or [])) < len(leave or []):
            raise typer.BadParameter("name each operator once")
        for number, signer in enumerate(_signers(station, settings, key, demo)):
            staged = propose_rotation(
                station,
                signer,
                out=leave or [],
                into=into,
                new_online=new_online_key,
                at=_now(settings),
                replace=replace and number == 0,
            )
        facts, title = vars(staged), "Approved" if staged.approved else "Signed"
    if as_json:
        print_json(facts)
    else:
        print_facts(title, facts)


def _signers(station: Station, settings: Settings, key: Path | None, demo: bool) -> list[Signer]:
    """The operator whose key file is named, or as many demo operators as decide together."""
    from pipeline.promotion import DEMO_OPERATORS, THRESHOLD, chest_name  # noqa: PLC0415 (takes two seconds to import)

    if demo == (key is not None):
        raise typer.BadParameter("give --key FILE, or --demo")
    if key is not None:
        return [load_operator(key, _passphrase(settings))]
    kept = [chest_name(name) for name in DEMO_OPERATORS if station.chest.has(chest_name(name))]
    if len(kept) < THRESHOLD:
        raise UnavailableError("this station keeps no demo operators' keys", where="--demo", mend="sign with --key FILE")
    return [station.chest.signer(name) for name in kept[:THRESHOLD]]


def _passphrase(settings: Settings) -> SecretStr:
    if settings.operator_passphrase is None or not settings.operator_passphrase.get_secret_value():
        raise UnavailableError("no operator's passphrase", where="GRIDWARD_OPERATOR_PASSPHRASE", mend="set it first")
    return settings.operator_passphrase


def _named_key(text: str) -> tuple[str, PublicKey]:
    name, separator, file = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"--join {text}: write NAME=FILE")
    try:
        return name, read_public_key(Path(file).read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"--join {name}: cannot read the public key: {error}") from None


def _withdraw(model_id: str, state: str, reason: str, *, as_json: bool) -> None:
    from pipeline.promotion import withdraw  # noqa: PLC0415 (takes two seconds to import)

    if not reason.strip():
        raise typer.BadParameter("--reason is empty: say why, for the audit log")
    record = withdraw(_station(), model_id, state, by=ACTOR, reason=reason, at=_now(open_settings()))
    _print_state(record.model_id, record.role, record.state, as_json=as_json)


def _print_state(model_id: str, role: str, state: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"model": model_id, "role": role, "state": state})
    else:
        print_facts(f"Model {model_id}", {"role": role, "state": state})


def _now(settings: Settings) -> datetime:
    return settings.replay_at or datetime.now(UTC)


def _station() -> Station:
    """The station, if there is one: nothing is made."""
    settings = open_settings()
    station = find_own_station(settings)
    if station is None:
        raise UnavailableError("no station here", where=str(settings.home), mend="run `gridward train` first")
    return station
