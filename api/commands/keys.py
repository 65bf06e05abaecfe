"""`gridward keys status`, `protect`, `rotate`: the key chest, and the keys around the bundles."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from api.console import ACTOR, find_own_station, open_settings
from api.output import AsJson, print_facts, print_json
from pipeline.rotate_keys import bundles_by_key, rotate_bundle_keys
from pipeline.settings import Settings
from pipeline.station import KEYS, Station, note, protection_in
from security.errors import UnavailableError
from security.key_chest import MASTER, protect_chest
from security.kms import VaultKey, vault_key
from security.master_key import Protection, protection_of

UNPROTECTED = (
    "note: whoever may read the folder of keys has them all; set GRIDWARD_KEY_PASSPHRASE and run gridward keys protect"
)


def status(as_json: AsJson = False) -> None:
    """Show what protects the station's keys, which there are, and how many bundles each bundle key wraps."""
    station = _required(open_settings())
    wraps = bundles_by_key(station)
    facts = {
        "folder": str(station.chest.folder),
        "protected_by": protection_of(station.chest.folder / MASTER),
        "signers": station.chest.names(),
        "bundle_keys": wraps,
        "primary_bundle_key": station.bundle_keys.primary_id,
    }
    if as_json:
        print_json(facts)
    else:
        counts = ", ".join(f"{key_id} wraps {count}" for key_id, count in wraps.items())
        print_facts("Keys", {**facts, "bundle_keys": counts})
    if facts["protected_by"] == "none":
        typer.echo(UNPROTECTED, err=True)


def protect(
    old_kms_uri: Annotated[str, typer.Option(help="The KMS that opened the chest until now, if it was another.")] = "",
    as_json: AsJson = False,
) -> None:
    """Protect the master key by the passphrase or the KMS that is set now; the keys under it stay as they are."""
    settings = open_settings()
    new = protection_in(settings)
    if new.by == "none":
        raise UnavailableError(
            "nothing to protect the keys with", where="GRIDWARD_KEY_PASSPHRASE", mend="set it, or GRIDWARD_KMS_URI, first"
        )
    old_words = settings.old_key_passphrase or settings.key_passphrase
    protect_chest(settings.home / KEYS, Protection(old_words, _old_kms(settings, old_kms_uri)), new)
    station = _required(settings)
    note(
        station, actor=ACTOR, action="keys.protected", subject=MASTER, details={"protected_by": new.by}, at=datetime.now(UTC)
    )
    if as_json:
        print_json({"protected_by": new.by})
    else:
        typer.echo(f"protected by {new.by}; copies of the folder of keys that were made before open as they did")


def rotate(as_json: AsJson = False) -> None:
    """Give the bundles a new wrapping key, or finish a rotation that was interrupted. A running service goes on."""
    done = rotate_bundle_keys(_required(open_settings()), by=ACTOR, at=datetime.now(UTC))
    facts = {
        "primary_bundle_key": done.primary_id,
        "rewrapped": done.rewrapped,
        "dropped": done.dropped,
        "resumed": done.resumed,
    }
    if as_json:
        print_json(facts)
    else:
        print_facts("Rotated", facts)


def _required(settings: Settings) -> Station:
    station = find_own_station(settings)
    if station is None:
        raise UnavailableError("no station here", where=str(settings.home), mend="set GRIDWARD_HOME to the station's folder")
    return station


def _old_kms(settings: Settings, uri: str) -> VaultKey | None:
    chosen = uri or settings.kms_uri
    if not chosen:
        return None
    try:
        return vault_key(chosen, settings.vault_token)
    except ValueError as error:
        raise typer.BadParameter(f"--old-kms-uri: {error}") from None
