"""The US National Weather Service: the forecast of a grid square, and what a station measured.

Format: "Gridpoint Frequently Asked Questions" (weather-gov.github.io/api/gridpoints) and "API Web Service"
(weather.gov/documentation/services-web-api). `/gridpoints/{office}/{x},{y}`: layers of `{validTime, value}`, where
`2026-01-01T06:00:00+00:00/PT2H` says one value for the two hours from 06:00 on, unit in `uom`, issue time in `updateTime`.
`/stations/{id}/observations`: GeoJSON features, each with a `timestamp` and a `temperature` of `value`, `unitCode` and
`qualityControl` (MADIS: X rejected, Q questioned, B bad by hand; these are left out).

The forecast's values hold for whole hours. An observation is of a moment: an hour's temperature is the mean of those from
its start to before its end. The service is known to send observations out of order, so order is no ground for refusal there;
two of the same moment are. Terms: a User-Agent that says who asks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from pydantic import Field

from data.providers.checks import (
    CELSIUS,
    FAHRENHEIT,
    HOUR,
    KELVIN,
    MOST_VALUES,
    Documented,
    Series,
    answer,
    hours,
    parse,
    still_ahead,
    to_celsius,
)
from data.providers.http import Delivery, HttpSettings, get
from data.providers.protocol import LastAnswer, ProviderAnswer
from data.weather_providers import Moment

BASE_URL = "https://api.weather.gov"
UNITS = {"wmoUnit:degC": CELSIUS, "wmoUnit:degF": FAHRENHEIT, "wmoUnit:K": KELVIN}
MOST_OBSERVATIONS = 500
BAD_QUALITY = frozenset("XQB")

_INTERVAL = re.compile(r"(\S{16,32})/P(?:(\d{1,2})D)?(?:T(\d{1,3})H)?", re.ASCII)


class _Value(Documented):
    valid_time: str = Field(alias="validTime", max_length=64)
    value: float | None


class _Layer(Documented):
    uom: str
    values: list[_Value] = Field(min_length=1, max_length=MOST_VALUES, fail_fast=True)


class _GridProperties(Documented):
    update_time: Moment = Field(alias="updateTime")
    grid_id: str = Field(alias="gridId")
    grid_x: int | str = Field(alias="gridX")
    grid_y: int | str = Field(alias="gridY")
    temperature: _Layer


class _Gridpoint(Documented):
    properties: _GridProperties


class _Quantity(Documented):
    unit: str = Field(alias="unitCode")
    value: float | None
    quality: str = Field(alias="qualityControl")


class _Observation(Documented):
    station: str
    timestamp: Moment
    temperature: _Quantity


class _Feature(Documented):
    properties: _Observation


class _Observations(Documented):
    features: list[_Feature] = Field(min_length=1, max_length=MOST_OBSERVATIONS, fail_fast=True)


@dataclass(frozen=True)
class NwsForecast:
    """The forecast of one grid square; office and x, y as `/points/{latitude},{longitude}` names them."""

    office: str
    x: int
    y: int
    key_id: str
    settings: HttpSettings
    name: str = "nws"
    base_url: str = BASE_URL

    @property
    def url(self) -> str:
        """What is asked."""
        return f"{self.base_url}/gridpoints/{self.office}/{self.x},{self.y}"

    def fetch(self, now: datetime, last: LastAnswer | None = None) -> ProviderAnswer:
        """Ask at `now` (UTC). Raises ProviderFailed."""
        delivery = get(self.url, provider=self.name, settings=self.settings, now=now, last=last)
        return answer(delivery, self._read, self.key_id, last)

    def _read(self, delivery: Delivery) -> Series:
        content = parse(_Gridpoint, delivery).properties
        place = (content.grid_id, str(content.grid_x), str(content.grid_y))
        if place != (self.office, str(self.x), str(self.y)):
            problem = f"weather of {' '.join(place)[:40]} instead of {self.office} {self.x} {self.y}"
            raise delivery.refusal("wrong_place", problem, "ask /points anew: grids are redrawn at times")
        values = content.temperature.values
        celsius = to_celsius(delivery, [value.value for value in values], content.temperature.uom, UNITS)
        starts, lengths = zip(*(_interval(delivery, value.valid_time) for value in values), strict=True)
        _require_bounded(delivery, sum(lengths))
        every_hour = [
            start + timedelta(hours=n) for start, length in zip(starts, lengths, strict=True) for n in range(length)
        ]
        series = Series(content.update_time, hours(delivery, every_hour), np.repeat(celsius, lengths))
        return still_ahead(delivery, series)


def _interval(delivery: Delivery, text: str) -> tuple[datetime, int]:
    """Start and length in hours of `START/PnDTnH`."""
    match = _INTERVAL.fullmatch(text)
    try:
        start = datetime.fromisoformat(match[1]) if match else None
    except ValueError:
        start = None
    length = 24 * int(match[2] or 0) + int(match[3] or 0) if match else 0
    if start is None or start.tzinfo is None or not 1980 <= start.year < 2100 or length == 0:
        problem = f"validTime {text!r} is no time with an offset and whole hours"
        raise delivery.refusal("malformed", problem, "compare the kept payload with the service's documentation")
    return start, length


def _require_bounded(delivery: Delivery, length: int) -> None:
    """A single interval can claim a thousand hours: counted before they are written out."""
    if length > MOST_VALUES:
        raise delivery.refusal("malformed", f"intervals of {length} hours in all", "tell the provider; the payload is kept")


@dataclass(frozen=True)
class NwsObservations:
    """What one station measured, by the hour, from about two days back to the last full hour."""

    station: str
    key_id: str
    settings: HttpSettings
    name: str = "nws_station"
    base_url: str = BASE_URL

    @property
    def url(self) -> str:
        """What is asked."""
        return f"{self.base_url}/stations/{self.station}/observations?limit={MOST_OBSERVATIONS}"

    def fetch(self, now: datetime, last: LastAnswer | None = None) -> ProviderAnswer:
        """Ask at `now` (UTC). Raises ProviderFailed."""
        delivery = get(self.url, provider=self.name, settings=self.settings, now=now, last=last)
        return answer(delivery, self._read, self.key_id, last)

    def _read(self, delivery: Delivery) -> Series:
        observations = [feature.properties for feature in parse(_Observations, delivery).features]
        strange = [one.station for one in observations if one.station.rpartition("/")[2] != self.station]
        if strange:
            problem = f"observations of {strange[0][-40:]} instead of {self.station}"
            raise delivery.refusal("wrong_place", problem, "check the station of the settings")
        moments = pd.DatetimeIndex([one.timestamp.astimezone(UTC) for one in observations])
        if moments.has_duplicates:
            raise delivery.refusal("malformed", "two observations of one moment", "tell the provider; the payload is kept")
        units = {one.temperature.unit for one in observations}
        if len(units) > 1:
            raise delivery.refusal("wrong_unit", "more than one unit", "see whether the service changed its units")
        values = [None if one.temperature.quality in BAD_QUALITY else one.temperature.value for one in observations]
        celsius = pd.Series(to_celsius(delivery, values, units.pop(), UNITS), index=moments)
        means = celsius.groupby(moments.floor("h")).mean()
        ended = means[pd.DatetimeIndex(means.index) + HOUR <= pd.Timestamp(delivery.received_at)]
        starts = pd.DatetimeIndex(ended.index).tz_localize(None).to_numpy(dtype="datetime64[us]")
        return Series(moments.max().to_pydatetime(), starts, np.asarray(ended, dtype=np.float64))
