"""Pieces of files, encrypted, each stored once under a keyed digest of its content.

The name is the AEAD's context and the digest of what comes out: a piece that was altered, cut, or put in another's place
does not open. Two pieces alike are one, so a backup writes only what the ones before do not hold yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.backup.repository import CHUNKS, DRAFT, names_on_disk, write_in_place
from security.backup_keys import BackupKeys
from security.encryption import DecryptionRefused
from security.manifest import FileChanged, open_regular

# As SQLite's pages stay in their places, so do the pieces of a database that did not change.
CHUNK_BYTES = 2**20

_LONGEST_CIPHERTEXT = CHUNK_BYTES + 2**12
_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass
class Written:
    """What a backup added: chunks and bytes on the disk, and damaged chunks that it wrote anew."""

    chunks: int = 0
    size_bytes: int = 0
    mended: int = 0


class ChunkStore:
    """The chunks of one folder of backups."""

    def __init__(self, root: Path, keys: BackupKeys) -> None:
        self._root = root
        self._keys = keys
        self.written = Written()

    def put(self, content: bytes) -> str:
        """Keep a piece and answer its name. One that is there is opened before it is relied on, and mended if damaged."""
        name = self._keys.name_of(content)
        if self._path(name).exists():
            try:
                self.get(name)
            except FileChanged:
                self.written.mended += 1
            else:
                return name
        ciphertext = self._keys.cipher.encrypt(content, _context(name))
        write_in_place(self._path(name), ciphertext)
        self.written.chunks += 1
        self.written.size_bytes += len(ciphertext)
        return name

    def get(self, name: str) -> bytes:
        """The piece of that name. Raises FileChanged, naming the chunk's file."""
        with open_regular(self._root, f"{CHUNKS}/{name}") as stream:
            ciphertext = stream.read(_LONGEST_CIPHERTEXT)
        try:
            content = self._keys.cipher.decrypt(ciphertext, _context(name))
        except DecryptionRefused:
            content = None
        if content is None or self._keys.name_of(content) != name:
            raise FileChanged(f"{CHUNKS}/{name}", "altered")
        return content

    def names(self) -> set[str]:
        """Every chunk there is. Raises FileChanged for a link or a file that is none of ours."""
        found = set()
        for entry in (self._root / CHUNKS).iterdir():
            if entry.is_symlink():
                raise FileChanged(f"{CHUNKS}/{entry.name}", "symlink")
            if _NAME.fullmatch(entry.name):
                found.add(entry.name)
            elif not entry.name.startswith(DRAFT):
                raise FileChanged(f"{CHUNKS}/{entry.name}", "unknown")
        return found

    def remove_all_but(self, kept: set[str]) -> int:
        """Remove every chunk that no backup needs; answers how many."""
        gone = self.names() - kept
        for name in gone:
            self._path(name).unlink()
        return len(gone)

    def settle(self) -> None:
        """Have the names of all chunks on the disk, before anything is said to hold them."""
        names_on_disk(self._root / CHUNKS)

    def _path(self, name: str) -> Path:
        return self._root / CHUNKS / name


def pieces_of(stream: BinaryIO) -> Iterator[bytes]:
    """A file in pieces of `CHUNK_BYTES`, the last one shorter."""
    while piece := stream.read(CHUNK_BYTES):
        yield piece


def _context(name: str) -> bytes:
    return f"gridward-chunk-v1:{name}".encode("ascii")
