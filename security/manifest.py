"""What a sealed folder holds: an in-toto Statement v1 naming every file with its SHA-256 and size.

A manifest proves nothing by itself: `signing` signs its bytes. It describes regular files only; symbolic links,
devices and pipes are refused, since what they point at can change after the check (AML.T0010, AML.T0059). A folder
with no file in it holds no bytes and is not described.

Source: in-toto attestation framework, Statement v1 and ResourceDescriptor (`annotations` carries `size_bytes`).
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from security._primitives import equal_in_constant_time, sha256_of_bytes, sha256_of_stream
from security.errors import ContentChanged, IntegrityError, UnavailableError

MANIFEST_NAME = "manifest.dsse.json"
FORMAT_VERSION = 1
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"

_KIND = re.compile(r"[a-z][a-z0-9-]*")
_PREDICATE_TYPE = re.compile(r"urn:gridward:(?P<kind>[a-z][a-z0-9-]*):v(?P<version>[0-9]{1,6})")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RESTORE = "restore the folder from a trusted copy"

Why = Literal["altered", "missing", "unknown", "symlink", "not a regular file"]


class FileChanged(ContentChanged):
    """One file is not as sealed: `path` inside the folder, `why`."""

    def __init__(self, path: str, why: Why) -> None:
        self.path = path
        self.why = why
        super().__init__(f"this file is {why}" if why != "symlink" else "this is a symlink", where=path, mend=_RESTORE)


@dataclass(frozen=True)
class SealedFile:
    """One file: `name` relative with forward slashes, `sha256` in hex, `size_bytes`."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """Every file of a folder and what is claimed about it; `predicate` is a JSON object."""

    kind: str
    files: tuple[SealedFile, ...]
    predicate: Mapping[str, Any]
    format_version: int = FORMAT_VERSION

    def to_bytes(self) -> bytes:
        """The statement as canonical JSON: the exact bytes that are signed."""
        subjects = [
            {"name": file.name, "digest": {"sha256": file.sha256}, "annotations": {"size_bytes": file.size_bytes}}
            for file in self.files
        ]
        return canonical_json(
            {
                "_type": STATEMENT_TYPE,
                "subject": subjects,
                "predicateType": f"urn:gridward:{self.kind}:v{self.format_version}",
                "predicate": dict(self.predicate),
            }
        )


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON with sorted keys, no spaces and no NaN; raises ValueError or TypeError for what JSON cannot hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def describe_folder(folder: Path, kind: str, predicate: Mapping[str, Any], ignore: tuple[str, ...] = ()) -> Manifest:
    """Hash every file under `folder`, except the names in `ignore`.

    Raises ValueError for a `kind` or `predicate` that cannot be written, IntegrityError for an empty folder or a file
    name that is not portable, ContentChanged for links and odd files.
    """
    if not _KIND.fullmatch(kind):
        raise ValueError(f"kind {kind!r} must be lower-case letters, digits and hyphens")
    files = []
    for name in sorted(_file_names(folder)):
        if name in ignore:
            continue
        _require_portable(name)
        with open_regular(folder, name) as stream:
            sha256 = sha256_of_stream(stream)
            files.append(SealedFile(name, sha256, stream.tell()))
    if not files:
        raise IntegrityError("nothing to seal", where=str(folder), mend="write the files first")
    return Manifest(kind, tuple(files), _own(predicate))


def describe_files(files: Mapping[str, bytes], kind: str, predicate: Mapping[str, Any]) -> Manifest:
    """As `describe_folder`, of files in memory: name → content."""
    if not _KIND.fullmatch(kind) or not files:
        raise ValueError(f"kind {kind!r} must be lower-case letters, digits and hyphens, and some file be there")
    for name in files:
        _require_portable(name)
    sealed = tuple(SealedFile(name, sha256_of_bytes(files[name]), len(files[name])) for name in sorted(files))
    return Manifest(kind, sealed, _own(predicate))


def check_folder(folder: Path, manifest: Manifest, ignore: tuple[str, ...] = (MANIFEST_NAME,)) -> None:
    """Raise ContentChanged (`path`, `why`) unless `folder` holds exactly the manifest's files, byte for byte."""
    require_names(folder, {file.name for file in manifest.files}, ignore)
    for file in manifest.files:
        with open_regular(folder, file.name) as stream:
            sha256 = sha256_of_stream(stream)
            if stream.tell() != file.size_bytes or not equal_in_constant_time(sha256, file.sha256):
                raise FileChanged(file.name, "altered")


