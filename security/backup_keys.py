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
    read_public_key,
)
from security.encryption import Cipher
from security.errors import UnavailableError
from security.manifest import canonical_json
from security.passphrase_file import read_sealed, write_sealed

_CONTEXT = b"gridward-backup-keys-v1"
_WHAT = "backup keys"
_SECRET_BYTES = 32


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
    keys = BackupKeys(Cipher.fresh(), os.urandom(_SECRET_BYTES), signed_by)
    secret = canonical_json(
        {
            "keyset": base64.b64encode(keys.cipher.to_secret()).decode("ascii"),
            "name_key": keys.name_key.hex(),
            "signed_by": public_key_hex(signed_by),
        }
    )
    write_sealed(path, secret, words, _CONTEXT, _WHAT)
    return keys


def load_backup_keys(path: Path, passphrase: SecretStr | None) -> BackupKeys:
    """The keys in a file. Raises UnavailableError without file or passphrase, KeyringError for a wrong one."""
    words = _required(passphrase)
    secret = json.loads(read_sealed(path, words, _CONTEXT, _WHAT, "copy them here, or name their folder with --keys"))
    cipher = Cipher.from_secret(base64.b64decode(secret["keyset"]))
    return BackupKeys(cipher, bytes.fromhex(secret["name_key"]), read_public_key(secret["signed_by"]))


def _required(passphrase: SecretStr | None) -> str:
    if passphrase is None or not passphrase.get_secret_value():
        raise UnavailableError(
            "no passphrase: backups are neither made nor opened", where="GRIDWARD_BACKUP_PASSPHRASE", mend="set it first"
        )
    return passphrase.get_secret_value()
