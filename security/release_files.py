"""The release repository on disk: its metadata read and verified, written so that it is never half new.

    metadata/1.root.json ...     who the operators are, and the online key; every root ever, each signed by the one before
    metadata/N.targets.json      which model each role runs: signed by a threshold of the operators
    metadata/N.snapshot.json     which targets metadata is current: signed by the station's online key
    metadata/timestamp.json      which snapshot is current: the one file that is replaced, and so the commit point
    targets/SHA256.main.json     one release: role, model, and the version that brought it
    staged/                      what operators have signed and nobody has published yet; believed by no client

Who writes holds a lock on the folder. A file is written beside its place, on the disk, then renamed.

Source: TUF specification 1.0 (1.0.31), with consistent snapshots.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from securesystemslib.signer import (  # type: ignore[attr-defined]  # public there, but the package has no __all__
    CryptoSigner,
    SSlibKey,
)
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import (  # type: ignore[attr-defined]  # public there, but the module has no __all__
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from security._primitives import names_on_disk
from security.errors import UnavailableError
from security.manifest import FileChanged, open_regular
from security.releases import (
    NotAnOperator,
    Release,
    ReleaseRefused,
    Versions,
    read_release,
    refusals,
    release_content,
)
from security.signing import Signer

LARGEST_FILE_BYTES = 2**19

# The online key signs unattended, so a copy of the repository grows stale in days; operators meet once a year.
TIMESTAMP_LIFETIME = timedelta(days=2)
SNAPSHOT_LIFETIME = timedelta(days=14)
OPERATORS_LIFETIME = timedelta(days=365)

_Signed = TypeVar("_Signed", Root, Targets, Snapshot, Timestamp)
# What operators sign.
Operated = TypeVar("Operated", Root, Targets)


@dataclass(frozen=True)
class State:
    """The current metadata, its signatures checked, its expiry not; `roots` by version, the last one in force."""

    roots: Mapping[int, Root]
    targets: Metadata[Targets]
    snapshot: Snapshot
    timestamp: Timestamp

    @property
    def root(self) -> Root:
        """The root in force."""
        return self.roots[max(self.roots)]

    @property
    def versions(self) -> Versions:
        """The version of each metadata file."""
        return Versions(self.root.version, self.targets.signed.version, self.snapshot.version, self.timestamp.version)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; others wait. Raises UnavailableError where it is not there."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UnavailableError(
            f"cannot open the release folder: {error.strerror}", where=str(folder), mend="make the repository first"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_state(folder: Path, also: Root | None = None) -> State:
    """Read and verify what is published; raises ReleaseRefused.

    `also` is a root about to be in force: what the online key signed may be verified by it instead.
    """
    roots = read_roots(folder)
    root = roots[max(roots)]
    with refusals(folder):
        timestamp = _online(Timestamp, read_file(folder, "metadata/timestamp.json"), root, also)
        content = read_file(folder, f"metadata/{timestamp.snapshot_meta.version}.snapshot.json")
        timestamp.snapshot_meta.verify_length_and_hashes(content)
        snapshot = _online(Snapshot, content, root, also)
        listed = snapshot.meta["targets.json"]
        content = read_file(folder, f"metadata/{listed.version}.targets.json")
        listed.verify_length_and_hashes(content)
        targets = parse(Targets, content)
        root.verify_delegate(Targets.type, targets.signed_bytes, targets.signatures)
    return State(roots, targets, snapshot, timestamp)


def read_roots(folder: Path) -> dict[int, Root]:
    """Every root by version, each verified by itself and the one before; raises ReleaseRefused."""
    roots: dict[int, Root] = {}
    with refusals(folder):
        while not roots or (folder / f"metadata/{len(roots) + 1}.root.json").exists():
            version = len(roots) + 1
            metadata = parse(Root, read_file(folder, f"metadata/{version}.root.json"))
            root = metadata.signed
            if root.version != version:
                raise BadVersionNumberError(f"{version}.root.json says it is version {root.version}")
            for judge in (roots.get(version - 1, root), root):
                judge.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
            roots[version] = root
    return roots


def _online(kind: type[_Signed], content: bytes, root: Root, also: Root | None) -> _Signed:
    metadata = parse(kind, content)
    judges = [root] if also is None else [root, also]
    if not any(judge.get_verification_result(kind.type, metadata.signed_bytes, metadata.signatures) for judge in judges):
        raise UnsignedMetadataError(f"{kind.type} is not signed by the online key")
    return metadata.signed


def parse(kind: type[_Signed], content: bytes) -> Metadata[_Signed]:
    """Metadata of one kind, not verified yet; raises RepositoryError."""
    metadata: Metadata[_Signed] = Metadata.from_bytes(content)
    if metadata.signed.type != kind.type:
        raise RepositoryError(f"expected {kind.type}, found {metadata.signed.type}")
    return metadata


def read_releases(folder: Path, targets: Targets) -> dict[str, Release]:
    """The releases that verified targets metadata lists, their content checked; raises ReleaseRefused."""
    releases = {}
    with refusals(folder):
        for name, target in targets.targets.items():
            content = read_file(folder, target_name(target))
            target.verify_length_and_hashes(content)
            role = name.removesuffix(".json")
            releases[role] = read_release(content, role)
    return releases


def write_release(folder: Path, release: Release) -> TargetFile:
    """Write the content of a release under its digest, and answer what targets metadata says of it.

    No client looks for it before signed metadata lists it.
    """
    content = release_content(release)
    target = TargetFile.from_data(f"{release.role}.json", content, ["sha256"])
    write_whole(folder / target_name(target), content)
    return target


def target_name(target: TargetFile) -> str:
    """Where the content of a target lies in the repository: under its own digest."""
    return f"targets/{target.get_prefixed_paths()[0]}"


def read_file(folder: Path, name: str) -> bytes:
    """A file of the repository, bounded, no link followed; raises DownloadError (DownloadHTTPError 404 for none)."""
    try:
        with open_regular(folder, name) as stream:
            content = stream.read(LARGEST_FILE_BYTES + 1)
    except FileChanged as error:
        if error.why == "missing":
            raise DownloadHTTPError(f"{name} is missing", 404) from error
        raise DownloadError(f"{name}: {error.problem}") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise DownloadError(f"{name} is larger than {LARGEST_FILE_BYTES} bytes")
    return content


def commit(folder: Path, targets: Metadata[Targets], before: Versions, online: Sequence[Signer], now: datetime) -> Versions:
    """Put signed targets metadata in force: its file, a new snapshot, and last the timestamp; answers the new versions.

    Killed before the timestamp is renamed, the old state stands, and the next try overwrites what this one left.
    """
    content = targets.to_bytes()
    write_whole(folder / f"metadata/{targets.signed.version}.targets.json", content)
    listed = {"targets.json": MetaFile.from_data(targets.signed.version, content, ["sha256"])}
    snapshot = Snapshot(before.snapshot + 1, expires=now + SNAPSHOT_LIFETIME, meta=listed)
    content = signed_by(snapshot, online).to_bytes()
    write_whole(folder / f"metadata/{snapshot.version}.snapshot.json", content)
    listed_snapshot = MetaFile.from_data(snapshot.version, content, ["sha256"])
    timestamp = commit_timestamp(folder, listed_snapshot, before.timestamp + 1, online, now)
    return Versions(before.root, targets.signed.version, snapshot.version, timestamp)


def commit_timestamp(folder: Path, snapshot: MetaFile, version: int, online: Sequence[Signer], now: datetime) -> int:
    """Replace the timestamp, which decides what is current; answers its version."""
    timestamp = Timestamp(version, expires=now + TIMESTAMP_LIFETIME, snapshot_meta=snapshot)
    write_whole(folder / "metadata/timestamp.json", signed_by(timestamp, online).to_bytes())
    return version


def signed_by(signed: _Signed, signers: Sequence[Signer]) -> Metadata[_Signed]:
    """New metadata with the signature of each signer."""
    metadata = Metadata(signed)
    for signer in signers:
        add_signature(metadata, signer)
    return metadata


def add_signature(metadata: Metadata[_Signed], signer: Signer) -> None:
    """Sign metadata beside whoever signed it already."""
    key = SSlibKey.from_crypto(signer.public_key, signer.key_id)
    metadata.sign(CryptoSigner(signer.private_key, key), append=True)


def require_online(root: Root, online: Signer) -> None:
    """Raise NotAnOperator unless `online` is the key that `root` names for snapshot and timestamp."""
    if online_keys(root) != {online.key_id}:
        raise NotAnOperator(online.key_id, "not the online key of this repository")


def online_keys(root: Root) -> set[str]:
    """Ids of the keys that sign snapshot and timestamp."""
    return {*root.roles[Snapshot.type].keyids, *root.roles[Timestamp.type].keyids}


def require_at_least(pinned_root: Root | None, root: Root, versions: Versions, minimum: Versions, where: Path) -> None:
    """Raise ReleaseRefused where a version lies below the pinned one; `pinned_root` is the root of `minimum`, if known.

    Where the online key was replaced since, the pins on what it signs are void, as in TUF 5.3.11: whoever stole the old
    key could have driven them up.
    """
    replaced = pinned_root is not None and online_keys(pinned_root) != online_keys(root)
    for name, least in asdict(minimum).items():
        found = getattr(versions, name)
        if found < least and not (replaced and name in {"snapshot", "timestamp"}):
            raise ReleaseRefused("rolled back", f"{name} is version {found}, was {least} before", where=str(where))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, on the disk, then rename it. Raises UnavailableError, the old file untouched."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        names_on_disk(path.parent)
    except OSError as error:
        raise UnavailableError(
            f"cannot write this file: {error.strerror}", where=str(path), mend="make room, then run this again"
        ) from error
