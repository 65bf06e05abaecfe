"""Give the station a new key to sign tokens with.

    new key in the chest, beside the old → registered → put in the old one's place

What the old key signed opens until it runs out, twelve hours at most, and nothing it signs later does (`credentials`); after
that it is believed no more. A key that leaked is revoked at once instead, and everybody needs a new token. Killed anywhere,
the next run goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.database import transaction
from pipeline.station import OWNER, Station, note
from security.identity import LONGEST_LIFETIME
from security.keyring import register_key, revoke_keys_of, trusted_keys

_TOKEN, _NEXT = "token", "token-next"


@dataclass(frozen=True)
class TokenKeyRotated:
    """A rotation. key_id: what signs now; revoked: ids that are believed no more; old_until: when the last other is not."""

    key_id: str
    revoked: list[str]
    old_until: datetime | None


def rotate_token_key(station: Station, *, leaked: bool, by: str, at: datetime) -> TokenKeyRotated:
    """Rotate, and enter it in the audit log. leaked: revoke every older key now. at: for the audit log, UTC."""
    with station.chest.held(alone=True):
        signer, now = station.chest.signer(_NEXT), datetime.now(UTC)
        revoked: list[str] = []
        with transaction(station.engine) as session:
            register_key(
                session, purpose="token", owner=OWNER, public_key=signer.public_key, by=by, reason="rotated", at=now
            )
            others = trusted_keys(session, "token").keys() - {signer.key_id}
            if leaked and others:
                withdrawn = revoke_keys_of(session, "token", OWNER, by, "the key leaked", now, but=signer.key_id)
                revoked = [record.key_id for record in withdrawn]
        station.chest.rename(_NEXT, _TOKEN)
    old_until = None if leaked or not others else now + LONGEST_LIFETIME
    details = {"key": signer.key_id, "revoked": revoked}
    note(station, actor=by, action="keys.rotated", subject="tokens", details=details, at=at)
    return TokenKeyRotated(signer.key_id, revoked, old_until)
