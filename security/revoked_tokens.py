"""Tokens that were withdrawn before they ran out, by their ids (`jti`), and until when that has to be remembered."""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import delete
from sqlmodel import Field, Session, SQLModel, col, select

from security.identity import EXCHANGED_LIFETIME, LONGEST_LIFETIME
from security.keyring import UtcDateTime

TOKEN_ID = re.compile(r"([0-9a-f]{16}\.)?[0-9a-f]{32}")


class RevokedToken(SQLModel, table=True):
    """A token that opens nothing any more; after `until` it would not have anyway."""

    __tablename__ = "revoked_token"

    token_id: str = Field(primary_key=True, max_length=64)
    until: datetime = Field(sa_type=UtcDateTime, index=True)
    revoked_at: datetime = Field(sa_type=UtcDateTime)
    revoked_by: str
    reason: str


def revoke_token(session: Session, token_id: str, *, by: str, reason: str, at: datetime) -> RevokedToken:
    """Believe a token no more, from `at` (UTC) on; doing it twice changes nothing. What ran out meanwhile is forgotten.

    A token's id does not say when it runs out: it is remembered for as long as any of its kind lives. Raises ValueError for
    text that is no token's id.
    """
    if not TOKEN_ID.fullmatch(token_id):
        raise ValueError("a token's id is 32 hex digits, after `KEY.` where it came from an API key")
    session.exec(delete(RevokedToken).where(col(RevokedToken.until) < at))
    known = session.get(RevokedToken, token_id)
    if known is not None:
        return known
    lifetime = EXCHANGED_LIFETIME if "." in token_id else LONGEST_LIFETIME
    record = RevokedToken(token_id=token_id, until=at + lifetime, revoked_at=at, revoked_by=by, reason=reason)
    session.add(record)
    session.flush()
    return record


def revoked_ids(session: Session) -> frozenset[str]:
    """The ids of all tokens that were withdrawn and not forgotten yet."""
    return frozenset(session.exec(select(RevokedToken.token_id)))