def require_names(folder: Path, listed: Collection[str], ignore: Collection[str] = ()) -> None:
    """Raise ContentChanged (`path`, `why`) unless `folder` holds a regular file of each listed name, and no other.

    ignore: names that may be there or not.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise FileChanged(str(folder), "symlink" if folder.is_symlink() else "missing")
    found = set(_file_names(folder)) - set(ignore)
    for name in sorted(found - set(listed)):
        raise FileChanged(name, "unknown")
    for name in sorted(set(listed) - found):
        raise FileChanged(name, "missing")


def read_checked(folder: Path, manifest: Manifest, name: str) -> bytes:
    """The bytes of one file, read once and checked as read: parse these, never the file again.

    Raises ContentChanged when the file is not listed, not there, or not as sealed.
    """
    file = next((file for file in manifest.files if file.name == name), None)
    if file is None:
        raise FileChanged(name, "unknown")
    with open_regular(folder, name) as stream:
        # One byte more than sealed is enough to notice growth, and bounds the memory.
        content = stream.read(file.size_bytes + 1)
    require_content(file, content)
    return content


def require_content(file: SealedFile, content: bytes) -> None:
    """Raise ContentChanged unless these are the bytes that were sealed under this name."""
    if len(content) != file.size_bytes or not equal_in_constant_time(sha256_of_bytes(content), file.sha256):
        raise FileChanged(file.name, "altered")


def parse_manifest(payload: bytes) -> Manifest:
    """Read a statement whose signature was already verified; IntegrityError for any other shape or version."""
    try:
        statement = json.loads(payload, parse_constant=_refuse_constant)
        kind, version = _kind_and_version(statement)
        files = tuple(_sealed_file(subject) for subject in statement["subject"])
        predicate = statement["predicate"]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise IntegrityError("the manifest is malformed", mend="seal the folder again") from error
    names = [file.name for file in files]
    if not names or len(set(names)) != len(names) or not isinstance(predicate, dict):
        raise IntegrityError("the manifest lists no file, or one twice, or no metadata", mend="seal the folder again")
    return Manifest(kind, files, predicate, version)


def _own(predicate: Mapping[str, Any]) -> dict[str, Any]:
    """A copy as it will be read back; raises ValueError or TypeError for what JSON cannot hold."""
    copied: dict[str, Any] = json.loads(canonical_json(dict(predicate)))
    return copied


def _kind_and_version(statement: dict[str, Any]) -> tuple[str, int]:
    predicate_type = _PREDICATE_TYPE.fullmatch(statement["predicateType"])
    if statement["_type"] != STATEMENT_TYPE or predicate_type is None:
        raise IntegrityError("not a Gridward manifest", mend="seal the folder with Gridward")
    version = int(predicate_type["version"])
    if version != FORMAT_VERSION:
        raise IntegrityError(
            f"manifest format {version} is unknown here, which reads format {FORMAT_VERSION}", mend="upgrade Gridward"
        )
    return predicate_type["kind"], version


def _sealed_file(subject: dict[str, Any]) -> SealedFile:
    name, sha256, size = subject["name"], subject["digest"]["sha256"], subject["annotations"]["size_bytes"]
    if not _SHA256.fullmatch(sha256) or type(size) is not int or size < 0:
        raise ValueError("digest or size is malformed")
    _require_portable(name)
    return SealedFile(name, sha256, size)


def _require_portable(name: str) -> None:
    """Refuse names that could leave the folder or mean another file elsewhere (CWE-22)."""
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or any(part in {"", ".", ".."} for part in parts):
        raise IntegrityError(
            f"file name {name!r} is not allowed in a sealed folder",
            mend="use relative, printable names without '..' or backslashes",
        )


def _file_names(folder: Path, prefix: str = "") -> Iterator[str]:
    with os.scandir(folder / prefix) as entries:
        for entry in entries:
            # A name that is not UTF-8 becomes one with a backslash, which no manifest can list.
            name = os.fsencode(prefix + entry.name).decode("utf-8", "backslashreplace")
            if entry.is_symlink():
                raise FileChanged(name, "symlink")
            if entry.is_dir(follow_symlinks=False):
                yield from _file_names(folder, f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield name
            else:
                raise FileChanged(name, "not a regular file")


def open_regular(folder: Path, name: str) -> io.BufferedReader:
    """Open without following a link put there after the walk, and without waiting on a pipe (CWE-367).

    Raises ContentChanged for anything but a regular file, UnavailableError when it cannot be read.
    """
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise FileChanged(name, "missing") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileChanged(name, "symlink") from None
        if error.errno == errno.ENXIO:
            # A socket cannot be opened at all.
            raise FileChanged(name, "not a regular file") from None
        raise UnavailableError(f"cannot read this file: {error.strerror}", where=str(folder / name)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileChanged(name, "not a regular file")
    return os.fdopen(descriptor, "rb")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
