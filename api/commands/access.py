"""`gridward api-key …`, `gridward token-revoke`, `gridward keys rotate-token-key`: who may ask the service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from api.console import ACTOR, find_own_station, open_own_station, open_settings
from api.output import AsJson, print_facts, print_json, print_table
from pipeline.database import reading, transaction
from pipeline.rotate_token_key import rotate_token_key as rotate
from pipeline.station import Station, note
from security.api_keys import LONGEST_KEY_LIFETIME, api_keys, make_api_key, pepper_of, revoke_api_key
from security.errors import UnavailableError
from security.identity import Role
from security.revoked_tokens import revoke_token

Reason = Annotated[str, typer.Option(help="Why; stands in the audit log.")]

WITHIN = "a running service believes it no more within two seconds"


def create(
    role: Annotated[Role, typer.Option(help="What the bearer may do.")],
    owner: Annotated[str, typer.Option(help="Whose key it is; stands in the audit log.")],
    days: Annotated[int, typer.Option(min=1, max=LONGEST_KEY_LIFETIME.days, help="Lifetime.")] = 90,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print it, this once, and nothing else. Whoever may read the station's keys may make any."""
    station, now = open_own_station(), datetime.now(UTC)
    try:
        with transaction(station.engine) as session:
            pepper, lifetime = pepper_of(station.chest), timedelta(days=days)
            made = make_api_key(session, pepper, owner, role, lifetime, by=ACTOR, at=now)
    except ValueError as error:
        raise typer.BadParameter(f"--owner: {error}") from None
    details = {"api_key_id": made.record.key_id, "role": role.value, "until": made.record.expires_at.isoformat()}
    note(station, actor=ACTOR, action="access.granted", subject=owner, details=details, at=now)
    if as_json:
        print_json({"key": made.text, "key_id": made.record.key_id, "expires_at": made.record.expires_at})
    else:
        typer.echo(made.text)


def list_keys(as_json: AsJson = False) -> None:
    """Show every API key there ever was, without its secret, which nobody has."""
    with reading(_station().engine) as session:
        found = api_keys(session)
    now = datetime.now(UTC)
    rows = [
        {
            "key_id": record.key_id,
            "owner": record.owner,
            "role": record.role,
            "state": "revoked" if record.revoked_at else ("expired" if record.expires_at <= now else "active"),
            "expires_at": record.expires_at,
            "last_used_on": record.last_used_on,
            "created_by": record.created_by,
        }
        for record in found
    ]
    if as_json:
        print_json(rows)
    else:
        columns = ("id", "owner", "role", "state", "expires (UTC)", "last used", "made by")
        print_table("API keys", columns, [tuple(row.values()) for row in rows])


def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The key's id, the middle part of its text.")],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Withdraw an API key for good, and every token that was issued for it."""
    station, now = _station(), datetime.now(UTC)
    with transaction(station.engine) as session:
        record = revoke_api_key(session, key_id, by=ACTOR, reason=_said(reason), at=now)
    details = {"owner": record.owner, "reason": reason}
    note(station, actor=ACTOR, action="access.revoked", subject=f"API key {key_id}", details=details, at=now)
    _print_revoked(f"API key {key_id}", as_json=as_json)


def token_revoke(
    token_id: Annotated[str, typer.Argument(help="The token's id, as the audit log and GET /v1/whoami show it.")],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Withdraw a token before it runs out."""
    station, now = _station(), datetime.now(UTC)
    try:
        with transaction(station.engine) as session:
            revoke_token(session, token_id, by=ACTOR, reason=_said(reason), at=now)
    except ValueError as error:
        raise typer.BadParameter(f"{token_id}: {error}") from None
    note(station, actor=ACTOR, action="access.revoked", subject=f"token {token_id}", details={"reason": reason}, at=now)
    _print_revoked(f"token {token_id}", as_json=as_json)


def rotate_token_key(
    leaked: Annotated[bool, typer.Option("--leaked", help="Revoke the old keys now: everybody needs a new token.")] = False,
    as_json: AsJson = False,
) -> None:
    """Sign tokens with a new key. What the old one signed opens until it runs out, unless it leaked."""
    done = rotate(_station(), leaked=leaked, by=ACTOR, at=datetime.now(UTC))
    facts = {"token_key": done.key_id, "revoked": done.revoked, "old_tokens_open_until": done.old_until}
    if as_json:
        print_json(facts)
    else:
        print_facts("Rotated", facts)


def _station() -> Station:
    settings = open_settings()
    station = find_own_station(settings)
    if station is None:
        raise UnavailableError("no station here", where=str(settings.home), mend="set GRIDWARD_HOME to the station's folder")
    return station


def _said(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("--reason is empty: say why, for the audit log")
    return reason


def _print_revoked(what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"revoked": what})
    else:
        typer.echo(f"revoked: {what}; {WITHIN}")
