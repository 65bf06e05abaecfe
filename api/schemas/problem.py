"""What a failure looks like (RFC 9457)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Flaw(BaseModel):
    """One member of a request that does not have the documented shape."""

    where: str = Field(examples=["body.day"])
    why: str


class Problem(BaseModel):
    """A failure: type names its kind (docs/api.md lists them), detail what is wrong and how to mend it."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:gridward:problem:rate-limited"], pattern="^urn:gridward:problem:[a-z-]+$")
    title: str = Field(examples=["Too Many Requests"])
    status: int = Field(ge=400, le=599, examples=[429])
    detail: str
    errors: list[Flaw] | None = None
