"""Open-Meteo's forecast of the temperature 2 m above ground, at one place.

Format: "Weather Forecast API", sections "API Documentation" and "JSON Return Object" (open-meteo.com/en/docs): parallel
arrays `hourly.time` and `hourly.temperature_2m`, from midnight of the first day on, null where a model has no value, units
in `hourly_units`. Asked for in Unix time and °C, so that neither a zone nor a unit is left to be guessed.

The value at a full hour, an instantaneous one, stands for the hour it starts. The service states no issue time: the moment
of receipt stands in, and an answer replayed from another day is told by the day it starts with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import httpx
from pydantic import Field

from data.errors import ProviderReason
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
from data.weather_trust import CLOCK_TOLERANCE

MOST_PAST_DAYS = 7
Second = Annotated[int, Field(ge=315532800, lt=4102444800)]  # 1980 to 2099


class _Units(Documented):
    time: Literal["unixtime"]
    temperature_2m: str


class _Hourly(Documented):
    time: list[Second] = Field(min_length=1, max_length=MOST_VALUES, fail_fast=True)
    temperature_2m: list[float | None] = Field(max_length=MOST_VALUES, fail_fast=True)


class _Forecast(Documented):
    latitude: float
    longitude: float
    utc_offset_seconds: Literal[0]
    hourly_units: _Units
    hourly: _Hourly


@dataclass(frozen=True)
class OpenMeteo:
    """One place, asked hourly up to `forecast_days` ahead.

    latitude, longitude [°]. past_days: hours of so many days past (at most 7) are taken too, and count as measured; they are
    the models' analysis, not a thermometer's. api_key: of a commercial plan, with `base_url` of its own host. Raises
    ValueError for days out of range.
    """

    latitude: float
    longitude: float
    key_id: str
    settings: HttpSettings
    name: str = "open_meteo"
    base_url: str = "https://api.open-meteo.com"
    forecast_days: int = 7
    past_days: int = 0
    api_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not (1 <= self.forecast_days <= 16 and 0 <= self.past_days <= MOST_PAST_DAYS):
            raise ValueError(f"forecast_days must be 1 to 16, past_days 0 to {MOST_PAST_DAYS}")

    @property
    def url(self) -> str:
        """What is asked, without the API key."""
        question: dict[str, str | int | float] = {
            "latitude": self.latitude,
            "longitude": self.longitude,
            "hourly": "temperature_2m",
            "temperature_unit": "celsius",
            "timeformat": "unixtime",
            "timezone": "UTC",
            "forecast_days": self.forecast_days,
            "past_days": self.past_days,
        }
        return f"{self.base_url}/v1/forecast?{httpx.QueryParams(question)}"

    def fetch(self, now: datetime, last: LastAnswer | None = None) -> ProviderAnswer:
        """Ask at `now` (UTC). Raises ProviderFailed."""
        secrets = {"apikey": self.api_key} if self.api_key else {}
        delivery = get(self.url, provider=self.name, settings=self.settings, now=now, last=last, secrets=secrets)
        return answer(delivery, self._read, self.key_id, last)

    def _read(self, delivery: Delivery) -> Series:
        content = parse(_Forecast, delivery)
        require_place(delivery, (self.latitude, self.longitude), (content.latitude, content.longitude))
        if len(content.hourly.time) != len(content.hourly.temperature_2m):
            raise delivery.refusal("malformed", "not one value for each time", "tell the provider; the payload is kept")
        celsius = to_celsius(delivery, content.hourly.temperature_2m, content.hourly_units.temperature_2m, {"°C": CELSIUS})
        moments = [datetime.fromtimestamp(second, UTC) for second in content.hourly.time]
        series = Series(delivery.received_at, hours(delivery, moments), celsius)
        self._require_first_day(delivery, moments[0])
        return series if self.past_days else still_ahead(delivery, series)

    def _require_first_day(self, delivery: Delivery, first: datetime) -> None:
        """The answer starts at 00:00 UTC of the day asked for; either day will do within 5 minutes of midnight."""
        past = timedelta(days=self.past_days)
        moments = (delivery.received_at + slack for slack in (-CLOCK_TOLERANCE, CLOCK_TOLERANCE))
        days = [moment.astimezone(UTC).date() - past for moment in moments]
        if first.hour != 0 or not days[0] <= first.date() <= days[1]:
            reason: ProviderReason = "stale" if first.date() < days[0] else "malformed"
            problem = f"starts at {first:%Y-%m-%d %H:%M} instead of {days[1]} 00:00 UTC"
            raise delivery.refusal(
                reason, problem, "an old answer sent again, or a cache that stands still: ask the provider"
            )
