"""Whatever bytes a file holds, they come back; whatever byte of a stored piece changes, it does not."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backup import chunks
from pipeline.backup.catalogue import Catalogue, content_of
from pipeline.backup.chunks import ChunkStore
from security.backup_keys import BackupKeys
from security.encryption import Cipher, DecryptionRefused
from security.manifest import FileChanged
from security.signing import new_signer

KEYS = BackupKeys(Cipher.fresh(), bytes(32), new_signer().public_key)
CONTENTS = st.dictionaries(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?", fullmatch=True), st.binary(max_size=60), min_size=1)


@pytest.fixture(autouse=True, scope="module")
def small_pieces_and_no_waiting() -> Iterator[None]:
    """Pieces of seven bytes, so that small files have many; nobody waits for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_BYTES", 7)
        patch.setattr(os, "fsync", lambda _: None)
        yield


@settings(max_examples=30, deadline=None)
@given(CONTENTS)
def test_files_come_back_byte_for_byte_and_the_second_time_nothing_is_written(contents: dict[str, bytes]) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "chunks").mkdir()
        for round_number in range(2):
            store, catalogue = ChunkStore(Path(folder), KEYS), Catalogue()
            for name, content in contents.items():
                catalogue.take(name, io.BytesIO(content), store)
            assert store.written.mended == 0
            assert round_number == 0 or store.written.chunks == 0

            read = Catalogue.from_bytes(catalogue.to_bytes(KEYS, 5), KEYS, 5)
            back = {file.name: b"".join(content_of(store, file, read.chunks[file.name])) for file in read.files}
            assert back == contents
            assert read.size_bytes == sum(map(len, contents.values()))
            assert store.names() == {name for names in read.chunks.values() for name in names}


@settings(max_examples=30, deadline=None)
@given(CONTENTS, st.data())
def test_chunks_in_another_order_or_number_are_not_the_file(contents: dict[str, bytes], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "chunks").mkdir()
        store, catalogue = ChunkStore(Path(folder), KEYS), Catalogue()
        for name, content in contents.items():
            catalogue.take(name, io.BytesIO(content), store)
        file = data.draw(st.sampled_from(catalogue.files))
        pieces = catalogue.chunks[file.name]
        other = data.draw(st.lists(st.sampled_from(sorted(store.names())), max_size=5)) if store.names() else []
        if b"".join(map(store.get, other)) != contents[file.name]:
            with pytest.raises(FileChanged):
                list(content_of(store, file, other))
        assert b"".join(content_of(store, file, pieces)) == contents[file.name]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.data())
def test_no_byte_of_a_ciphertext_and_no_context_can_be_changed(content: bytes, data: st.DataObject) -> None:
    sealed = KEYS.cipher.encrypt(content, b"here")
    assert KEYS.cipher.decrypt(sealed, b"here") == content
    place = data.draw(st.integers(0, len(sealed) - 1))
    flipped = data.draw(st.integers(1, 255))
    altered = sealed[:place] + bytes([sealed[place] ^ flipped]) + sealed[place + 1 :]
    for wrong, context in ((altered, b"here"), (sealed[:place], b"here"), (sealed + b"\0", b"here"), (sealed, b"there")):
        with pytest.raises(DecryptionRefused):
            KEYS.cipher.decrypt(wrong, context)
