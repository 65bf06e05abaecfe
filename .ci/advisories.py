"""Ask an advisory service about every pinned package, and say plainly when nobody answered: `make audit`.

pip-audit says "No known vulnerabilities found", and leaves with 0, also when it asked nobody; and a service that answers
every question with an empty page knows no vulnerability either. So the verdict "none known" is given only when
    1. the service knew of a vulnerability that everybody knows (a canary: an old release that is listed since years),
    2. and its answer names every package that is pinned for this platform, at the pinned version.
Otherwise: "not run", with the reason.

Exit codes: 0 none known, or not run; 1 vulnerabilities; 5 not run in release mode (`--release`).
A tool of this repository and no part of a station: the wheel does not carry it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from security.pins import Pin, normalised, read_pins

_PIP_AUDIT = Path(sys.executable).with_name("pip-audit")
# PyYAML 5.3 runs code from a file it loads (CVE-2020-1747). The digest is only there since one must be.
_CANARY = f"pyyaml==5.3 --hash=sha256:{'0' * 64}\n"
_NOT_RUN = 5
_PATIENCE_SECONDS = 600


class NotRun(Exception):
    """The question was not answered: `why`."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


@dataclass(frozen=True)
class Verdict:
    """What the service knows: `known`, a line for each vulnerability; `asked`, how many packages it was asked about."""

    known: tuple[str, ...]
    asked: int


def ask(requirements: Path, command: Sequence[str]) -> Verdict:
    """What the service knows about a file of pins. Raises NotRun when there is no answer, or not about everything."""
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / "canary.txt"
        canary.write_text(_CANARY, encoding="utf-8")
        if not any(package["vulns"] for package in _answer(canary, command)):
            raise NotRun("the advisory service does not know what everybody knows (CVE-2020-1747)")
    packages = _answer(requirements, command)
    _require_all(read_pins(requirements), packages)
    known = tuple(_line(package, found) for package in packages for found in package["vulns"])
    return Verdict(known, len(packages))


def _line(package: dict[str, Any], found: dict[str, Any]) -> str:
    mended = ", ".join(found["fix_versions"]) or "no version"
    return f"{package['name']} {package['version']}: {found['id']}, mended in {mended}"


def _answer(requirements: Path, command: Sequence[str]) -> list[dict[str, Any]]:
    options = ["--strict", "--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    try:
        done = subprocess.run(  # noqa: S603 (our own tool, fixed options, a file of ours)
            [*command, *options, "--requirement", str(requirements)],
            capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotRun(f"pip-audit: {error}") from error
    # It leaves with 1 for a vulnerability and for every failure: only what it wrote tells them apart.
    try:
        answered = json.loads(done.stdout)["dependencies"]
        return [{key: package[key] for key in ("name", "version", "vulns")} for package in answered]
    except (ValueError, KeyError, TypeError) as error:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise NotRun(said[-1][:300] if said else "pip-audit said nothing") from error


def _require_all(pins: Sequence[Pin], packages: Sequence[dict[str, Any]]) -> None:
    answered = {(normalised(package["name"]), package["version"]) for package in packages}
    # Pins with a marker may be meant for another platform: pip-audit asks about those of this one.
    missing = [pin.name for pin in pins if not pin.marker and (pin.name, pin.version) not in answered]
    if missing:
        raise NotRun(f"no answer about {len(missing)} of {len(pins)} packages, such as {missing[0]}")


def main(arguments: Sequence[str], command: Sequence[str] = (str(_PIP_AUDIT),)) -> int:
    """Print the verdict; see the exit codes above."""
    parser = argparse.ArgumentParser(prog="advisories", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--release", action="store_true", help="a question that was not answered is a failure")
    parser.add_argument("requirements", type=Path)
    asked = parser.parse_args(arguments)
    try:
        verdict = ask(asked.requirements, command)
    except NotRun as reason:
        sys.stdout.write(f"audit of {asked.requirements}: not run: {reason.why}\n")
        return _NOT_RUN if asked.release else 0
    lines = verdict.known or (f"no known vulnerability in {verdict.asked} packages, each answered for",)
    sys.stdout.write("".join(f"audit of {asked.requirements}: {line}\n" for line in lines))
    return 1 if verdict.known else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
