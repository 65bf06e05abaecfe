"""A release is decided by its commit alone: built twice, the same bytes; its provenance says which commit that was."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from security.errors import UnavailableError
from tests.unit.ci.tools import require_git, tool

release = tool("release")

PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "gridward"
version = "0.0.1"
[tool.setuptools]
packages = ["meters"]
"""
PIN = f"x==1 --hash=sha256:{'a' * 64}\n"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository with one commit, and a file that is in none."""
    require_git()
    folder = tmp_path_factory.mktemp("repository")
    for name, content in {
        "pyproject.toml": PROJECT,
        "meters/__init__.py": '"""Meters."""\n',
        "requirements/run.txt": PIN,
        "requirements/dev.txt": PIN,
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        subprocess.run([*git, *command], check=True, env={**os.environ, "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z"})
    (folder / "meters" / "forgotten.py").write_text("")
    return folder


@pytest.fixture(scope="module")
def out(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("out") / "release"
    return folder, release.build(repository, folder, None)


def test_a_release_is_a_wheel_a_source_archive_a_bill_of_materials_and_where_they_came_from(out: tuple[Path, str]) -> None:
    assert sorted(path.name for path in out[0].iterdir()) == [
        "gridward-0.0.1-py3-none-any.whl",
        "gridward-0.0.1.tar.gz",
        "gridward.cdx.json",
        "provenance.dsse.json",
    ]


def test_built_again_at_another_moment_by_others_habits_it_is_the_same_bytes(
    repository: Path, out: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    monkeypatch.setenv("TZ", "Pacific/Apia")
    time.sleep(2.1)  # A zip archive counts in steps of two seconds.
    umask = os.umask(0o077)
    try:
        release.build(repository, tmp_path / "again", None)
    finally:
        os.umask(umask)

    for path in out[0].iterdir():
        if path.name != "provenance.dsse.json":
            assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_only_what_the_commit_holds_is_released_with_the_moment_of_the_commit(out: tuple[Path, str]) -> None:
    with zipfile.ZipFile(out[0] / "gridward-0.0.1-py3-none-any.whl") as wheel:
        assert [name for name in wheel.namelist() if name.startswith("meters/")] == ["meters/__init__.py"]
        assert {entry.date_time for entry in wheel.infolist()} == {(2026, 1, 2, 3, 4, 4)}
    with tarfile.open(out[0] / "gridward-0.0.1.tar.gz") as archive:
        members = archive.getmembers()
    assert {(one.uid, one.gid, one.uname, one.mtime) for one in members} == {(0, 0, "", 1767323045)}
    assert not any("forgotten" in one.name for one in members)


def test_the_provenance_names_commit_and_pins_and_verifies_with_the_key_that_was_printed(
    repository: Path, out: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    revision = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()

    assert release.main(["verify", str(out[0]), "--public", out[1]]) == 0
    assert f"built from {revision}" in capsys.readouterr().out


def test_another_key_or_a_changed_file_is_refused_in_one_line(
    out: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main(["verify", str(out[0]), "--public", "ab" * 32]) == 3
    assert "no trusted key signed" in capsys.readouterr().err

    changed = tmp_path / "release"
    changed.mkdir()
    for path in out[0].iterdir():
        (changed / path.name).write_bytes(path.read_bytes() + (b" " if path.suffix == ".whl" else b""))
    assert release.main(["verify", str(changed), "--public", out[1]]) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_is_there_is_not_written_over(repository: Path, out: tuple[Path, str]) -> None:
    with pytest.raises(UnavailableError, match="there is something already"):
        release.build(repository, out[0], None)


def test_two_builds_that_differ_are_refused(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        release, "_BUILD", "import sys, secrets; open(sys.argv[1] + '/a.whl', 'w').write(secrets.token_hex())"
    )
    monkeypatch.chdir(repository)

    assert release.main(["build", "--out", str(tmp_path / "release")]) == 3
    assert capsys.readouterr().err.startswith("error: a.whl: two builds differ")
    assert not (tmp_path / "release").exists()


def test_the_predicate_is_slsa_provenance(out: tuple[Path, str]) -> None:
    statement = json.loads(base64.b64decode(json.loads((out[0] / "provenance.dsse.json").read_text())["payload"]))

    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert {"buildType", "externalParameters", "internalParameters", "resolvedDependencies"} == set(
        statement["predicate"]["buildDefinition"]
    )
    assert "id" in statement["predicate"]["runDetails"]["builder"]
