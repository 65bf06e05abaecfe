"""Recover: who lied, since when, what did it touch; then train again from a clean backup and what came after it clean.

1. The provider's keys are revoked, its standing set, its values refused from the onset on.
2. The last snapshot from before the onset is restored: signature and every file verified.
3. What the meters and the other providers sent later is laid on, fused anew without the liar.
4. A multi-source model is trained on it, published, activated; the touched models are revoked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from sqlmodel import Session, col, select

from data.meters import demand_as_of
from data.provenance import BlastRadius, SnapshotRecord, blast_radius
from data.schema import DEMAND_MW
from data.snapshots import Snapshot, restore
from data.trust.standing import TrustEvent
from data.weather_fusion import exclude
from pipeline import registry
from pipeline.database import transaction
from pipeline.ingest import Readings
from pipeline.monitor import judge_providers
from pipeline.provider_standings import decisions, exclusions_at, record_decision
from pipeline.readmit import require_provider
from pipeline.station import Station, note
from pipeline.train import TrainingOrder, train_on, weather_known
from pipeline.weather_policy import draw_contract
from security.errors import KeyringError
from security.keyring import revoke_keys_of, trusted_keys


@dataclass(frozen=True)
class Revocation:
    """What was done about a provider. onset: from when its values are refused; evidence: what the weather watch says."""

    provider: str
    at: datetime
    onset: pd.Timestamp
    evidence: str
    touched: BlastRadius


def revoke_provider(
    station: Station, readings: Readings, provider: str, *, by: str, reason: str, at: datetime
) -> Revocation:
    """Revoke a provider's keys and refuse its values from the estimated onset on; answers the blast radius.

    Without a lie found, its values are refused from the safety margin before now on. Raises PipelineError for a name
    nobody delivers under.
    """
    require_provider(readings, provider)
    with transaction(station.engine) as session:
        decided = decisions(session)
    onset, evidence = estimated_onset(readings, provider, pd.Timestamp(at), decided)
    with transaction(station.engine) as session:
        try:
            revoke_keys_of(session, "provider", provider, by, reason, at)
        except KeyringError:
            # A provider read from a file signs nothing; one revoked before has no key left. Its standing still changes.
            evidence = f"{evidence}; it has no active key"
        record_decision(
            session, provider=provider, to_state="revoked", at=at, onset=onset.to_pydatetime(), by=by, reason=reason
        )
        touched = blast_radius(session, provider, onset.to_pydatetime())
    note(
        station,
        actor=by,
        action="provider.revoked",
        subject=provider,
        details={"reason": reason, "onset": onset.isoformat(), "evidence": evidence, "models": len(touched.models)},
        at=at,
    )
    return Revocation(provider, at, onset, evidence, touched)


def estimated_onset(
    readings: Readings, provider: str, at: pd.Timestamp, decided: Sequence[TrustEvent] = ()
) -> tuple[pd.Timestamp, str]:
    """Since when `provider` lies according to the watch's last accusation, `at` when there is none; and the evidence."""
    end = min(at, readings.weather["issued_at"].max())
    accused = [
        event
        for event in judge_providers(readings, end, decided)
        if event.provider == provider and event.to_state == "quarantined"
    ]
    if not accused:
        return at, "no lie found"
    last = accused[-1]
    return last.onset, f"{last.reason}, level {last.level}, statistic {last.statistic}, onset {last.onset:%Y-%m-%d}"


def retrain_clean(
    station: Station, readings: Readings, order: TrainingOrder
) -> tuple[registry.ModelRecord, Snapshot | None]:
    """Train from the last clean snapshot plus everything clean that came later; answers the model and that snapshot.

    Providers refused at `order.at` are left out from their onset on, and models that learned from them are revoked. With
    nobody refused there is nothing to restore. Of those trusted again, what they said before stays left out.
    """
    with transaction(station.engine) as session:
        excluded = exclusions_at(session, order.at)
        refused_from = {name: period.since for name, period in excluded.items() if period.until is None}
        clean = last_clean_snapshot(session, min(refused_from.values(), default=order.as_of))
    wide = exclude(weather_known(station, readings, order.as_of), excluded)
    demand = demand_as_of(readings.demand, order.as_of)
    backup = None
    if refused_from and clean is not None:
        with transaction(station.engine) as session:
            trusted = trusted_keys(session, "snapshot")
        backup = restore(station.snapshots, clean.snapshot_id, trusted)
        wide, demand = _laid_on(backup, wide, demand)
    contract = draw_contract(wide, readings.utility, order.policy, excluded)
    trained = train_on(station, readings, demand, wide, contract, order)
    _revoke_touched(station, refused_from, order)
    return trained, backup


def last_clean_snapshot(session: Session, onset: pd.Timestamp) -> SnapshotRecord | None:
    """The newest snapshot with weather in it whose moment lies before `onset`."""
    before = select(SnapshotRecord).where(SnapshotRecord.as_of <= onset.to_pydatetime(), SnapshotRecord.sources != "{}")
    return session.exec(before.order_by(col(SnapshotRecord.as_of).desc())).first()


def _revoke_touched(station: Station, refused_from: Mapping[str, pd.Timestamp], order: TrainingOrder) -> None:
    """Withdraw every model that learned from what is refused now; the active one was trained without it."""
    with transaction(station.engine) as session:
        touched = {
            snapshot_id
            for provider, onset in refused_from.items()
            for snapshot_id in blast_radius(session, provider, onset.to_pydatetime()).snapshots
        }
        revoked = registry.revoke(
            session, [entry.model_id for entry in registry.listing(session) if entry.snapshot_id in touched]
        )
    if revoked:
        details = {"models": revoked, "providers": sorted(refused_from)}
        note(station, actor=order.by, action="models.revoked", subject="main", details=details, at=order.at)


def _laid_on(backup: Snapshot, wide: pd.DataFrame, demand: pd.Series) -> tuple[pd.DataFrame, pd.Series]:
    """The backup's readings as they were, and after its end the ones in the store."""
    end = backup.readings.index[-1]
    old_wide = backup.readings.reindex(columns=wide.columns)
    old_demand = backup.training[DEMAND_MW]
    joined_wide = pd.concat([old_wide, wide.loc[wide.index > end]])
    joined_demand = pd.concat([old_demand, demand.loc[demand.index > old_demand.index[-1]]])
    return joined_wide, joined_demand
