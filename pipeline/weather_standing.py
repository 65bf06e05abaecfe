"""What is thought of the weather providers: of each of them now, and of those behind one forecast, then and now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from data.schema import TEMPERATURE_UNCERTAINTY_C, VALID_AT, providers_of
from pipeline.database import reading
from pipeline.ingest import Readings
from pipeline.prepared_day import PreparedDay
from pipeline.provider_standings import standings_at
from pipeline.station import Station
from security.keyring import key_state

TRUSTED = "trusted"


@dataclass(frozen=True)
class ProviderView:
    """A provider as the station sees it now."""

    name: str
    state: str
    key: str
    onset: datetime | None
    reason: str
    last_heard: datetime


@dataclass(frozen=True)
class ProviderTrust:
    """used: whether what it forecast of the day went in; then, now: its standing at the gate closure and at the moment of
    asking.
    """

    name: str
    used: bool
    then: str
    now: str


@dataclass(frozen=True)
class WeatherTrust:
    """uncertainty_c: of the day's temperatures, one standard deviation, mean over the day [°C]; None where nobody tells."""

    providers: tuple[ProviderTrust, ...]
    uncertainty_c: float | None


def provider_views(station: Station, readings: Readings, at: datetime) -> list[ProviderView]:
    """Every provider that ever delivered, with its standing as of `at` and the state of its key."""
    heard = readings.weather.groupby("provider", observed=True)[VALID_AT].max()
    with reading(station.engine) as session:
        standings = standings_at(session, at)
        return [
            ProviderView(
                name=name,
                state=standings[name].to_state if name in standings else TRUSTED,
                key=key_state(session, "provider", name),
                onset=standings[name].onset if name in standings and standings[name].to_state != TRUSTED else None,
                reason=standings[name].reason if name in standings else "",
                last_heard=heard[name].to_pydatetime(),
            )
            for name in providers_of(readings.weather)
        ]


def weather_trust(station: Station, prepared: PreparedDay, at: datetime) -> WeatherTrust:
    """What is thought of the weather of a forecast as of `at`."""
    forecast = prepared.forecast
    with reading(station.engine) as session:
        then, now = standings_at(session, forecast.gate_closure.to_pydatetime()), standings_at(session, at)
    told = prepared.known[TEMPERATURE_UNCERTAINTY_C].reindex(forecast.frame.index).to_numpy(dtype=np.float64)
    heard = told[np.isfinite(told)]
    return WeatherTrust(
        providers=tuple(
            ProviderTrust(
                name=name,
                used=name in forecast.sources,
                then=then[name].to_state if name in then else TRUSTED,
                now=now[name].to_state if name in now else TRUSTED,
            )
            for name in providers_of(prepared.readings.weather)
        ),
        uncertainty_c=float(heard.mean()) if len(heard) else None,
    )
