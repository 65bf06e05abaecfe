"""Recover: plan → revoke → train → judge → promote → finish. Killed at any point and run again, it ends in the same state.

Each step is done, noted in the audit log and entered in the journal in one transaction; what a step writes to disk before
that has a name made from its content, so that doing it again leaves the same. Every decision is dated by the plan.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from sqlmodel import Session

from data.provenance import SnapshotRecord
from pipeline import registry
from pipeline.attest import GateResult
from pipeline.database import transaction
from pipeline.errors import GateFailed, ModelWaits, RecoveryRunning
from pipeline.incidents import raise_incident
from pipeline.ingest import Readings, load_readings
from pipeline.plain_words import without_folders
from pipeline.promotion import activate_noted, promote_unattended, publish_release
from pipeline.provider_standings import SAFETY_MARGIN, exclusions_at, standings_at
from pipeline.publish import attest_judged
from pipeline.recover import clean_past, refused_from, revoke_noted, train_clean, withdraw_touched
from pipeline.recovery import journal
from pipeline.recovery.gates import gates_to_json, judge
from pipeline.recovery.golden import golden_forecasts
from pipeline.recovery.journal import RecoveryRecord
from pipeline.recovery.plan import RecoveryPlan, RecoveryRequest, draw_plan, recovery_id
from pipeline.recovery.report import RecoveryReport, report_of, write_report
from pipeline.serving import Clock, wall_clock
from pipeline.station import Station, catch_up, witness
from security.audit_log import append
from security.errors import GridwardError, IntegrityError
from security.keyring import key_state

Told = Callable[[str], None]


@dataclass(frozen=True)
class _Work:
    """What every step works on."""

    station: Station
    readings: Readings
    plan: RecoveryPlan
    clock: Clock

    def note(self, session: Session, action: str, details: Mapping[str, object]) -> None:
        """Write an act of the recovery itself to the audit log, in the caller's transaction."""
        append(session, actor=self.plan.by, action=action, subject=self.plan.recovery_id, details=details, at=self.clock())

    def alarm(self, session: Session, kind: str, summary: str) -> None:
        """Raise an incident about the provider, in the caller's transaction."""
        facts = {"recovery": self.plan.recovery_id, "model_in_service": self.plan.model_in_service}
        told = without_folders(self.station, summary)
        raise_incident(session, kind, self.plan.provider, told, facts, self.clock())


def recover(
    station: Station,
    readings: Readings,
    request: RecoveryRequest,
    *,
    clock: Clock = wall_clock,
    reached: Told = lambda _state: None,
) -> RecoveryReport:
    """Recover from a provider that lies, or go on with the recovery that was begun for it; answers the report.

    reached: called with each state once it is committed. A recovery that was finished over the same readings changes nothing
    and answers its report. Raises GateFailed, RecoveryRunning, RecoveryUnfinished, PipelineError as `draw_plan`, and as
    training does.
    """
    with _alone(station):
        record = _begun(station, readings, request, clock, reached)
        plan = RecoveryPlan.from_json(record.plan)
        work = _Work(station, _as_planned(station, readings, plan), plan, clock)
        catch_up(station, clock())
        try:
            while record.outcome == journal.UNFINISHED:
                record = _STEPS[record.state](work, record)
                witness(station, clock())
                reached(record.state)
        except GridwardError as error:
            _fail(work, error)
            raise
        report = report_of(record)
        write_report(station, report)
    if report.outcome == journal.REFUSED:
        failed = [f"{gate.name}: {gate.why}" for gate in report.gates if gate.verdict == "failed"]
        raise GateFailed(report.plan.recovery_id, failed)
    return report


def preview(station: Station, readings: Readings, request: RecoveryRequest, at: datetime) -> RecoveryPlan:
    """The plan that `recover` would carry out, or go on with, or has carried out; changes nothing.

    Raises RecoveryUnfinished, PipelineError as `draw_plan`.
    """
    with transaction(station.engine) as session:
        record = journal.require_none_else(session, request.identity(station.forecaster))
        record = record or session.get(RecoveryRecord, recovery_id(session, station, readings, request, at))
    return draw_plan(station, readings, request, at) if record is None else RecoveryPlan.from_json(record.plan)


