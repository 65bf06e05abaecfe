from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from security.errors import ContentChanged, IntegrityError
from security.manifest import Manifest, SealedFile, parse_manifest, read_checked
from security.signing import new_signer, open_folder, seal_folder

SIGNER = new_signer()
TRUSTED = {SIGNER.key_id: SIGNER.public_key}

file_names = st.from_regex(r"[a-z]{1,6}(/[a-z]{1,6}\.txt)?", fullmatch=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def has_no_file_as_folder(files: dict[str, bytes]) -> bool:
    return not {name.split("/")[0] for name in files if "/" in name} & set(files)


folders = st.dictionaries(file_names, st.binary(max_size=64), min_size=1, max_size=5).filter(has_no_file_as_folder)


@contextmanager
def sealed(files: dict[str, bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        for name, content in files.items():
            (Path(path) / name).parent.mkdir(exist_ok=True)
            (Path(path) / name).write_bytes(content)
        seal_folder(Path(path), "model", {"files": len(files)}, SIGNER)
        yield Path(path)


@settings(deadline=None, max_examples=50)
@given(files=folders)
def test_every_sealed_folder_opens_and_gives_back_its_bytes(files: dict[str, bytes]):
    with sealed(files) as folder:
        manifest = open_folder(folder, "model", TRUSTED)
        assert {file.name: read_checked(folder, manifest, file.name) for file in manifest.files} == files


@settings(deadline=None, max_examples=150)
@given(files=folders, data=st.data())
def test_any_changed_byte_in_any_file_is_found(files: dict[str, bytes], data: st.DataObject):
    with sealed(files) as folder:
        name = data.draw(st.sampled_from([*(name for name in files if files[name]), "manifest.dsse.json"]))
        content = bytearray((folder / name).read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        (folder / name).write_bytes(content)
        with pytest.raises(IntegrityError) as refusal:
            open_folder(folder, "model", TRUSTED)
        if name != "manifest.dsse.json":
            assert isinstance(refusal.value, ContentChanged)
            assert refusal.value.path == name


@settings(deadline=None, max_examples=100)
@given(files=folders, data=st.data())
def test_any_file_added_removed_cut_or_exchanged_is_found(files: dict[str, bytes], data: st.DataObject):
    with sealed(files) as folder:
        name = data.draw(st.sampled_from(sorted(files)))
        change = data.draw(st.sampled_from(["add", "remove", "cut", "extend", "link"]))
        path = folder / name
        if change == "add":
            (folder / "new.bin").write_bytes(data.draw(st.binary(max_size=4)))
        elif change == "remove":
            path.unlink()
        elif change == "cut" and files[name]:
            path.write_bytes(files[name][:-1])
        elif change == "link":
            path.unlink()
            path.symlink_to(folder.parent)
        else:
            path.write_bytes(files[name] + b"\0")
        with pytest.raises(ContentChanged):
            open_folder(folder, "model", TRUSTED)


@settings(deadline=None, max_examples=100)
@given(
    names=st.lists(file_names, min_size=1, max_size=4, unique=True),
    predicate=st.dictionaries(st.text(), json_values, max_size=4),
    size=st.integers(0, 2**40),
)
def test_a_manifest_survives_its_bytes_which_have_one_form(names: list[str], predicate: dict[str, object], size: int):
    files = tuple(SealedFile(name, "ab" * 32, size) for name in names)
    manifest = Manifest("model", files, predicate)
    try:
        written = manifest.to_bytes()
    except UnicodeEncodeError:
        return
    assert parse_manifest(written) == manifest
    assert parse_manifest(written).to_bytes() == written
    backwards = Manifest("model", files, dict(reversed(predicate.items())))
    assert backwards.to_bytes() == written


@settings(deadline=None, max_examples=200)
@given(payload=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_bytes_that_are_no_manifest_raise_an_integrity_error_and_nothing_else(payload: bytes):
    with pytest.raises(IntegrityError):
        parse_manifest(payload)
