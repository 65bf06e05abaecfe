"""The key chest: every secret key of a station in one folder, each encrypted under one master key.

    keys/master.json       the master key: sealed with a passphrase, wrapped by a KMS, or in the clear with mode 0600
    keys/NAME.key          a signing key, encrypted under the master key for this name alone
    keys/bundles.keyset    the keys around the keys of the bundles (`bundle_keys`), encrypted likewise
    keys/NAME.kept         what is no key, and nobody shall change who cannot open the chest

Whoever copies the disk and has neither passphrase nor KMS learns no key. An unprotected chest is as safe as the mode of its
files: that is for demonstrations, and `gridward keys status` says so. Encryption does not hold back whoever may write to
the folder: keys that are taken away are made anew, and the register of keys, the audit log and the releases show it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from security._primitives import (
    generate_private_key,
    load_private_key,
    private_key_bytes,
    private_key_from_bytes,
    read_owner_only,
    replace_owner_only,
    save_owner_only,
)
from security.bundle_keys import BundleKeys, read_wrapped
from security.encryption import Cipher, DecryptionRefused, open_with_key, seal_with_key
from security.errors import KeyringError, UnavailableError
from security.master_key import Protection, make_master, protect_master, read_master
from security.signing import Signer

MASTER, KEYSET, SUFFIX, KEPT = "master.json", "bundles.keyset", ".key", ".kept"

_CONTEXT = b"gridward-key-chest-v1\0"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class KeyChest:
    """An open chest; printing it shows the folder only."""

    folder: Path
    _master: bytes = field(repr=False)

    def signer(self, name: str) -> Signer:
        """The signer kept as `name.key`; made on first use, also when two processes start at once.

        A `name.pem` of an older Gridward is taken over. Raises ValueError for a name that is not a plain file name,
        KeyringError for a key of another chest, an altered one, or one that others may touch.
        """
        path, plain = self._path(name), self.folder / f"{name}.pem"
        if not path.exists():
            key = load_private_key(plain) if plain.exists() else generate_private_key()
            # Where another process was first, its key is the one.
            with contextlib.suppress(FileExistsError):
                save_owner_only(self._seal(path, private_key_bytes(key)), path)
        signer = Signer.from_private_key(private_key_from_bytes(self._open(path)))
        if plain.exists():
            _require_same(plain, signer)
            plain.unlink(missing_ok=True)
        return signer

    def has(self, name: str) -> bool:
        """Whether there is a signer of that name."""
        return self._path(name).exists()

    def remove(self, name: str) -> None:
        """Forget a signer for good. Raises FileNotFoundError for none."""
        self._path(name).unlink()

    def rename(self, old: str, new: str) -> None:
        """Put one signer in the place of another. Killed in between, both names hold the key of `old`."""
        path = self._path(new)
        replace_owner_only(self._seal(path, self._open(self._path(old))), path)
        self._path(old).unlink()

    def names(self) -> list[str]:
        """The signers' names, sorted."""
        return sorted(path.name.removesuffix(SUFFIX) for path in self.folder.glob(f"[!.]*{SUFFIX}"))

    def bundle_keys(self) -> BundleKeys:
        """The keys around the bundles' keys, as they are at this moment.

        Raises KeyringError as `signer`. Whoever goes on to read or write a `key.json` does both within `held`.
        """
        path = self.folder / KEYSET
        if not path.exists():
            # A new one would shut every bundle for good, the old keyset put back would shut every one sealed since.
            raise KeyringError("the keyset is gone", where=str(path), mend="restore it from a copy of the folder of keys")
        return BundleKeys.from_secret(self._open(path))

    def keep_bundle_keys(self, keys: BundleKeys) -> None:
        """Put these in the place of what was kept, from one moment to the next."""
        path = self.folder / KEYSET
        replace_owner_only(self._seal(path, keys.to_secret()), path)

    def keep(self, name: str, content: bytes) -> None:
        """Keep what nobody may change who has not the master key, in the place of what was kept under this name."""
        path = self.folder / f"{name}{KEPT}"
        replace_owner_only(self._seal(path, content), path)

    def kept(self, name: str) -> bytes | None:
        """What is kept under this name; None for nothing. Raises KeyringError as `signer`."""
        path = self.folder / f"{name}{KEPT}"
        return self._open(path) if path.exists() else None

    def cipher_of(self, key_file: Path, context: bytes) -> Cipher:
        """The cipher of a bundle by its `key.json`, whoever rotates meanwhile. Raises ContentChanged, KeyringError."""
        with self.held(alone=False):
            return self.bundle_keys().unwrap(read_wrapped(key_file), context)

    @contextlib.contextmanager
    def held(self, *, alone: bool) -> Iterator[None]:
        """Wait for a turn at the bundle keys: shared to wrap and unwrap, `alone` to rotate; it ends with the process.

        Without it a bundle could be published under a key that a rotation is dropping.
        """
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"signer name {name!r} must be letters, digits, '.', '_' or '-'")
        return self.folder / f"{name}{SUFFIX}"

    def _seal(self, path: Path, secret: bytes) -> bytes:
        return seal_with_key(secret, self._master, _CONTEXT + path.name.encode("ascii"))

    def _open(self, path: Path) -> bytes:
        sealed = read_owner_only(path)
        try:
            return open_with_key(sealed, self._master, _CONTEXT + path.name.encode("ascii"))
        except DecryptionRefused:
            raise KeyringError(
                "the master key does not open this key: it is altered, or one of the two is of another chest",
                where=str(path),
                mend="restore the whole folder of keys from its copy",
            ) from None


def open_chest(folder: Path, protection: Protection) -> KeyChest:
    """Open the chest, making it at the first time, also when two processes start at once: exactly one is made.

    Raises as `read_master` and `make_master`, and KeyringError when the master key is gone and keys under it are there.
    """
    path = folder / MASTER
    # Looked for first: whoever made these had made the master key before.
    orphans = (folder / KEYSET).exists() or any(folder.glob(f"[!.]*{SUFFIX}"))
    if not path.exists():
        if orphans:
            raise KeyringError(
                "the master key is gone, and keys that it opens are there",
                where=str(path),
                mend="restore it from its copy; without one, set the folder of keys aside, and new keys are made",
            )
        make_master(path, protection)
    chest = KeyChest(folder, read_master(path, protection))
    keyset = folder / KEYSET
    if not keyset.exists() and not any(folder.glob(f"[!.]*{SUFFIX}")):
        # Where another process was first, its keyset is the one.
        with contextlib.suppress(FileExistsError):
            save_owner_only(chest._seal(keyset, BundleKeys.fresh().to_secret()), keyset)
    return chest


def protect_chest(folder: Path, old: Protection, new: Protection) -> None:
    """Protect the master key in a new way, from one moment to the next; the keys under it stay as they are.

    old: may name passphrase and KMS, the file says which it takes. Raises as `open_chest`, and UnavailableError where no
    chest is. Copies of the folder that were made before still open in the old way.
    """
    if not (folder / MASTER).exists():
        raise UnavailableError("no key chest here", where=str(folder), mend="run `gridward train` first")
    protect_master(folder / MASTER, old, new)


def _require_same(plain: Path, signer: Signer) -> None:
    if Signer.from_private_key(load_private_key(plain)).key_id != signer.key_id:
        raise KeyringError(
            f"stands beside another key of its name, {plain.stem}{SUFFIX}",
            where=str(plain),
            mend="remove the one that is not the station's",
        )
