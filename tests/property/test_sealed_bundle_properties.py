"""Whatever is done to one file of a sealed bundle, it is refused, and never read as something else."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from security.bundle_keys import BundleKeys, bundle_context, read_wrapped
from security.errors import IntegrityError
from security.sealed_bundle import KEY_FILE, SealedBundle, describe_bundle, digest_of, id_of, read_bundle, write_bundle
from security.signing import new_signer

KIND = "model-bundle"
SIGNER, KEYS = new_signer(), BundleKeys.fresh()
TRUSTED = {SIGNER.key_id: SIGNER.public_key}
# Composed and decomposed, these letters look the same and are different names.
ACCENTED = "modèle.json"
FILES = {ACCENTED: b'{"weights":[1,2,3]}', "golden.json": b'{"day":"2014-01-01"}', "empty.txt": b""}
ATTESTED = {"gates": b'{"result":"PASSED"}', "provenance": b'{"by":"ann"}'}


def sealed(files: Mapping[str, bytes], attested: Mapping[str, bytes]) -> tuple[str, dict[str, bytes]]:
    """A bundle's id, and its folder as name → bytes."""
    manifest = describe_bundle(files, KIND, {"snapshot": "s"})
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / id_of(digest_of(manifest))
        folder.mkdir()
        write_bundle(folder, manifest, files, attested, SIGNER, KEYS)
        return folder.name, {path.name: path.read_bytes() for path in folder.iterdir()}


MODEL_ID, OURS = sealed(FILES, ATTESTED)
_, THEIRS = sealed({name: content + b" " for name, content in FILES.items()}, ATTESTED)
# The same bundle published twice: other keys, the same id.
_, AGAIN = sealed(FILES, {"gates": b'{"result":"FAILED"}', "provenance": b'{"by":"bob"}'})
NAMES = sorted(OURS)


