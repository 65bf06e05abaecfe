"""`make sbom` writes the same bytes every time: what is pinned for running, each with its hashes, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from security.pins import read_pins
from tests.unit.ci.tools import ROOT


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What two runs of the Makefile's own command wrote, at two moments that the environment claims."""
    makefile = (ROOT / "Makefile").read_text()
    target = makefile.split("\nsbom:")[1].split("\n\n")[0]
    command = target[target.index("env -u") :].replace("\\\n", " ").replace("$(BIN)", str(Path(sys.executable).parent))
    files = [tmp_path_factory.mktemp("bill") / name for name in ("first.json", "second.json")]
    for file in files:
        own = command.replace("var/sbom.cdx.json", str(file))
        assert own != command
        subprocess.run(["sh", "-c", f"SOURCE_DATE_EPOCH={len(str(file))} {own}"], cwd=ROOT, check=True, capture_output=True)
    return [file.read_bytes() for file in files]


@pytest.fixture
def bill(written: list[bytes]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(written[0])
    return content


def test_two_runs_write_the_same_bytes(written: list[bytes]) -> None:
    assert written[0] == written[1]


def test_every_pin_is_in_it_with_its_hashes_and_nothing_else(bill: dict[str, Any]) -> None:
    listed = {
        (one["name"], one["version"], frozenset(digest["content"] for digest in one["externalReferences"][0]["hashes"]))
        for one in bill["components"]
    }

    assert listed == {(pin.name, pin.version, pin.sha256s) for pin in read_pins(ROOT / "requirements" / "run.txt")}
    assert len(listed) == len(bill["components"])


def test_it_describes_gridward_itself_with_version_and_licence(bill: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = bill["metadata"]["component"]

    assert (own["name"], own["version"]) == ("gridward", project["version"])
    assert [one["license"]["id"] for one in own["licenses"]] == [project["license"]]


def test_it_names_no_path_of_the_machine_that_wrote_it(written: list[bytes]) -> None:
    assert str(Path.home()).encode() not in written[0]
    assert not re.search(rb'"file:|' + re.escape(str(ROOT).encode()), written[0])
