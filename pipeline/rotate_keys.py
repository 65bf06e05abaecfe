"""Give the bundles' keyset a new primary key: every data key is wrapped anew, no bundle is encrypted or trained again.

    keyset with the old key and a new one → each `key.json`, one after the other → keyset with the new key alone

Each step is whole from one moment to the next, and what is on disk opens after each: killed anywhere, the next run goes on.
The old key is dropped only when nothing is wrapped by it. It opens copies of the disk that were made before, for ever:
rotation limits what a lost key opens, it does not call back what was copied together with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.station import Station, note
from security.bundle_keys import BundleKeys, bundle_context, key_id_of, read_wrapped, write_wrapped
from security.errors import ContentChanged
from security.sealed_bundle import KEY_FILE


@dataclass(frozen=True)
class Rotated:
    """A rotation. primary_id: of the key that wraps now; rewrapped: models; dropped: ids of keys; resumed: whether an
    earlier run had begun it.
    """

    primary_id: str
    rewrapped: list[str]
    dropped: list[str]
    resumed: bool


def rotate_bundle_keys(station: Station, *, by: str, at: datetime) -> Rotated:
    """Rotate, or finish the rotation that was interrupted, and enter it in the audit log.

    Raises ContentChanged for a wrapped key that is altered: then the others are wrapped anew, and the old key stays.
    """
    with station.chest.held(alone=True):
        keys = station.bundle_keys
        resumed = len(keys.key_ids) > 1
        if not resumed:
            keys = keys.rotated()
            station.chest.keep_bundle_keys(keys)
        rewrapped, damaged = _rewrap_all(station, keys)
        dropped = [] if damaged else [key_id for key_id in keys.key_ids if key_id != keys.primary_id]
        if dropped:
            station.chest.keep_bundle_keys(keys.only_primary())
    details = {"primary": keys.primary_id, "rewrapped": rewrapped, "dropped": dropped, "damaged": damaged}
    note(station, actor=by, action="keys.rotated", subject="bundles", details=details, at=at)
    if damaged:
        raise ContentChanged(
            "its wrapped key is altered; the old key is kept for it",
            where=f"models {', '.join(damaged)}",
            mend=f"restore {KEY_FILE} from a copy as old as the keys, or remove the model's folder; then rotate again",
        )
    return Rotated(keys.primary_id, rewrapped, dropped, resumed)


def bundles_by_key(station: Station) -> dict[str, int]:
    """How many bundles each key of the keyset wraps, by its id, the oldest key first; altered ones under `unknown`."""
    with station.chest.held(alone=False):
        keys, counts = station.bundle_keys, Counter[str]()
        for path in _key_files(station):
            try:
                key_id = key_id_of(read_wrapped(path))
            except ContentChanged:
                key_id = ""
            counts[key_id if key_id in keys.key_ids else "unknown"] += 1
    known = {key_id: counts[key_id] for key_id in keys.key_ids}
    return known | ({"unknown": counts["unknown"]} if counts["unknown"] else {})


def _rewrap_all(station: Station, keys: BundleKeys) -> tuple[list[str], list[str]]:
    """The models that were wrapped anew, and those whose wrapped key does not open."""
    rewrapped, damaged = list[str](), list[str]()
    for path in _key_files(station):
        model_id = path.parent.name
        try:
            wrapped = read_wrapped(path)
            # Also what the primary key wraps already is opened: an altered one is found here, and not when it is needed.
            anew = keys.rewrap(wrapped, bundle_context(model_id))
        except ContentChanged:
            damaged.append(model_id)
            continue
        if key_id_of(wrapped) != keys.primary_id:
            write_wrapped(path, anew)
            rewrapped.append(model_id)
    return rewrapped, damaged


def _key_files(station: Station) -> list[Path]:
    """Of every bundle but drafts, which nobody finished."""
    return sorted(station.models.glob(f"[!.]*/{KEY_FILE}"))
