"""Encryption at rest: the only door to Tink. Streaming AEAD for contents, AEAD for small secrets: under a keyset that can
be rotated, a key, or a passphrase.

Everything is bound to a context, the associated data of the AEAD: what was encrypted in one place does not decrypt in
another. A ciphertext that was altered, cut or moved raises DecryptionRefused; nothing of it is returned.

Source: Tink streaming AEAD AES-256-GCM-HKDF (Hoang, Reyhanitabar, Rogaway & Vizár 2015); Tink AEAD AES256_GCM and its wire
format (0x01, then the key's id in four bytes); scrypt (RFC 7914).
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from tink import TinkError, aead, new_keyset_handle, proto_keyset_format, secret_key_access, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, aes_gcm_pb2, common_pb2, tink_pb2

from security._primitives import derive_key
from security.errors import ContentChanged

streaming_aead.register()
aead.register()

# Segments of 64 KiB: a mebibyte, as in Tink's own template, is copied so often on its way that opening takes twice as long.
_STREAM = tink_pb2.KeyTemplate(
    type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
    value=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKeyFormat(
        key_size=32,
        params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
            ciphertext_segment_size=2**16, derived_key_size=32, hkdf_hash_type=common_pb2.HashType.SHA256
        ),
    ).SerializeToString(),
    output_prefix_type=tink_pb2.OutputPrefixType.RAW,
)
_AES_GCM = "type.googleapis.com/google.crypto.tink.AesGcmKey"
_TINK_PREFIX, _TINK_PREFIX_BYTES = b"\x01", 5


class DecryptionRefused(ContentChanged):
    """These bytes were not encrypted with this key for this context, or were altered since."""

    def __init__(self, where: str = "") -> None:
        super().__init__(
            "does not decrypt: altered, cut off, or of another key", where=where, mend="restore it from a trusted copy"
        )


@dataclass(frozen=True)
class Cipher:
    """A Tink keyset that encrypts contents of any size; printing it shows nothing of the key."""

    _keyset: bytes = field(repr=False)
    _stream: Any = field(repr=False, compare=False)

    @classmethod
    def fresh(cls) -> Cipher:
        """A cipher with a new 256-bit key from the operating system's randomness."""
        handle = new_keyset_handle(_STREAM)
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
        return self.decrypt_from(io.BytesIO(ciphertext), context, len(ciphertext))

    def decrypt_from(self, source: BinaryIO, context: bytes, most: int) -> bytes:
        """What was encrypted into an open file, which is closed. Raises DecryptionRefused, also for more than `most`."""
        try:
            with self._stream.new_decrypting_stream(source, context) as stream:
                # One byte more than may be there: so it is read to the end, where the last segment is authenticated. All
                # at once, it would come in pieces of 8 KiB.
                content = bytes(stream.read(most + 1))
        except TinkError:
            raise DecryptionRefused from None
        if len(content) > most:
            raise DecryptionRefused
        return content


