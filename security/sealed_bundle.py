"""A signed bundle, sealed at rest: a folder from whose copy nobody learns anything, and in which nothing changes unseen.

    manifest.dsse.json.sealed   the signed manifest, which names every file of the bundle with its SHA-256
    NAME.sealed                 each of these files
    KIND.dsse.json.sealed       signed statements about the bundle, each bound to the manifest's digest
    key.json                    the bundle's data key, wrapped by the station's bundle keys

Everything but the wrapped key is encrypted with the bundle's own data key, bound to the bundle and the file's name. The
signature is over what was encrypted, so that keys are rotated by writing `key.json` anew and nothing else.

Opening, each step on the bytes of the one before: the folder's names → the data key → the manifest decrypted → its
signature → its digest, which is the bundle's name → each file decrypted → its digest. Controls: AML.T0018, AML.T0010.003.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from security._primitives import names_on_disk
from security.bundle_keys import BundleKeys, bundle_context, write_wrapped
from security.encryption import Cipher, DecryptionRefused
from security.errors import IntegrityError, UnavailableError
from security.manifest import (
    MANIFEST_NAME,
    FileChanged,
    Manifest,
    describe_files,
    open_regular,
    parse_manifest,
    require_content,
    require_names,
)
from security.signing import STATEMENT_LIMIT_BYTES, PublicKey, Signer, sign_statement, verify_statement

KEY_FILE = "key.json"
SEALED = ".sealed"
ATTESTATION = ".dsse.json"
ID_DIGITS = 16


class BundleSwapped(IntegrityError):
    """A validly signed bundle stands where another one should: `model_id`."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id
        super().__init__(
            "this bundle is not the one that was registered",
            where=f"model {model_id}",
            mend="restore the bundle, or train a new model",
        )


@dataclass(frozen=True)
class SealedBundle:
    """A verified bundle in the clear. digest: SHA-256 of the manifest's statement, in hex; attestations: kind → envelope,
    whose signatures are the reader's to verify.
    """

    manifest: Manifest
    digest: str
    files: Mapping[str, bytes]
    attestations: Mapping[str, bytes]


def digest_of(manifest: Manifest) -> str:
    """What a release names a bundle by: SHA-256 of the statement's bytes, in hex."""
    return hashlib.sha256(manifest.to_bytes()).hexdigest()


def id_of(digest: str) -> str:
    """What people and folders call a bundle by."""
    return digest[:ID_DIGITS]


def describe_bundle(files: Mapping[str, bytes], kind: str, facts: Mapping[str, Any]) -> Manifest:
    """The manifest of a bundle that is still in memory. Raises ValueError, IntegrityError as `describe_files`."""
    clash = [name for name in files if name.endswith((SEALED, ATTESTATION)) or name == KEY_FILE or "/" in name]
    if clash:
        raise ValueError(f"{clash[0]!r} cannot be the name of a file of a bundle")
    return describe_files(files, kind, facts)


def write_bundle(
    folder: Path,
    manifest: Manifest,
    files: Mapping[str, bytes],
    attestations: Mapping[str, bytes],
    signer: Signer,
    keys: BundleKeys,
) -> None:
    """Sign, encrypt and write a bundle into an empty folder; everything is on disk when this returns.

    Raises UnavailableError where it cannot be written.
    """
    context = bundle_context(id_of(digest_of(manifest)))
    cipher, wrapped = keys.new_data_key(context)
    signed = {MANIFEST_NAME: sign_statement(manifest.to_bytes(), signer)}
    detached = {f"{kind}{ATTESTATION}": envelope for kind, envelope in attestations.items()}
    for name, content in {**files, **signed, **detached}.items():
        _write(folder / f"{name}{SEALED}", cipher.encrypt(content, _context(context, name)))
    write_wrapped(folder / KEY_FILE, wrapped)
    names_on_disk(folder)


