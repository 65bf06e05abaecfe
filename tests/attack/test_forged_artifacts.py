"""Sealed folders under attack (AML.T0010, AML.T0018, AML.T0059): each wins unguarded and loses guarded."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from security.errors import ContentChanged, IntegrityError, SignatureInvalid
from security.manifest import check_folder, describe_folder, parse_manifest, read_checked
from security.signing import Signer, new_signer, open_folder, seal_folder

HONEST, POISONED = b"bias_mw=0\n", b"bias_mw=250\n"


@pytest.fixture
def signer() -> Signer:
    return new_signer()


@pytest.fixture
def bundle(tmp_path: Path, signer: Signer) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.txt").write_bytes(HONEST)
    seal_folder(folder, "model", {"version": 1}, signer)
    return folder


def open_unverified(folder: Path) -> bytes:
    """The safeguard off: the manifest is read and obeyed, its signature is not looked at."""
    envelope = json.loads((folder / "manifest.dsse.json").read_bytes())
    manifest = parse_manifest(base64.b64decode(envelope["payload"]))
    check_folder(folder, manifest)
    return read_checked(folder, manifest, "model.txt")


def open_verified(folder: Path, signer: Signer) -> bytes:
    manifest = open_folder(folder, "model", {signer.key_id: signer.public_key})
    return read_checked(folder, manifest, "model.txt")


def rewrite_payload(folder: Path) -> None:
    """Describe the folder as it is now, keeping the old signature beside the new description."""
    envelope = json.loads((folder / "manifest.dsse.json").read_bytes())
    described = describe_folder(folder, "model", {"version": 1}, ignore=("manifest.dsse.json",))
    envelope["payload"] = base64.b64encode(described.to_bytes()).decode()
    (folder / "manifest.dsse.json").write_text(json.dumps(envelope))


def test_altering_a_model_wins_when_files_are_just_read_and_loses_against_the_manifest(bundle: Path, signer: Signer):
    (bundle / "model.txt").write_bytes(POISONED)
    assert (bundle / "model.txt").read_bytes() == POISONED
    with pytest.raises(ContentChanged):
        open_verified(bundle, signer)


def test_altering_model_and_manifest_together_wins_without_the_signature_and_loses_with_it(bundle: Path, signer: Signer):
    (bundle / "model.txt").write_bytes(POISONED)
    rewrite_payload(bundle)
    assert open_unverified(bundle) == POISONED
    with pytest.raises(SignatureInvalid):
        open_verified(bundle, signer)


def test_sealing_with_ones_own_key_wins_where_any_signature_counts_and_loses_where_keys_are_pinned(
    bundle: Path, signer: Signer
):
    (bundle / "model.txt").write_bytes(POISONED)
    mallory = new_signer()
    seal_folder(bundle, "model", {"version": 1}, mallory)
    assert open_verified(bundle, mallory) == POISONED
    with pytest.raises(SignatureInvalid):
        open_verified(bundle, signer)


def test_borrowing_the_trusted_key_id_does_not_help(bundle: Path, signer: Signer):
    (bundle / "model.txt").write_bytes(POISONED)
    mallory = new_signer()
    seal_folder(bundle, "model", {"version": 1}, Signer(signer.key_id, mallory.public_key, mallory.private_key))
    assert open_unverified(bundle) == POISONED
    with pytest.raises(SignatureInvalid):
        open_verified(bundle, signer)


def test_stripping_the_signatures_wins_without_the_check_and_loses_with_it(bundle: Path, signer: Signer):
    (bundle / "model.txt").write_bytes(POISONED)
    rewrite_payload(bundle)
    envelope = json.loads((bundle / "manifest.dsse.json").read_bytes())
    (bundle / "manifest.dsse.json").write_text(json.dumps({**envelope, "signatures": []}))
    assert open_unverified(bundle) == POISONED
    with pytest.raises(SignatureInvalid):
        open_verified(bundle, signer)


def test_a_snapshot_passed_off_as_a_model_loses_against_the_kind(tmp_path: Path, signer: Signer):
    (tmp_path / "model.txt").write_bytes(POISONED)
    seal_folder(tmp_path, "snapshot", {}, signer)
    assert open_unverified(tmp_path) == POISONED
    with pytest.raises(IntegrityError, match="sealed as snapshot"):
        open_verified(tmp_path, signer)


def test_swapping_the_file_after_the_check_wins_on_a_second_read_and_loses_on_the_checked_bytes(
    bundle: Path, signer: Signer
):
    manifest = open_folder(bundle, "model", {signer.key_id: signer.public_key})
    (bundle / "model.txt").write_bytes(POISONED)
    assert (bundle / "model.txt").read_bytes() == POISONED
    with pytest.raises(ContentChanged):
        read_checked(bundle, manifest, "model.txt")


def test_a_file_smuggled_in_wins_where_only_listed_files_are_checked_and_loses_here(bundle: Path, signer: Signer):
    (bundle / "sitecustomize.py").write_bytes(b"raise SystemExit")
    assert open_unverified_listed_only(bundle) == HONEST
    with pytest.raises(ContentChanged) as refusal:
        open_verified(bundle, signer)
    assert refusal.value.path == "sitecustomize.py"


def open_unverified_listed_only(folder: Path) -> bytes:
    envelope = json.loads((folder / "manifest.dsse.json").read_bytes())
    return read_checked(folder, parse_manifest(base64.b64decode(envelope["payload"])), "model.txt")
