"""What is attested of a bundle: who asked for it, what it was made from, which gates it passed; and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.snapshots import restore
from pipeline.attest import (
    GATES,
    PREDICATE_TYPES,
    PROVENANCE,
    GateResult,
    attest_gates,
    attest_provenance,
    code_digests,
    gates_in,
    verify_attestations,
)
from pipeline.database import transaction
from pipeline.errors import AttestationRefused
from pipeline.publish import OpenedModel, attest_judged, attested, read_model
from pipeline.station import Station
from pipeline.verify_model import verify_model
from security.bundle_keys import bundle_context
from security.errors import SignatureInvalid
from security.keyring import trusted_keys
from security.manifest import FileChanged, canonical_json, parse_manifest
from security.sealed_bundle import KEY_FILE, SealedBundle, add_attestation, describe_bundle, digest_of
from security.signing import PublicKey, Signer, new_signer, sign_statement, verify_statement
from tests.unit.pipeline.republish import SNAPSHOT_DIGEST, sealed_again

SIGNER = new_signer()
TRUSTED: dict[str, PublicKey] = {SIGNER.key_id: SIGNER.public_key}
FILES = {"model.json": b"{}"}
MANIFEST = describe_bundle(FILES, "model-bundle", {"snapshot": "s"})
DIGEST = digest_of(MANIFEST)
PASSED = GateResult("tried", "passed", "it came through")
FAILED = GateResult("backtest", "failed", "worse than what serves")


def statements(signer: Signer = SIGNER, digest: str = DIGEST) -> dict[str, bytes]:
    provenance = attest_provenance(digest, digest[:16], {"requested_by": "ann", "seed": 1}, {"snapshot": "5" * 64}, signer)
    return {PROVENANCE: provenance, GATES: attest_gates(digest, digest[:16], [PASSED], signer)}


def bundle(**changes: bytes) -> SealedBundle:
    return SealedBundle(MANIFEST, DIGEST, FILES, {**statements(), **changes})


def refused(found: SealedBundle) -> str:
    with pytest.raises((AttestationRefused, SignatureInvalid)) as refusal:
        verify_attestations(found, TRUSTED, "model m")
    assert str(refusal.value).startswith("model m")
    return refusal.value.problem


def test_what_was_attested_is_what_is_read() -> None:
    found = verify_attestations(bundle(), TRUSTED, "model m")
    assert found.digest == DIGEST
    definition = found.provenance["buildDefinition"]
    assert definition["externalParameters"] == {"requested_by": "ann", "seed": 1}
    assert gates_in(found) == (PASSED,)
    assert (found.gates["result"], found.gates["passedTests"], found.gates["failedTests"]) == ("PASSED", ["tried"], [])
    assert SIGNER.key_id in found.provenance["runDetails"]["builder"]["id"]


def test_the_envelopes_are_in_toto_statements_that_name_the_bundle_by_its_digest() -> None:
    for kind, envelope in statements().items():
        statement = json.loads(verify_statement(envelope, TRUSTED, kind))
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert statement["predicateType"] == PREDICATE_TYPES[kind]
        assert statement["subject"] == [{"name": DIGEST[:16], "digest": {"sha256": DIGEST}}]


@pytest.mark.parametrize(
    ("gates", "result"),
    [
        ([PASSED], "PASSED"),
        ([PASSED, GateResult("mild hours", "not judged", "too few")], "PASSED"),
        ([PASSED, FAILED], "FAILED"),
    ],
)
def test_one_failed_gate_fails_the_whole(gates: list[GateResult], result: str) -> None:
    found = verify_attestations(bundle(gates=attest_gates(DIGEST, DIGEST[:16], gates, SIGNER)), TRUSTED, "model m")
    assert found.gates["result"] == result
    assert gates_in(found) == tuple(gates)


@pytest.mark.parametrize("kind", PREDICATE_TYPES)
def test_a_model_without_one_of_its_statements_is_refused(linear: Station, linear_model: OpenedModel, kind: str) -> None:
    (linear.models / linear_model.model_id / f"{kind}.dsse.json.sealed").unlink()
    with pytest.raises(FileChanged, match=rf"{kind}\.dsse\.json\.sealed: this file is missing"):
        read_model(linear, linear_model.model_id)


def test_a_model_with_a_statement_of_an_unknown_kind_is_refused(linear: Station, linear_model: OpenedModel) -> None:
    folder = linear.models / linear_model.model_id
    cipher = linear.chest.cipher_of(folder / KEY_FILE, bundle_context(linear_model.model_id))
    add_attestation(folder, linear_model.model_id, "praise", statements()[GATES], cipher)
    with pytest.raises(FileChanged, match=r"praise\.dsse\.json\.sealed: this file is unknown"):
        read_model(linear, linear_model.model_id)


@pytest.mark.parametrize("kind", PREDICATE_TYPES)
def test_a_statement_that_another_key_signed_is_refused(kind: str) -> None:
    assert "no trusted key" in refused(bundle(**{kind: statements(new_signer())[kind]}))


@pytest.mark.parametrize("kind", PREDICATE_TYPES)
def test_a_statement_about_another_bundle_is_refused(kind: str) -> None:
    other = statements(digest="a" * 64)[kind]
    assert refused(bundle(**{kind: other})) == f"{kind} speaks of another bundle"


def test_a_statement_under_another_kinds_name_is_refused() -> None:
    assert "gates states something else" in refused(bundle(gates=statements()[PROVENANCE]))


def altered(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The envelope with its statement changed and the old signature."""
    envelope = json.loads(content)
    payload = json.loads(verify_statement(content, TRUSTED, "x"))
    change(payload)
    resigned = json.loads(sign_statement(canonical_json(payload), SIGNER))
    return canonical_json({**resigned, "signatures": envelope["signatures"]})


