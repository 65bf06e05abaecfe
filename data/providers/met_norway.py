"""MET Norway's Locationforecast 2.0, `compact`, at one place.

Format: "General forecast JSON format" and "Locationforecast data model" (developer.yr.no/doc): a GeoJSON Feature with
`properties.meta.updated_at`, units by name in `properties.meta.units`, and `properties.timeseries`, each entry with its
`time` and, under `data.instant.details`, an instantaneous `air_temperature`. Hourly for about two and a half days, then
every six hours; a value stands for the hour it starts and for no other.

Terms: "Terms of Service" ask for a User-Agent with a contact, at most four decimals of a coordinate, If-Modified-Since, and
no question before the last answer's `Expires`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import httpx
from pydantic import Field

from data.providers.checks import (
    CELSIUS,
    MOST_VALUES,
    Documented,
    Series,
    answer,
    hours,
    parse,
    require_place,
    still_ahead,
    to_celsius,
)
from data.providers.http import Delivery, HttpSettings, get
from data.providers.protocol import LastAnswer, ProviderAnswer
from data.weather_providers import Moment


class _Point(Documented):
    coordinates: Annotated[list[float], Field(min_length=2, max_length=3)]


class _Units(Documented):
    air_temperature: str


class _Meta(Documented):
    updated_at: Moment
    units: _Units


class _Details(Documented):
    air_temperature: float | None = None


class _Instant(Documented):
    details: _Details


class _Data(Documented):
    instant: _Instant


class _Entry(Documented):
    time: Moment
    data: _Data


class _Properties(Documented):
    meta: _Meta
    timeseries: list[_Entry] = Field(min_length=1, max_length=MOST_VALUES, fail_fast=True)


class _Feature(Documented):
    geometry: _Point
    properties: _Properties


@dataclass(frozen=True)
class MetNorway:
    """One place; latitude, longitude [°], rounded to four decimals as the terms ask."""

    latitude: float
    longitude: float
    key_id: str
    settings: HttpSettings
    name: str = "met_norway"
    base_url: str = "https://api.met.no"

    @property
    def url(self) -> str:
        """What is asked."""
        question = httpx.QueryParams({"lat": round(self.latitude, 4), "lon": round(self.longitude, 4)})
        return f"{self.base_url}/weatherapi/locationforecast/2.0/compact?{question}"

    def fetch(self, now: datetime, last: LastAnswer | None = None) -> ProviderAnswer:
        """Ask at `now` (UTC). Raises ProviderFailed."""
        delivery = get(self.url, provider=self.name, settings=self.settings, now=now, last=last)
        return answer(delivery, self._read, self.key_id, last)

    def _read(self, delivery: Delivery) -> Series:
        content = parse(_Feature, delivery)
        longitude, latitude = content.geometry.coordinates[:2]
        require_place(delivery, (self.latitude, self.longitude), (latitude, longitude))
        entries = content.properties.timeseries
        meta = content.properties.meta
        values = [entry.data.instant.details.air_temperature for entry in entries]
        celsius = to_celsius(delivery, values, meta.units.air_temperature, {"celsius": CELSIUS})
        series = Series(meta.updated_at, hours(delivery, [entry.time for entry in entries]), celsius)
        return still_ahead(delivery, series)
