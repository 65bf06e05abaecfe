"""An operator's private key: one file, opened with the operator's own passphrase, best kept where the station is not.

An operator approves which models run and who else may approve (`release_repository`, `release_rotation`). The key signs
nothing else. The station holds the public half only, in root metadata, beside the operator's name.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from security._primitives import (
    generate_private_key,
    private_key_bytes,
    private_key_from_bytes,
    public_key_pem,
    read_public_key,
)
from security.passphrase_file import read_sealed, write_sealed
from security.signing import Signer

__all__ = ["create_operator_key", "load_operator", "read_public_key"]

_CONTEXT = b"gridward-operator-key-v1"
_WHAT = "operator keys"


def create_operator_key(path: Path, passphrase: SecretStr) -> str:
    """Make an operator's key at `path`, mode 0600; answers its public half as PEM, the form to hand to the station.

    Raises FileExistsError, KeyringError for a short passphrase or a folder that others may write to.
    """
    key = generate_private_key()
    write_sealed(path, private_key_bytes(key), passphrase.get_secret_value(), _CONTEXT, _WHAT)
    return public_key_pem(key.public_key())


def load_operator(path: Path, passphrase: SecretStr) -> Signer:
    """The operator whose key is in a file.

    Raises UnavailableError without a file, KeyringError for one that others may touch, that this passphrase does not open,
    or that is no operator's.
    """
    mend = "name the file that `gridward operator-key` made"
    secret = read_sealed(path, passphrase.get_secret_value(), _CONTEXT, _WHAT, mend)
    return Signer.from_private_key(private_key_from_bytes(secret))
