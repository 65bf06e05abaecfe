"""Verify a bundle and everything attested of it, against what lies here: its snapshot, the code, the pinned requirements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.snapshots import restore
from pipeline.attest import Attested, code_digests
from pipeline.database import transaction
from pipeline.errors import AttestationRefused
from pipeline.publish import attested, read_model, role_of
from pipeline.station import Station
from security.keyring import trusted_keys

SNAPSHOT = "snapshot"


@dataclass(frozen=True)
class VerifiedModel:
    """A bundle that holds. materials: what it was made from, by name: its SHA-256, and `the same here`, `another here` or
    `not here`; a snapshot that is another is refused.
    """

    model_id: str
    digest: str
    role: str
    facts: Mapping[str, Any]
    attested: Attested
    materials: Mapping[str, tuple[str, str]]


def verify_model(station: Station, model_id: str) -> VerifiedModel:
    """Verify signature and digests of the bundle, its statements, and its snapshot by the digest that they name.

    Raises as `read_model` and `restore` do, and AttestationRefused for a snapshot other than the one that was attested.
    """
    bundle = read_model(station, model_id)
    statements = attested(station, bundle)
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "snapshot")
    here = {**code_digests(), SNAPSHOT: restore(station.snapshots, bundle.manifest.predicate[SNAPSHOT], trusted).digest}
    named = _materials(statements, f"model {model_id}")
    materials = {name: (sha256, _compared(sha256, here.get(name))) for name, sha256 in named.items()}
    if materials.get(SNAPSHOT, ("", ""))[1] != "the same here":
        raise AttestationRefused("made from another snapshot than the one that lies here", where=f"model {model_id}")
    return VerifiedModel(model_id, bundle.digest, role_of(bundle), bundle.manifest.predicate, statements, materials)


def _materials(statements: Attested, where: str) -> dict[str, str]:
    try:
        resolved = statements.provenance["buildDefinition"]["resolvedDependencies"]
        return {str(material["name"]): str(material["digest"]["sha256"]) for material in resolved}
    except (KeyError, TypeError) as error:
        raise AttestationRefused("the provenance names no materials", where=where) from error


def _compared(sha256: str, here: str | None) -> str:
    if here is None:
        return "not here"
    return "the same here" if sha256 == here else "another here"