def test_a_changed_predicate_is_refused() -> None:
    def passes_everything(statement: dict[str, Any]) -> None:
        statement["predicate"]["result"] = "PASSED"

    def another_asked(statement: dict[str, Any]) -> None:
        statement["predicate"]["buildDefinition"]["externalParameters"]["requested_by"] = "mallory"

    failed = attest_gates(DIGEST, DIGEST[:16], [FAILED], SIGNER)
    assert "no trusted key" in refused(bundle(gates=altered(failed, passes_everything)))
    assert "no trusted key" in refused(bundle(provenance=altered(statements()[PROVENANCE], another_asked)))


@pytest.mark.parametrize(
    "payload",
    [b"[]", b"null", b'{"_type":1}', b'{"subject":[{}],"predicate":{},"_type":"x","predicateType":"y"}', b"[" * 2000],
)
def test_a_signed_payload_that_is_no_statement_is_refused_and_never_crashes(payload: bytes) -> None:
    assert "is not an in-toto statement" in refused(bundle(gates=sign_statement(payload, SIGNER)))


def test_a_manifest_is_no_statement_of_any_kind() -> None:
    assert "states something else" in refused(bundle(gates=sign_statement(MANIFEST.to_bytes(), SIGNER)))
    assert parse_manifest(MANIFEST.to_bytes()) == MANIFEST


def test_provenance_names_snapshot_code_and_requirements_by_their_digests(
    linear: Station, linear_model: OpenedModel
) -> None:
    found = attested(linear, read_model(linear, linear_model.model_id)).provenance["buildDefinition"]
    named = {material["name"]: material["digest"]["sha256"] for material in found["resolvedDependencies"]}
    with transaction(linear.engine) as session:
        trusted = trusted_keys(session, "snapshot")
    snapshot = restore(linear.snapshots, linear_model.snapshot_id, trusted)
    assert named["snapshot"] == snapshot.digest
    assert snapshot.digest.startswith(linear_model.snapshot_id)
    pinned = Path(__file__).parents[3] / "requirements" / "run.txt"
    assert named["requirements"] == hashlib.sha256(pinned.read_bytes()).hexdigest()
    assert set(named) == {"snapshot", "requirements", "code", "installed"}
    asked = found["externalParameters"]
    assert (asked["requested_by"], asked["seed"], asked["snapshot"]) == ("fixture", 1, linear_model.snapshot_id)
    assert found["internalParameters"]["weather"] == linear_model.contract.to_json()


def test_the_digest_of_the_code_changes_with_any_source_and_with_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.py").write_text("x = 1\n")
    monkeypatch.setattr("pipeline.attest._HOUSE", tmp_path)
    read_anew = code_digests.__wrapped__
    before = read_anew()
    (tmp_path / "data" / "notes.txt").write_text("not code")
    assert read_anew() == before
    assert "requirements" not in before
    (tmp_path / "data" / "one.py").write_text("x = 2\n")
    changed = read_anew()
    assert changed["code"] != before["code"]
    assert changed["installed"] == before["installed"]
    (tmp_path / "data" / "one.py").rename(tmp_path / "data" / "two.py")
    assert read_anew()["code"] != changed["code"]


def test_gates_that_came_later_are_added_and_judged_again_replaced(linear: Station, linear_model: OpenedModel) -> None:
    model_id = sealed_again(linear, linear_model, "judged")
    before = read_model(linear, model_id)
    attest_judged(linear, model_id, [FAILED])
    assert attested(linear, read_model(linear, model_id)).gates["result"] == "FAILED"
    better = GateResult("backtest", "passed", "as good as what serves")
    attest_judged(linear, model_id, [better])
    after = read_model(linear, model_id)
    found = attested(linear, after)
    assert [(gate.name, gate.verdict) for gate in gates_in(found)] == [("tried", "passed"), ("backtest", "passed")]
    assert (after.digest, after.files) == (before.digest, before.files)
    assert after.attestations[PROVENANCE] == before.attestations[PROVENANCE]


def test_a_model_is_verified_with_the_very_snapshot_it_was_made_from(linear: Station, linear_model: OpenedModel) -> None:
    verified = verify_model(linear, linear_model.model_id)
    assert verified.materials["snapshot"][1] == "the same here"
    # Attested to come from another snapshot than the one of that name.
    model_id = sealed_again(linear, linear_model, linear_model.snapshot_id)
    named = attested(linear, read_model(linear, model_id)).provenance["buildDefinition"]["resolvedDependencies"]
    assert {"name": "snapshot", "digest": {"sha256": SNAPSHOT_DIGEST}} in named
    with pytest.raises(AttestationRefused, match="another snapshot"):
        verify_model(linear, model_id)
