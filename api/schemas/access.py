"""Who the caller is, tokens and API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from api.schemas.message import ONE_LINE, Message
from security.api_keys import LONGEST_KEY_LIFETIME, ApiKey
from security.identity import Method, Role

Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=ONE_LINE, examples=["the laptop it was on is gone"])]


class WhoAnswer(Message):
    """The caller, as the service sees them. key_id: the API key behind it, empty for none; permissions: what they may."""

    subject: str
    role: Role
    method: Method
    token_id: str
    key_id: str
    issued_at: datetime | None
    expires_at: datetime
    permissions: list[str]


class TokenAnswer(Message):
    """A token for the API key that was shown, the only copy."""

    token: str
    token_id: str
    expires_at: datetime


class TokenRevocationOrder(Message):
    """Which token shall open nothing any more; without an id, the one that was shown."""

    token_id: str = Field(default="", max_length=64, pattern=r"^(([0-9a-f]{16}\.)?[0-9a-f]{32})?$")
    reason: Reason


class TokenRevokedAnswer(Message):
    """The token that opens nothing any more, in this process at once, in others within two seconds."""

    token_id: str
    revoked_at: datetime


class ApiKeyOrder(Message):
    """A key for whom, to do what, for how long."""

    owner: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,63}$", examples=["control-room"])
    role: Role
    days: int = Field(default=90, ge=1, le=LONGEST_KEY_LIFETIME.days)


class ApiKeyAnswer(Message):
    """A key without its secret. last_used_on: the UTC day, empty for never; revoked_at: null for one that opens."""

    key_id: str
    owner: str
    role: Role
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_on: str
    revoked_at: datetime | None
    revoked_by: str
    reason: str

    @classmethod
    def of(cls, record: ApiKey) -> ApiKeyAnswer:
        """What may be told of a stored key: not its digest."""
        return cls.model_validate(record)


class ApiKeysAnswer(Message):
    """Every key there ever was, the newest first. next: path and query of the following page, null when the list ends."""

    keys: list[ApiKeyAnswer]
    next: str | None


class NewApiKeyAnswer(Message):
    """A new key, and its text, which is shown this once."""

    key: str
    facts: ApiKeyAnswer
