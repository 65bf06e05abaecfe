"""What a backup holds: every file of the station with its digest, size and chunks; encrypted beside the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from pipeline.backup.chunks import ChunkStore, pieces_of
from security.backup_keys import BackupKeys
from security.manifest import FileChanged, Manifest, SealedFile, parse_manifest

CATALOGUE = "catalogue.sealed"
KIND = "station-content"


@dataclass
class Catalogue:
    """Files in the order they were taken, and the names of each file's chunks."""

    files: list[SealedFile] = field(default_factory=list)
    chunks: dict[str, list[str]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Of all files together, as they are in the station."""
        return sum(file.size_bytes for file in self.files)

    def take(self, name: str, stream: BinaryIO, store: ChunkStore) -> None:
        """Store a file and write it down."""
        digest, size, chunks = hashlib.sha256(), 0, []
        for piece in pieces_of(stream):
            digest.update(piece)
            size += len(piece)
            chunks.append(store.put(piece))
        self.files.append(SealedFile(name, digest.hexdigest(), size))
        self.chunks[name] = chunks

    def to_bytes(self, keys: BackupKeys, sequence: int) -> bytes:
        """Encrypted for this place in the chain."""
        content = Manifest(KIND, tuple(self.files), {"chunks": self.chunks}).to_bytes()
        return keys.cipher.encrypt(content, _context(sequence))

    @classmethod
    def from_bytes(cls, sealed: bytes, keys: BackupKeys, sequence: int) -> Catalogue:
        """Raises ContentChanged when it does not decrypt, IntegrityError for another shape or a name with `..` in it."""
        manifest = parse_manifest(keys.cipher.decrypt(sealed, _context(sequence)))
        return cls(list(manifest.files), dict(manifest.predicate["chunks"]))


def content_of(store: ChunkStore, file: SealedFile, chunks: Iterable[str]) -> Iterator[bytes]:
    """A file's content in pieces, each opened, the whole compared at the end: exhaust it before you rely on any of it.

    Raises FileChanged.
    """
    digest, size = hashlib.sha256(), 0
    for name in chunks:
        piece = store.get(name)
        digest.update(piece)
        size += len(piece)
        yield piece
    if digest.hexdigest() != file.sha256 or size != file.size_bytes:
        raise FileChanged(file.name, "altered")


def _context(sequence: int) -> bytes:
    return f"gridward-catalogue-v1:{sequence}".encode("ascii")
