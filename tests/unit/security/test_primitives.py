from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest

from security import _primitives as primitives
from security.errors import KeyringError, SignatureInvalid


def x25519_pem(half: str, der_prefix: str) -> str:
    """A well-formed key of the wrong algorithm (RFC 8410 prefix and 32 bytes)."""
    der = bytes.fromhex(der_prefix) + bytes(range(1, 33))
    return f"-----BEGIN {half} KEY-----\n{base64.b64encode(der).decode()}\n-----END {half} KEY-----\n"


def test_a_signature_verifies_with_its_own_key_and_bytes_only():
    key, other = primitives.generate_private_key(), primitives.generate_private_key()
    signature = primitives.sign(key, b"21.4")
    primitives.verify(key.public_key(), signature, b"21.4")
    for public_key, seal, message in (
        (other.public_key(), signature, b"21.4"),
        (key.public_key(), signature, b"24.4"),
        (key.public_key(), signature[:-1], b"21.4"),
        (key.public_key(), b"", b"21.4"),
    ):
        with pytest.raises(SignatureInvalid):
            primitives.verify(public_key, seal, message)


def test_signing_agrees_with_the_first_vector_of_rfc_8032():
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = primitives.PrivateKey.from_private_bytes(secret)
    assert primitives.public_key_hex(key.public_key()) == (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )
    assert primitives.sign(key, b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )


def test_a_public_key_survives_hex_and_pem():
    key = primitives.generate_private_key().public_key()
    assert primitives.read_public_key(primitives.public_key_hex(key)) == key
    assert primitives.read_public_key(f"\n{primitives.public_key_pem(key)}\n") == key


def test_text_that_is_no_ed25519_public_key_is_refused():
    x25519 = x25519_pem("PUBLIC", "302a300506032b656e032100")
    for text in ("", "ab" * 31, "AB" * 32, "zz" * 32, "-----BEGIN PUBLIC KEY-----", x25519):
        with pytest.raises(KeyringError, match="not an Ed25519 public key"):
            primitives.read_public_key(text)


def test_a_saved_key_belongs_to_its_owner_alone_even_under_an_open_umask(tmp_path: Path):
    key, path = primitives.generate_private_key(), tmp_path / "keys" / "model.pem"
    before = os.umask(0)
    try:
        primitives.save_private_key(key, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["model.pem"]
    assert primitives.load_private_key(path).public_key() == key.public_key()


def test_an_existing_key_file_is_never_replaced(tmp_path: Path):
    path = tmp_path / "model.pem"
    first = primitives.generate_private_key()
    primitives.save_private_key(first, path)
    with pytest.raises(FileExistsError):
        primitives.save_private_key(primitives.generate_private_key(), path)
    assert primitives.load_private_key(path).public_key() == first.public_key()
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pem"]


def test_a_key_folder_that_others_may_write_to_is_refused(tmp_path: Path):
    tmp_path.chmod(0o777)
    with pytest.raises(KeyringError, match="chmod 700"):
        primitives.save_private_key(primitives.generate_private_key(), tmp_path / "model.pem")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_private_key_open_to_others_is_refused_with_the_mend(tmp_path: Path, mode: int):
    path = tmp_path / "model.pem"
    primitives.save_private_key(primitives.generate_private_key(), path)
    path.chmod(mode)
    with pytest.raises(KeyringError, match="chmod 600"):
        primitives.load_private_key(path)


def test_a_key_file_with_something_else_in_it_is_refused_without_showing_it(tmp_path: Path):
    path = tmp_path / "model.pem"
    x25519 = x25519_pem("PRIVATE", "302e020100300506032b656e04220420")
    for content in (b"", b"not a key: hunter2", x25519.encode("ascii")):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(KeyringError, match="not an Ed25519 private key") as refusal:
            primitives.load_private_key(path)
        assert "hunter2" not in str(refusal.value)


def test_hashing_a_stream_agrees_with_hashing_its_bytes(tmp_path: Path):
    path, content = tmp_path / "big", bytes(range(256)) * 5000
    path.write_bytes(content)
    with path.open("rb") as stream:
        assert primitives.sha256_of_stream(stream) == primitives.sha256_of_bytes(content)
    assert primitives.sha256_of_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_constant_time_comparison_tells_equal_from_unequal():
    assert primitives.equal_in_constant_time("ab", "ab")
    assert not primitives.equal_in_constant_time("ab", "ac")
