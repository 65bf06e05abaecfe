"""What a requirements file pins: each distribution's name, version, and the SHA-256 of every file it may come as.

Only what `make lock` writes is read: one `name==version`, perhaps a marker, and its hashes. Anything else (an index
address, a range, a folder, a requirement without a hash) is refused, since it would leave something to be chosen later
(AML.T0010.001).

Source: PEP 503 (normalised names), pip's hash-checking mode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from security.errors import IntegrityError, UnavailableError

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)"
    r"(?: ; (?P<marker>[^\\]+?))?(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)"
)
_SEPARATORS = re.compile(r"[-_.]+")


@dataclass(frozen=True)
class Pin:
    """One distribution: `name` normalised, `version`, `sha256s` of its files in hex, `marker` for which platforms."""

    name: str
    version: str
    sha256s: frozenset[str]
    marker: str = ""


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return _SEPARATORS.sub("-", name).lower()


def read_pins(path: Path) -> tuple[Pin, ...]:
    """The pins of a requirements file, in its order; a name stands twice where its version depends on the platform.

    Raises UnavailableError when the file cannot be read, IntegrityError for a line that pins nothing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(
            "these requirements cannot be read", where=str(path), mend="name the file of pins that was installed from"
        ) from error
    pins = tuple(_pin(line, f"{path}:{number}") for number, line in _logical_lines(text))
    if not pins:
        raise IntegrityError("nothing is pinned here", where=str(path), mend="run: make lock")
    return pins


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their continuations joined, without comments and empty ones; each with the number it begins at."""
    parts: list[str] = []
    begins = 1
    for number, line in enumerate(text.splitlines(), start=1):
        if not parts:
            begins = number
        part = line.strip()
        if part.startswith("#") or not part:
            continue
        parts.append(part.removesuffix("\\").strip())
        if not part.endswith("\\"):
            yield begins, " ".join(parts)
            parts = []
    if parts:
        yield begins, " ".join(parts)


def _pin(line: str, where: str) -> Pin:
    match = _PIN.fullmatch(line)
    if match is None:
        raise IntegrityError("this is no pin of one version by its SHA-256", where=where, mend="run: make lock")
    hashes = frozenset(part.rpartition(":")[2] for part in match["hashes"].split())
    return Pin(normalised(match["name"]), match["version"], hashes, match["marker"] or "")
