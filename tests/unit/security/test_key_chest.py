"""The key chest: what it keeps, for whom, who waits for whom, and what an older Gridward left."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from security import _primitives, master_key
from security._primitives import save_owner_only
from security.bundle_keys import BundleKeys, bundle_context, write_wrapped
from security.errors import IntegrityError, KeyringError
from security.key_chest import KEYSET, MASTER, KeyChest, open_chest
from security.keyring import load_or_create_signer
from security.master_key import Protection, protection_of
from security.signing import sign_bytes, verify_bytes
from tests.unit.pipeline.small_backup import hurry

PASSPHRASE = Protection(SecretStr("six quiet words of a test"))
NONE = Protection()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("protection", [NONE, PASSPHRASE])
def test_a_chest_opened_again_holds_the_same_keys(tmp_path: Path, protection: Protection) -> None:
    first = open_chest(tmp_path / "keys", protection)
    signer, keys = first.signer("model"), first.bundle_keys()
    again = open_chest(tmp_path / "keys", protection)

    assert again.signer("model").key_id == signer.key_id
    assert again.signer("snapshot").key_id != signer.key_id
    assert again.bundle_keys() == keys
    verify_bytes(b"x", sign_bytes(b"x", again.signer("model")), signer.public_key)
    assert protection_of(tmp_path / "keys" / MASTER) == protection.by
    assert again.names() == ["model", "snapshot"]


def test_every_file_is_its_owners_alone(tmp_path: Path) -> None:
    chest = open_chest(tmp_path / "keys", NONE)
    chest.signer("model")
    chest.bundle_keys()
    assert {path.name: path.stat().st_mode & 0o777 for path in chest.folder.iterdir()} == dict.fromkeys(
        (MASTER, "model.key", KEYSET), 0o600
    )
    assert chest.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", [MASTER, "model.key", KEYSET])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, name: str) -> None:
    chest = open_chest(tmp_path / "keys", NONE)
    chest.signer("model")
    chest.bundle_keys()
    (chest.folder / name).chmod(0o640)

    def use_all() -> None:
        again = open_chest(tmp_path / "keys", NONE)
        again.signer("model")
        again.bundle_keys()

    with pytest.raises(KeyringError, match=f"{name}.*open to other users.*chmod 600"):
        use_all()


def test_nothing_of_any_key_is_in_a_sealed_chest_or_in_what_is_printed(tmp_path: Path) -> None:
    chest = open_chest(tmp_path / "keys", PASSPHRASE)
    signer, keys = chest.signer("model"), chest.bundle_keys()
    secrets = [
        _primitives.private_key_bytes(signer.private_key),
        keys.to_secret(),
        master_key.read_master(chest.folder / MASTER, PASSPHRASE),
        PASSPHRASE.words.encode(),
    ]
    on_disk = b"".join(contents(chest.folder).values())
    shown = f"{chest!r} {chest} {signer!r} {keys!r} {PASSPHRASE!r} {NONE!r}".encode()

    assert "model" in chest.names()
    for secret in secrets:
        for form in (secret, secret.hex().encode(), repr(secret)[2:-1].encode()):
            assert form not in on_disk
            assert form not in shown


def test_many_that_start_at_once_share_one_chest(tmp_path: Path) -> None:
    ids, gate = list[tuple[str, str]](), threading.Barrier(8)

    def start() -> None:
        gate.wait()
        chest = open_chest(tmp_path / "keys", PASSPHRASE)
        ids.append((chest.signer("model").key_id, chest.bundle_keys().primary_id))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1
    assert sorted(contents(tmp_path / "keys")) == [KEYSET, MASTER, "model.key"]


@pytest.mark.parametrize("name", ["", "../model", "a/b", ".model", "model\n", "mödel"])
def test_a_signers_name_is_a_plain_file_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="signer name"):
        open_chest(tmp_path / "keys", NONE).signer(name)


def test_a_signer_that_is_removed_is_gone(tmp_path: Path) -> None:
    chest = open_chest(tmp_path / "keys", NONE)
    before = chest.signer("operator-demo-1").key_id
    assert chest.has("operator-demo-1")
    chest.remove("operator-demo-1")
    assert not chest.has("operator-demo-1")
    with pytest.raises(FileNotFoundError):
        chest.remove("operator-demo-1")
    assert chest.signer("operator-demo-1").key_id != before


def test_a_key_of_an_older_gridward_is_taken_over_and_not_left_in_the_clear(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    old = load_or_create_signer(folder, "model")
    chest = open_chest(folder, PASSPHRASE)

    assert chest.signer("model").key_id == old.key_id
    assert sorted(contents(folder)) == [KEYSET, MASTER, "model.key"]
    assert open_chest(folder, PASSPHRASE).signer("model").key_id == old.key_id


def test_a_takeover_that_was_killed_before_its_end_ends_the_next_time(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    old = load_or_create_signer(folder, "model")
    plain = (folder / "model.pem").read_bytes()
    chest = open_chest(folder, NONE)
    chest.signer("model")
    (folder / "model.pem").write_bytes(plain)
    (folder / "model.pem").chmod(0o600)

    assert chest.signer("model").key_id == old.key_id
    assert not (folder / "model.pem").exists()


def test_of_two_different_keys_of_one_name_neither_is_removed(tmp_path: Path) -> None:
    chest = open_chest(tmp_path / "keys", NONE)
    chest.signer("model")
    load_or_create_signer(chest.folder, "model")
    with pytest.raises(KeyringError, match=r"model\.pem: stands beside another key of its name, model\.key"):
        chest.signer("model")
    assert {"model.pem", "model.key"} <= set(contents(chest.folder))


def test_new_bundle_keys_take_the_place_of_the_old_ones_for_every_open_chest(tmp_path: Path) -> None:
    chest, other = (open_chest(tmp_path / "keys", NONE) for _ in range(2))
    rotated = chest.bundle_keys().rotated()
    chest.keep_bundle_keys(rotated)
    assert other.bundle_keys() == rotated


def test_a_bundles_cipher_comes_from_its_key_file(tmp_path: Path) -> None:
    chest = open_chest(tmp_path / "keys", NONE)
    cipher, wrapped = chest.bundle_keys().new_data_key(bundle_context("m1"))
    write_wrapped(tmp_path / "key.json", wrapped)

    opened = chest.cipher_of(tmp_path / "key.json", bundle_context("m1"))
    assert opened.decrypt(cipher.encrypt(b"x", b"y"), b"y") == b"x"
    with pytest.raises(IntegrityError):
        chest.cipher_of(tmp_path / "key.json", bundle_context("m2"))


def test_who_rotates_waits_for_those_who_wrap_and_they_do_not_wait_for_each_other(tmp_path: Path) -> None:
    chest = open_chest(tmp_path / "keys", NONE)
    order, inside = list[str](), threading.Event()

    def rotate(chest: KeyChest) -> None:
        inside.set()
        with chest.held(alone=True):
            order.append("rotated")
            chest.keep_bundle_keys(BundleKeys.fresh())

    with chest.held(alone=False), chest.held(alone=False):
        rotation = threading.Thread(target=rotate, args=[open_chest(tmp_path / "keys", NONE)])
        rotation.start()
        assert inside.wait(5)
        rotation.join(0.1)
        order.append("wrapped")
    rotation.join(5)
    assert order == ["wrapped", "rotated"]


def test_a_keyset_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    chest = open_chest(tmp_path / "keys", NONE)
    chest.signer("model")
    kept = (chest.folder / KEYSET).read_bytes()
    (chest.folder / KEYSET).unlink()
    for opened in (chest, open_chest(chest.folder, NONE)):
        with pytest.raises(KeyringError, match="the keyset is gone"):
            opened.bundle_keys()
    save_owner_only(kept, chest.folder / KEYSET)
    assert chest.bundle_keys().key_ids


def test_what_is_kept_in_the_chest_comes_back_and_cannot_be_changed_outside_it(tmp_path: Path) -> None:
    chest = open_chest(tmp_path / "keys", NONE)
    assert chest.kept("releases") is None
    for content in (b"one", b"two"):
        chest.keep("releases", content)
        assert chest.kept("releases") == content
    path = chest.folder / "releases.kept"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(KeyringError, match=r"releases\.kept"):
        chest.kept("releases")
