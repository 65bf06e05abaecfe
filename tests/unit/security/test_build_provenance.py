"""Where a release came from: signed, and every file of it held against what was signed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from security._primitives import public_key_hex, public_key_pem, save_private_key
from security.build_provenance import (
    PROVENANCE_NAME,
    Build,
    read_release_signer,
    sign_release,
    trusted_releaser,
    verify_release,
)
from security.errors import ContentChanged, IntegrityError, KeyringError, SignatureInvalid
from security.manifest import canonical_json
from security.signing import new_signer, seal_folder, sign_statement, verify_statement

SIGNER = new_signer()
TRUSTED = {SIGNER.key_id: SIGNER.public_key}
BUILD = Build("c" * 40, 1_767_323_045, {"requirements/run.txt": "a" * 64})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gridward.whl").write_bytes(b"wheel")
    (tmp_path / "gridward.tar.gz").write_bytes(b"source")
    sign_release(tmp_path, BUILD, SIGNER)
    return tmp_path


def test_what_was_signed_comes_back(folder: Path) -> None:
    assert verify_release(folder, TRUSTED) == BUILD


def test_a_key_in_hex_or_pem_verifies_what_its_owner_signed(folder: Path) -> None:
    for text in (public_key_hex(SIGNER.public_key), public_key_pem(SIGNER.public_key)):
        assert verify_release(folder, trusted_releaser(text)) == BUILD


def test_another_key_does_not(folder: Path) -> None:
    other = new_signer()
    with pytest.raises(SignatureInvalid):
        verify_release(folder, {other.key_id: other.public_key})


@pytest.mark.parametrize("why", ["altered", "missing", "unknown", "symlink"])
def test_a_file_that_is_not_as_signed_is_named(folder: Path, why: str) -> None:
    wheel = folder / "gridward.whl"
    if why == "altered":
        wheel.write_bytes(b"whEel")
    elif why == "unknown":
        (folder / "more.whl").write_bytes(b"")
    else:
        wheel.unlink()
        if why == "symlink":
            wheel.symlink_to(folder / "gridward.tar.gz")

    with pytest.raises(ContentChanged, match=why):
        verify_release(folder, TRUSTED)


def test_every_byte_of_the_provenance_counts(folder: Path) -> None:
    path = folder / PROVENANCE_NAME
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(IntegrityError):
            verify_release(folder, TRUSTED)


def test_a_folder_without_provenance_is_no_release(folder: Path) -> None:
    (folder / PROVENANCE_NAME).unlink()
    with pytest.raises(ContentChanged, match="missing"):
        verify_release(folder, TRUSTED)


def test_a_statement_of_another_kind_under_the_same_key_is_no_provenance(folder: Path) -> None:
    seal_folder(folder, "model", {}, SIGNER)
    (folder / "manifest.dsse.json").rename(folder / PROVENANCE_NAME)
    with pytest.raises(IntegrityError, match="malformed"):
        verify_release(folder, TRUSTED)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("predicateType",), "https://slsa.dev/provenance/v0.2"),
        (("more",), 1),
        (("subject",), []),
        (("subject", 0, "name"), "../gridward.whl"),
        (("subject", 0, "digest", "sha256"), "A" * 64),
        (("subject", 0, "annotations", "size_bytes"), True),
        (("predicate", "buildDefinition", "buildType"), "urn:other"),
        (("predicate", "buildDefinition", "externalParameters", "revision"), "main"),
        (("predicate", "runDetails", "builder", "id"), "urn:other"),
    ],
)
def test_a_signed_statement_of_another_shape_is_refused(folder: Path, path: tuple[str | int, ...], value: object) -> None:
    file = folder / PROVENANCE_NAME
    statement = json.loads(verify_statement(file.read_bytes(), TRUSTED, "here"))
    inner = statement
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    file.write_bytes(sign_statement(canonical_json(statement), SIGNER))

    with pytest.raises(IntegrityError, match="provenance"):
        verify_release(folder, TRUSTED)


def test_the_releasers_key_is_read_from_a_file_of_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "release.pem"
    with pytest.raises(KeyringError, match="there is no key"):
        read_release_signer(path)
    save_private_key(SIGNER.private_key, path)
    assert read_release_signer(path).key_id == SIGNER.key_id
    path.chmod(0o644)
    with pytest.raises(KeyringError, match="open to other users"):
        read_release_signer(path)
