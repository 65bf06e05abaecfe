"""Ed25519 keys, digests, scrypt and key files: the only door to `cryptography`, opened only inside `security`.

Keys are RFC 8032 Ed25519. A public key as text is 64 lower-case hex digits (the raw 32 bytes) or a PEM
SubjectPublicKeyInfo; a private key is a PKCS#8 PEM file without a passphrase, readable by its owner alone.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import re
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from security.errors import KeyringError, SignatureInvalid

PrivateKey = Ed25519PrivateKey
PublicKey = Ed25519PublicKey

_HEX_KEY = re.compile(r"[0-9a-f]{64}")
_OTHERS_MAY_READ_OR_WRITE = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_KEY_FILE_LIMIT_BYTES = 4096


def generate_private_key() -> PrivateKey:
    """A fresh Ed25519 private key from the operating system's randomness."""
    return Ed25519PrivateKey.generate()


def sign(private_key: PrivateKey, message: bytes) -> bytes:
    """The 64-byte Ed25519 signature of `message`."""
    return private_key.sign(message)


def verify(public_key: PublicKey, signature: bytes, message: bytes) -> None:
    """Raise SignatureInvalid unless `signature` is `public_key`'s over exactly these bytes."""
    try:
        public_key.verify(signature, message)
    except InvalidSignature:
        raise SignatureInvalid("the signature does not match the bytes", mend="ask the sender to sign again") from None


def public_key_hex(public_key: PublicKey) -> str:
    """The raw 32 bytes as 64 lower-case hex digits."""
    return public_key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def public_key_pem(public_key: PublicKey) -> str:
    """The key as a PEM SubjectPublicKeyInfo, the form to hand to others."""
    return public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def read_public_key(text: str) -> PublicKey:
    """The Ed25519 public key written in `text`, hex or PEM; anything else raises KeyringError."""
    stripped = text.strip()
    if _HEX_KEY.fullmatch(stripped):
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(stripped))
    try:
        key = load_pem_public_key(stripped.encode("utf-8"))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyringError("not an Ed25519 public key", mend="give 64 hex digits or a PEM 'PUBLIC KEY' block")
    return key


def key_id_of(public_key: PublicKey) -> str:
    """First 32 hex digits (128 bits) of the SHA-256 of the raw public key."""
    return sha256_of_bytes(public_key.public_bytes(Encoding.Raw, PublicFormat.Raw))[:32]


def save_private_key(private_key: PrivateKey, path: Path) -> None:
    """Write a private key that never existed at `path`: mode 0600 from its first moment, whole or not at all.

    Raises as `save_owner_only` does.
    """
    save_owner_only(private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), path)


def save_owner_only(secret: bytes, path: Path) -> None:
    """Write a file that never existed: mode 0600 from its first moment, whole or not at all, on the disk when this returns.

    A missing parent is made with mode 0700. Raises FileExistsError when `path` exists, KeyringError when others may
    write to the parent (they could put their own file in its place).
    """
    # Linking publishes the finished file and refuses to replace another.
    _publish(secret, path, lambda finished: os.link(finished, path))


def replace_owner_only(secret: bytes, path: Path) -> None:
    """The same in the place of an older file, if there is one: whoever reads finds the old one or the new one, whole."""
    _publish(secret, path, lambda finished: finished.replace(path))


def _publish(secret: bytes, path: Path, publish: Callable[[Path], object]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_mode & _OTHERS_MAY_WRITE:
        raise KeyringError(
            "others may write to the key folder", where=str(path.parent), mend=f"run: chmod 700 {path.parent}"
        )
    # mkstemp opens with O_EXCL and mode 0600.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secret)
            stream.flush()
            os.fsync(stream.fileno())
        publish(Path(temporary))
    finally:
        Path(temporary).unlink(missing_ok=True)
    names_on_disk(path.parent)


def names_on_disk(folder: Path) -> None:
    """Return once the names in a folder are on the disk, and not only in the system's memory."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_owner_only(path: Path, what: str = "the private key") -> bytes:
    """A small file that only its owner may touch.

    Raises FileNotFoundError when there is none, KeyringError (naming it as `what`) when group or others may touch it.
    """
    with path.open("rb") as stream:
        # Checked on the open descriptor: the file judged is the file read.
        if os.fstat(stream.fileno()).st_mode & _OTHERS_MAY_READ_OR_WRITE:
            raise KeyringError(
                f"{what} is open to other users",
                where=str(path),
                mend=f"run: chmod 600 {path}; if others had access, revoke this key",
            )
        return stream.read(_KEY_FILE_LIMIT_BYTES)


def load_private_key(path: Path) -> PrivateKey:
    """The Ed25519 private key in a PEM file.

    Raises FileNotFoundError when there is none, KeyringError when group or others may touch it or it is no such key.
    """
    pem = read_owner_only(path)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyringError(
            "not an Ed25519 private key", where=str(path), mend="restore it from backup, or register a new key"
        )
    return key


def private_key_bytes(private_key: PrivateKey) -> bytes:
    """The key's 32 secret bytes: only to be sealed at once."""
    return private_key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def private_key_from_bytes(secret: bytes) -> PrivateKey:
    """The key of 32 secret bytes. Raises ValueError for another length."""
    return Ed25519PrivateKey.from_private_bytes(secret)


def sha256_of_bytes(content: bytes) -> str:
    """SHA-256 as 64 lower-case hex digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_stream(stream: io.BufferedReader) -> str:
    """SHA-256 of what is left in an open file, read in pieces: memory does not grow with the file."""
    return hashlib.file_digest(stream, "sha256").hexdigest()


def keyed_digest(key: bytes, content: bytes) -> str:
    """HMAC-SHA-256 as 64 lower-case hex digits: without the key, nobody can tell whether a guess at the content is right."""
    return hmac.digest(key, content, "sha256").hex()


def derive_key(passphrase: str, salt: bytes) -> bytes:
    """32 bytes from a passphrase (scrypt, N = 2^15, r = 8, p = 3, as OWASP advises): each guess costs 32 MiB and a while."""
    return hashlib.scrypt(passphrase.encode("utf-8"), salt=salt, n=2**15, r=8, p=3, maxmem=2**27, dklen=32)


def equal_in_constant_time(left: str, right: str) -> bool:
    """Whether two ASCII texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(left, right)
