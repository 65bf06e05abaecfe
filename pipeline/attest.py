"""What is attested of a bundle: in-toto statements in DSSE envelopes, signed with the station's model key.

    provenance   SLSA Provenance v1: what was asked, by whom; snapshot, code and pinned requirements by digest
    gates        in-toto test result v0.1: every gate the bundle passed or failed before it was put up for approval

Both name the bundle by the SHA-256 of its manifest. They prove what this station says it did; they do not prove that the
snapshot's readings are true, nor that the machine it ran on was not somebody else's.

Sources: slsa.dev/spec/v1.0/provenance; in-toto attestation framework, predicates `test-result` v0.1.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.errors import AttestationRefused
from security.manifest import STATEMENT_TYPE, canonical_json
from security.sealed_bundle import SealedBundle
from security.signing import PublicKey, Signer, sign_statement, verify_statement

PROVENANCE, GATES = "provenance", "gates"
PREDICATE_TYPES: Mapping[str, str] = {
    PROVENANCE: "https://slsa.dev/provenance/v1",
    GATES: "https://in-toto.io/attestation/test-result/v0.1",
}
BUILD_TYPE = "urn:gridward:train:v1"

_ROOMS = ("security", "data", "forecasting", "pipeline", "api")
_HOUSE = Path(__file__).parents[1]


@dataclass(frozen=True)
class GateResult:
    """One gate: its name, whether it let the bundle through, and why. verdict: `passed`, `failed` or `not judged`."""

    name: str
    verdict: str
    why: str


@dataclass(frozen=True)
class Attested:
    """The verified statements about a bundle, as their predicates."""

    digest: str
    provenance: Mapping[str, Any]
    gates: Mapping[str, Any]


def attest_provenance(
    digest: str, model_id: str, facts: Mapping[str, Any], materials: Mapping[str, str], signer: Signer
) -> bytes:
    """The signed provenance of a bundle. facts: as in its manifest; materials: name → SHA-256 of what it was made from."""
    found = {**materials, **code_digests()}
    resolved = [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in sorted(found.items())]
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {key: value for key, value in facts.items() if key != "weather"},
            "internalParameters": {"weather": facts.get("weather")},
            "resolvedDependencies": resolved,
        },
        "runDetails": {
            "builder": {
                "id": f"urn:gridward:station:{signer.key_id}",
                "version": {"gridward": importlib.metadata.version("gridward"), "python": platform.python_version()},
            },
            "metadata": {"invocationId": model_id},
        },
    }
    return _signed(PROVENANCE, digest, model_id, predicate, signer)


def attest_gates(digest: str, model_id: str, gates: Sequence[GateResult], signer: Signer) -> bytes:
    """The signed results of a bundle's gates."""
    told = [{"name": gate.name, "verdict": gate.verdict, "why": gate.why} for gate in gates]
    predicate = {
        "result": "FAILED" if any(gate.verdict == "failed" for gate in gates) else "PASSED",
        "configuration": told,
        "passedTests": [gate.name for gate in gates if gate.verdict == "passed"],
        "failedTests": [gate.name for gate in gates if gate.verdict == "failed"],
    }
    return _signed(GATES, digest, model_id, predicate, signer)


def verify_attestations(bundle: SealedBundle, trusted: Mapping[str, PublicKey], where: str) -> Attested:
    """Verify every statement that lies beside a verified bundle.

    Raises SignatureInvalid, AttestationRefused for one of another bundle or another kind.
    """
    predicates = {
        kind: _predicate_in(kind, verify_statement(envelope, trusted, f"{where}, {kind}"), bundle.digest, where)
        for kind, envelope in bundle.attestations.items()
    }
    return Attested(bundle.digest, predicates[PROVENANCE], predicates[GATES])


def gates_in(attested: Attested) -> tuple[GateResult, ...]:
    """The gates of a verified statement."""
    return tuple(GateResult(str(g["name"]), str(g["verdict"]), str(g["why"])) for g in attested.gates["configuration"])


@lru_cache(maxsize=1)
def code_digests() -> Mapping[str, str]:
    """What runs here, by SHA-256: our sources, the pinned requirements (where they lie beside them), what is installed."""
    own = hashlib.sha256()
    for path in sorted(path for room in _ROOMS for path in (_HOUSE / room).rglob("*.py")):
        own.update(f"{path.relative_to(_HOUSE).as_posix()}\0".encode())
        own.update(hashlib.sha256(path.read_bytes()).digest())
    installed = sorted({f"{d.name}=={d.version}" for d in importlib.metadata.distributions()})
    found = {"code": own.hexdigest(), "installed": hashlib.sha256("\n".join(installed).encode()).hexdigest()}
    pinned = _HOUSE / "requirements" / "run.txt"
    return found | ({"requirements": hashlib.sha256(pinned.read_bytes()).hexdigest()} if pinned.exists() else {})


def _signed(kind: str, digest: str, model_id: str, predicate: Mapping[str, Any], signer: Signer) -> bytes:
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": model_id, "digest": {"sha256": digest}}],
        "predicateType": PREDICATE_TYPES[kind],
        "predicate": predicate,
    }
    return sign_statement(canonical_json(statement), signer)


def _predicate_in(kind: str, payload: bytes, digest: str, where: str) -> Mapping[str, Any]:
    try:
        statement = json.loads(payload)
        subjects = [subject["digest"]["sha256"] for subject in statement["subject"]]
        predicate: Mapping[str, Any] = statement["predicate"]
        told = (statement["_type"], statement["predicateType"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise AttestationRefused(f"{kind} is not an in-toto statement", where=where) from error
    if told != (STATEMENT_TYPE, PREDICATE_TYPES[kind]):
        raise AttestationRefused(f"{kind} states something else: {told[1]}", where=where)
    if subjects != [digest]:
        raise AttestationRefused(f"{kind} speaks of another bundle", where=where)
    return predicate