@dataclass(frozen=True)
class RotatingCipher:
    """A Tink keyset for small secrets: its primary key encrypts, each of its keys decrypts; printing it shows no key."""

    _keyset: bytes = field(repr=False)
    _aead: Any = field(repr=False, compare=False)

    @classmethod
    def fresh(cls) -> RotatingCipher:
        """One new 256-bit key from the operating system's randomness."""
        handle = new_keyset_handle(aead.aead_key_templates.AES256_GCM)
        return cls.from_secret(proto_keyset_format.serialize(handle, secret_key_access.TOKEN))

    @classmethod
    def from_secret(cls, keyset: bytes) -> RotatingCipher:
        """The cipher that `to_secret` wrote. Raises ContentChanged for anything else."""
        try:
            return cls(keyset, proto_keyset_format.parse(keyset, secret_key_access.TOKEN).primitive(aead.Aead))
        except TinkError:
            raise ContentChanged("not a Tink keyset of AEAD", mend="restore it from a trusted copy") from None

    def to_secret(self) -> bytes:
        """The keyset in the clear: only to be sealed at once."""
        return self._keyset

    @property
    def primary_id(self) -> str:
        """The id of the key that encrypts, eight hex digits."""
        return f"{self._parsed().primary_key_id:08x}"

    @property
    def key_ids(self) -> list[str]:
        """The ids of all keys, the oldest first."""
        return [f"{key.key_id:08x}" for key in self._parsed().key]

    def encrypt(self, secret: bytes, context: bytes) -> bytes:
        """Ciphertext under the primary key."""
        return bytes(self._aead.encrypt(secret, context))

    def decrypt(self, ciphertext: bytes, context: bytes) -> bytes:
        """What `encrypt` was given, under whichever key. Raises DecryptionRefused."""
        try:
            return bytes(self._aead.decrypt(ciphertext, context))
        except TinkError:
            raise DecryptionRefused from None

    def rotated(self) -> RotatingCipher:
        """The same keys and a new primary one."""
        keyset = self._parsed()
        known = {key.key_id for key in keyset.key}
        # Ids are random: drawn again in the rare case that one is taken.
        fresh = next(new for new in iter(lambda: RotatingCipher.fresh()._parsed(), None) if new.primary_key_id not in known)
        keys = [*keyset.key, *fresh.key]
        return self.from_secret(tink_pb2.Keyset(primary_key_id=fresh.primary_key_id, key=keys).SerializeToString())

    def only_primary(self) -> RotatingCipher:
        """The primary key alone: what older keys encrypted does not open any more."""
        keyset = self._parsed()
        keys = [key for key in keyset.key if key.key_id == keyset.primary_key_id]
        return self.from_secret(tink_pb2.Keyset(primary_key_id=keyset.primary_key_id, key=keys).SerializeToString())

    def _parsed(self) -> Any:
        return tink_pb2.Keyset.FromString(self._keyset)


def key_id_in(ciphertext: bytes) -> str:
    """The id of the key that a RotatingCipher encrypted with. Raises DecryptionRefused for bytes without one."""
    if len(ciphertext) < _TINK_PREFIX_BYTES or not ciphertext.startswith(_TINK_PREFIX):
        raise DecryptionRefused
    return ciphertext[1:_TINK_PREFIX_BYTES].hex()


def seal_with_key(secret: bytes, key: bytes, context: bytes) -> bytes:
    """A small secret, encrypted with a key of 32 bytes."""
    return bytes(_key_cipher(key).encrypt(secret, context))


def open_with_key(sealed: bytes, key: bytes, context: bytes) -> bytes:
    """What `seal_with_key` was given. Raises DecryptionRefused for another key or altered bytes."""
    try:
        return bytes(_key_cipher(key).decrypt(sealed, context))
    except TinkError:
        raise DecryptionRefused from None


def seal_with_passphrase(secret: bytes, passphrase: str, salt: bytes, context: bytes) -> bytes:
    """A small secret, encrypted with a key that scrypt makes of the passphrase and the salt."""
    return seal_with_key(secret, derive_key(passphrase, salt), context)


def open_with_passphrase(sealed: bytes, passphrase: str, salt: bytes, context: bytes) -> bytes:
    """What `seal_with_passphrase` was given. Raises DecryptionRefused for another passphrase or altered bytes."""
    return open_with_key(sealed, derive_key(passphrase, salt), context)


class _Kept(io.BytesIO):
    """Tink closes what it writes to; what was written is still wanted."""

    def close(self) -> None:
        """Stay readable."""


def _key_cipher(key: bytes) -> Any:
    """Tink reads keys from keysets only: this key becomes one with a single AES-256-GCM key."""
    value = aes_gcm_pb2.AesGcmKey(version=0, key_value=key).SerializeToString()
    data = tink_pb2.KeyData(type_url=_AES_GCM, value=value, key_material_type=tink_pb2.KeyData.KeyMaterialType.SYMMETRIC)
    only = tink_pb2.Keyset.Key(
        key_data=data, key_id=1, status=tink_pb2.KeyStatusType.ENABLED, output_prefix_type=tink_pb2.OutputPrefixType.RAW
    )
    keyset = tink_pb2.Keyset(primary_key_id=1, key=[only])
    return proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN).primitive(aead.Aead)
