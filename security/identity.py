"""Who asks: short-lived tokens signed with Ed25519 (JWT, RFC 7519; EdDSA, RFC 8037).

The algorithm is ours to say, never the token's (RFC 8725 section 2.1): `EdDSA` alone is accepted, and the key is found
by `kid` among the trusted ones only. The caller of a refused token learns that it was refused; `reason` is for the log.

A person's token is issued on the console, or in exchange for an API key (`api_keys`); a token that came from a key says
so in its id, `KEY.RANDOM`, and is withdrawn with it. Our own programs ask as `service:NAME`, with the shortest tokens.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

import jwt

from security.errors import TokenRefused
from security.signing import PublicKey, Signer

AUDIENCE = "gridward"
LONGEST_LIFETIME = timedelta(hours=12)
EXCHANGED_LIFETIME = timedelta(minutes=15)
SERVICE_LIFETIME = timedelta(minutes=2)
SERVICE = "service:"

Method = Literal["token", "api-key"]

_ALGORITHM = "EdDSA"
_REQUIRED_CLAIMS = ["exp", "iat", "sub", "aud", "jti", "role"]
_CLOCK_SKEW_SECONDS = 30
_TOKEN_LIMIT_CHARACTERS = 4096


class RefusedToken(TokenRefused):
    """A token that opens nothing; `reason` is for the log and must not reach the caller.

    proven: it was one of ours once, signature and all, so that nobody guessed.
    """

    def __init__(self, reason: str, *, proven: bool = False) -> None:
        self.reason, self.proven = reason, proven
        super().__init__("the token was refused", mend="ask an operator for a new one")


class Role(StrEnum):
    """What a person or program is here to do."""

    ANALYST = "analyst"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    ADMIN = "admin"


@dataclass(frozen=True)
class Identity:
    """An authenticated caller; `token_id` may be logged, the moments are UTC.

    method: what was shown. issued_at: None where that is not known. key_id: the API key that was shown, or that the token
    was issued for; empty for a token of a person's own.
    """

    subject: str
    role: Role
    token_id: str
    expires_at: datetime
    issued_at: datetime | None = None
    method: Method = "token"
    key_id: str = ""

    @property
    def is_service(self) -> bool:
        """Whether one of our own programs asks, and not a person."""
        return self.subject.startswith(SERVICE)


def new_token_id(*, for_key: str = "") -> str:
    """An id that no other token has, `KEY.RANDOM` for one that is issued for an API key."""
    drawn = secrets.token_hex(16)
    return f"{for_key}.{drawn}" if for_key else drawn


def issue_token(signer: Signer, subject: str, role: Role, lifetime: timedelta, now: datetime, *, token_id: str = "") -> str:
    """A token for `subject`, valid from `now` for `lifetime`; `token_id`: see `new_token_id`, default: a new one.

    Raises ValueError for a naive `now`, no subject, or a lifetime outside 1 second to 12 hours.
    """
    if not timedelta(seconds=1) <= lifetime <= LONGEST_LIFETIME:
        raise ValueError(f"lifetime {lifetime} must be between 1 second and {LONGEST_LIFETIME}")
    if not subject or now.tzinfo is None:
        raise ValueError("a token needs a subject and a moment with a zone")
    issued_at = int(now.timestamp())
    claims = {
        "sub": subject,
        "role": Role(role).value,
        "aud": AUDIENCE,
        "iat": issued_at,
        "exp": issued_at + int(lifetime.total_seconds()),
        "jti": token_id or new_token_id(),
    }
    return jwt.encode(claims, signer.private_key, algorithm=_ALGORITHM, headers={"kid": signer.key_id})


def issue_service_token(signer: Signer, name: str, role: Role, now: datetime) -> str:
    """A token of two minutes for the program `name` of ours: zero trust holds between our own parts too."""
    return issue_token(signer, f"{SERVICE}{name}", role, SERVICE_LIFETIME, now)


def verify_token(token: str, trusted_keys: Mapping[str, PublicKey], now: datetime | None = None) -> Identity:
    """The identity a token proves at `now` (default: the clock); TokenRefused, with `reason`, for anything else."""
    moment = (datetime.now(UTC) if now is None else now).timestamp()
    claims = _verified_claims(token, trusted_keys)
    issued_at, expires_at = claims["iat"], claims["exp"]
    if type(issued_at) is not int or type(expires_at) is not int:
        raise RefusedToken("times are not whole seconds")
    if issued_at > moment + _CLOCK_SKEW_SECONDS:
        raise RefusedToken("issued in the future")
    if expires_at <= moment:
        raise RefusedToken("expired", proven=True)
    if expires_at - issued_at > LONGEST_LIFETIME.total_seconds():
        raise RefusedToken("lifetime too long")
    try:
        role = Role(claims["role"])
    except ValueError:
        raise RefusedToken("unknown role") from None
    if not claims["sub"]:
        raise RefusedToken("no subject")
    key_id, dot, _ = claims["jti"].rpartition(".")
    return Identity(
        subject=claims["sub"],
        role=role,
        token_id=claims["jti"],
        expires_at=datetime.fromtimestamp(expires_at, UTC),
        issued_at=datetime.fromtimestamp(issued_at, UTC),
        key_id=key_id if dot else "",
    )


def signing_key_of(token: str) -> str:
    """The id of the key that a token names, verified or not; empty for none."""
    try:
        named = jwt.get_unverified_header(token).get("kid", "")
    except (jwt.PyJWTError, ValueError):
        return ""
    return named if isinstance(named, str) else ""


def _verified_claims(token: str, trusted_keys: Mapping[str, PublicKey]) -> dict[str, Any]:
    if len(token) > _TOKEN_LIMIT_CHARACTERS:
        raise RefusedToken("too long")
    try:
        key = trusted_keys.get(jwt.get_unverified_header(token).get("kid", ""))
        if key is None:
            raise RefusedToken("unknown key")
        # exp and iat are checked by the caller against its own clock, which may be simulated.
        return jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            audience=AUDIENCE,
            options={"require": _REQUIRED_CLAIMS, "verify_exp": False, "verify_iat": False, "strict_aud": True},
        )
    except (jwt.PyJWTError, ValueError) as error:
        # From None: the library's message may quote the token.
        raise RefusedToken(type(error).__name__) from None
