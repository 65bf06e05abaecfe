"""The terms of a release: what it says, which versions of it are believed, and how it is refused.

A release names the model that a role runs. Releases lie in a TUF repository (`release_files`); the operators propose and
the station publishes them (`release_repository`, `release_rotation`); whoever runs a model reads them through
`release_client` and through nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)

from security.errors import GridwardError, IntegrityError, KeyringError, UnavailableError
from security.manifest import canonical_json

FORMAT_VERSION = 1
ROLES = ("main", "fallback")

_MODEL = re.compile(r"[0-9a-f]{64}")

Why = Literal["rolled back", "expired", "mixed", "not approved", "altered", "missing"]
_MEND: Mapping[Why, str] = {
    "rolled back": "restore the registry folder from its newest copy; to run an older model, approve it as a new version",
    "expired": "`gridward registry refresh` where the online key lies; where approvals ran out (root, targets), operators"
    " sign again with `gridward registry rotate-root`",
    "mixed": "restore the registry folder from one trusted copy",
    "not approved": "have enough of today's operators approve it; a revoked operator's signature does not count",
    "altered": "restore the registry folder from a trusted copy",
    "missing": "restore the registry folder from a trusted copy",
}


class ReleaseRefused(IntegrityError):
    """The repository is not what its operators approved last: `why`, and TUF's own words in `problem`."""

    def __init__(self, why: Why, problem: str, *, where: str) -> None:
        self.why = why
        super().__init__(f"{why}: {problem}", where=where, mend=_MEND[why])


class NotAnOperator(KeyringError):
    """A key that is not one of today's operators', or not the station's online key: `key_id`."""

    def __init__(self, key_id: str, problem: str) -> None:
        self.key_id = key_id
        super().__init__(problem, where=f"key {key_id}", mend="use a key that stands in root")


class ApprovalsMissing(UnavailableError):
    """Too few operators signed: `version`, `signed_by`, `waiting_for` (any of them will do), names of operators."""

    def __init__(self, what: str, version: int, signed_by: Sequence[str], waiting_for: Sequence[str]) -> None:
        self.version, self.signed_by, self.waiting_for = version, tuple(signed_by), tuple(waiting_for)
        super().__init__(
            f"approved by {', '.join(signed_by) or 'nobody'}: not enough",
            where=f"{what} version {version}",
            mend=f"wait for one of {', '.join(waiting_for)}",
        )


class NothingProposed(UnavailableError):
    """No proposal waits to be published."""

    def __init__(self, where: Path) -> None:
        super().__init__("no proposal waits here, or another version overtook it", where=str(where), mend="propose it again")


class ReleaseConflict(GridwardError):
    """What was asked stands against what is already there."""

    exit_code = 2


@dataclass(frozen=True)
class Release:
    """What a role runs: `model`, the SHA-256 of its manifest statement in hex; `version` of the targets that brought it."""

    role: str
    model: str
    version: int


@dataclass(frozen=True)
class Versions:
    """One state of the repository. Nothing below a pinned one is ever believed again."""

    root: int = 0
    targets: int = 0
    snapshot: int = 0
    timestamp: int = 0


NO_MINIMUM = Versions()


def utc(moment: datetime) -> datetime:
    """The moment in UTC, as TUF wants it; ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime {moment.isoformat()}: say which zone, e.g. with tzinfo=UTC")
    return moment.astimezone(UTC)


def read_release(content: bytes, role: str) -> Release:
    """One release out of the target file that signed metadata listed; raises ValueError for any other content."""
    fields: dict[str, Any] = json.loads(content)
    release = Release(role, fields["model"], fields["version"])
    if content != release_content(release):
        raise ValueError("not a release as Gridward writes it")
    return release


def release_content(release: Release) -> bytes:
    """The target file of a release; ValueError for an unknown role or a model that is no SHA-256."""
    if release.role not in ROLES or not _MODEL.fullmatch(release.model) or release.version < 1:
        raise ValueError(f"{release} names no role of {', '.join(ROLES)}, or no model by 64 hex digits")
    return canonical_json({"format_version": FORMAT_VERSION, **asdict(release)})


@contextmanager
def refusals(where: Path) -> Iterator[None]:
    """Whatever TUF refuses within is a ReleaseRefused with its reason."""
    try:
        yield
    except (RepositoryError, DownloadError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ReleaseRefused(_why(error), " ".join(str(error).split())[:200], where=str(where)) from error


def _why(error: Exception) -> Why:
    reasons: tuple[tuple[type[Exception], Why], ...] = (
        (ExpiredMetadataError, "expired"),
        (BadVersionNumberError, "rolled back"),
        (UnsignedMetadataError, "not approved"),
        (LengthOrHashMismatchError, "mixed"),
        (DownloadHTTPError, "missing"),
    )
    return next((why for cls, why in reasons if isinstance(error, cls)), "altered")
