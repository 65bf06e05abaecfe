"""Whom the station believes at one moment: signing keys of tokens, withdrawn tokens, API keys; read at once.

A signing key that was replaced (`gridward keys rotate-token-key`) still opens the tokens it signed before, and no later
one. Twelve hours after it was replaced none of those is left, and it is believed no more: nobody has to come back for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from security.api_keys import ApiKey, api_keys, id_in, verify_api_key
from security.identity import LONGEST_LIFETIME, Identity, RefusedToken, signing_key_of, verify_token
from security.keyring import KeyRecord, trusted_keys
from security.revoked_tokens import revoked_ids
from security.signing import PublicKey

# A process that was issuing while the key was replaced is not caught out.
_REPLACED_GRACE = timedelta(minutes=1)


@dataclass(frozen=True)
class Credentials:
    """What tells a caller from a liar. replaced: since when a signing key has a successor, by key id."""

    trusted: Mapping[str, PublicKey] = field(repr=False)
    replaced: Mapping[str, datetime]
    revoked: frozenset[str]
    keys: Mapping[str, ApiKey] = field(repr=False)

    def names_known(self, text: str) -> bool:
        """Whether this token's signing key, or this API key, was there at all: if not, it may have been made since."""
        key_id = id_in(text)
        return key_id in self.keys if key_id else signing_key_of(text) in self.trusted

    def identify(self, text: str, pepper: bytes, now: datetime) -> Identity:
        """Who shows this token or API key at `now` (UTC). Raises RefusedToken, with its `reason` for the log."""
        if id_in(text):
            return verify_api_key(text, self.keys, pepper, now)
        identity = verify_token(text, self.trusted, now)
        replaced_at = self.replaced.get(signing_key_of(text))
        if replaced_at is not None and (identity.issued_at is None or identity.issued_at > replaced_at + _REPLACED_GRACE):
            raise RefusedToken("signed with a key that was replaced before", proven=True)
        if identity.token_id in self.revoked:
            raise RefusedToken("revoked", proven=True)
        if identity.key_id:
            key = self.keys.get(identity.key_id)
            if key is None or key.revoked_at is not None or key.expires_at <= now:
                raise RefusedToken("the API key it was issued for is withdrawn", proven=True)
        return identity


def read_credentials(session: Session, now: datetime) -> Credentials:
    """Whom to believe at `now` (UTC), as the database has it."""
    trusted, replaced = trusted_keys(session, "token"), _replaced(session)
    return Credentials(
        trusted={key_id: key for key_id, key in trusted.items() if not _run_out(replaced.get(key_id), now)},
        replaced=replaced,
        revoked=revoked_ids(session),
        keys={key.key_id: key for key in api_keys(session)},
    )


def _replaced(session: Session) -> dict[str, datetime]:
    """Since when each signing key of a token has a successor of the same owner."""
    ours = select(KeyRecord).where(KeyRecord.purpose == "token").order_by(col(KeyRecord.created_at).desc())
    replaced: dict[str, datetime] = {}
    newest: dict[str, datetime] = {}
    for record in session.exec(ours):
        if record.owner in newest and newest[record.owner] > record.created_at:
            replaced[record.key_id] = newest[record.owner]
        newest[record.owner] = record.created_at
    return replaced


def _run_out(replaced_at: datetime | None, now: datetime) -> bool:
    return replaced_at is not None and now > replaced_at + _REPLACED_GRACE + LONGEST_LIFETIME
