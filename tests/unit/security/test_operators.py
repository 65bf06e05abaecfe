"""An operator's key file, with the real scrypt."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from security.backup_keys import create_backup_keys
from security.errors import KeyringError, UnavailableError
from security.operators import create_operator_key, load_operator, read_public_key
from security.signing import new_signer, sign_bytes, verify_bytes

PASSPHRASE = SecretStr("six quiet words of an operator")


def test_an_operator_signs_with_the_key_in_the_file_and_hands_out_its_public_half(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ann.operator"
    public_text = create_operator_key(path, PASSPHRASE)
    operator = load_operator(path, PASSPHRASE)
    assert path.stat().st_mode & 0o777 == 0o600
    verify_bytes(b"a release", sign_bytes(b"a release", operator), read_public_key(public_text))


def test_the_file_shows_neither_key_nor_passphrase(tmp_path: Path) -> None:
    create_operator_key(tmp_path / "ann", PASSPHRASE)
    secret, content = (
        load_operator(tmp_path / "ann", PASSPHRASE).private_key.private_bytes_raw(),
        (tmp_path / "ann").read_bytes(),
    )
    assert secret not in content
    assert secret.hex().encode() not in content
    assert PASSPHRASE.get_secret_value().encode() not in content


def test_another_passphrase_opens_nothing_and_is_not_repeated(tmp_path: Path) -> None:
    create_operator_key(tmp_path / "ann", PASSPHRASE)
    with pytest.raises(KeyringError, match="the passphrase does not open these keys") as refusal:
        load_operator(tmp_path / "ann", SecretStr("a guess of mallory's own"))
    assert "mallory" not in str(refusal.value)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    create_operator_key(tmp_path / "ann", PASSPHRASE)
    before = load_operator(tmp_path / "ann", PASSPHRASE).key_id
    with pytest.raises(FileExistsError):
        create_operator_key(tmp_path / "ann", PASSPHRASE)
    assert load_operator(tmp_path / "ann", PASSPHRASE).key_id == before


def test_a_short_passphrase_makes_no_key(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match="passphrase of the operator keys: the passphrase is shorter than 12"):
        create_operator_key(tmp_path / "ann", SecretStr("too short"))
    assert not (tmp_path / "ann").exists()


def test_a_file_open_to_others_or_missing_is_refused(tmp_path: Path) -> None:
    create_operator_key(tmp_path / "ann", PASSPHRASE)
    (tmp_path / "ann").chmod(0o640)
    with pytest.raises(KeyringError, match="the file of the operator keys is open to other users"):
        load_operator(tmp_path / "ann", PASSPHRASE)
    with pytest.raises(UnavailableError, match="bob: no operator keys"):
        load_operator(tmp_path / "bob", PASSPHRASE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a file of operator keys"),
        (b"[" * 3000, "not a file of operator keys"),
        (b'{"format_version": 2, "salt": "", "sealed": ""}', "of format 2 are unknown"),
    ],
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "ann").write_bytes(content)
    (tmp_path / "ann").chmod(0o600)
    with pytest.raises(KeyringError, match=said):
        load_operator(tmp_path / "ann", PASSPHRASE)


def test_a_file_of_another_use_does_not_open_as_an_operators(tmp_path: Path) -> None:
    create_backup_keys(tmp_path / "backup.keyset", PASSPHRASE, new_signer().public_key)
    with pytest.raises(KeyringError, match="does not open"):
        load_operator(tmp_path / "backup.keyset", PASSPHRASE)
