"""Whether an environment holds what the requirements pin, file by file.

What a file should be comes from one of two places:
    RECORD      written beside the files by whoever installed them. It shows accidents; whoever can change a file can
                change its line too, and nothing pins RECORD itself;
    the wheel   whose SHA-256 the requirements pin: no file can differ from it unseen (AML.T0010.001).
Nothing is imported and nothing of the environment is run. The interpreter, its standard library and what else stands on
`sys.path` are outside: compare those with the image or the package that they came from.

Source: PyPA recording installed projects (RECORD), binary distribution format 1.0.
"""

from __future__ import annotations

import base64
import binascii
import csv
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from security._primitives import sha256_of_stream
from security.errors import IntegrityError, UnavailableError
from security.manifest import FileChanged, open_regular
from security.pins import Pin, normalised
from security.wheels import INSTALLERS_OWN, Layout, files_of_wheel, wheel_of

# Our own code is released with a provenance of its own; pip comes with the interpreter. Neither is a requirement: unless
# they are pinned too, their RECORD is believed, and whoever reads the result is told so.
NOT_REQUIREMENTS = frozenset({"gridward", "pip"})

Expected = dict[Path, frozenset[str]]
"""What may lie at a path: its SHA-256 in hex, one of several, or none where the content is the installer's own."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Finding:
    """One thing that is not as pinned: `what`, a path under the environment's root or a distribution, and `why`."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True)
class Examined:
    """What was compared, and what was found.

    `from_wheels` and `from_records`: distributions by what their files were held against; `bytecode`: compiled files
    that stand beside a known source and were compared with nothing.
    """

    findings: tuple[Finding, ...]
    files: int
    bytecode: int
    from_wheels: tuple[str, ...]
    from_records: tuple[str, ...]


@dataclass(frozen=True)
class _Distribution:
    name: str
    version: str
    info: Path


def examine(layout: Layout, pins: Collection[Pin], wheels: Path | None, refuse_bytecode: bool = False) -> Examined:
    """Hold every file of an environment's site-packages, and every file installed elsewhere, against what is pinned.

    wheels: the folder of the pinned wheels; without it, what RECORD says is believed. refuse_bytecode: a compiled file is
    a finding, since Python runs it instead of its source and no wheel holds it.
    Raises UnavailableError when there is no such environment or folder.
    """
    for folder in (layout.site, wheels):
        if folder is not None and not folder.is_dir():
            raise UnavailableError("there is no such folder", where=str(folder), mend="name the right one")
    distributions = tuple(_distributions(layout.site))
    findings = list(_not_as_pinned(distributions, pins))
    expected: Expected = {}
    sources: dict[str, list[str]] = {"wheel": [], "record": [], "nothing": []}
    for one in distributions:
        try:
            files, source = _files_of(one, layout, pins, wheels)
        except IntegrityError as error:
            findings.append(Finding(error.where or one.info.name, error.problem))
            # One finding is enough: its files, as far as it names them, are not reported one by one.
            files, source = _named(one, layout), "nothing"
        sources[source].append(one.name)
        for path, digests in files.items():
            expected[path] = expected.get(path, frozenset()) | digests
    bytecode: list[Path] = []
    for path in sorted(_files_in(layout.site) - expected.keys()):
        if _is_bytecode_of(path, expected):
            bytecode.append(path)
        else:
            findings.append(Finding(_shown(path, layout), "unknown: no distribution put it there"))
    findings += _changed(expected, layout)
    if refuse_bytecode:
        findings += [Finding(_shown(path, layout), "a compiled file, which no wheel holds") for path in bytecode]
    return Examined(tuple(findings), len(expected), len(bytecode), tuple(sources["wheel"]), tuple(sources["record"]))


def _distributions(site: Path) -> Iterator[_Distribution]:
    for info in sorted(site.glob("*.dist-info")):
        name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
        yield _Distribution(normalised(name), version, info)


