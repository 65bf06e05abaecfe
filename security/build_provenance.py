"""How a release of Gridward was built: a SLSA provenance beside its files, signed, and checked file by file.

It says from which revision and which pins the files came, and that whoever holds the key says so. It does not prove that
the key's owner told the truth: builds are reproducible so that anybody can make the same bytes and see.

Source: SLSA v1.0 provenance; in-toto Statement v1 in a DSSE envelope.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from security._primitives import PublicKey, key_id_of, load_private_key, read_public_key
from security.errors import IntegrityError, KeyringError
from security.manifest import (
    STATEMENT_TYPE,
    Manifest,
    SealedFile,
    canonical_json,
    check_folder,
    describe_folder,
    open_regular,
)
from security.signing import STATEMENT_LIMIT_BYTES, Signer, sign_statement, verify_statement

PROVENANCE_NAME = "provenance.dsse.json"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:gridward:build:release:v1"
BUILDER = "urn:gridward:builder:make-release"

_KIND = "release"
_REVISION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Build:
    """What a release was made from.

    `revision`: the commit, in hex; `source_date_epoch`: the moment that stands in its archives, seconds since 1970;
    `inputs`: name → SHA-256 of the files of pins that the builder's tools and the release's requirements came from.
    """

    revision: str
    source_date_epoch: int
    inputs: Mapping[str, str]


def sign_release(folder: Path, build: Build, signer: Signer) -> Path:
    """Name every file of `folder` with its SHA-256 and how it was built, signed, in `provenance.dsse.json`; its path.

    Raises IntegrityError when there is nothing to sign, or something that is no regular file.
    """
    files = describe_folder(folder, _KIND, {}, ignore=(PROVENANCE_NAME,)).files
    path = folder / PROVENANCE_NAME
    path.write_bytes(sign_statement(_statement(files, build), signer))
    return path


def verify_release(folder: Path, trusted: Mapping[str, PublicKey]) -> Build:
    """How the files of `folder` were built. `trusted`: key id → key.

    Raises SignatureInvalid (no trusted key signed), IntegrityError (no provenance of ours), ContentChanged (a file is
    altered, missing, unknown or a link).
    """
    with open_regular(folder, PROVENANCE_NAME) as stream:
        envelope = stream.read(STATEMENT_LIMIT_BYTES + 1)
    files, build = _parsed(verify_statement(envelope, trusted, str(folder)))
    check_folder(folder, Manifest(_KIND, files, {}), ignore=(PROVENANCE_NAME,))
    return build


def read_release_signer(path: Path) -> Signer:
    """The releaser's signer in a PEM file. Raises KeyringError for a missing file, one others may read, or no such key."""
    try:
        return Signer.from_private_key(load_private_key(path))
    except FileNotFoundError as error:
        raise KeyringError("there is no key here", where=str(path), mend="name the releaser's key") from error


def trusted_releaser(text: str) -> dict[str, PublicKey]:
    """Key id → key, of a public key in hex or PEM. Raises KeyringError for anything else."""
    key = read_public_key(text)
    return {key_id_of(key): key}


def _statement(files: tuple[SealedFile, ...], build: Build) -> bytes:
    subjects = [
        {"name": file.name, "digest": {"sha256": file.sha256}, "annotations": {"size_bytes": file.size_bytes}}
        for file in files
    ]
    source = {"name": "source", "digest": {"gitCommit": build.revision}}
    pinned = [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(build.inputs.items())]
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": {"revision": build.revision},
        "internalParameters": {"sourceDateEpoch": build.source_date_epoch},
        "resolvedDependencies": [source, *pinned],
    }
    predicate = {"buildDefinition": definition, "runDetails": {"builder": {"id": BUILDER}}}
    return canonical_json(
        {"_type": STATEMENT_TYPE, "subject": subjects, "predicateType": PREDICATE_TYPE, "predicate": predicate}
    )


def _parsed(payload: bytes) -> tuple[tuple[SealedFile, ...], Build]:
    try:
        statement: dict[str, Any] = json.loads(payload)
        definition = statement["predicate"]["buildDefinition"]
        kinds = (statement["_type"], statement["predicateType"], definition["buildType"])
        files = tuple(_file(subject) for subject in statement["subject"])
        build = Build(
            definition["externalParameters"]["revision"],
            definition["internalParameters"]["sourceDateEpoch"],
            {one["name"]: one["digest"]["sha256"] for one in definition["resolvedDependencies"][1:]},
        )
        rewritten = _statement(files, build)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise IntegrityError("the provenance is malformed", mend="build the release again") from error
    # What is written anew from what was understood must be what was signed: nothing was overlooked.
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE, BUILD_TYPE) or rewritten != payload:
        raise IntegrityError("not the provenance of a Gridward release", mend="build the release again")
    if not _REVISION.fullmatch(build.revision) or not files:
        raise IntegrityError("the provenance names no revision, or no file", mend="build the release again")
    return files, build


def _file(subject: dict[str, Any]) -> SealedFile:
    name, sha256, size = subject["name"], subject["digest"]["sha256"], subject["annotations"]["size_bytes"]
    if "/" in name or not _SHA256.fullmatch(sha256) or type(size) is not int:
        raise ValueError("a release is a flat folder of files with a digest and a size")
    return SealedFile(name, sha256, size)
