"""Requests and answers of the service. Times are UTC; units stand in the names. What is not listed is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from data.schema import QUANTILES
from forecasting.certified import LOWER_MW, UPPER_MW
from forecasting.forecaster import FORECAST_MW, quantile_column
from pipeline.errors import PipelineError
from pipeline.predict import DayForecast
from pipeline.recover import Revocation
from pipeline.weather_policy import MULTI_SOURCE, WeatherPolicy

LONGEST_LIST = 100

Day = Annotated[date, Field(ge=date(1980, 1, 1), lt=date(2100, 1, 1), description="local date", examples=["2014-11-20"])]


class Message(BaseModel):
    """Common to all: unknown members are refused, and an answer may be read from an object's attributes."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class ForecastOrder(Message):
    """Which local day to forecast, and which of the nine deciles to answer (default: all)."""

    day: Day
    quantiles: list[float] = Field(default=list(QUANTILES), min_length=1, max_length=9, examples=[[0.1, 0.5, 0.9]])

    @field_validator("quantiles")
    @classmethod
    def _known_and_distinct(cls, levels: list[float]) -> list[float]:
        if len(set(levels)) < len(levels) or not set(levels) <= set(QUANTILES):
            raise ValueError(f"give each at most once, out of {', '.join(map(str, QUANTILES))}")
        return levels


class Certified(Message):
    """What the forecast cannot leave [MW] if at most two weeks of its training data were malicious (docs/certified.md)."""

    lower_mw: float
    upper_mw: float


class Interval(Message):
    """One interval: its start (UTC), mean power [MW], quantiles [MW] by level, and what a certified forecaster promises."""

    timestamp: datetime
    forecast_mw: float
    quantiles: dict[str, float]
    certified: Certified | None = None


class ForecastAnswer(Message):
    """A forecast and what it was made from. weather: the model's policy, or `none` for the weather-free fallback."""

    forecast_id: str
    day: date
    model_id: str
    snapshot_id: str
    weather: str
    sources: list[str]
    gate_closure: datetime
    unit: str = "MW"
    intervals: list[Interval]

    @classmethod
    def of(cls, forecast: DayForecast, levels: Sequence[float]) -> Self:
        """The answer with these quantile levels."""
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
        return cls(
            forecast_id=forecast.forecast_id,
            day=forecast.day,
            model_id=forecast.model_id,
            snapshot_id=forecast.snapshot_id,
            weather=forecast.weather,
            sources=list(forecast.sources),
            gate_closure=forecast.gate_closure.to_pydatetime(),
            intervals=intervals,
        )


class ModelAnswer(Message):
    """A published model. as_of: nothing known later went into it."""

    model_id: str
    role: str
    forecaster: str
    state: str
    snapshot_id: str
    weather_policy: str
    as_of: datetime
    published_at: datetime
    published_by: str


class ModelsAnswer(Message):
    """The main model that answers now, and every published one, newest first."""

    active_model_id: str
    models: list[ModelAnswer]


class ReloadAnswer(Message):
    """The model that answers from now on."""

    active_model_id: str


class ProviderAnswer(Message):
    """A weather provider. state: its standing; key: active, revoked or unknown; onset: not believed since."""

    name: str
    state: str
    key: str
    onset: datetime | None
    reason: str
    last_heard: datetime


class ProvidersAnswer(Message):
    """Every provider that ever delivered."""

    providers: list[ProviderAnswer]


class StandingOrder(Message):
    """Why a provider's standing is changed; it stands in the audit log."""

    reason: str = Field(min_length=1, max_length=500, examples=["values drift from the others since June"])


class StandingAnswer(Message):
    """A change of a provider's standing, decided by a person."""

    provider: str
    at: datetime
    from_state: str
    to_state: str
    reason: str


class Touched(Message):
    """How many, and the ids of the first hundred."""

    count: int
    ids: list[str]

    @classmethod
    def of(cls, ids: Sequence[str]) -> Self:
        """All of `ids` counted, the first of them listed."""
        return cls(count=len(ids), ids=list(ids[:LONGEST_LIST]))


class RevocationAnswer(Message):
    """What was done about a provider and what it had touched. onset: from when its values are refused."""

    provider: str
    at: datetime
    onset: datetime
    evidence: str
    snapshots: Touched
    models: Touched
    forecasts: Touched
    energy_mwh: float

    @classmethod
    def of(cls, revocation: Revocation) -> Self:
        """The answer, its lists bounded."""
        touched = revocation.touched
        return cls(
            provider=revocation.provider,
            at=revocation.at,
            onset=revocation.onset.to_pydatetime(),
            evidence=revocation.evidence,
            snapshots=Touched.of(touched.snapshots),
            models=Touched.of(touched.models),
            forecasts=Touched.of(touched.forecasts),
            energy_mwh=touched.energy_mwh,
        )


class RetrainOrder(Message):
    """Whose weather to learn from, and the local day after whose gate closure nothing is used (default: use it all)."""

    weather_policy: str = Field(default=MULTI_SOURCE, max_length=100, examples=[MULTI_SOURCE, "single:aurora"])
    as_of_day: Day | None = None

    @field_validator("weather_policy")
    @classmethod
    def _parsable(cls, text: str) -> str:
        try:
            WeatherPolicy.parse(text)
        except PipelineError as error:
            raise ValueError(str(error)) from None
        return text


class AuditEntryAnswer(Message):
    """One act in the audit log. details: JSON text, as it was hashed."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: str
    previous_hash: str
    entry_hash: str


class AuditAnswer(Message):
    """Some entries, and how many of the whole log were verified against its signed heads just now."""

    verified: int
    entries: list[AuditEntryAnswer]


class AliveAnswer(Message):
    """The process runs."""

    status: str = "alive"


class ReadyAnswer(Message):
    """Forecasts can be asked for; which model answers."""

    status: str = "ready"
    active_model_id: str
