from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.unit.api.commands import Run, runner
from tests.unit.security.rfc9162 import consistency_holds, inclusion_holds, of_leaf


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture
def home(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(built, tmp_path / "home")
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.usefixtures("home")
def test_the_log_is_told_to_hold_with_what_it_was_held_to(run: Run) -> None:
    outcome = run("audit", "verify")

    assert outcome.code == 0
    for told in ("entries", "signed heads", "root", "public key"):
        assert told in outcome.out


@pytest.mark.usefixtures("home")
def test_an_entry_is_proved_and_so_is_the_growth_of_the_log(run: Run) -> None:
    proved = run("audit", "prove", "2").json
    proof, head = proved["proof"], proved["head"]
    root = bytes.fromhex(head["root_hash"])
    path = [bytes.fromhex(one) for one in proof["path"]]
    assert inclusion_holds(1, head["seq"], of_leaf(proof["leaf"].encode()), path, root)

    grown = run("audit", "prove", "--since", "1", "--size", "3").json["proof"]
    roots = bytes.fromhex(grown["first_root"]), bytes.fromhex(grown["second_root"])
    assert consistency_holds(1, 3, *roots, [bytes.fromhex(one) for one in grown["path"]])


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "arguments", [(), ("2", "--since", "1"), ("99999",), ("2", "--size", "1"), ("0",), ("--since", "99999")]
)
def test_what_cannot_be_proved_is_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("audit", "prove", *arguments).code == 2


def test_an_export_is_verified_where_there_is_no_station(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key,) = run("audit", "verify", "--json").json["keys"].values()
    out = tmp_path / "log.jsonl"
    exported = run("audit", "export", "--out", str(out), "--json").json
    assert exported["entries"] == 4
    assert run("audit", "export", "--out", str(out)).code == 5
    assert "2 entries" in run("audit", "export", "--out", str(tmp_path / "later.jsonl"), "--after", "2").out
    shutil.rmtree(home)
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "nowhere"))

    verified = run("audit", "verify", "--export", str(out), "--key", key, "--json").json

    assert (verified["entries"], verified["root_hash"]) == (4, exported["root_hash"])
    (tmp_path / "key.txt").write_text(f"{key}\n")
    assert run("audit", "verify", "--export", str(out), "--key", str(tmp_path / "key.txt")).code == 0
    assert not (tmp_path / "nowhere").exists()

    out.write_text(out.read_text().replace("station", "mallory", 1))
    assert run("audit", "verify", "--export", str(out), "--key", key).code == 3
    assert run("audit", "verify", "--export", str(out), "--key", "no key").code == 3
    assert run("audit", "verify", "--export", str(out)).code == 2
    assert run("audit", "verify", "--key", key).code == 2


def test_heads_that_the_witness_has_and_the_station_has_not_are_told(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = tmp_path / "another-disk.jsonl"
    monkeypatch.setenv("GRIDWARD_AUDIT_WITNESS", str(witness))
    assert run("audit", "verify").code == 5, "a witness that is not there is not a clean log"
    assert run("token", "--role", "auditor", "--subject", "auditor-1").code == 0
    assert witness.read_bytes() == (home / "audit-heads.jsonl").read_bytes()
    assert run("audit", "verify").code == 0

    lines = witness.read_bytes().splitlines(keepends=True)
    (home / "audit-heads.jsonl").write_bytes(b"".join(lines[:-1]))

    outcome = run("audit", "verify")
    assert outcome.code == 3
    assert "stands in the witness's file and not in the station's" in outcome.err


def test_a_second_file_of_heads_is_none_when_the_setting_is_empty(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDWARD_AUDIT_WITNESS", "")

    assert run("audit", "verify", "--json").json["heads"] == len((home / "audit-heads.jsonl").read_text().splitlines())
    assert json.loads((home / "audit-heads.jsonl").read_text().splitlines()[-1])["tree_size"] == 4
