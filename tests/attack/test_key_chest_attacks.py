"""Somebody with the station's disk (AML.T0018, AML.T0010.003): copies it, exchanges keys, takes protection away."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.rotate_keys import rotate_bundle_keys
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from security import _primitives
from security.bundle_keys import BundleKeys, bundle_context, key_id_of, read_wrapped, write_wrapped
from security.encryption import DecryptionRefused
from security.errors import GridwardError, KeyringError, UnavailableError
from security.key_chest import KEYSET, MASTER, open_chest, protect_chest
from security.keyring import load_or_create_signer
from security.manifest import canonical_json
from security.master_key import Protection
from tests.unit.pipeline.small_backup import hurry
from tests.unit.pipeline.small_bundles import publish, read, station_at
from tests.unit.pipeline.test_rotate_keys import NOW

WORDS = SecretStr("six quiet words of a test")
GUESSES = ("password1234", "gridward-gridward", "six quiet words of a tesT", " six quiet words of a test")
MODEL = b"a model that is worth money"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def victim(tmp_path: Path, **settings: Any) -> tuple[Station, str]:
    station = station_at(tmp_path / "home", **settings)
    return station, publish(station, MODEL)


def bytes_in(folder: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_copied_disk_opens_where_only_the_mode_protects_and_tells_nothing_behind_a_passphrase(tmp_path: Path) -> None:
    station, model_id = victim(tmp_path)
    shutil.copytree(station.home, tmp_path / "copy")
    # Modes do not travel with whoever carries the disk away.
    assert read(station_at(tmp_path / "copy"), model_id) == MODEL

    protect_chest(station.chest.folder, Protection(), Protection(WORDS))
    shutil.copytree(station.home, tmp_path / "copy of it protected")
    folder = tmp_path / "copy of it protected" / "keys"
    with pytest.raises(UnavailableError, match="sealed with a passphrase"):
        open_chest(folder, Protection())
    for guess in GUESSES:
        with pytest.raises(KeyringError, match="does not open the master key"):
            open_chest(folder, Protection(SecretStr(guess)))
    found = bytes_in(tmp_path / "copy of it protected")
    secrets = [_primitives.private_key_bytes(signer.private_key) for signer in station.signers.values()]
    for secret in (MODEL, station.bundle_keys.to_secret(), *secrets):
        assert secret not in found
        assert secret.hex().encode() not in found


def test_a_copy_made_before_the_protection_opens_as_it_did(tmp_path: Path) -> None:
    """What re-sealing the master key does not do, said in docs/settings.md: call back what was copied unprotected."""
    station, model_id = victim(tmp_path)
    shutil.copytree(station.home, tmp_path / "early copy")
    protect_chest(station.chest.folder, Protection(), Protection(WORDS))
    shutil.copy(tmp_path / "early copy" / "keys" / MASTER, tmp_path / MASTER)

    assert read(station_at(tmp_path / "early copy"), model_id) == MODEL
    shutil.copytree(station.home, tmp_path / "late copy")
    shutil.copy(tmp_path / MASTER, tmp_path / "late copy" / "keys" / MASTER)
    assert read(station_at(tmp_path / "late copy"), model_id) == MODEL


def test_the_wrapped_key_of_another_bundle_is_taken_where_all_have_one_context_and_refused_where_each_has_its_own(
    tmp_path: Path,
) -> None:
    station, model_id = victim(tmp_path)
    other = publish(station, b"a worse model, truly signed")
    path, same = station.models / model_id / "key.json", b"the same for all"
    kept = path.read_bytes()
    worse, wrapped = station.bundle_keys.new_data_key(same)
    write_wrapped(path, wrapped)
    assert station.chest.cipher_of(path, same) == worse

    path.write_bytes(kept)
    assert read(station, model_id) == MODEL
    shutil.copy(station.models / other / "key.json", path)
    with pytest.raises(DecryptionRefused):
        read(station, model_id)
    # Nor with everything else of that bundle.
    shutil.rmtree(station.models / model_id)
    shutil.copytree(station.models / other, station.models / model_id)
    with pytest.raises(DecryptionRefused):
        read(station, model_id)


def test_a_data_key_of_the_attackers_own_is_not_believed(tmp_path: Path) -> None:
    station, model_id = victim(tmp_path)
    path = station.models / model_id / "key.json"
    mallory = BundleKeys.fresh()
    _, wrapped = mallory.new_data_key(bundle_context(model_id))
    # Whoever asks only whether it unwraps, under whatever key lies beside it, believes it.
    assert mallory.unwrap(wrapped, bundle_context(model_id))
    # The victim's key id on it changes nothing.
    known = bytes.fromhex(key_id_of(read_wrapped(path)))
    for forged in (wrapped, wrapped[:1] + known + wrapped[5:]):
        write_wrapped(path, forged)
        with pytest.raises(DecryptionRefused):
            read(station, model_id)


@pytest.mark.parametrize("protection", [Protection(), Protection(WORDS)])
def test_a_signing_key_of_another_station_or_use_is_taken_as_a_plain_file_and_refused_in_a_chest(
    tmp_path: Path, protection: Protection
) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    load_or_create_signer(mine / "plain", "model")
    mallory = load_or_create_signer(theirs / "plain", "model")
    shutil.copy(theirs / "plain" / "model.pem", mine / "plain" / "model.pem")
    assert load_or_create_signer(mine / "plain", "model").key_id == mallory.key_id

    chest = open_chest(mine / "keys", protection)
    chest.signer("model")
    chest.signer("token")
    kept = (chest.folder / "model.key").read_bytes()
    other = open_chest(theirs / "keys", protection)
    other.signer("model")
    for source in (other.folder / "model.key", chest.folder / "token.key"):
        shutil.copy(source, chest.folder / "model.key")
        with pytest.raises(KeyringError, match=r"model\.key: the master key does not open this key"):
            chest.signer("model")
    for position in range(len(kept)):
        (chest.folder / "model.key").write_bytes(kept[:position] + bytes([kept[position] ^ 1]) + kept[position + 1 :])
        with pytest.raises(KeyringError):
            chest.signer("model")


@pytest.mark.parametrize("words", [None, WORDS])
def test_the_master_key_of_another_station_opens_nothing_here(tmp_path: Path, words: SecretStr | None) -> None:
    station, model_id = victim(tmp_path, key_passphrase=words)
    other = station_at(tmp_path / "other", key_passphrase=words)
    before = bytes_in(station.home / "keys")
    kept = (station.chest.folder / MASTER).read_bytes()
    shutil.copy(other.chest.folder / MASTER, station.chest.folder / MASTER)

    with pytest.raises(KeyringError, match="one of the two is of another chest"):
        open_station(Settings(home=station.home, key_passphrase=words))
    (station.chest.folder / MASTER).write_bytes(kept)
    assert bytes_in(station.home / "keys") == before
    assert read(station_at(station.home, key_passphrase=words), model_id) == MODEL


def unprotected(master: bytes) -> bytes:
    return canonical_json({"format_version": 1, "protection": "none", "master": master.hex()})


def test_a_master_key_edited_to_be_unprotected_opens_no_key_that_was_there(tmp_path: Path) -> None:
    station, _ = victim(tmp_path, key_passphrase=WORDS)
    (station.chest.folder / MASTER).write_bytes(unprotected(os.urandom(32)))

    with pytest.raises(KeyringError, match="protected by nothing but the mode of its file, and the settings say by a pass"):
        open_station(Settings(home=station.home, key_passphrase=WORDS))
    with pytest.raises(KeyringError, match="the master key does not open this key"):
        open_station(Settings(home=station.home))


def test_a_whole_chest_of_the_attackers_is_taken_where_nothing_is_demanded_and_refused_where_a_passphrase_is(
    tmp_path: Path,
) -> None:
    station, model_id = victim(tmp_path, key_passphrase=WORDS)
    mallory = open_chest(tmp_path / "mallory", Protection())
    mallorys = mallory.signer("model").key_id
    shutil.rmtree(station.chest.folder)
    shutil.copytree(mallory.folder, station.chest.folder)

    # Without the demand the station would sign with keys that the attacker has; its bundles do not open even so.
    taken = station_at(station.home)
    assert taken.signers["model"].key_id == mallorys
    with pytest.raises(GridwardError):
        read(taken, model_id)

    with pytest.raises(KeyringError, match="otherwise the file was exchanged: restore it from its copy"):
        open_station(Settings(home=station.home, key_passphrase=WORDS))


def test_an_old_keyset_played_back_after_a_rotation_opens_nothing_and_the_true_one_still_does(tmp_path: Path) -> None:
    station, model_id = victim(tmp_path)
    old = (station.chest.folder / KEYSET).read_bytes()
    rotate_bundle_keys(station, by="ida", at=NOW)
    station.engine.dispose()
    true = (station.chest.folder / KEYSET).read_bytes()

    (station.chest.folder / KEYSET).write_bytes(old)
    with pytest.raises(DecryptionRefused):
        read(station, model_id)
    (station.chest.folder / KEYSET).write_bytes(true)
    assert read(station, model_id) == MODEL


def test_a_wrapping_key_that_leaked_opens_bundles_until_the_rotation_and_none_after_it(tmp_path: Path) -> None:
    station, model_id = victim(tmp_path)
    leaked, path = BundleKeys.from_secret(station.bundle_keys.to_secret()), station.models / model_id / "key.json"
    assert leaked.unwrap(read_wrapped(path), bundle_context(model_id))

    rotate_bundle_keys(station, by="ida", at=NOW)
    station.engine.dispose()
    newer = publish(station, b"trained after it")
    for name in (model_id, newer):
        with pytest.raises(DecryptionRefused):
            leaked.unwrap(read_wrapped(station.models / name / "key.json"), bundle_context(name))
