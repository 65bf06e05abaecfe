from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.station import note
from security.audit_heads import SignedHead
from security.signing import PublicKey, verify_bytes
from tests.unit.api.small_station import Service
from tests.unit.security.audit_station import NOON
from tests.unit.security.rfc9162 import consistency_holds, inclusion_holds, of_leaf


def ask(service: Service, path: str, method: str = "GET") -> dict[str, Any]:
    answer = service.ask(method, path, role="auditor")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def enter(service: Service, many: int) -> None:
    for number in range(many):
        note(service.station, actor="olga", action="test.done", subject=f"test {number}", details={}, at=NOON)


def key_of(service: Service) -> PublicKey:
    return service.station.signers["audit"].public_key


def test_the_log_is_read_in_pages_with_the_newest_signed_head(service: Service) -> None:
    enter(service, 5)

    first = ask(service, "/v1/audit?limit=3")
    second = ask(service, first["next"])

    assert [entry["seq"] for entry in first["entries"] + second["entries"]] == [1, 2, 3, 4, 5, 6]
    assert first["entries"][-1]["entry_hash"] == second["entries"][0]["previous_hash"]
    last = ask(service, "/v1/audit?after=1000000")
    assert (last["entries"], last["next"]) == ([], None)


def test_the_signed_head_can_be_verified_by_whoever_has_the_public_key(service: Service) -> None:
    enter(service, 1)

    head = ask(service, "/v1/audit/head")

    verify_bytes(head["signed"].encode(), bytes.fromhex(head["signature"]), key_of(service))
    signed = json.loads(head["signed"])
    assert (signed["tree_size"], signed["root_hash"]) == (head["seq"], head["root_hash"])


def test_an_entry_is_proved_against_the_head_that_comes_with_it(service: Service) -> None:
    enter(service, 4)

    answer = ask(service, "/v1/audit/inclusion?seq=3")

    proof, head = answer["proof"], answer["head"]
    assert (proof["tree_size"], proof["root_hash"]) == (head["seq"], head["root_hash"])
    path, root = [bytes.fromhex(one) for one in proof["path"]], bytes.fromhex(head["root_hash"])
    assert inclusion_holds(2, head["seq"], of_leaf(proof["leaf"].encode()), path, root)
    assert json.loads(proof["leaf"])["seq"] == 3


def test_a_log_of_later_is_proved_to_have_only_grown(service: Service) -> None:
    kept = ask(service, "/v1/audit/head")
    enter(service, 7)

    answer = ask(service, f"/v1/audit/consistency?first={kept['seq']}")

    proof, head = answer["proof"], answer["head"]
    assert (proof["first_root"], proof["second_root"]) == (kept["root_hash"], head["root_hash"])
    roots = bytes.fromhex(kept["root_hash"]), bytes.fromhex(head["root_hash"])
    assert consistency_holds(kept["seq"], head["seq"], *roots, [bytes.fromhex(one) for one in proof["path"]])


@pytest.mark.parametrize(
    "path", ["inclusion?seq=99999", "inclusion?seq=2&tree_size=1", "consistency?first=99999", "consistency?first=2&second=1"]
)
def test_what_never_stood_in_the_log_is_not_proved(shared: Service, path: str) -> None:
    answer = shared.ask("GET", f"/v1/audit/{path}", role="auditor")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "query",
    [
        "?after=-1",
        "?limit=0",
        "?limit=1001",
        "?after=x",
        "?after=99999999999999999999",
        "/inclusion",
        "/inclusion?seq=0",
        "/inclusion?seq=1&tree_size=99999999999999999999",
        "/consistency?first=0",
        "/consistency?second=1",
    ],
)
def test_numbers_outside_the_bounds_are_refused(shared: Service, query: str) -> None:
    assert shared.ask("GET", f"/v1/audit{query}", role="auditor").status_code == 422


def test_the_whole_log_is_verified_when_asked(service: Service) -> None:
    enter(service, 3)

    verified = ask(service, "/v1/audit/verify", "POST")

    assert verified["entries"] >= 3 + 4
    assert verified["tree_nodes"] == verified["entries"]


def test_a_log_that_does_not_hold_is_said_so_and_is_an_incident(service: Service) -> None:
    heads = service.station.audit_heads
    heads.write_text(heads.read_text().replace('"tree_size":1', '"tree_size":2'))

    answer = service.ask("POST", "/v1/audit/verify", role="auditor")

    assert answer.status_code == 409
    assert str(service.station.home) not in answer.text
    incidents = ask(service, "/v1/incidents")["incidents"]
    assert [incident["kind"] for incident in incidents] == ["audit-log-broken"]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/audit"), ("POST", "/v1/audit/verify"), ("GET", "/v1/audit/inclusion?seq=1")]
)
def test_missing_heads_are_not_a_clean_log(service: Service, method: str, path: str) -> None:
    service.station.audit_heads.unlink()

    answer = service.ask(method, path, role="auditor")

    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert str(service.station.home) not in answer.text


def test_a_witness_that_tells_otherwise_is_not_a_clean_log(built: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness.jsonl"
    service = Service.at(built, tmp_path / "home", audit_witness=witness)
    enter(service, 2)
    assert ask(service, "/v1/audit/verify", "POST")["heads"] >= 2
    lines = witness.read_bytes().splitlines(keepends=True)
    assert len(lines) >= 2

    # An intruder cuts the station's own heads; the witness, on another disk, remembers.
    service.station.audit_heads.write_bytes(b"".join(lines[:1]))

    answer = service.ask("POST", "/v1/audit/verify", role="auditor")
    assert answer.status_code == 409
    assert re.search("contradict|stands in the witness's file", answer.json()["detail"])


def test_a_head_of_version_1_is_answered_without_a_root() -> None:
    head = SignedHead(3, "ab" * 32, NOON, "k", "", "cd")

    assert json.loads(head.signed) == {
        "type": "gridward-audit-head-v1", "seq": 3, "entry_hash": "ab" * 32, "key_id": "k",
        "at": "2014-03-01T12:00:00.000000+00:00",
    }  # fmt: skip
