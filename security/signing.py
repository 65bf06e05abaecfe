"""Sign and verify: a sealed folder in a DSSE envelope, a small message with Ed25519 alone.

Opening a sealed folder, in this order, each step on the bytes of the one before:
    1. the envelope's signature by a trusted key, over the payload's bytes and type (PAE);
    2. only then the payload is parsed, its version and kind checked;
    3. every file of the folder is compared with it.
A signature proves who sealed these bytes, not that the content is true or fresh: rollback is the registry's business,
plausibility the data room's.

Source: DSSE v1 protocol (secure-systems-lab/dsse); in-toto Statement v1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as EnvelopeError
from securesystemslib.signer import (  # type: ignore[attr-defined]  # public there, but the package has no __all__
    CryptoSigner,
    Key,
    SSlibKey,
)

from security._primitives import PrivateKey, PublicKey, generate_private_key, key_id_of, sign, verify
from security.errors import IntegrityError, SignatureInvalid
from security.manifest import (
    MANIFEST_NAME,
    Manifest,
    canonical_json,
    check_folder,
    describe_folder,
    open_regular,
    parse_manifest,
)

__all__ = [
    "PAYLOAD_TYPE", "STATEMENT_LIMIT_BYTES", "PublicKey", "Signer", "new_signer", "open_folder", "seal_folder", "sign_bytes",
    "sign_statement", "verify_bytes", "verify_statement",
]  # fmt: skip

PAYLOAD_TYPE = "application/vnd.in-toto+json"

# Prefixed to every small message, so that its signature can never pass for an envelope's or a token's.
_MESSAGE_CONTEXT = b"gridward-message-v1\0"
STATEMENT_LIMIT_BYTES = 16 * 2**20
_RESTORE = "restore it from a trusted copy"
_TEMPORARY_NAME = f"{MANIFEST_NAME}.tmp"


@dataclass(frozen=True)
class Signer:
    """A private key with its public name; printing it shows the name only."""

    key_id: str
    public_key: PublicKey
    private_key: PrivateKey = field(repr=False)

    @classmethod
    def from_private_key(cls, private_key: PrivateKey) -> Signer:
        """The signer of this key, named by the SHA-256 prefix of its public half."""
        public_key = private_key.public_key()
        return cls(key_id_of(public_key), public_key, private_key)


def new_signer() -> Signer:
    """A signer with a fresh key that lives in memory only (simulated providers, tests)."""
    return Signer.from_private_key(generate_private_key())


def sign_bytes(message: bytes, signer: Signer) -> bytes:
    """The 64-byte signature of a small message, separated from every other use of the key."""
    return sign(signer.private_key, _MESSAGE_CONTEXT + message)


def verify_bytes(message: bytes, signature: bytes, public_key: PublicKey) -> None:
    """Raise SignatureInvalid unless `sign_bytes` made `signature` from `message` with this key."""
    verify(public_key, signature, _MESSAGE_CONTEXT + message)


def seal_folder(folder: Path, kind: str, predicate: Mapping[str, Any], signer: Signer) -> Manifest:
    """Describe `folder`, sign the description, and write it last and whole as `manifest.dsse.json`.

    A folder without that file was never finished. Raises as `describe_folder` does.
    """
    manifest = describe_folder(folder, kind, predicate, ignore=(MANIFEST_NAME, _TEMPORARY_NAME))
    _write_whole(folder, sign_statement(manifest.to_bytes(), signer))
    return manifest


def open_folder(folder: Path, kind: str, trusted: Mapping[str, PublicKey]) -> Manifest:
    """Verify a sealed folder and return its manifest; `trusted` maps key ids to the keys believed today.

    Raises SignatureInvalid (no trusted key signed), IntegrityError (another kind or an unknown format version),
    ContentChanged (a file is altered, missing, unknown or a link). Parse files through `manifest.read_checked`.
    """
    with open_regular(folder, MANIFEST_NAME) as stream:
        envelope = stream.read(STATEMENT_LIMIT_BYTES + 1)
    manifest = parse_manifest(verify_statement(envelope, trusted, str(folder)))
    if manifest.kind != kind:
        raise IntegrityError(
            f"sealed as {manifest.kind}, wanted {kind}", where=str(folder), mend="point at the right folder"
        )
    check_folder(folder, manifest)
    return manifest


def sign_statement(statement: bytes, signer: Signer) -> bytes:
    """A DSSE envelope around an in-toto statement, as canonical JSON."""
    envelope = Envelope(statement, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(signer.private_key, SSlibKey.from_crypto(signer.public_key, signer.key_id)))
    return canonical_json(envelope.to_dict())


def verify_statement(text: bytes, trusted: Mapping[str, PublicKey], where: str) -> bytes:
    """The statement in an envelope that a trusted key signed. Raises SignatureInvalid, naming `where`."""
    if len(text) > STATEMENT_LIMIT_BYTES:
        raise SignatureInvalid("the envelope is too large to be one of ours", where=where)
    try:
        envelope = Envelope.from_dict(json.loads(text))
        keys: list[Key] = [SSlibKey.from_crypto(public_key, key_id) for key_id, public_key in trusted.items()]
        envelope.verify(keys, threshold=1)
    except (EnvelopeError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise SignatureInvalid(
            "no trusted key signed this", where=where, mend=f"{_RESTORE}; if its key was revoked, build it again"
        ) from error
    # Base64 and JSON have many spellings of the same content; one is ours, so that no byte can change unseen.
    if canonical_json(envelope.to_dict()) != text:
        raise SignatureInvalid("the envelope is not written as Gridward writes it", where=where, mend=_RESTORE)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise SignatureInvalid(
            "the envelope holds something other than an in-toto statement", where=where, mend="seal it again"
        )
    return envelope.payload


def _write_whole(folder: Path, content: bytes) -> None:
    temporary = folder / _TEMPORARY_NAME
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / MANIFEST_NAME)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
