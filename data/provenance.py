"""The ledger from readings to snapshots to models to served forecasts, and back: what did a source touch?"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd
from sqlmodel import Field, Session, SQLModel, col, select

from data.schema import Utility
from security.keyring import UtcDateTime


class SnapshotRecord(SQLModel, table=True):
    """A snapshot and the sources in it. sources: JSON object provider → last moment whose readings were used."""

    __tablename__ = "snapshot_record"

    snapshot_id: str = Field(primary_key=True)
    as_of: datetime = Field(sa_type=UtcDateTime, index=True)
    sources: str


class ModelOrigin(SQLModel, table=True):
    """Which snapshot a published model learned from, whether it ever served or not."""

    __tablename__ = "model_origin"

    model_id: str = Field(primary_key=True)
    snapshot_id: str = Field(index=True)


class ForecastRecord(SQLModel, table=True):
    """A forecast that was served. sources: JSON list of the providers whose forecasts it was made from."""

    __tablename__ = "forecast_record"

    forecast_id: str = Field(primary_key=True)
    model_id: str = Field(index=True)
    snapshot_id: str = Field(index=True)
    day: date = Field(index=True)
    made_at: datetime = Field(sa_type=UtcDateTime)
    requested_by: str
    sources: str
    energy_mwh: float


@dataclass(frozen=True)
class BlastRadius:
    """What a source touched since a moment: ids of snapshots, models, forecasts, and the energy forecast with it [MWh].

    models: those that never served too. forecasts: made by a touched model or from the source's own values;
    direct_forecasts: the latter alone.
    """

    provider: str
    since: datetime
    snapshots: tuple[str, ...]
    models: tuple[str, ...]
    forecasts: tuple[str, ...]
    direct_forecasts: tuple[str, ...]
    energy_mwh: float


def exposed_hours(session: Session, radius: BlastRadius, utility: Utility) -> float:
    """Hours of delivery that were forecast with what the source touched."""
    forecasts = set(radius.forecasts)
    days = {record.day for record in session.exec(select(ForecastRecord)) if record.forecast_id in forecasts}
    return sum(len(utility.day_index(day)) for day in days) * (utility.step / pd.Timedelta(hours=1))


def record_snapshot(session: Session, snapshot_id: str, as_of: datetime, sources: dict[str, str]) -> None:
    """Enter a snapshot; entering the same one again changes nothing."""
    if session.get(SnapshotRecord, snapshot_id) is None:
        session.add(SnapshotRecord(snapshot_id=snapshot_id, as_of=as_of, sources=json.dumps(sources, sort_keys=True)))
        session.flush()


def record_model(session: Session, model_id: str, snapshot_id: str) -> None:
    """Enter a model's origin; entering it again changes nothing."""
    if session.get(ModelOrigin, model_id) is None:
        session.add(ModelOrigin(model_id=model_id, snapshot_id=snapshot_id))
        session.flush()


def record_forecast(session: Session, record: ForecastRecord) -> None:
    """Enter a served forecast; the same forecast asked for again is entered once."""
    if session.get(ForecastRecord, record.forecast_id) is None:
        session.add(record)
        session.flush()


def source_list(names: Iterable[str]) -> str:
    """Providers as the ledger stores them."""
    return json.dumps(sorted(names))


def blast_radius(session: Session, provider: str, since: datetime) -> BlastRadius:
    """Everything that readings or forecasts of `provider` from `since` on went into."""
    touched_snapshots = [
        record.snapshot_id
        for record in session.exec(
            select(SnapshotRecord).where(SnapshotRecord.as_of > since).order_by(col(SnapshotRecord.as_of))
        )
        if datetime.fromisoformat(json.loads(record.sources).get(provider, "0001-01-01T00:00:00+00:00")) >= since
    ]
    marked = set(touched_snapshots)
    served = list(session.exec(select(ForecastRecord).order_by(col(ForecastRecord.day))))
    direct = [record for record in served if record.made_at >= since and provider in json.loads(record.sources)]
    direct_ids = {record.forecast_id for record in direct}
    forecasts = [record for record in served if record.snapshot_id in marked or record.forecast_id in direct_ids]
    learned: dict[str, list[str]] = {snapshot_id: [] for snapshot_id in touched_snapshots}
    for origin in session.exec(select(ModelOrigin).order_by(col(ModelOrigin.model_id))):
        if origin.snapshot_id in marked:
            learned[origin.snapshot_id].append(origin.model_id)
    return BlastRadius(
        provider=provider,
        since=since,
        snapshots=tuple(touched_snapshots),
        models=tuple(model_id for models in learned.values() for model_id in models),
        forecasts=tuple(record.forecast_id for record in forecasts),
        direct_forecasts=tuple(record.forecast_id for record in direct),
        energy_mwh=sum(record.energy_mwh for record in forecasts),
    )
