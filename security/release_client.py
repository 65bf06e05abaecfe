"""What may run: the releases that the operators approved last, or a refusal with its reason.

TUF's client does the work (root by root from the one given, then timestamp, snapshot, targets). Three things are added:
versions below a pinned minimum are refused, which holds when the client's own folder was wiped; reasons are named; and
what is read is bounded. The clock is the real one: a replayed station has its own time for data, never for trust.

The client's folder is a cache. Every file in it is verified again when it is read, and what is cut off or altered there
is read from the repository instead. One process at a time uses it.

Source: TUF specification 1.0, section 5 (detailed client workflow).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.metadata import Root  # type: ignore[attr-defined]  # public there, but the module has no __all__
from tuf.ngclient import (  # type: ignore[attr-defined]  # public there, but the package's __all__ is not a literal list
    FetcherInterface,
    Updater,
    UpdaterConfig,
)

from security.errors import UnavailableError
from security.release_files import LARGEST_FILE_BYTES, locked, parse, read_file, read_releases, require_at_least
from security.releases import NO_MINIMUM, Release, Versions, refusals, utc


@dataclass(frozen=True)
class Releases:
    """The releases in force by role, the versions that say so (to be pinned), and when each metadata file runs out."""

    by_role: Mapping[str, Release]
    versions: Versions
    expires: Mapping[str, datetime]


def trusted_releases(
    folder: Path, client_folder: Path, bootstrap: bytes, minimum: Versions = NO_MINIMUM, now: datetime | None = None
) -> Releases:
    """Read the repository in `folder`, trusting nothing but root metadata `bootstrap` and the pinned `minimum`.

    Pin the answer's `versions` in place of `minimum`, durably, before acting on it. `now` is the moment expiry is judged
    at. Raises ReleaseRefused (`why`), UnavailableError when a folder cannot be read or written.
    """
    moment = datetime.now(UTC) if now is None else utc(now)
    try:
        client_folder.mkdir(parents=True, exist_ok=True)
        with locked(client_folder), refusals(folder):
            return _refreshed(folder, client_folder, bootstrap, minimum, moment)
    except OSError as error:
        raise UnavailableError(
            f"cannot keep what was verified: {error.strerror}",
            where=str(client_folder),
            mend="make room, or remove this folder: it is made anew",
        ) from error


def _refreshed(folder: Path, client_folder: Path, bootstrap: bytes, minimum: Versions, now: datetime) -> Releases:
    updater = Updater(
        str(client_folder), "metadata", fetcher=_FolderFetcher(folder), config=_bounded_config(), bootstrap=bootstrap
    )
    # The library judges by the system's clock and shows its verified metadata to nobody; tests hold both to this name.
    trusted = updater._trusted_set
    trusted.reference_time = now
    updater.refresh()
    versions = Versions(trusted.root.version, trusted.targets.version, trusted.snapshot.version, trusted.timestamp.version)
    require_at_least(_root_once(client_folder, minimum.root), trusted.root, versions, minimum, folder)
    signed = (trusted.root, trusted.targets, trusted.snapshot, trusted.timestamp)
    return Releases(
        by_role=read_releases(folder, trusted.targets),
        versions=versions,
        expires={metadata.type: metadata.expires for metadata in signed},
    )


def _root_once(client_folder: Path, version: int) -> Root | None:
    """A root that the refresh has verified and kept, if it lies between the first one and the one in force."""
    name = f"root_history/{version}.root.json"
    return parse(Root, read_file(client_folder, name)).signed if (client_folder / name).exists() else None


def _bounded_config() -> UpdaterConfig:
    return UpdaterConfig(
        root_max_length=LARGEST_FILE_BYTES,
        timestamp_max_length=LARGEST_FILE_BYTES,
        snapshot_max_length=LARGEST_FILE_BYTES,
        targets_max_length=LARGEST_FILE_BYTES,
    )


class _FolderFetcher(FetcherInterface):
    """Lets TUF's client read a local folder: what it calls a URL is a path in there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        return iter([read_file(self._folder, url)])
