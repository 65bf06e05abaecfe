"""`gridward verify-install`."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import Annotated

import typer

from api.output import AsJson, print_json
from security.errors import IntegrityError
from security.installed import Examined, examine
from security.pins import read_pins
from security.wheels import Layout

_DEFAULT_PINS = Path("requirements/run.txt")


def verify_install(
    requirements: Annotated[
        list[Path] | None,
        typer.Option(help="A file of pins that was installed from; repeatable. Default: requirements/run.txt."),
    ] = None,
    wheels: Annotated[
        Path | None, typer.Option(help="A folder with the pinned wheels, to compare with their content.")
    ] = None,
    prefix: Annotated[
        Path | None, typer.Option(help="The root of another environment; default: the one this runs in.")
    ] = None,
    no_bytecode: Annotated[bool, typer.Option("--no-bytecode", help="Refuse compiled files, which no wheel holds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare every installed file with what the requirements pin. An environment can lie about itself: use --prefix."""
    pins = {pin for path in requirements or [_DEFAULT_PINS] for pin in read_pins(path)}
    found = examine(_layout(prefix or Path(sys.prefix)), pins, wheels, no_bytecode)
    if as_json:
        print_json(
            {
                "holds": not found.findings,
                "findings": [{"what": one.what, "why": one.why} for one in found.findings],
                "files": found.files,
                "distributions": {"from_wheels": found.from_wheels, "from_records": found.from_records},
                "bytecode_not_compared": 0 if no_bytecode else found.bytecode,
                "not_shown": _not_shown(found, no_bytecode),
            }
        )
    else:
        for line in (*found.findings, *(f"not shown: {note}" for note in _not_shown(found, no_bytecode))):
            typer.echo(str(line))
    if found.findings:
        raise IntegrityError(
            f"{len(found.findings)} of what is installed is not as pinned",
            where=str(prefix or sys.prefix),
            mend="build the environment anew: make clean setup",
        )
    if not as_json:
        held = (
            f"{len(found.from_wheels)} distributions equal their pinned wheels" if wheels else "every file equals its RECORD"
        )
        typer.echo(f"{held}: {found.files} files, none missing, none added")


def _layout(prefix: Path) -> Layout:
    root = prefix.absolute()
    site = sysconfig.get_path("purelib", "venv", vars={"base": str(root)})
    return Layout(Path(site), root, f"python{sys.version_info.major}.{sys.version_info.minor}")


def _not_shown(found: Examined, no_bytecode: bool) -> list[str]:
    notes = []
    if found.from_records:
        names = "all" if not found.from_wheels else ", ".join(found.from_records)
        notes.append(f"RECORD is believed for {names}: whoever changed a file could change RECORD too")
    if found.bytecode and not no_bytecode:
        notes.append(f"{found.bytecode} compiled files were compared with nothing; --no-bytecode refuses them")
    return notes
