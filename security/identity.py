"""Who asks: short-lived tokens signed with Ed25519 (JWT, RFC 7519; EdDSA, RFC 8037).

The algorithm is ours to say, never the token's (RFC 8725 section 2.1): `EdDSA` alone is accepted, and the key is found
by `kid` among the trusted ones only. The caller of a refused token learns that it was refused; `reason` is for the log.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import jwt

from security.errors import TokenRefused
from security.signing import PublicKey, Signer

AUDIENCE = "gridward"
LONGEST_LIFETIME = timedelta(hours=12)

_ALGORITHM = "EdDSA"
_REQUIRED_CLAIMS = ["exp", "iat", "sub", "aud", "jti", "role"]
_CLOCK_SKEW_SECONDS = 30
_TOKEN_LIMIT_CHARACTERS = 4096


class RefusedToken(TokenRefused):
    """A token that opens nothing; `reason` is for the log and must not reach the caller."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__("the token was refused", mend="ask an operator for a new one")


class Role(StrEnum):
    """What a person or program is here to do."""

    ANALYST = "analyst"
    OPERATOR = "operator"
    AUDITOR = "auditor"


@dataclass(frozen=True)
class Identity:
    """An authenticated caller; `token_id` may be logged, `expires_at` is UTC."""

    subject: str
    role: Role
    token_id: str
    expires_at: datetime


def issue_token(signer: Signer, subject: str, role: Role, lifetime: timedelta, now: datetime) -> str:
    """A token for `subject`, valid from `now` for `lifetime`.

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
        "jti": secrets.token_hex(16),
    }
    return jwt.encode(claims, signer.private_key, algorithm=_ALGORITHM, headers={"kid": signer.key_id})


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
        raise RefusedToken("expired")
    if expires_at - issued_at > LONGEST_LIFETIME.total_seconds():
        raise RefusedToken("lifetime too long")
    try:
        role = Role(claims["role"])
    except ValueError:
        raise RefusedToken("unknown role") from None
    if not claims["sub"]:
        raise RefusedToken("no subject")
    return Identity(claims["sub"], role, claims["jti"], datetime.fromtimestamp(expires_at, UTC))


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
