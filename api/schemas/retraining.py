"""What to train from."""

from __future__ import annotations

from pydantic import Field, field_validator

from api.schemas.message import ONE_LINE, Day, Message
from pipeline.errors import PipelineError
from pipeline.weather_policy import MULTI_SOURCE, WeatherPolicy


class RetrainOrder(Message):
    """Whose weather to learn from, and the local day after whose gate closure nothing is used (default: use it all)."""

    weather_policy: str = Field(
        default=MULTI_SOURCE, max_length=100, pattern=ONE_LINE, examples=[MULTI_SOURCE, "single:aurora"]
    )
    as_of_day: Day | None = None

    @field_validator("weather_policy")
    @classmethod
    def _parsable(cls, text: str) -> str:
        return require_policy(text)


def require_policy(text: str) -> str:
    """The same text. Raises ValueError for one that is no weather policy."""
    try:
        WeatherPolicy.parse(text)
    except PipelineError as error:
        raise ValueError(str(error)) from None
    return text