def _not_as_pinned(distributions: Collection[_Distribution], pins: Collection[Pin]) -> Iterator[Finding]:
    versions: dict[str, set[str]] = {}
    for pin in pins:
        versions.setdefault(pin.name, set()).add(pin.version)
    seen: set[str] = set()
    for one in distributions:
        if one.name in seen:
            yield Finding(one.info.name, "installed twice")
        elif one.name not in versions and one.name not in NOT_REQUIREMENTS:
            yield Finding(one.info.name, "not pinned")
        elif one.name in versions and one.version not in versions[one.name]:
            yield Finding(one.info.name, f"pinned is {' or '.join(sorted(versions[one.name]))}")
        seen.add(one.name)
    # A pin with a marker may be meant for another platform.
    for name in sorted({pin.name for pin in pins if not pin.marker} - seen):
        yield Finding(name, "pinned, and not installed")


def _files_of(
    one: _Distribution, layout: Layout, pins: Collection[Pin], wheels: Path | None
) -> tuple[Mapping[Path, frozenset[str]], str]:
    pin = next((pin for pin in pins if (pin.name, pin.version) == (one.name, one.version)), None)
    if wheels is None or pin is None:
        return _recorded(one, layout), "record"
    content = wheel_of(wheels, pin)
    if content is None:
        raise IntegrityError("its one pinned wheel was not given", where=one.info.name)
    own = {one.info / name: frozenset[str]() for name in INSTALLERS_OWN if (one.info / name).exists()}
    return files_of_wheel(content, layout) | own, "wheel"


def _recorded(one: _Distribution, layout: Layout) -> Expected:
    files: Expected = {}
    try:
        with open_regular(one.info, "RECORD") as stream:
            rows = list(csv.reader(stream.read().decode("utf-8").splitlines()))
        for name, digest, _ in rows:
            path = Path(os.path.normpath(layout.site / name))
            if not path.is_relative_to(layout.prefix):
                raise IntegrityError(f"RECORD lists {name}, which is outside the environment", where=one.info.name)
            if digest:
                files[path] = frozenset((_hex(digest),))
            elif path == one.info / "RECORD":
                files[path] = frozenset()
    except (FileChanged, UnavailableError, csv.Error, ValueError) as error:
        raise IntegrityError("its RECORD is missing or malformed", where=one.info.name) from error
    return files


def _named(one: _Distribution, layout: Layout) -> Expected:
    try:
        return dict.fromkeys(_recorded(one, layout), frozenset[str]())
    except IntegrityError:
        return {}


def _hex(digest: str) -> str:
    algorithm, _, text = digest.partition("=")
    if algorithm != "sha256":
        raise ValueError("a digest other than SHA-256")
    if _SHA256.fullmatch(text):
        return text  # Some builders write hex there, and pip takes it.
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).hex()
    except binascii.Error as error:
        raise ValueError("a malformed digest") from error


def _changed(expected: Mapping[Path, frozenset[str]], layout: Layout) -> Iterator[Finding]:
    for path, digests in sorted(expected.items()):
        try:
            with open_regular(path.parent, path.name) as stream:
                if digests and sha256_of_stream(stream) not in digests:
                    yield Finding(_shown(path, layout), "altered")
        except FileChanged as error:
            yield Finding(_shown(path, layout), error.why)
        except UnavailableError as error:
            yield Finding(_shown(path, layout), error.problem)


def _files_in(folder: Path) -> set[Path]:
    """Every file below, and every link whether to a file or a folder: what a link points at is not looked into."""
    files: set[Path] = set()
    for parent, names, leaves in os.walk(folder):
        links = [name for name in names if Path(parent, name).is_symlink()]
        files |= {Path(parent, name) for name in (*leaves, *links)}
    return files


def _is_bytecode_of(path: Path, expected: Mapping[Path, frozenset[str]]) -> bool:
    """Whether Python would take this for the compiled form of a source that a distribution put there."""
    source = path.parent.parent / f"{path.name.partition('.')[0]}.py"
    in_place = path.suffix == ".pyc" and path.parent.name == "__pycache__" and not path.is_symlink()
    return in_place and source in expected


def _shown(path: Path, layout: Layout) -> str:
    return str(path.relative_to(layout.prefix) if path.is_relative_to(layout.prefix) else path)
