"""Which days to forecast and with what, and the forecast."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_validator

from api.schemas.message import Day, Message
from data.schema import QUANTILES
from forecasting.any_quantile import HIGHEST, LOWEST
from forecasting.certified import LOWER_MW, UPPER_MW
from forecasting.forecaster import FORECAST_MW, quantile_column
from forecasting.horizons import LONGEST_DAYS_AHEAD
from pipeline.predict import DayForecast

MOST_LEVELS = 19
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _iso_day(given: Any) -> Any:
    """A day as text, and nothing that only might be one: a number, a moment."""
    if not isinstance(given, str) or _DAY.fullmatch(given) is None:
        raise ValueError("give a day as YYYY-MM-DD")
    return date.fromisoformat(given)


IsoDay = Annotated[Day, BeforeValidator(_iso_day)]


class ForecastQuestion(Message):
    """How many days, which quantiles, and what to tell beside them."""

    days: int = Field(default=1, ge=1, le=LONGEST_DAYS_AHEAD, description="this day and the following ones")
    quantiles: list[Annotated[float, Field(ge=LOWEST, le=HIGHEST)]] = Field(
        default=list(QUANTILES),
        min_length=1,
        max_length=MOST_LEVELS,
        examples=[[0.1, 0.5, 0.9]],
        description="levels of the quantiles, each at most once; default: the nine deciles",
        json_schema_extra={"uniqueItems": True},
    )
    explain: bool = Field(default=False, description="take the forecast apart by driver [MW]")
    trust: bool = Field(default=False, description="tell what was and is thought of each weather provider")
    certificate: bool = Field(default=False, description="tell what a certified forecaster cannot leave")

    @field_validator("quantiles")
    @classmethod
    def _distinct(cls, levels: list[float]) -> list[float]:
        if len(set(levels)) < len(levels):
            raise ValueError("give each level at most once")
        return levels


class ForecastOrder(ForecastQuestion):
    """Which local day to forecast, how many days from there on, which quantiles, and what to tell beside them."""

    # A number in quotes is no number: what the schema does not say is refused.
    model_config = ConfigDict(strict=True)

    day: IsoDay


class Certified(Message):
    """What the forecast cannot leave [MW] if at most two weeks of its training data were malicious (docs/certified.md)."""

    lower_mw: float
    upper_mw: float


class Explained(Message):
    """A forecast taken apart [MW]: the parts add up to `forecast_mw`. They are told to four figures of demand, and what is
    left over stands in `usual_mw`.
    """

    usual_mw: float
    trend_mw: float
    weather_mw: float
    calendar_mw: float
    recent_demand_mw: float


class Interval(Message):
    """One interval: its start (UTC), mean power [MW], quantiles [MW] by level; if asked for, what a certified forecaster
    promises, and what moves the forecast: null where the forecaster cannot tell.
    """

    timestamp: datetime
    forecast_mw: float
    quantiles: dict[str, float]
    certified: Certified | None = None
    explained: Explained | None = None


class ProviderTrustAnswer(Message):
    """A weather provider. used: whether what it forecast of the day went in; then, now: its standing at the gate closure and
    at the moment of asking.
    """

    name: str
    used: bool
    then: str
    now: str


class WeatherTrustAnswer(Message):
    """What is thought of the weather of one day. uncertainty_c: one standard deviation, mean over the day [°C]; null where
    nobody tells.
    """

    providers: list[ProviderTrustAnswer]
    uncertainty_c: float | None


class ForecastDay(Message):
    """One day of the answer. days_ahead: 1 for the day after the gate closure; weather: the model's policy, or `none` for
    the weather-free fallback.
    """

    day: date
    days_ahead: int
    forecast_id: str
    model_id: str
    snapshot_id: str
    weather: str
    sources: list[str]
    trust: WeatherTrustAnswer | None = None


class ForecastAnswer(Message):
    """A forecast and what it was made from. Ids, model, weather and sources are those of the first day; `days` tells them of
    each. All days are forecast from what was known at one gate closure.
    """

    forecast_id: str
    day: date
    model_id: str
    snapshot_id: str
    weather: str
    sources: list[str]
    gate_closure: datetime
    unit: str = "MW"
    days: list[ForecastDay]
    intervals: list[Interval]

    @classmethod
    def of(cls, forecast: DayForecast, levels: Sequence[float]) -> Self:
        """The answer of one day as the station itself sees it, with some of the nine deciles: nothing is disguised."""
        columns = {str(level): quantile_column(level) for level in levels}
        intervals = [
            Interval(
                timestamp=row["timestamp"],
                forecast_mw=row[FORECAST_MW],
                quantiles={level: row[column] for level, column in columns.items()},
                certified=Certified(lower_mw=row[LOWER_MW], upper_mw=row[UPPER_MW]) if LOWER_MW in row else None,
            )
            for row in forecast.frame.reset_index().to_dict("records")
        ]
        day = ForecastDay.model_validate(forecast)
        return cls(
            **day.model_dump(exclude={"days_ahead", "trust"}),
            gate_closure=forecast.gate_closure.to_pydatetime(),
            days=[day],
            intervals=intervals,
        )


class SourceTraceAnswer(Message):
    """A provider behind a forecast. learned_until: its last reading in the snapshot, empty for none; forecast: whether what
    it forecast of that day was used; then, now: its standing; delivered: readings that it had delivered into the snapshot's
    version of the lake, null for a snapshot made without a lake.
    """

    provider: str
    learned_until: str
    forecast: bool
    then: str
    now: str
    delivered: int | None


class ForecastTraceAnswer(Message):
    """What a forecast rests on, by the ledger. energy_mwh: to four figures; lake: the version of each table behind the
    snapshot.
    """

    forecast_id: str
    day: date
    made_at: datetime
    energy_mwh: float
    model_id: str
    model_state: str
    weather_policy: str
    published_by: str
    snapshot_id: str
    snapshot_as_of: datetime
    lake: dict[str, int]
    sources: list[SourceTraceAnswer]
