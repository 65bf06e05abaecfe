"""Whom the query guard holds back."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from api.schemas.message import ONE_LINE, Message


class GuardStandingAnswer(Message):
    """A caller that was held back. level: slow, coarse, challenge or blocked, as it was reached at `since`; it falls back by
    one in twelve hours, a block ends after thirty days. released_at, released_by, reason: of its release, if there was one.
    """

    subject: str
    role: str
    level: str
    why: str
    since: datetime
    released_at: datetime | None
    released_by: str
    reason: str


class GuardAnswer(Message):
    """The callers that were held back, the latest first."""

    standings: list[GuardStandingAnswer]


class ReleaseOrder(Message):
    """Why a caller gets its whole budget back; it stands in the audit log."""

    reason: str = Field(
        min_length=1, max_length=500, pattern=ONE_LINE, examples=["the study of the January heat wave was agreed with us"]
    )
