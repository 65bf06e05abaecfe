"""Recover: who lied, since when, what did it touch; then train again from a clean backup and what came after it clean.

1. The provider's keys are revoked, its standing set, its values refused from the onset on.
2. The last snapshot from before the onset is restored: signature and every file verified.
3. What the meters and the other providers sent later is laid on, fused anew without the liar.
4. A multi-source model is trained on it, published, activated; the touched models are revoked.

These are the verbs; `pipeline.recovery` runs them in order, behind gates, and survives being killed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd
from sqlmodel import Session, col, select

from data.meters import demand_as_of
from data.provenance import BlastRadius, SnapshotRecord, blast_radius
from data.schema import DEMAND_MW
from data.snapshots import Snapshot, require_sources, restore
from data.trust.standing import TrustEvent
from data.weather_fusion import Exclusion, exclude
from pipeline import registry
from pipeline.database import transaction
from pipeline.ingest import Readings, with_newest_flags
from pipeline.monitor import judge_providers
from pipeline.provider_standings import decisions, exclusions_at, record_decision
from pipeline.readmit import require_provider
from pipeline.station import Station, witness
from pipeline.train import Candidate, TrainingOrder, put_in_service, train_candidate, weather_known
from pipeline.weather_policy import WeatherContract, draw_contract
from security.audit_log import append
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
        evidence = revoke_noted(session, provider, onset, evidence, by=by, reason=reason, at=at)
        touched = blast_radius(session, provider, onset.to_pydatetime())
    witness(station, at)
    return Revocation(provider, at, onset, evidence, touched)


def revoke_noted(
    session: Session, provider: str, onset: pd.Timestamp, evidence: str, *, by: str, reason: str, at: datetime
) -> str:
    """Revoke the keys, set the standing and write it to the audit log, all or nothing; answers the evidence, completed.

    `witness` the log after the commit.
    """
    try:
        revoke_keys_of(session, "provider", provider, by, reason, at)
    except KeyringError:
        # A provider read from a file signs nothing; one revoked before has no key left. Its standing still changes.
        evidence = f"{evidence}; it has no active key"
    since = onset.to_pydatetime()
    record_decision(session, provider=provider, to_state="revoked", at=at, onset=since, by=by, reason=reason)
    models = len(blast_radius(session, provider, since).models)
    details = {"reason": reason, "onset": onset.isoformat(), "evidence": evidence, "models": models}
    append(session, actor=by, action="provider.revoked", subject=provider, details=details, at=at)
    return evidence


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


def training_end(readings: Readings, at: datetime, as_of_day: date | None = None) -> pd.Timestamp:
    """The moment to train as of: everything known at `at`, or at the gate closure of local day `as_of_day`, in UTC."""
    utility = readings.utility
    latest = min(readings.demand.index[-1] + utility.step, pd.Timestamp(at))
    return pd.Timestamp(latest if as_of_day is None else min(latest, utility.gate_closure_of(as_of_day))).tz_convert("UTC")


@dataclass(frozen=True)
class CleanPast:
    """What a recovered model learns from. demand_mw, wide: as `train.train_candidate` takes them; backup: the snapshot they
    begin with, None when there is none from before the onset, or nobody to recover from.
    """

    demand_mw: pd.Series
    wide: pd.DataFrame
    contract: WeatherContract
    backup: Snapshot | None


def retrain_clean(
    station: Station, readings: Readings, order: TrainingOrder
) -> tuple[registry.ModelRecord, Snapshot | None]:
    """Train from the last clean snapshot plus everything clean that came later; answers the model and that snapshot.

    Providers refused at `order.at` are left out from their onset on, and models that learned from them are revoked. With
    nobody refused there is nothing to restore. Of those trusted again, what they said before stays left out.
    """
    readings = with_newest_flags(station, readings)
    with transaction(station.engine) as session:
        excluded = exclusions_at(session, order.at)
        clean = backup_before(session, excluded, order.as_of)
    past = clean_past(station, readings, order, excluded, clean)
    trained = put_in_service(station, train_clean(station, readings, past, order), order)
    with transaction(station.engine) as session:
        withdrawn = withdraw_touched(session, refused_from(excluded), by=order.by, at=order.at)
    if withdrawn:
        witness(station, order.at)
    return trained, past.backup


def clean_past(
    station: Station,
    readings: Readings,
    order: TrainingOrder,
    excluded: Mapping[str, Exclusion],
    clean: SnapshotRecord | None,
) -> CleanPast:
    """The snapshot `clean` as it was, then what came later by `order.as_of`, without who is excluded.

    Raises NoTrustedWeather, and for a snapshot that does not verify SignatureInvalid or ContentChanged.
    """
    wide = exclude(weather_known(station, readings, order.as_of), excluded)
    demand = demand_as_of(readings.demand, order.as_of)
    backup = None
    if clean is not None:
        with transaction(station.engine) as session:
            trusted = trusted_keys(session, "snapshot")
        backup = restore(station.snapshots, clean.snapshot_id, trusted)
        require_sources(backup, station.lake, trusted)
        wide, demand = _laid_on(backup, wide, demand)
    return CleanPast(demand, wide, draw_contract(wide, readings.utility, order.policy, excluded), backup)


def train_clean(station: Station, readings: Readings, past: CleanPast, order: TrainingOrder) -> Candidate:
    """Train on a clean past and publish, nothing is entered in the registry. Raises NoTrustedWeather, TooLittleHistory."""
    return train_candidate(station, readings, past.demand_mw, past.wide, past.contract, order)


def refused_from(excluded: Mapping[str, Exclusion]) -> dict[str, pd.Timestamp]:
    """Who is refused to this day, and from when on."""
    return {name: period.since for name, period in excluded.items() if period.until is None}


def backup_before(session: Session, excluded: Mapping[str, Exclusion], as_of: pd.Timestamp) -> SnapshotRecord | None:
    """The last clean snapshot from before anybody refused began to lie, by `as_of`; None with nobody refused."""
    since = refused_from(excluded)
    return last_clean_snapshot(session, min(*since.values(), as_of)) if since else None


def last_clean_snapshot(session: Session, onset: pd.Timestamp) -> SnapshotRecord | None:
    """The newest snapshot with weather in it whose moment lies before `onset`."""
    before = select(SnapshotRecord).where(SnapshotRecord.as_of <= onset.to_pydatetime(), SnapshotRecord.sources != "{}")
    return session.exec(before.order_by(col(SnapshotRecord.as_of).desc(), col(SnapshotRecord.snapshot_id))).first()


def withdraw_touched(session: Session, since: Mapping[str, pd.Timestamp], *, by: str, at: datetime) -> list[str]:
    """Withdraw every model that learned from what is refused now, and write it to the audit log; answers their ids.

    The active one was trained without it. `witness` the log after the commit.
    """
    touched = {
        snapshot_id
        for provider, onset in since.items()
        for snapshot_id in blast_radius(session, provider, onset.to_pydatetime()).snapshots
    }
    learned = [entry.model_id for entry in registry.listing(session) if entry.snapshot_id in touched]
    withdrawn = registry.revoke(session, learned)
    if withdrawn:
        details = {"models": withdrawn, "providers": sorted(since)}
        append(session, actor=by, action="models.revoked", subject="main", details=details, at=at)
    return withdrawn


def _laid_on(backup: Snapshot, wide: pd.DataFrame, demand: pd.Series) -> tuple[pd.DataFrame, pd.Series]:
    """The backup's readings as they were, and after its end the ones in the store."""
    end = backup.readings.index[-1]
    old_wide = backup.readings.reindex(columns=wide.columns)
    old_demand = backup.training[DEMAND_MW]
    joined_wide = pd.concat([old_wide, wide.loc[wide.index > end]])
    joined_demand = pd.concat([old_demand, demand.loc[demand.index > old_demand.index[-1]]])
    return joined_wide, joined_demand
