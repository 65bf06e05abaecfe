"""The keys around the keys of bundles: each bundle is encrypted under a data key of its own, which lies beside it, wrapped.

    models/<model_id>/key.json     the bundle's data key, wrapped by the station's keyset for this model alone
    keys/bundles.keyset            that keyset, in the key chest

Rotation gives the keyset a new primary key and wraps each data key anew: no bundle is encrypted or trained again.

`key.json`, format version 1: canonical JSON of `format_version` and `wrapped`, the Tink AEAD ciphertext in Base64.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from security._primitives import names_on_disk
from security.encryption import Cipher, RotatingCipher, key_id_in
from security.errors import ContentChanged
from security.manifest import canonical_json, open_regular

FORMAT_VERSION = 1

_LIMIT_BYTES = 4096


@dataclass(frozen=True)
class BundleKeys:
    """The station's keyset that wraps the bundles' data keys; printing it shows nothing of it."""

    _cipher: RotatingCipher = field(repr=False)

    @classmethod
    def fresh(cls) -> BundleKeys:
        """A keyset of one new key."""
        return cls(RotatingCipher.fresh())

    @classmethod
    def from_secret(cls, keyset: bytes) -> BundleKeys:
        """The keys that `to_secret` wrote. Raises ContentChanged for anything else."""
        return cls(RotatingCipher.from_secret(keyset))

    def to_secret(self) -> bytes:
        """The keyset in the clear: only to be sealed at once."""
        return self._cipher.to_secret()

    @property
    def primary_id(self) -> str:
        """The id of the key that wraps, eight hex digits."""
        return self._cipher.primary_id

    @property
    def key_ids(self) -> list[str]:
        """The ids of all keys that unwrap, the oldest first; more than one only while a rotation is unfinished."""
        return self._cipher.key_ids

    def new_data_key(self, context: bytes) -> tuple[Cipher, bytes]:
        """A fresh cipher for one bundle, and its key wrapped for that context."""
        cipher = Cipher.fresh()
        return cipher, self._cipher.encrypt(cipher.to_secret(), context)

    def unwrap(self, wrapped: bytes, context: bytes) -> Cipher:
        """The cipher of a bundle. Raises DecryptionRefused for an altered key, or one of another bundle or station."""
        return Cipher.from_secret(self._cipher.decrypt(wrapped, context))

    def rotated(self) -> BundleKeys:
        """A new primary key; the old ones still unwrap."""
        return BundleKeys(self._cipher.rotated())

    def rewrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The same data key under the primary key. Raises as `unwrap`."""
        return self._cipher.encrypt(self._cipher.decrypt(wrapped, context), context)

    def only_primary(self) -> BundleKeys:
        """Without the old keys: what they wrapped stays shut for good."""
        return BundleKeys(self._cipher.only_primary())


def bundle_context(model_id: str) -> bytes:
    """What binds a wrapped data key to its model: in another bundle's folder it does not unwrap (AML.T0018)."""
    return b"gridward-bundle-v1\0" + model_id.encode("ascii")


def key_id_of(wrapped: bytes) -> str:
    """The id of the key that wrapped this, eight hex digits. Raises DecryptionRefused for bytes that are no wrapped key."""
    return key_id_in(wrapped)


def write_wrapped(path: Path, wrapped: bytes) -> None:
    """Write the `key.json` of a bundle's folder, whole from one moment to the next, also over another."""
    # Beside the folder: what a killed process leaves in it would be a stranger's file. One name: the next try clears it.
    temporary = path.parent.with_name(f".{path.parent.name}.{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(_written(wrapped))
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    names_on_disk(path.parent)


def read_wrapped(path: Path) -> bytes:
    """The wrapped key in a `key.json`. Raises ContentChanged for a link, or anything but what `write_wrapped` writes."""
    with open_regular(path.parent, path.name) as stream:
        content = stream.read(_LIMIT_BYTES + 1)
    try:
        fields = json.loads(content)
        wrapped = base64.b64decode(fields["wrapped"], validate=True)
        version = fields["format_version"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise _malformed(path, "not the wrapped key of a bundle") from None
    if version != FORMAT_VERSION:
        raise _malformed(path, f"wrapped keys of format {version!r} are unknown here", mend="upgrade Gridward")
    # JSON and Base64 have many spellings of the same content; one is ours, so that no byte can change unseen.
    if _written(wrapped) != content:
        raise _malformed(path, "not written as Gridward writes it")
    return wrapped


def _written(wrapped: bytes) -> bytes:
    return canonical_json({"format_version": FORMAT_VERSION, "wrapped": base64.b64encode(wrapped).decode("ascii")})


def _malformed(path: Path, problem: str, mend: str = "restore the bundle from a backup") -> ContentChanged:
    return ContentChanged(problem, where=str(path), mend=mend)
