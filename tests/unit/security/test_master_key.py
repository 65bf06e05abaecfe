"""The master key of a chest: what opens it, what does not, and how it is protected anew."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from security import encryption
from security.errors import KeyringError, UnavailableError
from security.key_chest import KEYSET, MASTER, open_chest, protect_chest
from security.kms import vault_key
from security.master_key import Protection
from tests.unit.pipeline.small_backup import hurry
from tests.unit.security.small_vault import TOKEN, SmallVault

PASSPHRASE = Protection(SecretStr("six quiet words of a test"))
OTHER = Protection(SecretStr("six other words of a test"))
NONE = Protection()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def vault() -> Iterator[SmallVault]:
    with SmallVault() as running:
        yield running


def in_vault(vault: SmallVault, name: str = "station") -> Protection:
    return Protection(kms=vault_key(vault.uri(name), SecretStr(TOKEN)))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_chest_behind_a_kms_asks_it_once_and_never_for_a_key(tmp_path: Path, vault: SmallVault) -> None:
    chest = open_chest(tmp_path / "keys", in_vault(vault))
    asked = len(vault.asked)
    key_ids = {chest.signer(name).key_id for name in ("model", "token", "model")}
    chest.bundle_keys()

    assert len(key_ids) == 2
    assert len(vault.asked) == asked == 2
    assert open_chest(tmp_path / "keys", in_vault(vault)).signer("model").key_id in key_ids


@pytest.mark.parametrize(
    ("protection", "error", "why"),
    [
        (NONE, UnavailableError, "GRIDWARD_KEY_PASSPHRASE: the key chest is sealed with a passphrase, and none is given"),
        (Protection(SecretStr("")), UnavailableError, "none is given"),
        (OTHER, KeyringError, "the passphrase does not open the master key"),
        (Protection(SecretStr("short")), KeyringError, "does not open"),
    ],
)
def test_a_sealed_chest_opens_with_its_passphrase_only(
    tmp_path: Path, protection: Protection, error: type[Exception], why: str
) -> None:
    open_chest(tmp_path / "keys", PASSPHRASE).signer("model")
    before = contents(tmp_path / "keys")
    with pytest.raises(error, match=why):
        open_chest(tmp_path / "keys", protection)
    assert contents(tmp_path / "keys") == before


def test_a_chest_in_a_kms_does_not_open_without_it(tmp_path: Path, vault: SmallVault) -> None:
    open_chest(tmp_path / "keys", in_vault(vault))
    with pytest.raises(UnavailableError, match="GRIDWARD_KMS_URI: the key chest is sealed by a KMS, and none is named"):
        open_chest(tmp_path / "keys", NONE)
    with pytest.raises(KeyringError, match="does not open the master key"):
        open_chest(tmp_path / "keys", in_vault(vault, "another"))
    vault.way = "sealed"
    with pytest.raises(UnavailableError, match="status 503"):
        open_chest(tmp_path / "keys", in_vault(vault))


def test_a_passphrase_that_is_too_short_makes_no_chest(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match="GRIDWARD_KEY_PASSPHRASE: the passphrase is shorter than 12"):
        open_chest(tmp_path / "keys", Protection(SecretStr("eleven char")))
    assert not (tmp_path / "keys" / MASTER).exists()


def test_a_kms_that_does_not_answer_leaves_no_chest(tmp_path: Path, vault: SmallVault) -> None:
    vault.way = "sealed"
    with pytest.raises(UnavailableError):
        open_chest(tmp_path / "keys", in_vault(vault))
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("left", ["model.key", KEYSET])
def test_a_master_key_that_is_lost_is_not_replaced_while_keys_under_it_are_there(tmp_path: Path, left: str) -> None:
    chest = open_chest(tmp_path / "keys", NONE)
    chest.signer("model")
    chest.bundle_keys()
    for name in {"model.key", KEYSET, MASTER} - {left}:
        (chest.folder / name).unlink()
    with pytest.raises(KeyringError, match=r"master\.json: the master key is gone"):
        open_chest(tmp_path / "keys", NONE)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a master key"),
        (b"[]", "not a master key"),
        (b"[" * 4000, "not a master key"),
        (b'{"format_version":1}', "not a master key"),
        (b'{"format_version":2,"protection":"none","master":"00"}', "format 2"),
        (b'{"format_version":1,"protection":["none"]}', "protection .'none'. is unknown"),
        (b'{"format_version":1,"protection":"none"}', "not a master key"),
        (b'{"format_version":1,"protection":"none","master":"00"}', "not a master key"),
        (b'{"format_version":1,"protection":"none","master":7}', "not a master key"),
    ],
)
def test_anything_else_in_the_place_of_the_master_key_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    open_chest(tmp_path / "keys", NONE)
    (tmp_path / "keys" / MASTER).write_bytes(content)
    with pytest.raises(KeyringError, match=why):
        open_chest(tmp_path / "keys", NONE)


@pytest.mark.parametrize("field", ["salt", "sealed"])
def test_a_sealed_master_key_whose_fields_are_none_is_refused(tmp_path: Path, field: str) -> None:
    open_chest(tmp_path / "keys", PASSPHRASE)
    path = tmp_path / "keys" / MASTER
    for value, why in (("?", "not a master key"), ("", "does not open|not a master key"), (None, "not a master key")):
        path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
        with pytest.raises(KeyringError, match=why):
            open_chest(tmp_path / "keys", PASSPHRASE)


def test_every_protection_becomes_every_other_and_the_keys_stay(tmp_path: Path, vault: SmallVault) -> None:
    folder = tmp_path / "keys"
    signer = open_chest(folder, NONE).signer("model")
    before = contents(folder)
    now = NONE
    for new in (PASSPHRASE, OTHER, in_vault(vault), in_vault(vault, "another"), PASSPHRASE):
        protect_chest(folder, now, new)
        assert open_chest(folder, new).signer("model").key_id == signer.key_id
        with pytest.raises((KeyringError, UnavailableError)):
            open_chest(folder, now)
        now = new
    # Only the master key was written anew.
    assert {name for name in before if before[name] != contents(folder)[name]} == {MASTER}
    assert sorted(contents(folder)) == [KEYSET, MASTER, "model.key"]


def test_protecting_anew_with_the_wrong_old_passphrase_or_a_short_new_one_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    open_chest(folder, PASSPHRASE).signer("model")
    before = contents(folder)
    for old, new in ((OTHER, OTHER), (NONE, OTHER), (PASSPHRASE, Protection(SecretStr("short")))):
        with pytest.raises((KeyringError, UnavailableError)):
            protect_chest(folder, old, new)
    assert contents(folder) == before


def test_where_no_chest_is_none_is_protected(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no key chest here"):
        protect_chest(tmp_path / "keys", NONE, PASSPHRASE)
    assert not (tmp_path / "keys").exists()


def test_killed_in_the_middle_of_protecting_anew_the_chest_opens_in_the_old_way_or_in_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "keys"
    key_id = open_chest(folder, PASSPHRASE).signer("model").key_id

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(*((os, "fsync", die) if step == "fsync" else (Path, "replace", die)))
            with pytest.raises(KeyboardInterrupt):
                protect_chest(folder, PASSPHRASE, OTHER)
        assert open_chest(folder, PASSPHRASE).signer("model").key_id == key_id
    protect_chest(folder, PASSPHRASE, OTHER)
    assert open_chest(folder, OTHER).signer("model").key_id == key_id


def test_a_master_key_in_the_clear_that_a_killed_process_left_goes_with_the_next_protection(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    open_chest(folder, NONE)
    (folder / f".{MASTER}.killed").write_bytes((folder / MASTER).read_bytes())
    protect_chest(folder, NONE, PASSPHRASE)
    assert sorted(contents(folder)) == [KEYSET, MASTER]


def test_the_passphrase_is_tried_once_however_many_keys_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_chest(tmp_path / "keys", PASSPHRASE).signer("model")
    tried = []
    derive = encryption.derive_key
    monkeypatch.setattr(encryption, "derive_key", lambda words, salt: tried.append(words) or derive(words, salt))
    chest = open_chest(tmp_path / "keys", PASSPHRASE)
    for _ in range(5):
        chest.signer("model")
        chest.bundle_keys()
    assert len(tried) == 1
