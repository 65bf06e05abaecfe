"""The file of the backup keys, with the real scrypt; and what Tink is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from security._primitives import keyed_digest
from security.backup_keys import create_backup_keys, load_backup_keys
from security.encryption import Cipher, DecryptionRefused
from security.errors import ContentChanged, KeyringError, UnavailableError
from security.signing import new_signer

PASSPHRASE = SecretStr("six quiet words of a test")


def test_keys_come_back_from_their_file_and_only_from_it(tmp_path: Path) -> None:
    path, signer = tmp_path / "keys" / "backup.keyset", new_signer()
    made = create_backup_keys(path, PASSPHRASE, signer.public_key)
    read = load_backup_keys(path, PASSPHRASE)

    assert read.cipher.decrypt(made.cipher.encrypt(b"content", b"c"), b"c") == b"content"
    assert read.name_of(b"content") == made.name_of(b"content") == keyed_digest(made.name_key, b"content")
    assert list(read.trusted) == [signer.key_id]
    assert path.stat().st_mode & 0o777 == 0o600
    assert made.name_key.hex().encode() not in path.read_bytes()
    with pytest.raises(FileExistsError):
        create_backup_keys(path, PASSPHRASE, signer.public_key)
    with pytest.raises(KeyringError, match="does not open"):
        load_backup_keys(path, SecretStr("six quiet words of a tesT"))


@pytest.mark.parametrize("passphrase", [None, SecretStr("")])
def test_no_passphrase_makes_and_opens_nothing(tmp_path: Path, passphrase: SecretStr | None) -> None:
    for attempt in (
        lambda: create_backup_keys(tmp_path / "k", passphrase, new_signer().public_key),
        lambda: load_backup_keys(tmp_path / "k", passphrase),
    ):
        with pytest.raises(UnavailableError, match="GRIDWARD_BACKUP_PASSPHRASE"):
            attempt()
    assert not (tmp_path / "k").exists()


def test_a_short_passphrase_makes_no_keys(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match="shorter than 12"):
        create_backup_keys(tmp_path / "k", SecretStr("too short"), new_signer().public_key)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"nowhere: no backup keys"):
        load_backup_keys(tmp_path / "nowhere", PASSPHRASE)


def test_the_same_content_is_encrypted_to_other_bytes_and_by_another_key_not_read() -> None:
    cipher = Cipher.fresh()
    assert cipher.encrypt(b"content", b"c") != cipher.encrypt(b"content", b"c")
    with pytest.raises(DecryptionRefused):
        Cipher.fresh().decrypt(cipher.encrypt(b"content", b"c"), b"c")
    large = bytes(3 * 2**20 + 1)
    assert cipher.decrypt(cipher.encrypt(large, b"c"), b"c") == large
    assert cipher.decrypt(cipher.encrypt(b"", b"c"), b"c") == b""


def test_what_is_no_keyset_makes_no_cipher() -> None:
    for content in (b"", b"nonsense"):
        with pytest.raises(ContentChanged):
            Cipher.from_secret(content)
