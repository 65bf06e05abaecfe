"""Sealed bundles of a few bytes in a station of nothing else: enough for whatever is done to their keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.drafts import draft_in
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from security.bundle_keys import bundle_context
from security.sealed_bundle import KEY_FILE, describe_bundle, digest_of, id_of, read_bundle, write_bundle

KIND = "model-bundle"


def station_at(home: Path, **settings: Any) -> Station:
    """A station without a database connection that a test would have to close."""
    station = open_station(Settings(home=home, **settings))
    station.engine.dispose()
    return station


def publish(station: Station, content: bytes) -> str:
    """A bundle of one file, as `pipeline.publish` does it; answers its id."""
    files = {"model.json": content}
    manifest = describe_bundle(files, KIND, {"snapshot": "s"})
    model_id = id_of(digest_of(manifest))
    with station.chest.held(alone=False), draft_in(station.models) as draft:
        write_bundle(draft, manifest, files, {}, station.signers["model"], station.bundle_keys)
        draft.rename(station.models / model_id)
    return model_id


def read(station: Station, model_id: str) -> bytes:
    """The content of a bundle. Raises as `read_bundle`."""
    signer = station.signers["model"]
    folder = station.models / model_id
    cipher = station.chest.cipher_of(folder / KEY_FILE, bundle_context(model_id))
    bundle = read_bundle(folder, model_id, KIND, (), {signer.key_id: signer.public_key}, cipher)
    return bundle.files["model.json"]
