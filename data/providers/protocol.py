"""What every weather provider is to the rest of the house: something that is asked, and answers or fails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pandas as pd


@dataclass(frozen=True)
class LastAnswer:
    """What is remembered of a provider's last accepted answer, to ask for news only and to tell a replay by.

    url: without secrets; the validators belong to it alone. updated_at: the issue time of that answer (UTC).
    """

    url: str
    updated_at: datetime
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, eq=False)
class ProviderAnswer:
    """An answer in its documented format, of its time, within physics. Not compared with other providers yet (level 3).

    received_at: when its last byte had come (UTC). updated_at: the issue time it states, or `received_at` where the service
    states none. url: without secrets. digest: SHA-256 of `payload`, hex. not_modified: the last answer still stands;
    payload, digest and frame are empty then. frame: the weather frame of data.schema, temperature_c [°C], START-labelled
    UTC, sorted; `issued_at` is `received_at`, since nothing was known here before.
    """

    provider: str
    key_id: str | None
    received_at: datetime
    updated_at: datetime
    url: str
    payload: bytes
    digest: str
    etag: str | None
    last_modified: str | None
    not_modified: bool
    frame: pd.DataFrame

    @property
    def last(self) -> LastAnswer:
        """What to remember of this answer when the provider is asked again."""
        return LastAnswer(self.url, self.updated_at, self.etag, self.last_modified)


class WeatherProvider(Protocol):
    """One source. `name`: as in weather frames and key records; `key_id`: its key record, None for one's own files."""

    @property
    def name(self) -> str:
        """Letters, digits, `_` and `-`."""
        ...

    @property
    def key_id(self) -> str | None:
        """The key record that is to be active, or None."""
        ...

    def fetch(self, now: datetime, last: LastAnswer | None = None) -> ProviderAnswer:
        """Ask once, at `now` (UTC). Raises ProviderFailed."""
        ...
