from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from security import manifest as manifests
from security.errors import ContentChanged, IntegrityError, UnavailableError
from security.manifest import check_folder, describe_folder, open_regular, parse_manifest, read_checked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / "trees").mkdir(parents=True)
    (root / "settings.json").write_bytes(b'{"quantiles":9}')
    (root / "trees" / "q50.txt").write_bytes(b"tree\n")
    return root


def statement_of(folder: Path) -> dict[str, Any]:
    statement: dict[str, Any] = json.loads(describe_folder(folder, "model", {}).to_bytes())
    return statement


def test_a_manifest_is_an_in_toto_statement_with_sorted_names(folder: Path):
    described = describe_folder(folder, "model", {"trained_until": "2014-01-01"})
    statement = json.loads(described.to_bytes())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "urn:gridward:model:v1"
    assert statement["predicate"] == {"trained_until": "2014-01-01"}
    assert [subject["name"] for subject in statement["subject"]] == ["settings.json", "trees/q50.txt"]
    assert statement["subject"][1]["annotations"] == {"size_bytes": 5}
    assert parse_manifest(described.to_bytes()) == described


def test_canonical_json_has_one_form_and_no_nan():
    assert manifests.canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        manifests.canonical_json({"a": float("nan")})


def test_the_manifest_does_not_change_with_the_callers_dictionary(folder: Path):
    predicate = {"origin": ["a"]}
    described = describe_folder(folder, "model", predicate)
    predicate["origin"].append("b")
    assert described.predicate == {"origin": ["a"]}


def test_an_untouched_folder_passes_and_its_files_can_be_read(folder: Path):
    described = describe_folder(folder, "model", {})
    check_folder(folder, described)
    assert read_checked(folder, described, "trees/q50.txt") == b"tree\n"


@pytest.mark.parametrize("content", [b"Tree\n", b"tree", b"tree\n\n", b""])
def test_an_altered_file_is_named(folder: Path, content: bytes):
    described = describe_folder(folder, "model", {})
    (folder / "trees" / "q50.txt").write_bytes(content)
    for look in (lambda: check_folder(folder, described), lambda: read_checked(folder, described, "trees/q50.txt")):
        with pytest.raises(ContentChanged) as refusal:
            look()
        assert (refusal.value.path, refusal.value.why) == ("trees/q50.txt", "altered")


def test_a_missing_file_is_named(folder: Path):
    described = describe_folder(folder, "model", {})
    (folder / "settings.json").unlink()
    for look in (lambda: check_folder(folder, described), lambda: read_checked(folder, described, "settings.json")):
        with pytest.raises(ContentChanged) as refusal:
            look()
        assert (refusal.value.path, refusal.value.why) == ("settings.json", "missing")


def test_a_missing_folder_is_named(folder: Path):
    described = describe_folder(folder, "model", {})
    with pytest.raises(ContentChanged, match="missing"):
        check_folder(folder.parent / "elsewhere", described)


@pytest.mark.parametrize("name", ["extra.txt", ".hidden", "trees/.git", "trees/manifest.dsse.json"])
def test_an_unknown_file_is_named(folder: Path, name: str):
    described = describe_folder(folder, "model", {})
    (folder / name).write_bytes(b"")
    with pytest.raises(ContentChanged) as refusal:
        check_folder(folder, described)
    assert (refusal.value.path, refusal.value.why) == (name, "unknown")


