"""API keys: `gw_ID_SECRET`, for programs that cannot fetch a token from somebody.

The secret is 256 random bits and is shown once. Stored is its HMAC-SHA256 under a pepper that lies in the key chest, over
what the key is for as well: who copies the database can neither use a key nor tell whether a guess is right, and who may
write to it can neither plant a key nor make more of one. A slow hash would protect nothing more, for
nobody guesses 256 bits (OWASP Password Storage: peppers; RFC 2104). A wrong key costs as much time as a right one.

A key has an owner, one role and an end, and is withdrawn for good. It cannot make or withdraw keys, and neither can a
token that was issued for it: whoever steals one cannot plant another (AML.T0012).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from sqlmodel import Field, Session, SQLModel, col, select

from security._primitives import equal_in_constant_time, keyed_digest
from security.errors import KeyringError, PermissionDenied
from security.identity import Identity, RefusedToken, Role
from security.key_chest import KeyChest
from security.keyring import UtcDateTime, utc_text

LONGEST_KEY_LIFETIME = timedelta(days=365)

_PEPPER = "api-key-pepper"
_CONTEXT = b"gridward-api-key-v1\0"
_KEY = re.compile(r"gw_([0-9a-f]{16})_([0-9a-f]{64})")
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,63}")
_NO_DIGEST = "0" * 64


class UnknownApiKey(KeyringError):
    """No API key of this id: `key_id`."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__("no API key of this id", where=f"API key {key_id}", mend="list them with `gridward api-key list`")


class MayNotGrant(PermissionDenied):
    """Somebody gave a role that is not theirs to give, or gave it to themselves: `by`, `role`."""

    def __init__(self, by: str, role: Role, problem: str) -> None:
        self.by, self.role = by, role
        super().__init__(problem, mend="ask another admin")


class ApiKey(SQLModel, table=True):
    """One key as it is stored: everything but the secret. last_used_on: the UTC day, as text, no finer."""

    __tablename__ = "api_key"

    key_id: str = Field(primary_key=True, max_length=16)
    digest: str
    owner: str = Field(index=True)
    role: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str
    expires_at: datetime = Field(sa_type=UtcDateTime)
    last_used_on: str = ""
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_by: str = ""
    reason: str = ""


# What a key that nobody has is compared with.
_NOBODYS = ApiKey(
    key_id="",
    digest=_NO_DIGEST,
    owner="",
    role="",
    created_at=datetime.fromtimestamp(0, UTC),
    created_by="",
    expires_at=datetime.fromtimestamp(0, UTC),
)


@dataclass(frozen=True)
class MadeKey:
    """A new key and its only copy, which printing does not show."""

    record: ApiKey
    text: str = field(repr=False)


def pepper_of(chest: KeyChest) -> bytes:
    """The station's pepper; made on first use, also when two processes start at once. Raises KeyringError as `signer`.

    Without it no key opens anything any more: a station that was restored without its chest gives out new keys.
    """
    with chest.held(alone=True):
        pepper = chest.kept(_PEPPER)
        if pepper is None:
            pepper = secrets.token_bytes(32)
            chest.keep(_PEPPER, pepper)
    return pepper


def make_api_key(
    session: Session, pepper: bytes, owner: str, role: Role, lifetime: timedelta, *, by: str, at: datetime
) -> MadeKey:
    """A key for `owner`, valid from `at` (UTC) for `lifetime`. Raises ValueError for a name or a lifetime that cannot be."""
    if not _OWNER.fullmatch(owner):
        raise ValueError("an owner is up to 64 letters, digits and . _ @ : + -, beginning with a letter or a digit")
    if not timedelta(hours=1) <= lifetime <= LONGEST_KEY_LIFETIME:
        raise ValueError(f"lifetime {lifetime} must be between an hour and {LONGEST_KEY_LIFETIME.days} days")
    key_id, secret = secrets.token_hex(8), secrets.token_hex(32)
    record = ApiKey(
        key_id=key_id,
        digest=_NO_DIGEST,
        owner=owner,
        role=Role(role).value,
        created_at=at,
        created_by=by,
        expires_at=at + lifetime,
    )
    record.digest = _digest(pepper, secret, record)
    session.add(record)
    session.flush()
    return MadeKey(record, f"gw_{key_id}_{secret}")


