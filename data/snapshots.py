"""Frozen training sets: content-addressed, signed, verified before a byte is parsed (AML.T0020, NIST AI 100-2 .051).

A snapshot is a folder of two Parquet files under a signed manifest, which also says from which versions of which tables of
the lake they were made, and names every file of those with its SHA-256:

    training.parquet   what the model learns from: see forecasting.forecaster
    readings.parquet   what it was fused from: one column a provider [°C], so that a clean set can be fused anew
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from data.drafts import draft_in
from data.lake.pins import Pin, require_pin
from data.lake.store import Lake
from data.lake.tables import TABLES_BY_NAME
from data.schema import TIMESTAMP
from security.errors import ContentChanged
from security.manifest import Manifest, read_checked
from security.signing import PublicKey, Signer, open_folder, seal_folder

KIND = "training-snapshot"


@dataclass(frozen=True)
class Snapshot:
    """A verified snapshot. training, readings: as in the module's text; facts: what the manifest says of them; digest:
    SHA-256 of the manifest's statement, in hex, whose beginning is the id; empty for one that was never frozen.
    """

    snapshot_id: str
    training: pd.DataFrame
    readings: pd.DataFrame
    facts: Mapping[str, Any]
    digest: str = ""


def freeze(
    store: Path, training: pd.DataFrame, readings: pd.DataFrame, facts: Mapping[str, Any], signer: Signer
) -> Snapshot:
    """Write, sign and name a snapshot under `store`; the same content twice is one snapshot.

    facts: anything JSON that explains the content (as_of, weather policy, excluded providers).
    """
    with draft_in(store) as draft:
        _write(draft / "training.parquet", training)
        _write(draft / "readings.parquet", readings)
        manifest = seal_folder(draft, KIND, facts, signer)
        digest = _digest(manifest)
        final = store / _name(digest)
        if not final.exists():
            draft.rename(final)
    return Snapshot(_name(digest), training, readings, facts, digest)


def restore(store: Path, snapshot_id: str, trusted: Mapping[str, PublicKey]) -> Snapshot:
    """Open a snapshot: signature, then every file, then its name, then parse the very bytes that were checked.

    Raises SignatureInvalid or ContentChanged, naming the file or, when a signed snapshot stands under another's name,
    the snapshot.
    """
    folder = store / snapshot_id
    manifest = open_folder(folder, KIND, trusted)
    digest = _digest(manifest)
    if _name(digest) != snapshot_id:
        # Every signed snapshot verifies for ever; the name binds which one was asked for (rollback, AML.T0020).
        raise ContentChanged(f"snapshot {_name(digest)} stands here", where=str(folder), mend="restore it from a backup")
    frames = [
        pd.read_parquet(io.BytesIO(read_checked(folder, manifest, f"{name}.parquet"))) for name in ("training", "readings")
    ]
    training, readings = (frame.set_index(TIMESTAMP) for frame in frames)
    return Snapshot(snapshot_id, training, readings, manifest.predicate, digest)


def pins_of(snapshot: Snapshot) -> dict[str, Pin]:
    """The version of each lake table that a snapshot was made from; none for one that was made without a lake."""
    return {table: Pin.from_json(pin) for table, pin in snapshot.facts.get("lake", {}).items()}


def require_sources(snapshot: Snapshot, lake: Lake, trusted: Mapping[str, PublicKey]) -> None:
    """Raise FileChanged, naming the file, unless the lake still holds what the snapshot was made from, byte for byte;
    LakeRefused for a version that is not as it was signed.
    """
    for table, pin in pins_of(snapshot).items():
        require_pin(lake, TABLES_BY_NAME[table], pin, trusted)


def _digest(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.to_bytes()).hexdigest()


def _name(digest: str) -> str:
    return digest[:16]


def _write(path: Path, frame: pd.DataFrame) -> None:
    frame.rename_axis(TIMESTAMP).reset_index().to_parquet(path, index=False)
