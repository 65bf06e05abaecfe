"""Encryption at rest: the only door to Tink. Streaming AEAD for contents, a passphrase around a small secret.

Everything is bound to a context, the associated data of the AEAD: what was encrypted in one place does not decrypt in
another. A ciphertext that was altered, cut or moved raises DecryptionRefused; nothing of it is returned.

Source: Tink streaming AEAD AES256_GCM_HKDF_1MB (Hoang, Reyhanitabar, Rogaway & Vizár 2015); scrypt (RFC 7914).
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

from tink import TinkError, aead, new_keyset_handle, proto_keyset_format, secret_key_access, streaming_aead
from tink.proto import aes_gcm_pb2, tink_pb2

from security._primitives import derive_key
from security.errors import ContentChanged

streaming_aead.register()
aead.register()

_AES_GCM = "type.googleapis.com/google.crypto.tink.AesGcmKey"


class DecryptionRefused(ContentChanged):
    """These bytes were not encrypted with this key for this context, or were altered since."""

    def __init__(self) -> None:
        super().__init__("does not decrypt: altered, cut off, or of another key", mend="restore it from a trusted copy")


@dataclass(frozen=True)
class Cipher:
    """A Tink keyset that encrypts contents of any size; printing it shows nothing of the key."""

    _keyset: bytes = field(repr=False)
    _stream: Any = field(repr=False, compare=False)

    @classmethod
    def fresh(cls) -> Cipher:
        """A cipher with a new 256-bit key from the operating system's randomness."""
        handle = new_keyset_handle(streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB)
        return cls.from_secret(proto_keyset_format.serialize(handle, secret_key_access.TOKEN))

    @classmethod
    def from_secret(cls, keyset: bytes) -> Cipher:
        """The cipher that `to_secret` wrote. Raises ContentChanged for anything else."""
        try:
            handle = proto_keyset_format.parse(keyset, secret_key_access.TOKEN)
            return cls(keyset, handle.primitive(streaming_aead.StreamingAead))
        except TinkError:
            raise ContentChanged("not a Tink keyset of streaming AEAD", mend="restore it from a trusted copy") from None

    def to_secret(self) -> bytes:
        """The keyset in the clear: only to be sealed at once (`seal_with_passphrase`)."""
        return self._keyset

    def encrypt(self, content: bytes, context: bytes) -> bytes:
        """Ciphertext of `content`; the same content twice gives different bytes."""
        written = _Kept()
        with self._stream.new_encrypting_stream(written, context) as stream:
            stream.write(content)
        return written.getvalue()

    def decrypt(self, ciphertext: bytes, context: bytes) -> bytes:
        """What `encrypt` was given. Raises DecryptionRefused."""
        try:
            with self._stream.new_decrypting_stream(io.BytesIO(ciphertext), context) as stream:
                return bytes(stream.read())
        except TinkError:
            raise DecryptionRefused from None


def seal_with_passphrase(secret: bytes, passphrase: str, salt: bytes, context: bytes) -> bytes:
    """A small secret, encrypted with a key that scrypt makes of the passphrase and the salt."""
    return bytes(_passphrase_cipher(passphrase, salt).encrypt(secret, context))


def open_with_passphrase(sealed: bytes, passphrase: str, salt: bytes, context: bytes) -> bytes:
    """What `seal_with_passphrase` was given. Raises DecryptionRefused for another passphrase or altered bytes."""
    try:
        return bytes(_passphrase_cipher(passphrase, salt).decrypt(sealed, context))
    except TinkError:
        raise DecryptionRefused from None


class _Kept(io.BytesIO):
    """Tink closes what it writes to; what was written is still wanted."""

    def close(self) -> None:
        """Stay readable."""


def _passphrase_cipher(passphrase: str, salt: bytes) -> Any:
    """Tink reads keys from keysets only: the derived key becomes one with a single AES-256-GCM key."""
    key = aes_gcm_pb2.AesGcmKey(version=0, key_value=derive_key(passphrase, salt))
    data = tink_pb2.KeyData(
        type_url=_AES_GCM, value=key.SerializeToString(), key_material_type=tink_pb2.KeyData.KeyMaterialType.SYMMETRIC
    )
    only = tink_pb2.Keyset.Key(
        key_data=data, key_id=1, status=tink_pb2.KeyStatusType.ENABLED, output_prefix_type=tink_pb2.OutputPrefixType.RAW
    )
    keyset = tink_pb2.Keyset(primary_key_id=1, key=[only])
    return proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN).primitive(aead.Aead)