def test_a_file_whose_name_is_not_text_is_found_too(folder: Path):
    described = describe_folder(folder, "model", {})
    (folder / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(ContentChanged, match="unknown"):
        check_folder(folder, described)
    with pytest.raises(IntegrityError, match="not allowed"):
        describe_folder(folder, "model", {})


def test_only_listed_files_can_be_read(folder: Path):
    described = describe_folder(folder, "model", {})
    (folder.parent / "outside").write_bytes(b"x")
    with pytest.raises(ContentChanged, match="unknown"):
        read_checked(folder, described, "../outside")


def test_links_to_files_and_to_folders_are_refused(folder: Path, tmp_path: Path):
    described = describe_folder(folder, "model", {})
    for link, target in (("settings.json", tmp_path / "copy"), ("trees", tmp_path / "copies")):
        (folder / link).rename(target)
        (folder / link).symlink_to(target)
        with pytest.raises(ContentChanged) as refusal:
            check_folder(folder, described)
        assert (refusal.value.path, refusal.value.why) == (link, "symlink")
        (folder / link).unlink()
        target.rename(folder / link)


def test_a_link_put_in_place_after_the_walk_is_not_followed(folder: Path, tmp_path: Path):
    described = describe_folder(folder, "model", {})
    (folder / "settings.json").rename(tmp_path / "copy")
    (folder / "settings.json").symlink_to(tmp_path / "copy")
    with pytest.raises(ContentChanged, match="symlink"):
        read_checked(folder, described, "settings.json")


def test_pipes_and_sockets_are_refused_without_waiting_on_them(folder: Path, monkeypatch: pytest.MonkeyPatch):
    described = describe_folder(folder, "model", {})
    (folder / "settings.json").unlink()
    os.mkfifo(folder / "settings.json")
    looks = (lambda: check_folder(folder, described), lambda: read_checked(folder, described, "settings.json"))
    for look in looks:
        with pytest.raises(ContentChanged, match="not a regular file"):
            look()
    (folder / "settings.json").unlink()
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("settings.json")
        for look in looks:
            with pytest.raises(ContentChanged, match="not a regular file"):
                look()


def test_a_file_that_the_system_does_not_open_is_unavailable_and_not_called_altered(folder: Path):
    with pytest.raises(UnavailableError, match="cannot read this file: File name too long"):
        open_regular(folder, "x" * 300)


def test_an_empty_folder_and_a_strange_kind_cannot_be_described(folder: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(IntegrityError, match="nothing to seal"):
        describe_folder(tmp_path / "empty", "model", {})
    with pytest.raises(ValueError, match="kind"):
        describe_folder(folder, "Model:v2", {})


@pytest.mark.parametrize(
    "name", ["../x", "a/../x", "/etc/passwd", "a\\b", "", ".", "a//b", "a/", "./a", "a\nb", "a\0b", "\u202etxt", 7, None]
)
def test_a_manifest_with_a_name_that_could_leave_the_folder_is_refused(folder: Path, name: object):
    statement = statement_of(folder)
    statement["subject"][0]["name"] = name
    with pytest.raises(IntegrityError):
        parse_manifest(manifests.canonical_json(statement))


def test_an_unknown_format_version_says_to_upgrade(folder: Path):
    statement = statement_of(folder)
    statement["predicateType"] = "urn:gridward:model:v2"
    with pytest.raises(IntegrityError, match=r"format 2 is unknown.*upgrade Gridward"):
        parse_manifest(manifests.canonical_json(statement))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("predicateType", "urn:other:model:v1"),
        ("predicateType", None),
        ("predicate", []),
        ("subject", []),
        ("subject", [{"name": "a"}]),
        ("subject", ["a"]),
        ("subject", [{"name": "a", "digest": {"sha256": "AB" * 32}, "annotations": {"size_bytes": 1}}]),
        ("subject", [{"name": "a", "digest": {"sha256": "ab" * 32}, "annotations": {"size_bytes": -1}}]),
        ("subject", [{"name": "a", "digest": {"sha256": "ab" * 32}, "annotations": {"size_bytes": True}}]),
        ("subject", [{"name": "a", "digest": {"sha256": "ab" * 32}, "annotations": {"size_bytes": 1}}] * 2),
    ],
)
def test_a_manifest_of_another_shape_is_refused(folder: Path, field: str, value: object):
    statement = statement_of(folder)
    statement[field] = value
    with pytest.raises(IntegrityError):
        parse_manifest(manifests.canonical_json(statement))


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"\xff", b'{"a":NaN}', b"[" * 100_000])
def test_a_payload_that_is_no_statement_is_refused(payload: bytes):
    with pytest.raises(IntegrityError):
        parse_manifest(payload)
