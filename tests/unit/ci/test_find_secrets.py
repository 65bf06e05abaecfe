"""A secret that lies in the repository is found; what was judged to be none is not, and stays explained."""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.ci.tools import ROOT, require_git, tool

find_secrets = tool("find_secrets")

# Put together here, so that this file holds none of what it plants.
PASSWORD = f"{'pass'}word = 'tr0ub4dor-and-3'\n"
TOKEN = hashlib.sha256(b"planted").hexdigest()[:40]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty repository with our settings and nothing excused."""
    require_git()
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    kept = json.loads((ROOT / ".secrets.baseline").read_text())
    (tmp_path / ".secrets.baseline").write_text(json.dumps({**kept, "results": {}}))
    return tmp_path


def problems(repository: Path) -> list[str]:
    found: list[str] = find_secrets.problems_in(repository, find_secrets.files_of(repository))
    return found


def pem() -> str:
    return f"-----BEGIN {'PRIVATE'} KEY-----\n{secrets.token_hex(32)}\n-----END {'PRIVATE'} KEY-----\n"


@pytest.mark.parametrize("added", [True, False])
def test_a_private_key_is_found_before_and_after_it_is_added(repository: Path, added: bool) -> None:
    (repository / "station.pem").write_text(pem())
    if added:
        subprocess.run(["git", "-C", str(repository), "add", "station.pem"], check=True)

    assert problems(repository) == ["station.pem:1: Private Key"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (f'api_token = "{TOKEN}"\n', "Hex High Entropy String"),
        (f"AWS = 'AKIA{'Z7QK' * 4}'\n", "AWS Access Key"),
        (f"url = 'postgresql://grid:{'aBc9%xyz'}@db/grid'\n", "Basic Auth Credentials"),
        (PASSWORD, "Secret Keyword"),
    ],
)
def test_a_secret_in_code_is_found(repository: Path, line: str, kind: str) -> None:
    (repository / "settings.py").write_text(line)

    assert f"settings.py:1: {kind}" in problems(repository)


def test_what_git_ignores_and_an_empty_repository_have_nothing(repository: Path) -> None:
    (repository / ".gitignore").write_text("var/\n")
    (repository / "var").mkdir()
    (repository / "var" / "own.pem").write_text(pem())

    assert problems(repository) == []


def test_an_excuse_needs_a_judgement_and_ends_with_its_reason(repository: Path) -> None:
    (repository / "settings.py").write_text(PASSWORD)
    listed = subprocess.run(
        [sys.executable, "-m", "detect_secrets", "scan", "--no-verify", "--all-files", "settings.py"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    baseline = json.loads(listed.stdout)
    path = repository / ".secrets.baseline"

    path.write_text(json.dumps(baseline))
    assert problems(repository) == [".secrets.baseline: settings.py: Secret Keyword: not judged"]

    baseline["results"]["settings.py"][0]["is_secret"] = False
    path.write_text(json.dumps(baseline))
    assert problems(repository) == []

    (repository / "settings.py").write_text("\n\n" + PASSWORD)
    assert problems(repository) == [], "a line that moved is the same line"

    (repository / "settings.py").write_text("password = ask()\n")
    assert problems(repository) == [".secrets.baseline: settings.py: Secret Keyword: no longer there"]


@pytest.mark.parametrize(("environment", "code"), [({}, 0), ({"CI": "true"}, 1)])
def test_without_git_it_says_that_it_did_not_look_and_fails_in_ci_alone(
    tmp_path: Path, environment: dict[str, str], code: int
) -> None:
    asked = [sys.executable, str(ROOT / ".ci" / "find_secrets.py")]
    told = subprocess.run(
        asked, cwd=tmp_path, env={"PATH": str(tmp_path), **environment}, capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (code, "")
    assert "were not looked for" in told.stdout


def test_every_file_with_an_excuse_is_explained() -> None:
    explained = (ROOT / "docs" / "supply-chain.md").read_text()

    for name in json.loads((ROOT / ".secrets.baseline").read_text())["results"]:
        folders = {f"`{parent}/`" for parent in Path(name).parents}
        assert f"`{name}`" in explained or any(folder in explained for folder in folders), name
