"""The keys of the backups: one file, opened with a passphrase, that must be kept apart from the backups.

    cipher       encrypts every piece
    name_key     names a piece by a keyed digest of its content: whoever holds the disk cannot test a guess at it
    signed_by    whose signature on a backup is believed

The file reads and encrypts; it cannot sign. Whoever restores elsewhere needs it and the passphrase, not the station's
private keys.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from security._primitives import (
    PublicKey,
    key_id_of,
    keyed_digest,
    public_key_hex,
    read_owner_only,
    read_public_key,
    save_owner_only,
)
from security.encryption import Cipher, DecryptionRefused, open_with_passphrase, seal_with_passphrase
from security.errors import KeyringError, UnavailableError
from security.manifest import canonical_json

FORMAT_VERSION = 1
SHORTEST_PASSPHRASE = 12

_CONTEXT = b"gridward-backup-keys-v1"
_SECRET_BYTES = 32
_SALT_BYTES = 16


@dataclass(frozen=True)
class BackupKeys:
    """What opens backups, and whose signature they must bear; printing it shows no secret."""

    cipher: Cipher = field(repr=False)
    name_key: bytes = field(repr=False)
    signed_by: PublicKey

    @property
    def trusted(self) -> dict[str, PublicKey]:
        """The only key that may have signed a backup, by its id."""
        return {key_id_of(self.signed_by): self.signed_by}

    @property
    def keys_id(self) -> str:
        """Names these keys and tells nothing about them: what was made with others is refused by it."""
        return keyed_digest(self.name_key, _CONTEXT)[:16]

    def name_of(self, content: bytes) -> str:
        """The name of a piece: HMAC-SHA-256 of its content, in hex."""
        return keyed_digest(self.name_key, content)


def create_backup_keys(path: Path, passphrase: SecretStr | None, signed_by: PublicKey) -> BackupKeys:
    """Make new keys at `path`, mode 0600. Raises FileExistsError, UnavailableError without a passphrase, KeyringError."""
    words = _required(passphrase)
    if len(words) < SHORTEST_PASSPHRASE:
        raise KeyringError(
            f"the passphrase is shorter than {SHORTEST_PASSPHRASE} characters",
            where="GRIDWARD_BACKUP_PASSPHRASE",
            mend="choose a longer one, such as six random words",
        )
    keys = BackupKeys(Cipher.fresh(), os.urandom(_SECRET_BYTES), signed_by)
    secret = canonical_json(
        {
            "keyset": base64.b64encode(keys.cipher.to_secret()).decode("ascii"),
            "name_key": keys.name_key.hex(),
            "signed_by": public_key_hex(signed_by),
        }
    )
    salt = os.urandom(_SALT_BYTES)
    sealed = seal_with_passphrase(secret, words, salt, _CONTEXT)
    content = {"format_version": FORMAT_VERSION, "salt": salt.hex(), "sealed": base64.b64encode(sealed).decode("ascii")}
    save_owner_only(canonical_json(content), path)
    return keys


def load_backup_keys(path: Path, passphrase: SecretStr | None) -> BackupKeys:
    """The keys in a file. Raises UnavailableError without file or passphrase, KeyringError for a wrong one."""
    words = _required(passphrase)
    try:
        content = read_owner_only(path, "the file of the backup keys")
    except FileNotFoundError:
        raise UnavailableError(
            "no backup keys", where=str(path), mend="copy them here, or name their folder with --keys"
        ) from None
    salt, sealed = _envelope(content, path)
    try:
        secret = json.loads(open_with_passphrase(sealed, words, salt, _CONTEXT))
    except DecryptionRefused:
        raise KeyringError(
            "the passphrase does not open these keys, or they were altered",
            where=str(path),
            mend="check GRIDWARD_BACKUP_PASSPHRASE, then restore the file from its copy",
        ) from None
    cipher = Cipher.from_secret(base64.b64decode(secret["keyset"]))
    return BackupKeys(cipher, bytes.fromhex(secret["name_key"]), read_public_key(secret["signed_by"]))


def _envelope(content: bytes, path: Path) -> tuple[bytes, bytes]:
    try:
        fields = json.loads(content)
        version = fields["format_version"]
        salt, sealed = bytes.fromhex(fields["salt"]), base64.b64decode(fields["sealed"], validate=True)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise KeyringError("not a file of backup keys", where=str(path), mend="restore it from its copy") from None
    if version != FORMAT_VERSION:
        raise KeyringError(f"backup keys of format {version!r} are unknown here", where=str(path), mend="upgrade Gridward")
    return salt, sealed


def _required(passphrase: SecretStr | None) -> str:
    if passphrase is None or not passphrase.get_secret_value():
        raise UnavailableError(
            "no passphrase: backups are neither made nor opened", where="GRIDWARD_BACKUP_PASSPHRASE", mend="set it first"
        )
    return passphrase.get_secret_value()
