"""What all requests and answers have in common. What is not listed is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

LONGEST_LIST = 100
# No control characters: PostgreSQL takes no NUL in a text, and a log no line that somebody else's words begin (CWE-117).
ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
# What our own ids and names of things are made of.
PLAIN_ID = r"^[A-Za-z0-9._-]+$"

Day = Annotated[date, Field(ge=date(1980, 1, 1), lt=date(2100, 1, 1), description="local date", examples=["2014-12-20"])]

Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=ONE_LINE)]


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
