"""A sealed bundle: nothing of it is told to who copies it, its name binds it, and keys rotate without touching it."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from security.bundle_keys import BundleKeys, bundle_context, read_wrapped, write_wrapped
from security.encryption import DecryptionRefused
from security.errors import IntegrityError, SignatureInvalid, UnavailableError
from security.manifest import MANIFEST_NAME, FileChanged
from security.sealed_bundle import (
    KEY_FILE,
    BundleSwapped,
    SealedBundle,
    add_attestation,
    describe_bundle,
    digest_of,
    id_of,
    read_bundle,
    write_bundle,
)
from security.signing import Signer, new_signer, sign_statement

KIND = "model-bundle"
FILES = {"model.json": b'{"weights":[0.125,2.5]}' * 50, "card.md": "# Modellkarte für alle\n".encode()}
ATTESTED = {"gates": b'{"result":"PASSED"}'}


class Sealed:
    """A bundle on disk, and whoever may open it."""

    def __init__(self, store: Path, files: Mapping[str, bytes] = FILES, signer: Signer | None = None) -> None:
        self.signer, self.keys = signer or new_signer(), BundleKeys.fresh()
        self.manifest = describe_bundle(files, KIND, {"snapshot": "s-1"})
        self.model_id = id_of(digest_of(self.manifest))
        self.folder = store / self.model_id
        self.folder.mkdir(parents=True)
        write_bundle(self.folder, self.manifest, files, ATTESTED, self.signer, self.keys)

    def read(self, *, kind: str = KIND, attested: Collection[str] = ("gates",)) -> SealedBundle:
        cipher = self.keys.unwrap(read_wrapped(self.folder / KEY_FILE), bundle_context(self.model_id))
        trusted = {self.signer.key_id: self.signer.public_key}
        return read_bundle(self.folder, self.model_id, kind, attested, trusted, cipher)

    def reseal(self, name: str, content: bytes) -> None:
        """What somebody can who holds the station's keyset, and no signing key."""
        cipher = self.keys.unwrap(read_wrapped(self.folder / KEY_FILE), bundle_context(self.model_id))
        context = bundle_context(self.model_id) + b"\0" + name.encode()
        (self.folder / f"{name}.sealed").write_bytes(cipher.encrypt(content, context))


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    return Sealed(tmp_path / "models")


def test_what_was_sealed_is_what_is_read(sealed: Sealed) -> None:
    bundle = sealed.read()
    assert (bundle.files, bundle.attestations, bundle.manifest) == (FILES, ATTESTED, sealed.manifest)
    assert bundle.digest == digest_of(sealed.manifest)
    assert len(bundle.digest) == 64
    assert sealed.model_id == bundle.digest[:16]


def test_the_disk_tells_neither_content_nor_facts_nor_what_was_attested(sealed: Sealed) -> None:
    on_disk = b"".join(path.read_bytes() for path in sealed.folder.iterdir())
    for known in (b"weights", b"Modellkarte", b"s-1", b"PASSED", b"payload"):
        assert known not in on_disk
    assert {path.stat().st_mode & 0o777 for path in sealed.folder.iterdir()} == {0o600}


def test_the_same_bundle_sealed_twice_shares_no_ciphertext(sealed: Sealed, tmp_path: Path) -> None:
    again = Sealed(tmp_path / "elsewhere", signer=sealed.signer)
    assert again.model_id == sealed.model_id
    for path in sealed.folder.iterdir():
        assert path.read_bytes() != (again.folder / path.name).read_bytes()


def test_only_the_stations_own_keys_open_it(sealed: Sealed) -> None:
    wrapped = read_wrapped(sealed.folder / KEY_FILE)
    with pytest.raises(DecryptionRefused):
        BundleKeys.fresh().unwrap(wrapped, bundle_context(sealed.model_id))
    with pytest.raises(DecryptionRefused):
        sealed.keys.unwrap(wrapped, bundle_context("0" * 16))


def test_keys_rotate_by_writing_one_small_file_anew(sealed: Sealed) -> None:
    before = {path.name: path.read_bytes() for path in sealed.folder.iterdir()}
    sealed.keys = sealed.keys.rotated()
    wrapped = sealed.keys.rewrap(read_wrapped(sealed.folder / KEY_FILE), bundle_context(sealed.model_id))
    write_wrapped(sealed.folder / KEY_FILE, wrapped)
    sealed.keys = sealed.keys.only_primary()
    assert sealed.read().files == FILES
    changed = {name for name, content in before.items() if (sealed.folder / name).read_bytes() != content}
    assert changed == {KEY_FILE}