def put_in_place(draft: Path, folder: Path) -> None:
    """Give a bundle that was written elsewhere its name, unless it is there already; on disk when this returns.

    Without that, a power cut could leave a release of a model that is nowhere.
    """
    if not folder.exists():
        draft.rename(folder)
    names_on_disk(folder.parent)


def read_bundle(
    folder: Path,
    model_id: str,
    kind: str,
    attested: Collection[str],
    trusted: Mapping[str, PublicKey],
    cipher: Cipher,
) -> SealedBundle:
    """Verify and decrypt a bundle with its data key. Parse these bytes, never the files again.

    attested: the kinds of statements that have to lie beside it, and no others. Raises FileChanged (links, unknown, missing
    or renamed files, altered ones), DecryptionRefused, SignatureInvalid, IntegrityError (another kind or format),
    BundleSwapped.
    """
    _require_flat(folder)
    context = bundle_context(model_id)
    envelope = _opened(folder, MANIFEST_NAME, STATEMENT_LIMIT_BYTES, cipher, context)
    manifest = parse_manifest(verify_statement(envelope, trusted, f"model {model_id}"))
    if manifest.kind != kind:
        raise IntegrityError(
            f"sealed as {manifest.kind}, wanted {kind}", where=str(folder), mend="point at the right folder"
        )
    digest = digest_of(manifest)
    if id_of(digest) != model_id:
        raise BundleSwapped(model_id)
    detached = {statement: f"{statement}{ATTESTATION}" for statement in attested}
    sealed = [*(file.name for file in manifest.files), *detached.values(), MANIFEST_NAME]
    require_names(folder, {KEY_FILE, *(f"{name}{SEALED}" for name in sealed)})
    files = dict[str, bytes]()
    # One file is hashed while the next is decrypted: the two cost about the same.
    with ThreadPoolExecutor(1) as hashing:
        checks = []
        for file in manifest.files:
            files[file.name] = _opened(folder, file.name, file.size_bytes, cipher, context)
            checks.append(hashing.submit(require_content, file, files[file.name]))
        for check in checks:
            check.result()
    statements = {
        statement: _opened(folder, name, STATEMENT_LIMIT_BYTES, cipher, context) for statement, name in detached.items()
    }
    return SealedBundle(manifest, digest, files, statements)


def add_attestation(folder: Path, model_id: str, kind: str, envelope: bytes, cipher: Cipher) -> None:
    """Lay a signed statement beside a bundle, whole or not at all; one of the same kind is replaced.

    Raises UnavailableError where it cannot be written.
    """
    context = bundle_context(model_id)
    name = f"{kind}{ATTESTATION}"
    # Beside the folder: what a killed process leaves in it would be a stranger's file.
    temporary = folder.with_name(f".{model_id}.{name}.tmp")
    _write(temporary, cipher.encrypt(envelope, _context(context, name)))
    temporary.replace(folder / f"{name}{SEALED}")
    names_on_disk(folder)


def _require_flat(folder: Path) -> None:
    """Raise FileChanged where a folder lies in the bundle's folder, or there is none; links are found later."""
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except OSError:
        raise FileChanged(str(folder), "missing") from None
    # A bundle is flat: an empty folder in it would be seen by nobody else, and a deep one walked to its end.
    for name in sorted(name for name, is_folder in found.items() if is_folder):
        raise FileChanged(ascii(name)[1:-1], "not a regular file")


def _opened(folder: Path, name: str, most_bytes: int, cipher: Cipher, context: bytes) -> bytes:
    with open_regular(folder, f"{name}{SEALED}") as stream:
        try:
            return cipher.decrypt_from(stream, _context(context, name), most_bytes)
        except DecryptionRefused:
            # The data key is right, it was unwrapped for this bundle: so the file is wrong, and can be named.
            raise FileChanged(f"{name}{SEALED}", "altered") from None


def _context(bundle: bytes, name: str) -> bytes:
    return bundle + b"\0" + name.encode("utf-8")


def _write(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise UnavailableError(
            f"cannot write this file: {error.strerror}", where=str(path), mend="make room, then run this again"
        ) from error
