"""From a served forecast back to what it rests on: model, snapshot, providers, and what was thought of them then and now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from data.provenance import ForecastRecord, SnapshotRecord
from pipeline.errors import PipelineError
from pipeline.provider_standings import StandingEvent, standings_at
from pipeline.registry import ModelRecord

TRUSTED = "trusted"


@dataclass(frozen=True)
class SourceTrace:
    """A provider behind a forecast. learned_until: its last reading in the snapshot, empty for none; forecast: whether what
    it forecast of that day was used; then, now: its standing when the forecast was made and at the moment of asking.
    """

    provider: str
    learned_until: str
    forecast: bool
    then: str
    now: str


@dataclass(frozen=True)
class ForecastTrace:
    """What a forecast rests on; moments in UTC, energy in MWh."""

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
    sources: tuple[SourceTrace, ...]


def trace_forecast(session: Session, forecast_id: str, at: datetime) -> ForecastTrace:
    """Trace a forecast of the ledger back. Raises PipelineError for an id that is not in it."""
    forecast = session.get(ForecastRecord, forecast_id)
    if forecast is None:
        raise PipelineError(
            f"no forecast {forecast_id!r}", mend="use an id that `gridward forecast` or the service answered"
        )
    model = session.get_one(ModelRecord, forecast.model_id)
    snapshot = session.get_one(SnapshotRecord, forecast.snapshot_id)
    learned: dict[str, str] = json.loads(snapshot.sources)
    used: list[str] = json.loads(forecast.sources)
    then, now = standings_at(session, forecast.made_at), standings_at(session, at)
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
        sources=tuple(
            SourceTrace(name, learned.get(name, ""), name in used, _state(then.get(name)), _state(now.get(name)))
            for name in sorted({*learned, *used})
        ),
    )


def _state(standing: StandingEvent | None) -> str:
    return TRUSTED if standing is None else standing.to_state
