"""One published model as people want to know it: its card, the gates it passed, what it was made from, verified now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, select

from pipeline.attest import GateResult, gates_in
from pipeline.bundle import CARD
from pipeline.database import reading
from pipeline.keyset import Position, newest_first
from pipeline.plain_words import without_folders
from pipeline.publish import attested, read_model
from pipeline.registry import ModelRecord
from pipeline.station import Station
from security.errors import IntegrityError


@dataclass(frozen=True)
class ModelProvenance:
    """problem: why the bundle does not hold, empty when it does; card, gates, provenance: of one that holds, its model card
    (Markdown), every gate it was put through, and the SLSA provenance that was signed when it was made.
    """

    record: ModelRecord
    problem: str
    card: str
    gates: tuple[GateResult, ...]
    provenance: Mapping[str, Any]


def page(session: Session, after: Position | None, limit: int) -> list[ModelRecord]:
    """Published models, newest first."""
    rows = newest_first(select(ModelRecord), ModelRecord.published_at, ModelRecord.model_id, after, limit)
    return list(session.exec(rows))


def position_of(record: ModelRecord) -> Position:
    """Where a page that ends with this model ended."""
    return Position(record.published_at, record.model_id)


def model_provenance(station: Station, model_id: str) -> ModelProvenance | None:
    """Verify a bundle and what was attested of it, and run nothing of it; None for an id that the registry does not know."""
    with reading(station.engine) as session:
        record = session.get(ModelRecord, model_id)
    if record is None:
        # Only an id in the registry becomes a path (CWE-22).
        return None
    try:
        bundle = read_model(station, model_id)
        told = attested(station, bundle)
    except IntegrityError as error:
        return ModelProvenance(record, without_folders(station, str(error)), "", (), {})
    return ModelProvenance(record, "", bundle.files[CARD].decode("utf-8"), gates_in(told), told.provenance)
