"""Which day to forecast, and the forecast."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Self

from pydantic import Field, field_validator

from api.schemas.message import Day, Message
from data.schema import QUANTILES
from forecasting.certified import LOWER_MW, UPPER_MW
from forecasting.forecaster import FORECAST_MW, quantile_column
from pipeline.predict import DayForecast


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
