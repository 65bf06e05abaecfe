"""Settings, from `GRIDWARD_…` environment variables only; docs/settings.md lists every one (a test compares)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import AwareDatetime, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from security.kms import require_uri


class Settings(BaseSettings):
    """Where a station keeps its things, and how freely its service answers."""

    model_config = SettingsConfigDict(env_prefix="GRIDWARD_", hide_input_in_errors=True, frozen=True)

    home: Path = Field(default=Path("var/station"), description="folder of keys, database, readings, snapshots and models")
    database_url: SecretStr = Field(
        default=SecretStr(""), description="postgresql://… or another SQLAlchemy URL; empty: SQLite in the home folder"
    )
    upgrade_database: bool = Field(default=True, description="whether whoever opens an older database upgrades it")
    redis_url: SecretStr = Field(
        default=SecretStr(""), description="Redis, where several workers share what they count; empty: one worker's memory"
    )
    audit_witness: Path | None = Field(
        default=None,
        description="a second file, on another disk or host, for the signed heads of the audit log; empty: none",
    )
    lake_url: str = Field(default="", description="object store for the readings; empty: the folder lake in the home folder")
    host: str = Field(default="127.0.0.1", description="address the service listens on")
    port: int = Field(default=8420, ge=0, le=65535, description="port the service listens on")
    rate_limit_per_minute: int = Field(default=120, ge=1, description="requests a minute for each caller")
    token_minutes: int = Field(default=60, ge=1, le=720, description="lifetime of a token")
    traces_url: str = Field(default="", description="where OpenTelemetry traces go (OTLP over HTTP); empty: nowhere")
    forecaster: Literal["ensemble", "linear", "kernel", "departure", "lightgbm", "certified", "quantile-trees"] = Field(
        default="ensemble",
        description="what is trained: the ensemble, one member of it alone, the certified forecaster, or trees by quantile",
    )
    replay_at: AwareDatetime | None = Field(
        default=None, description="replay: act as if it were this moment (ISO 8601 with offset); tokens keep real time"
    )
    backup_passphrase: SecretStr | None = Field(
        default=None, description="opens the keys of the backups; without it, backups are neither made nor opened"
    )

    key_passphrase: SecretStr | None = Field(
        default=None,
        description="opens the station's key chest; without it and without a KMS, the mode of its files protects it",
    )
    kms_uri: str = Field(default="", description="vault://host[:port]/transit/keys/NAME: a KMS opens the key chest instead")
    vault_token: SecretStr | None = Field(default=None, description="token for the KMS")
    operator_passphrase: SecretStr | None = Field(default=None, description="opens an operator's key file")
    old_key_passphrase: SecretStr | None = Field(
        default=None, description="for `gridward keys protect` alone: the passphrase that opened the key chest until now"
    )

    @field_validator("audit_witness", mode="before")
    @classmethod
    def _none_when_empty(cls, path: object) -> object:
        return None if path == "" else path

    @field_validator("kms_uri")
    @classmethod
    def _one_protection(cls, uri: str, others: ValidationInfo) -> str:
        if not uri:
            return uri
        passphrase = others.data.get("key_passphrase")
        if passphrase is not None and passphrase.get_secret_value():
            raise ValueError("set either GRIDWARD_KEY_PASSPHRASE or GRIDWARD_KMS_URI, not both")
        require_uri(uri)
        return uri

    @field_validator("redis_url")
    @classmethod
    def _of_redis(cls, url: SecretStr) -> SecretStr:
        if url and not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("begin it with redis://, rediss:// (over TLS) or unix://")
        try:
            _ = urlsplit(url.get_secret_value()).port
        except ValueError:
            # From None, and without its words: they quote what may be part of the password.
            raise ValueError("give the port as a number, and write / ? # @ of a password as %2F %3F %23 %40") from None
        return url

    @field_validator("replay_at")
    @classmethod
    def _in_utc(cls, moment: datetime | None) -> datetime | None:
        return None if moment is None else moment.astimezone(UTC)
