"""What to try on the past."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, StrictInt, field_validator, model_validator

from api.schemas.message import ONE_LINE, Day, Message
from api.schemas.retraining import require_policy
from forecasting.ensemble import ENSEMBLE
from pipeline.backtest import FORECASTERS
from pipeline.weather_policy import MULTI_SOURCE

LONGEST_PERIOD = timedelta(days=366)


class BacktestOrder(Message):
    """Local days `start` to `end`, both included, of the station's readings, each forecast as it would have been then."""

    start: Day
    end: Day
    forecaster: str = Field(default=ENSEMBLE, max_length=40, examples=sorted(FORECASTERS))
    weather_policy: str = Field(
        default=MULTI_SOURCE, max_length=100, pattern=ONE_LINE, examples=[MULTI_SOURCE, "single:aurora"]
    )
    seed: StrictInt = Field(default=1, ge=0, le=2**31 - 1)

    @field_validator("forecaster")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in FORECASTERS:
            raise ValueError(f"use one of {', '.join(FORECASTERS)}")
        return name

    @field_validator("weather_policy")
    @classmethod
    def _parsable(cls, text: str) -> str:
        return require_policy(text)

    @model_validator(mode="after")
    def _of_a_year_at_most(self) -> Self:
        if not timedelta() <= self.end - self.start < LONGEST_PERIOD:
            raise ValueError(f"give a period of 1 to {LONGEST_PERIOD.days} days")
        return self