def test_a_manifest_that_nobody_trusted_signed_is_refused_whoever_encrypted_it(sealed: Sealed) -> None:
    sealed.reseal(MANIFEST_NAME, sign_statement(sealed.manifest.to_bytes(), new_signer()))
    with pytest.raises(SignatureInvalid, match=f"model {sealed.model_id}: no trusted key"):
        sealed.read()


def test_a_file_that_was_encrypted_anew_is_held_against_the_signed_digest(sealed: Sealed) -> None:
    altered = FILES["model.json"].replace(b"2.5", b"9.5")
    sealed.reseal("model.json", altered)
    with pytest.raises(FileChanged, match=r"model\.json: this file is altered"):
        sealed.read()
    sealed.reseal("model.json", FILES["model.json"])
    assert sealed.read().files == FILES


def test_another_validly_signed_manifest_is_another_bundle(sealed: Sealed) -> None:
    other = describe_bundle(FILES, KIND, {"snapshot": "older"})
    sealed.reseal(MANIFEST_NAME, sign_statement(other.to_bytes(), sealed.signer))
    with pytest.raises(BundleSwapped) as refusal:
        sealed.read()
    assert refusal.value.model_id == sealed.model_id


def test_a_folder_of_another_kind_is_refused_though_it_is_signed(sealed: Sealed) -> None:
    with pytest.raises(IntegrityError, match="sealed as model-bundle, wanted training-snapshot"):
        sealed.read(kind="training-snapshot")


def test_a_file_moved_to_another_name_of_the_same_bundle_does_not_decrypt(sealed: Sealed) -> None:
    model, card = sealed.folder / "model.json.sealed", sealed.folder / "card.md.sealed"
    model_bytes, card_bytes = model.read_bytes(), card.read_bytes()
    model.write_bytes(card_bytes)
    card.write_bytes(model_bytes)
    with pytest.raises(FileChanged) as refusal:
        sealed.read()
    assert refusal.value.path in {"model.json.sealed", "card.md.sealed"}


def test_a_statement_is_added_and_replaced_and_its_kind_binds_it(sealed: Sealed) -> None:
    cipher = sealed.keys.unwrap(read_wrapped(sealed.folder / KEY_FILE), bundle_context(sealed.model_id))
    for result in (b'{"result":"FAILED"}', b'{"result":"PASSED"}'):
        add_attestation(sealed.folder, sealed.model_id, "gates", result, cipher)
        assert sealed.read().attestations == {"gates": result}
    add_attestation(sealed.folder, sealed.model_id, "provenance", b"{}", cipher)
    # What nobody asked for is a stranger's, and what somebody did has to be there.
    with pytest.raises(FileChanged, match=r"provenance\.dsse\.json\.sealed: this file is unknown"):
        sealed.read()
    assert set(sealed.read(attested=("gates", "provenance")).attestations) == {"gates", "provenance"}
    gates = sealed.folder / "gates.dsse.json.sealed"
    (sealed.folder / "provenance.dsse.json.sealed").write_bytes(gates.read_bytes())
    with pytest.raises(FileChanged, match=r"provenance\.dsse\.json\.sealed: this file is altered"):
        sealed.read(attested=("gates", "provenance"))
    gates.unlink()
    with pytest.raises(FileChanged, match=r"gates\.dsse\.json\.sealed: this file is missing"):
        sealed.read(attested=("gates", "provenance"))


def test_a_statement_that_could_not_be_written_leaves_the_bundle_as_it_was(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    cipher = sealed.keys.unwrap(read_wrapped(sealed.folder / KEY_FILE), bundle_context(sealed.model_id))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("security.sealed_bundle.os.fsync", full)
        with pytest.raises(UnavailableError, match="no space"):
            add_attestation(sealed.folder, sealed.model_id, "gates", b"{}", cipher)
    assert sealed.read().attestations == ATTESTED


@pytest.mark.parametrize("name", ["key.json", "x.sealed", "gates.dsse.json", "a/b.json"])
def test_names_that_would_clash_with_the_format_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        describe_bundle({name: b""}, KIND, {})


@pytest.mark.parametrize("name", ["../x", "..", "a\nb", "a\\b", ""])
def test_names_that_mean_another_file_elsewhere_are_refused(name: str) -> None:
    with pytest.raises((IntegrityError, ValueError)):
        describe_bundle({name: b""}, KIND, {})


def test_large_files_and_empty_ones_come_back_to_the_byte(tmp_path: Path) -> None:
    files = {"large.txt": bytes(range(256)) * 12_289, "edge.txt": b"x" * 2**20, "empty.txt": b""}
    assert Sealed(tmp_path, files).read().files == files
