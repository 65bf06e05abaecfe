"""The verifier that docs/audit.md hands to strangers verifies what the station proves, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from security.audit_proofs import prove_inclusion
from tests.unit.security.audit_station import AuditStation, audit_station

DOCUMENT = Path(__file__).parents[2] / "docs" / "audit.md"


def verifier(folder: Path) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    path = folder / "verifier.py"
    path.write_text(code)
    return path


def answer_of(station: AuditStation, seq: int) -> dict[str, dict[str, object]]:
    head = station.sign()
    with station.transaction() as session:
        proof = prove_inclusion(session, seq, head.seq)
    return json.loads(json.dumps({"proof": asdict(proof), "head": {"signature": head.signature, "signed": head.signed}}))


def judged(folder: Path, answer: dict[str, dict[str, object]], key: str) -> subprocess.CompletedProcess[str]:
    path = folder / "answer.json"
    path.write_text(json.dumps(answer))
    return subprocess.run([sys.executable, verifier(folder), path, key], capture_output=True, text=True, check=False)


def test_a_proof_is_believed_and_an_altered_one_is_not(tmp_path: Path) -> None:
    with audit_station("", tmp_path / "home") as station:
        station.write(11)
        key = station.signer.public_key.public_bytes_raw().hex()
        answer = answer_of(station, 7)

    assert judged(tmp_path, answer, key).stdout.split()[1:] == ["olga", "forecast", "day", "7"]

    leaf = str(answer["proof"]["leaf"])
    for change in ({"leaf": leaf.replace("olga", "mallory")}, {"seq": 6}, {"path": answer["proof"]["path"][1:]}):  # type: ignore[index]  # JSON
        assert judged(tmp_path, {**answer, "proof": {**answer["proof"], **change}}, key).returncode == 1
    assert judged(tmp_path, answer, "00" * 32).returncode == 1


@pytest.mark.parametrize("size", [1, 2, 8])
def test_proofs_in_trees_of_other_shapes_are_believed(tmp_path: Path, size: int) -> None:
    with audit_station("", tmp_path / "home") as station:
        station.write(size)
        key = station.signer.public_key.public_bytes_raw().hex()
        assert judged(tmp_path, answer_of(station, size), key).returncode == 0
