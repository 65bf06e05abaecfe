"""What to train from."""

from __future__ import annotations

from pydantic import Field, field_validator

from api.schemas.message import Day, Message
from pipeline.errors import PipelineError
from pipeline.weather_policy import MULTI_SOURCE, WeatherPolicy


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