def require_may_grant(maker: Identity, owner: str, role: Role) -> None:
    """Raise PermissionDenied unless `maker` may give `owner` a key of this role.

    An admin gives any role, to others: who gives it and who has it are two people. Anybody else gives at most their own.
    """
    if maker.key_id:
        raise MayNotGrant(maker.subject, role, "an API key may not administrate keys")
    if maker.role is Role.ADMIN and _same(owner, maker.subject) and role is not Role.ADMIN:
        raise MayNotGrant(maker.subject, role, "an admin may not give themselves another role")
    if maker.role is not Role.ADMIN and role is not maker.role:
        raise MayNotGrant(maker.subject, role, f"the role {maker.role} may not give the role {role}")


def revoke_api_key(session: Session, key_id: str, *, by: str, reason: str, at: datetime) -> ApiKey:
    """Withdraw a key for good; doing it twice changes nothing. Raises UnknownApiKey."""
    record = session.get(ApiKey, key_id)
    if record is None:
        raise UnknownApiKey(key_id)
    if record.revoked_at is None:
        record.revoked_at, record.revoked_by, record.reason = at, by, reason
        session.add(record)
        session.flush()
    return record


def api_keys(session: Session) -> list[ApiKey]:
    """Every key there ever was, the newest first."""
    return list(session.exec(select(ApiKey).order_by(col(ApiKey.created_at).desc(), col(ApiKey.key_id))))


def note_used(session: Session, key_ids: Iterable[str], on: date) -> None:
    """Remember on which UTC day these keys were used last."""
    for record in session.exec(select(ApiKey).where(col(ApiKey.key_id).in_(list(key_ids)))):
        if record.last_used_on < on.isoformat():
            record.last_used_on = on.isoformat()
            session.add(record)


def id_in(text: str) -> str:
    """The id of the API key that a text claims to be; empty for text of another form."""
    shown = _KEY.fullmatch(text)
    return shown[1] if shown else ""


def verify_api_key(text: str, keys: Mapping[str, ApiKey], pepper: bytes, now: datetime) -> Identity:
    """The identity a key proves at `now`, among `keys` by id; RefusedToken, with `reason`, for anything else.

    Unknown, wrong, expired and revoked keys all cost one HMAC and one comparison.
    """
    shown = _KEY.fullmatch(text)
    if shown is None:
        raise RefusedToken("not an API key")
    key_id, secret = shown.groups()
    record = keys.get(key_id, _NOBODYS)
    if not equal_in_constant_time(_digest(pepper, secret, record), record.digest):
        raise RefusedToken("wrong API key")
    if record.revoked_at is not None:
        raise RefusedToken("revoked API key", proven=True)
    if record.expires_at <= now:
        raise RefusedToken("expired API key", proven=True)
    try:
        role = Role(record.role)
    except ValueError:
        raise RefusedToken("unknown role", proven=True) from None
    return Identity(
        subject=record.owner,
        role=role,
        token_id=key_id,
        expires_at=record.expires_at.astimezone(UTC),
        issued_at=record.created_at.astimezone(UTC),
        method="api-key",
        key_id=key_id,
    )


def _digest(pepper: bytes, secret: str, record: ApiKey) -> str:
    facts = (record.key_id, secret, record.owner, record.role, utc_text(record.expires_at))
    return keyed_digest(pepper, _CONTEXT + "\0".join(facts).encode("utf-8"))


def _same(one: str, other: str) -> bool:
    """Whether two names are one person's."""
    return one.strip().casefold() == other.strip().casefold()
