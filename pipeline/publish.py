"""Write a fitted forecaster as a sealed bundle, and open one again, gate by gate.

Published:  files → tried in a child process → manifest, signed → attestations, signed → encrypted → renamed into place
Opened:     names → data key → signature → digests (`security.sealed_bundle`) → tried in a child process → parsed here

Nothing is parsed before the signature over every file's digest held, only the bytes that were compared are parsed, and
another process parses them first (AML.T0018, AML.T0029).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from data.drafts import draft_in
from forecasting.golden import GOLDEN_JSON, GoldenCase, golden_case
from forecasting.model_files import Restorable
from pipeline.attest import (
    GATES,
    PREDICATE_TYPES,
    PROVENANCE,
    Attested,
    GateResult,
    attest_gates,
    attest_provenance,
    gates_in,
    verify_attestations,
)
from pipeline.bundle import bundle_files, read_facts, restore
from pipeline.database import transaction
from pipeline.station import Station
from pipeline.trial import try_bundle
from pipeline.weather_policy import WeatherContract
from security.bundle_keys import bundle_context
from security.encryption import Cipher, DecryptionRefused
from security.keyring import trusted_keys
from security.sealed_bundle import (
    KEY_FILE,
    SealedBundle,
    add_attestation,
    describe_bundle,
    digest_of,
    id_of,
    put_in_place,
    read_bundle,
    write_bundle,
)

KIND = "model-bundle"
TRIED = GateResult("tried", "passed", "a child process with limits parsed it and gave the golden forecasts")

_TRIED_KEPT = 256


@dataclass(frozen=True)
class OpenedModel:
    """A verified bundle, parsed. as_of: nothing known later went into it; golden: what it was asked at publication, and
    answered, None for one never published.
    """

    model_id: str
    snapshot_id: str
    forecaster: Restorable
    contract: WeatherContract
    as_of: pd.Timestamp
    golden: GoldenCase | None = None


def publish(
    station: Station,
    forecaster: Restorable,
    role: str,
    training: pd.DataFrame,
    facts: Mapping[str, object],
    materials: Mapping[str, str],
) -> str:
    """Try, seal and attest a bundle under `station.models`; answers its id, the beginning of its manifest's digest.

    training: what it learned from; facts: for the manifest, `snapshot` and `weather` among them; materials: name → SHA-256
    of what it was made from. Raises TrialFailed, ModelFileRefused for a forecaster that does not survive being written.
    """
    files = bundle_files(forecaster, role, training, facts)
    manifest = describe_bundle(files, KIND, facts)
    digest = digest_of(manifest)
    model_id, signer = id_of(digest), station.signers["model"]
    if (station.models / model_id).exists():
        return model_id
    _try_once(digest, files)
    statements = {
        PROVENANCE: attest_provenance(digest, model_id, manifest.predicate, materials, signer),
        GATES: attest_gates(digest, model_id, [TRIED], signer),
    }
    # Held to the end, or a rotation of the keys could pass the new bundle by.
    with station.chest.held(alone=False), draft_in(station.models) as draft:
        write_bundle(draft, manifest, files, statements, signer, station.bundle_keys)
        put_in_place(draft, station.models / model_id)
    return model_id


def open_model(station: Station, model_id: str) -> OpenedModel:
    """Verify a bundle, have it tried, and load it (AML.T0018).

    Raises FileChanged, DecryptionRefused, SignatureInvalid, BundleSwapped, TrialFailed, ModelFileRefused. The id ties the
    folder to the registry: another, validly signed bundle in its place fails.
    """
    return open_bundle(read_model(station, model_id))


def open_bundle(bundle: SealedBundle) -> OpenedModel:
    """Have a verified bundle tried, and load it. Raises TrialFailed, ModelFileRefused."""
    _try_once(bundle.digest, bundle.files)
    return OpenedModel(
        model_id=id_of(bundle.digest),
        snapshot_id=bundle.manifest.predicate["snapshot"],
        forecaster=restore(bundle.files),
        contract=WeatherContract.from_json(bundle.manifest.predicate["weather"]),
        as_of=pd.Timestamp(bundle.manifest.predicate["as_of"]),
        golden=golden_case(bundle.files[GOLDEN_JSON]),
    )


def read_model(station: Station, model_id: str) -> SealedBundle:
    """A bundle verified and decrypted, nothing of it parsed. Raises as `open_model` does."""
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "model")
    return read_bundle(
        station.models / model_id, model_id, KIND, tuple(PREDICATE_TYPES), trusted, _cipher_of(station, model_id)
    )


def role_of(bundle: SealedBundle) -> str:
    """What a verified bundle is for: `main` or `fallback`."""
    return read_facts(bundle.files).role


def attested(station: Station, bundle: SealedBundle) -> Attested:
    """The verified statements about a verified bundle. Raises SignatureInvalid, AttestationRefused."""
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "model")
    return verify_attestations(bundle, trusted, f"model {id_of(bundle.digest)}")


def attest_judged(station: Station, model_id: str, gates: Sequence[GateResult]) -> None:
    """Add gates that a bundle was put through after it was sealed to the statement about it."""
    bundle = read_model(station, model_id)
    names = {gate.name for gate in gates}
    before = [gate for gate in gates_in(attested(station, bundle)) if gate.name not in names]
    statement = attest_gates(bundle.digest, model_id, [*before, *gates], station.signers["model"])
    add_attestation(station.models / model_id, model_id, GATES, statement, _cipher_of(station, model_id))


def _cipher_of(station: Station, model_id: str) -> Cipher:
    path = station.models / model_id / KEY_FILE
    try:
        return station.chest.cipher_of(path, bundle_context(model_id))
    except DecryptionRefused:
        raise DecryptionRefused(str(path)) from None


# What this process saw tried: the digest names the very bytes, which do not have to be tried twice.
_tried: OrderedDict[str, None] = OrderedDict()
_tried_lock = threading.Lock()


def _try_once(digest: str, files: Mapping[str, bytes]) -> None:
    with _tried_lock:
        if digest in _tried:
            _tried.move_to_end(digest)
            return
    try_bundle(files)
    with _tried_lock:
        _tried[digest] = None
        while len(_tried) > _TRIED_KEPT:
            _tried.popitem(last=False)
