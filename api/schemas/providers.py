"""Weather providers and their standing."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import Field

from api.schemas.message import LONGEST_LIST, Message, Reason, Touched
from pipeline.provider_detail import ProviderDetail
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


class EvidenceAnswer(Message):
    """A change of standing and what it rests on. level: of the check, 0 for a person's decision; statistic: its evidence;
    onset: since when the values are not to be used.
    """

    at: datetime
    from_state: str
    to_state: str
    by: str
    level: int
    statistic: float
    reason: str
    onset: datetime


class ProviderKeyAnswer(Message):
    """A public key of a provider. state: active or revoked."""

    key_id: str
    state: str
    created_at: datetime
    changed_at: datetime
    changed_by: str
    reason: str


class TouchedAnswer(Message):
    """What a provider's values went into from a moment on."""

    since: datetime
    snapshots: Touched
    models: Touched
    forecasts: Touched
    energy_mwh: float


class ProviderDetailAnswer(Message):
    """A provider and all that speaks for and against it. evidence: the last thing the weather watch found; history: oldest
    first; flagged: values that may not be used; touched: null while it is believed and no `since` is asked for.
    """

    provider: ProviderAnswer
    evidence: EvidenceAnswer | None
    history: list[EvidenceAnswer]
    keys: list[ProviderKeyAnswer]
    flagged: int
    touched: TouchedAnswer | None

    @classmethod
    def of(cls, detail: ProviderDetail) -> Self:
        """The answer, its lists bounded."""
        touched = detail.touched
        return cls(
            provider=ProviderAnswer.model_validate(detail.view),
            evidence=None if detail.evidence is None else EvidenceAnswer.model_validate(detail.evidence),
            history=[EvidenceAnswer.model_validate(event) for event in detail.history[-LONGEST_LIST:]],
            keys=[ProviderKeyAnswer.model_validate(key) for key in detail.keys[-LONGEST_LIST:]],
            flagged=detail.flagged,
            touched=None
            if touched is None
            else TouchedAnswer(
                since=touched.since,
                snapshots=Touched.of(touched.snapshots),
                models=Touched.of(touched.models),
                forecasts=Touched.of(touched.forecasts),
                energy_mwh=touched.energy_mwh,
            ),
        )


class StandingOrder(Message):
    """Why a provider's standing is changed; it stands in the audit log."""

    reason: Reason = Field(examples=["values drift from the others since June"])


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
