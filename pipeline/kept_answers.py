"""Answers to writes that carried an Idempotency-Key, kept for a day, so that a request sent twice is done once.

The row is entered before the request is answered: of two workers that get the same request at once, one enters it. While the
answer is being made `status` is 0. Times are the wall clock's, in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, LargeBinary, Text, delete, update
from sqlmodel import Field, Session, SQLModel, col

from security.keyring import UtcDateTime

KEPT = timedelta(hours=24)
# No write of ours takes as long: one that is older belongs to a worker that died, and may be made anew.
LONGEST_ANSWER = timedelta(minutes=5)
IN_FLIGHT = 0


@dataclass(frozen=True)
class Claim:
    """What an answer is kept under: who asked, of which route, with which key."""

    caller: str
    route: str
    key: str


class KeptAnswer(SQLModel, table=True):
    """The answer to the first request with a key. asked_sha256: of what was asked; headers: JSON object."""

    __tablename__ = "kept_answer"

    caller: str = Field(primary_key=True)
    route: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    asked_sha256: str
    claimed_at: datetime = Field(sa_type=UtcDateTime, index=True)
    status: int = IN_FLIGHT
    headers: str = Field(default="{}", sa_type=Text)
    body: bytes = Field(default=b"", sa_type=LargeBinary)


def find(session: Session, claim: Claim) -> KeptAnswer | None:
    """What stands under a claim."""
    return session.get(KeptAnswer, (claim.caller, claim.route, claim.key))


def put_claim(session: Session, claim: Claim, asked_sha256: str, at: datetime) -> None:
    """Claim a key, and clear away what is out of date.

    Raises SQLAlchemy's IntegrityError, at the latest at the commit, when somebody else claimed it.
    """
    session.connection().execute(
        delete(KeptAnswer).where(
            (col(KeptAnswer.claimed_at) < at - KEPT)
            | ((col(KeptAnswer.status) == IN_FLIGHT) & (col(KeptAnswer.claimed_at) < at - LONGEST_ANSWER))
        )
    )
    session.add(KeptAnswer(caller=claim.caller, route=claim.route, key=claim.key, asked_sha256=asked_sha256, claimed_at=at))
    session.flush()


def keep(session: Session, claim: Claim, status: int, headers: str, body: bytes) -> None:
    """Keep the answer under its claim."""
    kept = {"status": status, "headers": headers, "body": body}
    session.connection().execute(update(KeptAnswer).where(*_row(claim)).values(**kept))


def release(session: Session, claim: Claim) -> None:
    """Let go of a claim whose answer is not kept."""
    session.connection().execute(delete(KeptAnswer).where(*_row(claim)))


def _row(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        col(KeptAnswer.caller) == claim.caller,
        col(KeptAnswer.route) == claim.route,
        col(KeptAnswer.key) == claim.key,
    )
