"""The ledger read both ways: from a served forecast back to the deliveries it rests on, from a delivery or a provider on to
the forecasts it went into.

reading (provider, key, received, payload digest, flags: the lake) → snapshot → model → forecast (data.provenance)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from sqlmodel import Session, col, select

from data.lake.pins import Pin
from data.lake.reading import read
from data.lake.tables import KEY_ID, PAYLOAD_SHA256, WEATHER
from data.provenance import ForecastRecord, ModelOrigin, SnapshotRecord
from data.schema import ISSUED_AT, PROVIDER, VALID_AT
from data.snapshots import pins_of, restore
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.ingest import flagged_values, load_utility, newest_pin
from pipeline.provider_standings import StandingEvent, standings_at
from pipeline.registry import ModelRecord
from pipeline.station import Station
from security.keyring import trusted_keys

TRUSTED = "trusted"


@dataclass(frozen=True)
class Deliveries:
    """What a provider delivered in a period. readings: values; payloads: distinct messages they stood in, by digest;
    key_ids: that signed them, none for files of one's own; flagged: values that may not be used; moments of receipt in UTC,
    None for nothing.
    """

    provider: str
    readings: int
    payloads: int
    key_ids: tuple[str, ...]
    flagged: int
    first_received: datetime | None
    last_received: datetime | None


@dataclass(frozen=True)
class SourceTrace:
    """A provider behind a forecast. learned_until: its last reading in the snapshot, empty for none; forecast: whether what
    it forecast of that day was used; then, now: its standing when the forecast was made and at the moment of asking;
    delivered: what it had delivered into the snapshot's version of the lake, None for a snapshot made without a lake.
    """

    provider: str
    learned_until: str
    forecast: bool
    then: str
    now: str
    delivered: Deliveries | None


@dataclass(frozen=True)
class ForecastTrace:
    """What a forecast rests on; moments in UTC, energy in MWh. lake: the version of each table behind the snapshot."""

    forecast_id: str
    day: str
    made_at: datetime
    requested_by: str
    energy_mwh: float
    model_id: str
    model_state: str
    weather_policy: str
    published_by: str
    snapshot_id: str
    snapshot_as_of: datetime
    lake: dict[str, int]
    sources: tuple[SourceTrace, ...]


@dataclass(frozen=True)
class DeliveryTrace:
    """What one message went into. delivered: as `Deliveries`, of this message alone; speaks_of: the first and last interval
    of its values; ids of snapshots, models and forecasts that learned from them, and of forecasts that may have used them.
    """

    payload_sha256: str
    delivered: Deliveries
    speaks_of: tuple[datetime, datetime]
    snapshots: tuple[str, ...]
    models: tuple[str, ...]
    forecasts: tuple[str, ...]


def trace_forecast(station: Station, forecast_id: str, at: datetime) -> ForecastTrace:
    """Trace a forecast of the ledger back. Raises PipelineError for an id that is not in it."""
    with transaction(station.engine) as session:
        forecast = session.get(ForecastRecord, forecast_id)
        if forecast is None:
            raise PipelineError(
                f"no forecast {forecast_id!r}", mend="use an id that `gridward forecast` or the service answered"
            )
        model = session.get_one(ModelRecord, forecast.model_id)
        snapshot = session.get_one(SnapshotRecord, forecast.snapshot_id)
        then, now = standings_at(session, forecast.made_at), standings_at(session, at)
        trusted = trusted_keys(session, "snapshot")
    pins = pins_of(restore(station.snapshots, snapshot.snapshot_id, trusted))
    learned: dict[str, str] = json.loads(snapshot.sources)
    used: list[str] = json.loads(forecast.sources)
    names = sorted({*learned, *used})
    weather = pins.get(WEATHER.name)
    delivered = {} if weather is None else {name: deliveries_of(station, name, pin=weather) for name in names}
    return ForecastTrace(
        forecast_id=forecast.forecast_id,
        day=forecast.day.isoformat(),
        made_at=forecast.made_at,
        requested_by=forecast.requested_by,
        energy_mwh=forecast.energy_mwh,
        model_id=model.model_id,
        model_state=model.state,
        weather_policy=model.weather_policy,
        published_by=model.published_by,
        snapshot_id=snapshot.snapshot_id,
        snapshot_as_of=snapshot.as_of,
        lake={table: pin.version for table, pin in pins.items()},
        sources=tuple(
            SourceTrace(
                provider=name,
                learned_until=learned.get(name, ""),
                forecast=name in used,
                then=_state(then.get(name)),
                now=_state(now.get(name)),
                delivered=delivered.get(name),
            )
            for name in names
        ),
    )


def deliveries_of(station: Station, provider: str, since: datetime | None = None, pin: Pin | None = None) -> Deliveries:
    """What a provider delivered, since a moment (UTC) and up to a version of the lake, where these are given."""
    newest = newest_pin(station, WEATHER) if pin is None else pin
    columns = [ISSUED_AT, VALID_AT, KEY_ID, PAYLOAD_SHA256]
    # Every month: a correction may speak of any of them.
    rows = read(station.lake, WEATHER, newest, columns, sources=[provider])
    return _summed(station, provider, rows if since is None else rows[rows[ISSUED_AT] >= since])


def trace_delivery(station: Station, payload_sha256: str) -> DeliveryTrace:
    """Trace one message on, by the SHA-256 of its bytes. Raises PipelineError for one that was never taken in."""
    columns = [ISSUED_AT, VALID_AT, KEY_ID, PAYLOAD_SHA256]
    everything = read(station.lake, WEATHER, newest_pin(station, WEATHER), columns)
    rows = everything[everything[PAYLOAD_SHA256] == payload_sha256]
    if rows.empty or not payload_sha256:
        raise PipelineError(
            f"no delivery {payload_sha256!r}", mend="give the whole SHA-256 of a message as intake and lake have it"
        )
    provider = str(rows[PROVIDER].iloc[0])
    received, first = rows[ISSUED_AT].min().to_pydatetime(), rows[VALID_AT].min().to_pydatetime()
    with transaction(station.engine) as session:
        snapshots = _learned_from(session, provider, received, first)
        origins = session.exec(select(ModelOrigin).order_by(col(ModelOrigin.model_id)))
        models = [origin.model_id for origin in origins if origin.snapshot_id in set(snapshots)]
        days = {moment.date() for moment in load_utility(station).local(pd.DatetimeIndex(rows[VALID_AT]))}
        forecasts = [
            record.forecast_id
            for record in session.exec(select(ForecastRecord).order_by(col(ForecastRecord.day)))
            if record.snapshot_id in set(snapshots)
            or (record.made_at >= received and record.day in days and provider in json.loads(record.sources))
        ]
    return DeliveryTrace(
        payload_sha256=payload_sha256,
        delivered=_summed(station, provider, rows),
        speaks_of=(first, rows[VALID_AT].max().to_pydatetime()),
        snapshots=tuple(snapshots),
        models=tuple(models),
        forecasts=tuple(forecasts),
    )


def _learned_from(session: Session, provider: str, received: datetime, first: datetime) -> list[str]:
    """Snapshots made after it came that hold readings of its provider from its first interval on."""
    later = select(SnapshotRecord).where(SnapshotRecord.as_of >= received).order_by(col(SnapshotRecord.as_of))
    return [
        record.snapshot_id
        for record in session.exec(later)
        if datetime.fromisoformat(json.loads(record.sources).get(provider, "0001-01-01T00:00:00+00:00")) >= first
    ]


def _summed(station: Station, provider: str, rows: pd.DataFrame) -> Deliveries:
    flagged = flagged_values(station)
    unusable = flagged.loc[flagged[PROVIDER] == provider, VALID_AT]
    signed = rows[rows[KEY_ID] != ""]
    return Deliveries(
        provider=provider,
        readings=len(rows),
        payloads=rows.loc[rows[PAYLOAD_SHA256] != "", PAYLOAD_SHA256].nunique(),
        key_ids=tuple(sorted(signed[KEY_ID].unique())),
        flagged=int(rows[VALID_AT].isin(unusable).sum()),
        first_received=rows[ISSUED_AT].min().to_pydatetime() if len(rows) else None,
        last_received=rows[ISSUED_AT].max().to_pydatetime() if len(rows) else None,
    )


def _state(standing: StandingEvent | None) -> str:
    return TRUSTED if standing is None else standing.to_state
