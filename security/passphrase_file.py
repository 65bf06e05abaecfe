"""One small secret in a file that a passphrase opens: the envelope of every key file that is not in the key chest.

    {"format_version": 1, "salt": hex, "sealed": base64}

The passphrase becomes a key by scrypt with the file's own salt. The secret is bound to a context: the file of one use
does not open as that of another. Mode 0600 and whole from its first moment; a file is never replaced.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from security._primitives import read_owner_only, save_owner_only
from security.encryption import DecryptionRefused, open_with_passphrase, seal_with_passphrase
from security.errors import KeyringError, UnavailableError
from security.manifest import canonical_json

FORMAT_VERSION = 1
SHORTEST_PASSPHRASE = 12

_SALT_BYTES = 16


def write_sealed(path: Path, secret: bytes, passphrase: str, context: bytes, what: str) -> None:
    """Seal `secret` into a file that never existed; `what` names it in errors ("backup keys").

    Raises KeyringError for a short passphrase or a folder that others may write to, FileExistsError.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise KeyringError(
            f"the passphrase is shorter than {SHORTEST_PASSPHRASE} characters",
            where=f"passphrase of the {what}",
            mend="choose a longer one, such as six random words",
        )
    salt = os.urandom(_SALT_BYTES)
    sealed = seal_with_passphrase(secret, passphrase, salt, context)
    content = {"format_version": FORMAT_VERSION, "salt": salt.hex(), "sealed": base64.b64encode(sealed).decode("ascii")}
    save_owner_only(canonical_json(content), path)


def read_sealed(path: Path, passphrase: str, context: bytes, what: str, mend: str) -> bytes:
    """The secret that `write_sealed` was given; `mend` says what to do where there is no file.

    Raises UnavailableError without a file, KeyringError for a file that others may touch, that is no such file, or that
    this passphrase does not open.
    """
    try:
        content = read_owner_only(path, f"the file of the {what}")
    except FileNotFoundError:
        raise UnavailableError(f"no {what}", where=str(path), mend=mend) from None
    salt, sealed = _envelope(content, path, what)
    try:
        return open_with_passphrase(sealed, passphrase, salt, context)
    except DecryptionRefused:
        raise KeyringError(
            "the passphrase does not open these keys, or they were altered",
            where=str(path),
            mend="check the passphrase, then restore the file from its copy",
        ) from None


def _envelope(content: bytes, path: Path, what: str) -> tuple[bytes, bytes]:
    try:
        fields = json.loads(content)
        version = fields["format_version"]
        salt, sealed = bytes.fromhex(fields["salt"]), base64.b64decode(fields["sealed"], validate=True)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise KeyringError(f"not a file of {what}", where=str(path), mend="restore it from its copy") from None
    if version != FORMAT_VERSION:
        raise KeyringError(f"{what} of format {version!r} are unknown here", where=str(path), mend="upgrade Gridward")
    return salt, sealed
