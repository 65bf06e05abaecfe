"""What to recover from, and what would be done."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import Field, StrictBool, StrictInt

from api.schemas.message import ONE_LINE, Day, Message, Reason, Touched
from pipeline.recovery.plan import AUTO, RecoveryPlan


class RecoveryOrder(Message):
    """The provider that lied. since: `auto`, an ISO moment (UTC without an offset) or a local date; as_of_day: use nothing
    known after this local day's gate closure; dry_run: answer the plan, change nothing.
    """

    provider: str = Field(min_length=1, max_length=100, pattern=ONE_LINE, examples=["aurora"])
    reason: Reason = Field(examples=["supply chain compromise confirmed"])
    since: str = Field(default=AUTO, min_length=1, max_length=40, pattern=ONE_LINE, examples=[AUTO, "2013-07-01"])
    as_of_day: Day | None = None
    seed: StrictInt = Field(default=1, ge=0, le=2**31 - 1)
    dry_run: StrictBool = False


class RecoveryPlanAnswer(Message):
    """The plan of a recovery; nothing was changed. clean_snapshot: what training begins with, empty for none; exposed_hours:
    hours of delivery forecast with the lie; discarded_days: local days of the provider that are left out, of heard_days.
    """

    recovery_id: str
    provider: str
    onset: datetime
    evidence: str
    refused_from: datetime
    clean_snapshot: str
    clean_snapshot_as_of: datetime | None
    as_of: datetime
    forecaster: str
    weather_policy: str
    model_in_service: str
    snapshots: Touched
    models: Touched
    forecasts: int
    energy_mwh: float
    exposed_hours: float
    heard_days: int
    discarded_days: int

    @classmethod
    def of(cls, plan: RecoveryPlan) -> Self:
        """The answer, its lists bounded."""
        same = ("recovery_id", "provider", "onset", "evidence", "refused_from", "clean_snapshot", "clean_snapshot_as_of")
        more = ("as_of", "forecaster", "weather_policy", "model_in_service")
        return cls(
            **{name: getattr(plan, name) for name in (*same, *more)},
            snapshots=Touched.of(plan.touched.snapshots),
            models=Touched.of(plan.touched.models),
            forecasts=plan.touched.forecasts,
            energy_mwh=plan.touched.energy_mwh,
            exposed_hours=plan.touched.exposed_hours,
            heard_days=plan.provider_days.heard,
            discarded_days=plan.provider_days.discarded,
        )
