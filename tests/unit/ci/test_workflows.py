"""The workflows: every action by its commit, no permission that is not asked for, no text of strangers in a script."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.ci.tools import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ZIZMOR = ["zizmor", "--offline", "--no-progress", "--persona", "auditor"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit_with_its_version_beside_it(path: Path) -> None:
    used = re.findall(r"uses: (.+)", path.read_text())

    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_runs_is_a_target_of_the_makefile_or_the_gate(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in re.findall(r"^\s+run: (.+)$", path.read_text(), re.MULTILINE):
        target = re.fullmatch(r"make ([a-z-]+)( [A-Z]+=[\w/.-]+)*", command)
        assert command == ".ci/run" or (target is not None and f"\n{target[1]}:" in makefile), command


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("persist-credentials: false", "persist-credentials: true", "artipacked"),
        ("run: make audit", "run: echo ${{ github.head_ref }}", "template-injection"),
        ("pull_request:", "pull_request_target:", "dangerous-triggers"),
        ("actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0", "actions/checkout@v5", "unpinned-uses"),
    ],
)
def test_a_weakened_workflow_is_found(tmp_path: Path, old: str, new: str, rule: str) -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert old in text
    workflow = tmp_path / ".github" / "workflows" / "ci.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(text.replace(old, new))

    command = [shutil.which("zizmor", path=str(Path(sys.executable).parent)) or ZIZMOR[0], *ZIZMOR[1:], str(workflow)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert rule in found.stdout


def test_the_gate_runs_the_checks_with_the_same_options() -> None:
    check = (ROOT / "Makefile").read_text().split("\ncheck:")[1].split("\n\n")[0]

    assert " ".join(ZIZMOR) + " .github/workflows" in check
    for name in ("find_secrets.py", "containerfile.py"):
        assert f".ci/{name}" in check
