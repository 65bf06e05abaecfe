"""What a recovery is going to do, drawn up before anything is changed: the same plan is carried to its end, or seen dry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

import pandas as pd
from pydantic import AfterValidator, TypeAdapter
from sqlmodel import Session

from data.provenance import blast_radius, exposed_hours
from data.schema import AVAILABLE_AT, ISSUED_AT, PROVIDER, VALID_AT, Utility
from data.weather_fusion import Exclusion
from pipeline import registry
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.ingest import Readings
from pipeline.provider_standings import SAFETY_MARGIN, all_events, decisions, exclusions_at
from pipeline.readmit import require_provider
from pipeline.recover import backup_before, estimated_onset, training_end
from pipeline.station import Station
from pipeline.train import TrainingOrder
from pipeline.weather_policy import WeatherPolicy

AUTO = "auto"
# As read from the journal, in the UTC that pandas takes for its own.
Moment = Annotated[datetime, AfterValidator(lambda moment: moment.astimezone(UTC))]


@dataclass(frozen=True)
class RecoveryRequest:
    """What is asked for. since: `auto`, an ISO moment (UTC without an offset) or an ISO date (midnight of the utility's
    clock); as_of_day: nothing known after this local day's gate closure is used, None for everything known.
    """

    provider: str
    by: str
    reason: str
    since: str = AUTO
    as_of_day: date | None = None
    seed: int = 1

    def identity(self, forecaster: str) -> str:
        """What makes two requests the same one; who asks, and in which words, does not."""
        return f"{self.provider}|{self.since}|{self.as_of_day or ''}|{self.seed}|{forecaster}"


@dataclass(frozen=True)
class Touched:
    """The blast radius since the onset. exposed_hours: hours of delivery that were forecast with it."""

    snapshots: tuple[str, ...]
    models: tuple[str, ...]
    forecasts: int
    energy_mwh: float
    exposed_hours: float


@dataclass(frozen=True)
class DiscardedDays:
    """Local days on which a provider was heard. heard: of all providers; discarded: of the one refused, from `refused_from`
    on; before_onset: those of them that are the price of the safety margin.
    """

    heard: int
    discarded: int
    before_onset: int


@dataclass(frozen=True)
class RecoveryPlan:
    """Every decision of a recovery; moments in UTC.

    at: when it was drawn up, and the moment of every decision in it; onset: since when the provider lies; refused_from: the
    safety margin before; clean_snapshot: what training begins with, empty for none; as_of: nothing known later is learned;
    model_in_service: at the time of planning, empty for none; lake: the version of each table whose readings are learned,
    none for readings that never were in a lake.
    """

    recovery_id: str
    provider: str
    since: str
    at: Moment
    by: str
    reason: str
    onset: Moment
    evidence: str
    refused_from: Moment
    clean_snapshot: str
    clean_snapshot_as_of: Moment | None
    as_of: Moment
    seed: int
    forecaster: str
    weather_policy: str
    model_in_service: str
    touched: Touched
    provider_days: DiscardedDays
    lake: Mapping[str, int]

    @property
    def order(self) -> TrainingOrder:
        """The training that the plan orders."""
        policy = WeatherPolicy.parse(self.weather_policy)
        return TrainingOrder(policy, pd.Timestamp(self.as_of), self.at, f"recovery {self.recovery_id}", self.seed)

    def to_json(self) -> str:
        """As the journal keeps it."""
        return _PLAN.dump_json(self).decode()

    def to_json_object(self) -> dict[str, Any]:
        """The same, as it stands inside another document."""
        content: dict[str, Any] = _PLAN.dump_python(self, mode="json")
        return content

    @staticmethod
    def from_json(text: str) -> RecoveryPlan:
        """As it was written by `to_json`."""
        return _PLAN.validate_json(text)


_PLAN = TypeAdapter(RecoveryPlan)


def recovery_id(session: Session, station: Station, readings: Readings, request: RecoveryRequest, at: datetime) -> str:
    """The name of a recovery: the same request over the same readings has the same, at whatever moment it is made.

    A provider that came back in between makes it another one.
    """
    as_of = training_end(readings, at, request.as_of_day)
    known = ((readings.weather[ISSUED_AT] <= as_of).sum(), (readings.demand[AVAILABLE_AT] <= as_of).sum())
    back = sum(e.to_state == "probation" and e.provider == request.provider for e in all_events(session))
    identity = f"{request.identity(station.forecaster)}|{as_of.isoformat()}|{known[0]}|{known[1]}|{back}"
    return f"r-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def draw_plan(station: Station, readings: Readings, request: RecoveryRequest, at: datetime) -> RecoveryPlan:
    """Draw up the plan of a recovery; changes nothing.

    Raises PipelineError for a provider nobody knows, or an onset that is no moment, lies in the future or before the first
    reading.
    """
    require_provider(readings, request.provider)
    with transaction(station.engine) as session:
        decided = decisions(session)
        excluded = exclusions_at(session, at)
    if request.since == AUTO:
        onset, evidence = estimated_onset(readings, request.provider, pd.Timestamp(at), decided)
    else:
        onset, evidence = moment_of(request.since, readings, at), "given by the operator"
    since = onset - SAFETY_MARGIN
    standing = excluded.get(request.provider)
    if standing is not None and standing.since < since:
        since, evidence = standing.since, f"{evidence}; refused since {standing.since:%Y-%m-%d} already"
    as_of = training_end(readings, at, request.as_of_day)
    with transaction(station.engine) as session:
        clean = backup_before(session, {**excluded, request.provider: Exclusion(since)}, as_of)
        radius = blast_radius(session, request.provider, onset.to_pydatetime())
        hours = exposed_hours(session, radius, readings.utility)
        in_service = registry.active_id(session)
        name = recovery_id(session, station, readings, request, at)
    return RecoveryPlan(
        recovery_id=name,
        provider=request.provider,
        since=request.since,
        at=at.astimezone(UTC),
        by=request.by,
        reason=request.reason,
        onset=onset.to_pydatetime(),
        evidence=evidence,
        refused_from=since.to_pydatetime(),
        clean_snapshot="" if clean is None else clean.snapshot_id,
        clean_snapshot_as_of=None if clean is None else clean.as_of,
        as_of=as_of.to_pydatetime(),
        seed=request.seed,
        forecaster=station.forecaster,
        weather_policy=str(WeatherPolicy()),
        model_in_service=in_service,
        touched=Touched(radius.snapshots, radius.models, len(radius.forecasts), radius.energy_mwh, hours),
        provider_days=discarded_days(readings, request.provider, since, onset, as_of),
        lake={table: pin.version for table, pin in readings.pins.items()},
    )


def moment_of(since: str, readings: Readings, at: datetime) -> pd.Timestamp:
    """The moment that `--since` names (UTC). Raises PipelineError for none, the future, or before the first reading."""
    moment = _parsed(since, readings.utility)
    first = readings.weather[VALID_AT].min()
    if moment > pd.Timestamp(at):
        mend = f"give a moment before {at:%Y-%m-%d %H:%M} UTC"
        raise PipelineError(f"{since} lies in the future", where="--since", mend=mend)
    if moment < first:
        mend = f"give a moment from {first:%Y-%m-%d %H:%M} UTC on"
        raise PipelineError(f"{since} lies before the first reading", where="--since", mend=mend)
    return moment


def discarded_days(
    readings: Readings, provider: str, since: pd.Timestamp, onset: pd.Timestamp, as_of: pd.Timestamp
) -> DiscardedDays:
    """What refusing `provider` from `since` on costs, of what was heard of the past by `as_of`."""
    weather = readings.weather
    known = weather.loc[(weather[VALID_AT] < as_of) & (weather[ISSUED_AT] <= as_of), [PROVIDER, VALID_AT]]
    days = known.assign(day=readings.utility.local(pd.DatetimeIndex(known[VALID_AT])).normalize())
    heard = days[[PROVIDER, "day"]].drop_duplicates()
    refused = days[(days[PROVIDER] == provider) & (days[VALID_AT] >= since)]
    before = refused[refused[VALID_AT] < onset]
    return DiscardedDays(len(heard), int(refused["day"].nunique()), int(before["day"].nunique()))


def _parsed(since: str, utility: Utility) -> pd.Timestamp:
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise PipelineError(
            f"{since!r} is no moment", where="--since", mend="give auto, 2024-03-01 or 2024-03-01T12:00+00:00"
        ) from None
    if len(since) == len("2024-03-01") and moment.time() == time():
        return utility.day_index(moment.date())[0]
    return pd.Timestamp(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).tz_convert("UTC")
