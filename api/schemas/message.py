"""What all requests and answers have in common. What is not listed is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

LONGEST_LIST = 100

Day = Annotated[date, Field(ge=date(1980, 1, 1), lt=date(2100, 1, 1), description="local date", examples=["2014-11-20"])]


class Message(BaseModel):
    """Common to all: unknown members are refused, and an answer may be read from an object's attributes."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class Touched(Message):
    """How many, and the ids of the first hundred."""

    count: int
    ids: list[str]

    @classmethod
    def of(cls, ids: Sequence[str]) -> Self:
        """All of `ids` counted, the first of them listed."""
        return cls(count=len(ids), ids=list(ids[:LONGEST_LIST]))