@contextmanager
def _alone(station: Station) -> Iterator[None]:
    """One recovery of a station at a time; the system lets go of the lock when the process ends, however it ends."""
    with (station.home / "recovery.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecoveryRunning(str(station.home)) from None
        yield


def _as_planned(station: Station, readings: Readings, plan: RecoveryPlan) -> Readings:
    """What the plan was drawn up over: readings that came in since a kill are not learned."""
    if {table: pin.version for table, pin in readings.pins.items()} == plan.lake:
        return readings
    return load_readings(station, plan.lake)


def _begun(station: Station, readings: Readings, request: RecoveryRequest, clock: Clock, reached: Told) -> RecoveryRecord:
    """The row of the journal to go on with: unfinished, or over already, or new."""
    asked = request.identity(station.forecaster)
    with transaction(station.engine) as session:
        record = journal.require_none_else(session, asked)
    if record is not None:
        return record
    began, at = time.perf_counter(), clock()
    with transaction(station.engine) as session:
        record = session.get(RecoveryRecord, recovery_id(session, station, readings, request, at))
        if record is not None:
            return _taken_up(session, record)
    plan = draw_plan(station, readings, request, at)
    work = _Work(station, readings, plan, clock)
    with transaction(station.engine) as session:
        record = RecoveryRecord(
            recovery_id=plan.recovery_id,
            provider=plan.provider,
            asked=asked,
            state=journal.PLANNED,
            outcome=journal.UNFINISHED,
            plan=plan.to_json(),
            seconds=json.dumps({journal.PLANNED: round(_since(began), 3)}),
            started_at=at,
        )
        journal.begin(session, record)
        work.note(session, "recovery.planned", {"provider": plan.provider, "onset": plan.onset.isoformat()})
    witness(station, at)
    reached(record.state)
    return record


def _taken_up(session: Session, record: RecoveryRecord) -> RecoveryRecord:
    """One that failed is tried again from where it stood; one that was refused, once another model is in service."""
    if record.outcome == journal.FAILED:
        return journal.reopen(session, record.recovery_id, record.state)
    if record.outcome == journal.REFUSED and registry.active_id(session) != record.judged_against:
        return journal.reopen(session, record.recovery_id, journal.TRAINED)
    return record


def _revoke(work: _Work, record: RecoveryRecord) -> RecoveryRecord:
    """The provider's keys, its standing, its values from the margin before the onset on."""
    began, plan = time.perf_counter(), work.plan
    with transaction(work.station.engine) as session:
        standing = standings_at(session, plan.at).get(plan.provider)
        known = exclusions_at(session, plan.at).get(plan.provider)
        since = pd.Timestamp(plan.refused_from)
        active = key_state(session, "provider", plan.provider) == "active"
        if standing is None or standing.to_state != "revoked" or known is None or known.since > since or active:
            onset = since + SAFETY_MARGIN
            revoke_noted(session, plan.provider, onset, plan.evidence, by=plan.by, reason=plan.reason, at=plan.at)
        return journal.advance(session, record.recovery_id, (journal.PLANNED, journal.REVOKED), _since(began))


def _train(work: _Work, record: RecoveryRecord) -> RecoveryRecord:
    """A candidate from the clean past, sealed on disk, entered in the registry, not in service."""
    began, station, plan = time.perf_counter(), work.station, work.plan
    with transaction(station.engine) as session:
        excluded = exclusions_at(session, plan.at)
        clean = session.get(SnapshotRecord, plan.clean_snapshot) if plan.clean_snapshot else None
    past = clean_past(station, work.readings, plan.order, excluded, clean)
    candidate = train_clean(station, work.readings, past, plan.order)
    golden = golden_forecasts(work.readings, candidate, excluded)
    with transaction(station.engine) as session:
        registry.enter(session, candidate.record)
        step = (journal.REVOKED, journal.TRAINED)
        found = {"model_id": candidate.record.model_id, "golden": json.dumps(golden)}
        return journal.advance(session, record.recovery_id, step, _since(began), **found)


def _judge(work: _Work, record: RecoveryRecord) -> RecoveryRecord:
    """The gates; one that fails ends the recovery here, and the model in service stays."""
    began = time.perf_counter()
    gates, against = judge(work.station, work.readings, work.plan, record.model_id, json.loads(record.golden))
    failed = [gate.name for gate in gates if gate.verdict == "failed"]
    # Also of one that failed, so that no operator is led to approve it; one that does not open cannot be approved at all.
    with suppress(IntegrityError):
        attest_judged(work.station, record.model_id, [GateResult(g.name, g.verdict, g.why) for g in gates])
    found = {"gates": gates_to_json(gates), "judged_against": against}
    with transaction(work.station.engine) as session:
        step = (journal.TRAINED, journal.JUDGED)
        judged = journal.advance(session, record.recovery_id, step, _since(began), **found)
        work.note(session, "recovery.judged", {"model": record.model_id, "failed": failed})
        if failed:
            work.alarm(session, "recovery-refused", f"the recovered model did not pass: {', '.join(failed)}")
        return journal.close(session, record.recovery_id, journal.REFUSED, work.clock()) if failed else judged


def _promote(work: _Work, record: RecoveryRecord) -> RecoveryRecord:
    """Into service, unless another model came into service since the gates: then they are asked again.

    Where operators decide, the recovery ends here and goes on once they did (ModelWaits).
    """
    began, plan, station = time.perf_counter(), work.plan, work.station
    with transaction(station.engine) as session:
        in_service = registry.active_id(session)
        if in_service not in (record.judged_against, record.model_id):
            return journal.advance(session, record.recovery_id, (journal.JUDGED, journal.TRAINED), _since(began))
    if in_service != record.model_id and not promote_unattended(station, record.model_id, by=plan.by, at=work.clock()):
        publish_release(station, record.model_id)
    with transaction(station.engine) as session:
        if registry.active_id(session) != record.model_id:
            activate_noted(session, record.model_id, by=plan.by, at=work.clock())
        return journal.advance(session, record.recovery_id, (journal.JUDGED, journal.PROMOTED), _since(began))


def _finish(work: _Work, record: RecoveryRecord) -> RecoveryRecord:
    """Whatever learned from the lie is withdrawn."""
    began, now = time.perf_counter(), work.clock()
    with transaction(work.station.engine) as session:
        since = refused_from(exclusions_at(session, work.plan.at))
        withdrawn = withdraw_touched(session, since, by=work.plan.by, at=now)
        step = (journal.PROMOTED, journal.FINISHED)
        journal.advance(session, record.recovery_id, step, _since(began), withdrawn=json.dumps(withdrawn))
        work.note(session, "recovery.done", {"model": record.model_id, "withdrawn": len(withdrawn)})
        return journal.close(session, record.recovery_id, journal.DONE, now)


_STEPS: Mapping[str, Callable[[_Work, RecoveryRecord], RecoveryRecord]] = {
    journal.PLANNED: _revoke,
    journal.REVOKED: _train,
    journal.TRAINED: _judge,
    journal.JUDGED: _promote,
    journal.PROMOTED: _finish,
}


def _fail(work: _Work, error: GridwardError) -> None:
    with transaction(work.station.engine) as session:
        record = session.get_one(RecoveryRecord, work.plan.recovery_id)
        if record.outcome != journal.UNFINISHED:
            return
        journal.close(session, work.plan.recovery_id, journal.FAILED, work.clock(), str(error))
        work.note(session, "recovery.failed", {"why": str(error)})
        if not isinstance(error, ModelWaits):
            work.alarm(session, "recovery-failed", str(error))
    witness(work.station, work.clock())
    write_report(work.station, report_of(record))


def _since(began: float) -> float:
    return time.perf_counter() - began
