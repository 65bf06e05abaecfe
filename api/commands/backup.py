"""`gridward backup create`, `verify`, `restore`, `list`, `prune`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from api.console import ACTOR, find_own_station, open_settings
from api.output import AsJson, print_facts, print_json, print_table, progress
from pipeline.backup import create as making
from pipeline.backup import prune as pruning
from pipeline.backup import restore as restoring
from pipeline.backup import verify as verifying
from pipeline.backup.chain import Backup
from pipeline.backup.witness import refusals_recorded
from pipeline.settings import Settings
from pipeline.station import KEYS, Station, protection_in
from security.backup_keys import BackupKeys, load_backup_keys
from security.errors import UnavailableError

LONGEST_LOCK_DAYS = 3650
NOT_WITNESSED = "note: nothing outside the folder told that no newer backup was taken away; see --expect"

Folder = Annotated[Path, typer.Argument(help="The folder that the backups stand in.")]
KeysFolder = Annotated[
    Path | None, typer.Option("--keys", help="Folder that holds backup.keyset; default: keys in the station's own folder.")
]
Expect = Annotated[str, typer.Option(help="The id, as create printed it, of a backup that must be in the folder.")]


def create(
    to: Annotated[Path, typer.Option("--to", help="The folder for the backups, best on another disk.")],
    lock_days: Annotated[int, typer.Option(min=0, max=LONGEST_LOCK_DAYS, help="Days in which it cannot be pruned.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Add an encrypted, signed backup of the whole station but its private keys."""
    settings = open_settings()
    station = _required(settings)
    with progress(quiet=as_json) as report:
        report("backing up", -1)
        made = making.create(station, to, settings.backup_passphrase, lock_days=lock_days, by=ACTOR)
    added = {"new_chunks": made.written.chunks, "new_bytes": made.written.size_bytes, "mended_chunks": made.written.mended}
    if as_json:
        print_json({**_facts(made.backup), **added})
    else:
        print_facts("Backed up", {**_told(made.backup), **added})
        typer.echo(f"keep {station.home / KEYS / making.KEY_FILE}, its passphrase and the id away from the backups")


def verify(folder: Folder, keys: KeysFolder = None, expect: Expect = "", as_json: AsJson = False) -> None:
    """Check every backup: signature, chain, completeness, every digest, and that it decrypts."""
    trust = _trust(open_settings(), folder, keys, expect)
    with progress(quiet=as_json) as report:
        report("verifying", -1)
        found = verifying.verify(folder, trust, by=ACTOR)
    facts = {
        "backups": [backup.sequence for backup in found.backups],
        "newest": found.backups[-1].backup_id,
        "files": found.files,
        "chunks": found.chunks,
        "unneeded_chunks": found.unneeded,
        "witnessed": found.witnessed,
    }
    if as_json:
        print_json(facts)
    else:
        print_facts("Holds", facts)
        _say_if_not_witnessed(found.witnessed)


def list_backups(folder: Folder, keys: KeysFolder = None, as_json: AsJson = False) -> None:
    """List the backups, the oldest first, each with its signature verified."""
    chain = verifying.list_backups(folder, _trust(open_settings(), folder, keys), by=ACTOR)
    if as_json:
        print_json({"backups": [_facts(backup) for backup in chain]})
        return
    rows = [tuple(_told(backup).values()) for backup in chain]
    print_table("Backups", tuple(name.replace("_", " ") for name in _told(chain[-1])), rows)


def restore(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="An empty or new folder for the station.")] = None,
    drill: Annotated[
        bool, typer.Option("--drill", help="Restore for a trial, make it forecast, and remove it again.")
    ] = False,
    number: Annotated[int | None, typer.Option(min=1, help="Which backup; default: the newest.")] = None,
    keys: KeysFolder = None,
    expect: Expect = "",
    as_json: AsJson = False,
) -> None:
    """Verify a backup and bring the station back in an empty folder; or try whether that works, and how long it takes."""
    if (out is None) != drill:
        raise typer.BadParameter("give either --out FOLDER or --drill")
    settings = open_settings()
    trust = _trust(settings, folder, keys, expect)
    if out is None:
        _drill(folder, trust, settings, number, as_json=as_json)
        return
    with progress(quiet=as_json) as report:
        report("restoring", -1)
        restored = restoring.restore(folder, out.absolute(), trust, protection_in(settings), sequence=number, by=ACTOR)
    facts = {"number": restored.backup.sequence, "id": restored.backup.backup_id, "home": str(restored.home)}
    if as_json:
        print_json({**facts, "witnessed": restored.witnessed})
        return
    print_facts("Restored", facts)
    typer.echo(f"copy the station's own keys over those in {restored.home / KEYS}, or it makes new signing keys")
    _say_if_not_witnessed(restored.witnessed)


