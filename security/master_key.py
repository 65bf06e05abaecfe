"""The master key of a key chest, and what protects it: a passphrase, a KMS, or the mode of its file alone.

`master.json`, format version 1: canonical JSON of `format_version`, `protection`, and `master` in hex (`none`), `salt` in
hex with `sealed` in Base64 (`passphrase`), or `wrapped` as the KMS wrote it (`kms`).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from security._primitives import read_owner_only, replace_owner_only, save_owner_only
from security.encryption import DecryptionRefused, open_with_passphrase, seal_with_passphrase
from security.errors import KeyringError, UnavailableError
from security.kms import VaultKey
from security.manifest import canonical_json
from security.passphrase_file import SHORTEST_PASSPHRASE

FORMAT_VERSION = 1

_CONTEXT = b"gridward-master-key-v1"
_MASTER_BYTES, _SALT_BYTES = 32, 16
_PASSPHRASE_VARIABLE, _KMS_VARIABLE = "GRIDWARD_KEY_PASSPHRASE", "GRIDWARD_KMS_URI"

ProtectedBy = Literal["none", "passphrase", "kms"]
_SAID = {"none": "nothing but the mode of its file", "passphrase": "a passphrase", "kms": "a KMS"}


@dataclass(frozen=True)
class Protection:
    """What protects the master key: a passphrase, a KMS, or neither; printing it shows no secret."""

    passphrase: SecretStr | None = None
    kms: VaultKey | None = None

    @property
    def by(self) -> ProtectedBy:
        """How a master key is written under this protection. An empty passphrase is none."""
        if self.kms is not None:
            return "kms"
        return "passphrase" if self.words else "none"

    @property
    def words(self) -> str:
        """The passphrase in the clear, empty for none."""
        return "" if self.passphrase is None else self.passphrase.get_secret_value()


def make_master(path: Path, protection: Protection) -> None:
    """Make a master key where none is; another process may do so at the same time, and one of the two is kept.

    Raises KeyringError for a short passphrase, UnavailableError when the KMS does not answer.
    """
    with contextlib.suppress(FileExistsError):
        save_owner_only(_written(os.urandom(_MASTER_BYTES), protection), path)


def read_master(path: Path, protection: Protection) -> bytes:
    """The master key in a file that is protected as `protection` says.

    Raises UnavailableError when passphrase or KMS are missing or do not answer; KeyringError for a wrong passphrase, an
    altered file, one that others may touch, or one that is protected otherwise.
    """
    fields = _fields(path)
    # Protected less than its owner says, it may be somebody else's, put here to have new keys sealed with it (AML.T0018).
    if protection.by not in ("none", fields["protection"]):
        raise KeyringError(
            f"the master key is protected by {_SAID[fields['protection']]}, and the settings say by {_SAID[protection.by]}",
            where=str(path),
            mend="run `gridward keys protect` if that is new; otherwise the file was exchanged: restore it from its copy",
        )
    return _opened(fields, protection, path)


def protect_master(path: Path, old: Protection, new: Protection) -> None:
    """Protect a master key in a new way, from one moment to the next. Raises as `read_master` and `make_master`.

    old: may name passphrase and KMS; the file says which it takes.
    """
    replace_owner_only(_written(_opened(_fields(path), old, path), new), path)
    # Of a process that was killed while it made the chest: the master key, perhaps in the clear.
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink()


def protection_of(path: Path) -> ProtectedBy:
    """What protects a master key, as its file says. Raises FileNotFoundError, KeyringError."""
    protection: ProtectedBy = _fields(path)["protection"]
    return protection


def _written(master: bytes, protection: Protection) -> bytes:
    content: dict[str, object] = {"format_version": FORMAT_VERSION, "protection": protection.by}
    if protection.kms is not None:
        return canonical_json({**content, "wrapped": protection.kms.wrap(master, _CONTEXT)})
    if not protection.words:
        return canonical_json({**content, "master": master.hex()})
    if len(protection.words) < SHORTEST_PASSPHRASE:
        raise KeyringError(
            f"the passphrase is shorter than {SHORTEST_PASSPHRASE} characters",
            where=_PASSPHRASE_VARIABLE,
            mend="choose a longer one, such as six random words",
        )
    salt = os.urandom(_SALT_BYTES)
    sealed = seal_with_passphrase(master, protection.words, salt, _CONTEXT)
    return canonical_json({**content, "salt": salt.hex(), "sealed": base64.b64encode(sealed).decode("ascii")})


def _fields(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(read_owner_only(path, "the master key"))
        version, protection = fields["format_version"], fields["protection"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise _not_a_master(path) from None
    if version != FORMAT_VERSION or protection not in ("none", "passphrase", "kms"):
        raise KeyringError(
            f"a master key of format {version!r}, protection {protection!r} is unknown here",
            where=str(path),
            mend="upgrade Gridward",
        )
    return dict(fields)


def _opened(fields: dict[str, Any], protection: Protection, path: Path) -> bytes:
    by = fields["protection"]
    try:
        if by == "none":
            master = bytes.fromhex(fields["master"])
        elif by == "passphrase":
            salt, sealed = bytes.fromhex(fields["salt"]), base64.b64decode(fields["sealed"], validate=True)
            master = open_with_passphrase(sealed, _required_words(protection), salt, _CONTEXT)
        else:
            master = _required_kms(protection).unwrap(str(fields["wrapped"]), _CONTEXT)
    except DecryptionRefused:
        raise KeyringError(
            "the passphrase does not open the master key, or it was altered",
            where=str(path),
            mend=f"check {_PASSPHRASE_VARIABLE}, then restore the file from its copy",
        ) from None
    except (KeyError, TypeError, ValueError):
        raise _not_a_master(path) from None
    if len(master) != _MASTER_BYTES:
        raise _not_a_master(path)
    return master


def _required_words(protection: Protection) -> str:
    if not protection.words:
        raise UnavailableError(
            "the key chest is sealed with a passphrase, and none is given", where=_PASSPHRASE_VARIABLE, mend="set it first"
        )
    return protection.words


def _required_kms(protection: Protection) -> VaultKey:
    if protection.kms is None:
        raise UnavailableError(
            "the key chest is sealed by a KMS, and none is named", where=_KMS_VARIABLE, mend="set it first"
        )
    return protection.kms


def _not_a_master(path: Path) -> KeyringError:
    return KeyringError("not a master key", where=str(path), mend="restore it from its copy")
