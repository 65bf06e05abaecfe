"""Write a fitted forecaster as a sealed bundle, and open one again: signature first, bytes second, parser last."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from data.drafts import draft_in
from forecasting.model_files import Restorable, dump, load
from pipeline.database import transaction
from pipeline.errors import BundleSwapped
from pipeline.station import Station
from pipeline.weather_policy import WeatherContract
from security.keyring import trusted_keys
from security.manifest import Manifest, read_checked
from security.signing import open_folder, seal_folder

KIND = "model-bundle"


@dataclass(frozen=True)
class OpenedModel:
    """A verified bundle, parsed."""

    model_id: str
    snapshot_id: str
    forecaster: Restorable
    contract: WeatherContract


def publish(station: Station, forecaster: Restorable, facts: Mapping[str, object]) -> str:
    """Seal a bundle under `station.models`; answers its id, the digest of its manifest."""
    with draft_in(station.models) as draft:
        for name, content in dump(forecaster).items():
            (draft / name).write_bytes(content)
        manifest = seal_folder(draft, KIND, facts, station.signers["model"])
        model_id = _id_of(manifest)
        if not (station.models / model_id).exists():
            draft.rename(station.models / model_id)
    return model_id


def open_model(station: Station, model_id: str) -> OpenedModel:
    """Verify a bundle and load it (AML.T0018). Raises SignatureInvalid, ContentChanged, ModelFileRefused.

    The order matters: nothing is parsed before the signature over every file's digest held, and only the bytes that
    were compared are parsed. The id ties the folder to the registry: another, validly signed bundle in its place fails.
    """
    folder = station.models / model_id
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "model")
    manifest = open_folder(folder, KIND, trusted)
    if _id_of(manifest) != model_id:
        raise BundleSwapped(model_id)
    files = {file.name: read_checked(folder, manifest, file.name) for file in manifest.files}
    return OpenedModel(
        model_id=model_id,
        snapshot_id=manifest.predicate["snapshot"],
        forecaster=load(files),
        contract=WeatherContract.from_json(manifest.predicate["weather"]),
    )


def _id_of(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.to_bytes()).hexdigest()[:16]
