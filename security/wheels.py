"""What a pinned wheel puts where, and with which SHA-256: what an installed file can be held against.

A wheel's bytes are hashed before they are opened as an archive, and the archive is read from the same bytes.

Source: PyPA binary distribution format 1.0 (`*.data` schemes, `#!python`); entry points specification. Console scripts
are in no wheel: pip writes them, in one of the two forms below.
"""

from __future__ import annotations

import configparser
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from security._primitives import sha256_of_bytes
from security.errors import IntegrityError
from security.pins import Pin, normalised

# What pip wrote for years, and what it writes today (26.3).
_SCRIPTS = (
    """# -*- coding: utf-8 -*-
import re
import sys
from {module} import {name}
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit({attribute}())
""",
    """import sys
from {module} import {name}
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit({attribute}())
""",
)
# Written by whoever installs, read by nobody who runs: what is in them is not compared.
INSTALLERS_OWN = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")


@dataclass(frozen=True)
class Layout:
    """Where an environment keeps things: `site` (site-packages), `prefix` (its root), `python` (as `python3.11`)."""

    site: Path
    prefix: Path
    python: str

    @property
    def interpreters(self) -> tuple[str, ...]:
        """Every name under which a script may call this environment's interpreter."""
        return tuple(str(self.prefix / "bin" / name) for name in ("python", "python3", self.python))


def wheel_of(folder: Path, pin: Pin) -> bytes | None:
    """The bytes of the one wheel of this pin in a folder; None when there is none, or two.

    Raises IntegrityError when its SHA-256 is not pinned.
    """
    found = [path for path in sorted(folder.glob("*.whl")) if _names(path) == (pin.name, pin.version)]
    if len(found) != 1:
        return None
    content = found[0].read_bytes()
    if sha256_of_bytes(content) not in pin.sha256s:
        raise IntegrityError("this wheel's SHA-256 is not pinned", where=found[0].name, mend="download it again")
    return content


def files_of_wheel(content: bytes, layout: Layout) -> dict[Path, frozenset[str]]:
    """Path → the SHA-256s that the file installed there may have, of a wheel whose bytes were verified.

    Raises IntegrityError for an archive that is no wheel.
    """
    files: dict[Path, frozenset[str]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                # (A distribution may carry others inside of it, with metadata of their own: those are plain files here.)
                folder, _, last = entry.filename.partition("/")
                if entry.is_dir() or (folder.endswith(".dist-info") and last in INSTALLERS_OWN):
                    continue
                member = archive.read(entry)
                files[_target(entry.filename, layout)] = _may_be(entry.filename, member, layout)
                if folder.endswith(".dist-info") and last == "entry_points.txt":
                    files |= dict(_console_scripts(member.decode("utf-8"), layout))
    except (zipfile.BadZipFile, configparser.Error, UnicodeDecodeError, KeyError) as error:
        raise IntegrityError("a pinned file is no wheel", mend="pin wheels only") from error
    return files


def _names(wheel: Path) -> tuple[str, str]:
    name, version, *_ = [*wheel.name.split("-"), ""]
    return normalised(name), version


def _target(name: str, layout: Layout) -> Path:
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return layout.site / name
    scheme, _, rest = rest.partition("/")
    headers = layout.prefix / "include" / "site" / layout.python / first.partition("-")[0]
    roots: Mapping[str, Path] = {
        "purelib": layout.site, "platlib": layout.site, "data": layout.prefix, "scripts": layout.prefix / "bin",
        "headers": headers,
    }  # fmt: skip
    return roots[scheme] / rest


def _may_be(name: str, member: bytes, layout: Layout) -> frozenset[str]:
    first, _, code = member.partition(b"\n")
    if ".data/scripts/" not in name or not first.startswith(b"#!python"):
        return frozenset((sha256_of_bytes(member),))
    return frozenset(sha256_of_bytes(start + code) for start in _shebangs(layout))


def _console_scripts(entry_points: str, layout: Layout) -> Iterator[tuple[Path, frozenset[str]]]:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # script names keep their case
    parser.read_string(entry_points)
    for section in ("console_scripts", "gui_scripts"):
        for script, reference in parser.items(section) if parser.has_section(section) else ():
            module, _, attribute = reference.partition("[")[0].strip().partition(":")
            code = [
                form.format(module=module, name=attribute.partition(".")[0], attribute=attribute).encode()
                for form in _SCRIPTS
            ]
            digests = frozenset(sha256_of_bytes(start + text) for start in _shebangs(layout) for text in code)
            yield layout.prefix / "bin" / script, digests


def _shebangs(layout: Layout) -> Iterator[bytes]:
    """A script's first line, and the two lines that stand there where the interpreter's path is too long for one."""
    for interpreter in layout.interpreters:
        yield f"#!{interpreter}\n".encode()
        yield f"#!/bin/sh\n'''exec' {interpreter} \"$0\" \"$@\"\n' '''\n".encode()