def prune(
    folder: Folder,
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest backups stay.")],
    as_json: AsJson = False,
) -> None:
    """Remove old backups, the oldest first, up to the first that is still locked."""
    settings = open_settings()
    station = _required(settings)
    with progress(quiet=as_json) as report:
        report("pruning", -1)
        done = pruning.prune(station, folder, _keys(settings, station, folder, None), keep=keep, by=ACTOR)
    facts = {
        "removed": [backup.sequence for backup in done.removed],
        "kept": [backup.sequence for backup in done.kept],
        "locked": [f"{backup.sequence} until {_lock(backup)}" for backup in done.locked],
        "chunks_removed": done.chunks_removed,
    }
    if as_json:
        print_json(facts)
    else:
        print_facts("Pruned", facts)


def _drill(folder: Path, trust: verifying.Trust, settings: Settings, number: int | None, *, as_json: bool) -> None:
    from pipeline.backup.drill import drill  # noqa: PLC0415 (takes two seconds to import)

    with progress(quiet=as_json) as report:
        report("restoring for a trial", -1)
        done = drill(folder, trust, settings, sequence=number, by=ACTOR)
    facts = {
        "number": done.backup.sequence,
        "audit_entries": done.audit_entries,
        "snapshots": done.snapshots,
        "model": done.forecast.model_id,
        "forecast_of": str(done.forecast.day),
        "seconds_to_recover": done.seconds_to_recover,
    }
    if as_json:
        print_json({**facts, "seconds": done.seconds})
    else:
        print_facts("The drill passed", {**facts, **{f"seconds: {stage}": taken for stage, taken in done.seconds.items()}})


def _required(settings: Settings) -> Station:
    """A station that is there: an empty one, made by a mistyped folder, is not worth a backup."""
    station = find_own_station(settings)
    if station is None:
        raise UnavailableError("no station here", where=str(settings.home), mend="set GRIDWARD_HOME to the station's folder")
    return station


def _keys(settings: Settings, station: Station | None, folder: Path, keys: Path | None) -> BackupKeys:
    with refusals_recorded(station, "backup.opened", folder, ACTOR):
        return load_backup_keys((keys or settings.home / KEYS) / making.KEY_FILE, settings.backup_passphrase)


def _trust(settings: Settings, folder: Path, keys: Path | None, expect: str = "") -> verifying.Trust:
    station = find_own_station(settings)
    return verifying.Trust(_keys(settings, station, folder, keys), station, expect)


def _told(backup: Backup) -> dict[str, object]:
    """What a table says of a backup."""
    return {
        "number": backup.sequence,
        "id": backup.backup_id,
        "made_at": f"{backup.made_at:%Y-%m-%d %H:%M}",
        "locked_until": _lock(backup),
        "files": backup.files,
        "bytes": backup.size_bytes,
    }


def _facts(backup: Backup) -> dict[str, object]:
    """The same as JSON."""
    locked = backup.locked_until
    exact = {"made_at": backup.made_at.isoformat(), "locked_until": None if locked is None else locked.isoformat()}
    return {**_told(backup), **exact, "digest": backup.digest}


def _lock(backup: Backup) -> str:
    if backup.locked_until is None or not backup.is_locked(datetime.now(UTC)):
        return ""
    return f"{backup.locked_until:%Y-%m-%d %H:%M}"


def _say_if_not_witnessed(witnessed: bool) -> None:
    if not witnessed:
        typer.echo(NOT_WITNESSED, err=True)
