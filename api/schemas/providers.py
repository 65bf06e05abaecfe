"""Weather providers and their standing."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import Field

from api.schemas.message import Message, Touched
from pipeline.recover import Revocation


class ProviderAnswer(Message):
    """A weather provider. state: its standing; key: active, revoked or unknown; onset: not believed since."""

    name: str
    state: str
    key: str
    onset: datetime | None
    reason: str
    last_heard: datetime


class ProvidersAnswer(Message):
    """Every provider that ever delivered."""

    providers: list[ProviderAnswer]


class StandingOrder(Message):
    """Why a provider's standing is changed; it stands in the audit log."""

    reason: str = Field(min_length=1, max_length=500, examples=["values drift from the others since June"])


class StandingAnswer(Message):
    """A change of a provider's standing, decided by a person."""

    provider: str
    at: datetime
    from_state: str
    to_state: str
    reason: str


class RevocationAnswer(Message):
    """What was done about a provider and what it had touched. onset: from when its values are refused."""

    provider: str
    at: datetime
    onset: datetime
    evidence: str
    snapshots: Touched
    models: Touched
    forecasts: Touched
    energy_mwh: float

    @classmethod
    def of(cls, revocation: Revocation) -> Self:
        """The answer, its lists bounded."""
        touched = revocation.touched
        return cls(
            provider=revocation.provider,
            at=revocation.at,
            onset=revocation.onset.to_pydatetime(),
            evidence=revocation.evidence,
            snapshots=Touched.of(touched.snapshots),
            models=Touched.of(touched.models),
            forecasts=Touched.of(touched.forecasts),
            energy_mwh=touched.energy_mwh,
        )