@contextmanager
def laid_out(content: Mapping[str, bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / MODEL_ID
        folder.mkdir()
        for name, written in content.items():
            (folder / name).write_bytes(written)
        yield folder


def opened(folder: Path) -> SealedBundle:
    context = bundle_context(MODEL_ID)
    cipher = KEYS.unwrap(read_wrapped(folder / KEY_FILE), context)
    return read_bundle(folder, MODEL_ID, KIND, tuple(ATTESTED), TRUSTED, cipher)


def refused(folder: Path) -> None:
    with pytest.raises(IntegrityError) as refusal:
        opened(folder)
    assert "\n" not in str(refusal.value)


names = st.sampled_from(NAMES)


def test_untouched_it_opens_to_what_was_sealed() -> None:
    with laid_out(OURS) as folder:
        bundle = opened(folder)
    assert (bundle.files, bundle.attestations) == (FILES, ATTESTED)
    assert id_of(bundle.digest) == MODEL_ID


@settings(deadline=None, max_examples=200)
@given(name=names, position=st.integers(0), bits=st.integers(1, 255))
def test_any_flipped_bit_of_any_file_is_refused(name: str, position: int, bits: int) -> None:
    content = bytearray(OURS[name])
    content[position % len(content)] ^= bits
    with laid_out({**OURS, name: bytes(content)}) as folder:
        refused(folder)


@settings(deadline=None, max_examples=100)
@given(name=names, kept=st.integers(0), more=st.binary(min_size=1, max_size=8), cut=st.booleans())
def test_any_file_cut_or_extended_is_refused(name: str, kept: int, more: bytes, cut: bool) -> None:
    content = OURS[name]
    changed = content[: kept % len(content)] if cut else content + more
    with laid_out({**OURS, name: changed}) as folder:
        refused(folder)


def test_a_file_that_grew_without_end_is_not_read_to_its_end() -> None:
    for name in NAMES:
        with laid_out(OURS) as folder:
            with (folder / name).open("r+b") as stream:
                # A hole: a terabyte that no disk has to hold.
                stream.truncate(2**40)
            refused(folder)


@settings(deadline=None, max_examples=60)
@given(name=names, other=names | st.from_regex(r"[a-zé]{1,4}(\.json|\.dsse\.json)?(\.sealed)?", fullmatch=True))
def test_any_renamed_file_is_refused(name: str, other: str) -> None:
    without = {known: content for known, content in OURS.items() if known != name}
    if name == other:
        return
    with laid_out({**without, other: OURS[name]}) as folder:
        refused(folder)


@settings(deadline=None, max_examples=60)
@given(one=names, other=names)
def test_any_two_files_in_each_others_place_are_refused(one: str, other: str) -> None:
    if one == other:
        return
    with laid_out({**OURS, one: OURS[other], other: OURS[one]}) as folder:
        refused(folder)


@pytest.mark.parametrize("name", NAMES)
def test_any_removed_file_is_refused(name: str) -> None:
    with laid_out({known: content for known, content in OURS.items() if known != name}) as folder:
        refused(folder)


@settings(deadline=None, max_examples=60)
@given(
    name=st.from_regex(r"[a-z.éè]{1,6}(\.json|\.dsse\.json)?(\.sealed)?", fullmatch=True),
    content=st.binary(max_size=8) | st.sampled_from([*OURS.values(), *THEIRS.values()]),
)
def test_any_added_file_is_refused(name: str, content: bytes) -> None:
    if name in OURS or name in {".", ".."}:
        return
    with laid_out({**OURS, name: content}) as folder:
        refused(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kept", [False, True], ids=["put in its place", "put beside it"])
def test_a_link_a_pipe_a_socket_and_a_folder_are_refused(name: str, kept: bool) -> None:
    at = f"more-{name}" if kept else name
    for odd in ("link", "dangling", "pipe", "socket", "empty folder", "folder", "deep folder"):
        with laid_out(OURS if kept else {known: OURS[known] for known in NAMES if known != name}) as folder:
            place(odd, folder, at, OURS[name])
            refused(folder)


def place(odd: str, folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    if odd == "link":
        (folder.parent / name).write_bytes(content)
        path.symlink_to(folder.parent / name)
    elif odd == "dangling":
        path.symlink_to(folder.parent / "nowhere")
    elif odd == "pipe":
        os.mkfifo(path)
    elif odd == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    elif odd == "empty folder":
        path.mkdir()
    elif odd == "folder":
        path.mkdir()
        (path / name).write_bytes(content)
    else:
        (path / "a" / "b" / "c").mkdir(parents=True)


@pytest.mark.parametrize("kept", [False, True], ids=["put in its place", "put beside it"])
def test_the_same_name_in_another_spelling_of_unicode_is_another_name(kept: bool) -> None:
    composed = f"{ACCENTED}.sealed"
    twin = unicodedata.normalize("NFD", composed)
    assert twin != composed
    content = {name: written for name, written in OURS.items() if kept or name != composed}
    with laid_out({**content, twin: OURS[composed]}) as folder:
        refused(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", [THEIRS, AGAIN], ids=["another bundle's", "another publication's"])
def test_the_file_of_another_bundle_under_the_same_name_is_refused(name: str, other: dict[str, bytes]) -> None:
    with laid_out({**OURS, name: other[name]}) as folder:
        refused(folder)


def test_the_whole_folder_of_another_bundle_is_refused() -> None:
    with laid_out(THEIRS) as folder:
        refused(folder)


@pytest.mark.parametrize("whole", ["gone", "a link", "a file"])
def test_a_folder_that_is_none_is_refused(whole: str) -> None:
    with laid_out(OURS) as folder:
        if whole == "a link":
            folder.rename(folder.parent / "elsewhere")
            folder.symlink_to(folder.parent / "elsewhere")
        else:
            shutil.rmtree(folder)
            if whole == "a file":
                folder.write_bytes(b"")
        refused(folder)
