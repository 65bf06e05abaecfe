"""Take readings in: verify, set aside what is refused, keep the rest in the lake. Nothing is half-ingested.

meter readings → `pipeline.meter_intake`
signed reports → levels 0 and 1       → lake: weather          refused ones → quarantine, with the reason
weather watch  → levels 1 and 2       → lake: flags            values that are kept, and not to be trained on

Rows are only ever added. What is sent again adds nothing; a correction is a row that became known later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time

import pandas as pd
from pydantic import BaseModel, ConfigDict
from sqlmodel import select

from data.errors import ContractBroken, DataError, ReportRefused
from data.lake import heads
from data.lake.appending import append
from data.lake.contracts import keep_contract
from data.lake.pins import NOTHING, Pin, pin_newest, pinned
from data.lake.reading import read
from data.lake.store import LOG
from data.lake.tables import (
    DEMAND,
    FLAGGED,
    FLAGS,
    JUDGED_AT,
    KEY_ID,
    PAYLOAD_SHA256,
    SOURCE,
    TABLES,
    WEATHER,
    LakeTable,
)
from data.quarantine import quarantine
from data.schema import AVAILABLE_AT, DEMAND_MW, ISSUED_AT, PROVIDER, TEMPERATURE_C, TIMESTAMP, VALID_AT, Utility
from data.weather_providers import UnverifiedReport, VerifiedReport, to_rows
from data.weather_trust import LONGEST_LOOK_BACK, verify_report
from pipeline.database import transaction
from pipeline.station import Station
from security.errors import UnavailableError
from security.keyring import KeyRecord, trusted_keys

OWN_FILE = "file"


@dataclass(frozen=True)
class Readings:
    """Everything a station has taken in. demand, weather: frames of data.schema, sorted; pins: the version of each lake
    table they were read from, none for frames that never were in a lake.
    """

    utility: Utility
    demand: pd.DataFrame
    weather: pd.DataFrame
    pins: Mapping[str, Pin] = field(default_factory=dict)


@dataclass(frozen=True)
class Intake:
    """Reports accepted, and refused by reason."""

    accepted: int
    refused: dict[str, int]


class UtilityFile(BaseModel):
    """`lake/utility.json`: whose readings these are."""

    model_config = ConfigDict(extra="forbid")

    timezone: str
    step_minutes: int
    gate_closure: time
    holidays: list[str]
    demand_delay_minutes: int


def set_utility(station: Station, utility: Utility) -> None:
    """Write down whose demand this station forecasts."""
    content = UtilityFile(
        timezone=utility.timezone,
        step_minutes=int(utility.step / pd.Timedelta(minutes=1)),
        gate_closure=utility.gate_closure,
        holidays=sorted(day.isoformat() for day in utility.holidays),
        demand_delay_minutes=int(utility.demand_delay / pd.Timedelta(minutes=1)),
    )
    station.readings.mkdir(parents=True, exist_ok=True)
    draft = station.readings / "utility.json.draft"
    draft.write_text(content.model_dump_json())
    draft.replace(station.readings / "utility.json")


def take_demand(station: Station, demand: pd.DataFrame) -> None:
    """Keep a demand frame (data.schema) beside what is there. What is there already is not kept twice.

    Raises DataError for an interval that is told otherwise and says that it was known at the same moment.
    """
    rows = demand.rename_axis(TIMESTAMP).reset_index().drop_duplicates()
    known = demand_kept(station, rows)
    both = rows.merge(known, on=[TIMESTAMP, AVAILABLE_AT], suffixes=("", "_known"))
    other = both[(both[DEMAND_MW] != both[f"{DEMAND_MW}_known"]) & both[DEMAND_MW].notna()]
    other = pd.concat([other, rows[_keys(rows).duplicated()]])
    if len(other):
        problem = f"demand of {other[TIMESTAMP].iloc[0]} is another than what was known at the same moment"
        raise DataError(problem, where="demand", mend="give corrected readings the moment they became known")
    fresh = rows[~_keys(rows).isin(_keys(known))]
    keep_rows(station, DEMAND, fresh.assign(**{SOURCE: OWN_FILE}))


def take_reports(station: Station, reports: Iterable[UnverifiedReport]) -> Intake:
    """Verify reports one by one in the order given; keep the good ones, quarantine the others."""
    delivered = list(reports)
    accepted: list[VerifiedReport] = []
    refused: list[tuple[UnverifiedReport, ReportRefused]] = []
    seen = _seen_digests(station, delivered)
    with transaction(station.engine) as session:
        # Held on to, so that the session finds each key in memory instead of asking the database for every report.
        _keys_in_memory = session.exec(select(KeyRecord)).all()
        for report in delivered:
            try:
                verified = verify_report(session, report, seen)
            except ReportRefused as error:
                refused.append((report, error))
                continue
            seen.add(verified.digest)
            accepted.append(verified)
    # The lake first: cut off between the two, good reports that come again are replays, and bad ones are set aside then.
    try:
        keep_rows(station, WEATHER, to_rows(accepted))
    except ContractBroken:
        accepted, broken = _by_contract(delivered, accepted)
        refused += broken
        keep_rows(station, WEATHER, to_rows(accepted))
    reasons: dict[str, int] = {}
    with transaction(station.engine) as session:
        for report, refusal in refused:
            reasons[refusal.reason] = reasons.get(refusal.reason, 0) + 1
            quarantine(
                session,
                source=report.provider,
                reason=refusal.reason,
                detail=refusal.problem,
                digest=hashlib.sha256(report.payload).hexdigest(),
                received_at=report.received_at,
            )
    return Intake(len(accepted), reasons)


def _by_contract(
    delivered: list[UnverifiedReport], accepted: list[VerifiedReport]
) -> tuple[list[VerifiedReport], list[tuple[UnverifiedReport, ReportRefused]]]:
    """Reports whose values may enter the lake, and those that may not: one must not keep the others out (AML.T0029)."""
    kept, broken = [], []
    by_digest = {hashlib.sha256(report.payload).hexdigest(): report for report in delivered}
    for verified in accepted:
        try:
            keep_contract(WEATHER, to_rows([verified]))
            kept.append(verified)
        except ContractBroken as error:
            mend = "see docs/data-contract.md, the lake"
            refusal = ReportRefused(error.problem, provider=verified.provider, reason="invalid", mend=mend)
            broken.append((by_digest[verified.digest], refusal))
    return kept, broken


def take_weather(station: Station, weather: pd.DataFrame) -> None:
    """Keep a weather frame (data.schema) beside what is there already.

    Columns `key_id` and `payload_sha256` tell where each value is from; without them, nobody signed it.
    """
    unsigned = {name: "" for name in (KEY_ID, PAYLOAD_SHA256) if name not in weather.columns}
    keep_rows(station, WEATHER, weather.assign(**unsigned))


def keep_flags(station: Station, flagged: pd.DataFrame, at: datetime) -> None:
    """Keep which values may not be used, as judged at `at` (UTC), in place of the former judgement: `provider`, `valid_at`,
    `flags` (data.trust.readings).
    """
    former = _judged(station)
    was = _in_force(former).set_index([PROVIDER, VALID_AT])[FLAGS]
    now = flagged.assign(**{PROVIDER: flagged[PROVIDER].astype("str")}).set_index([PROVIDER, VALID_AT])[FLAGS]
    every = was.index.union(now.index)
    before, after = (flags.reindex(every).fillna(0).astype("int64") for flags in (was, now))
    changed = after[before != after].rename(FLAGS).reset_index()
    # The last word counts: judged again as of an earlier moment, this one is the last all the same.
    moment = pd.Timestamp(at).as_unit("us")
    if len(former):
        moment = max(moment, former[JUDGED_AT].max() + pd.Timedelta(microseconds=1))
    keep_rows(station, FLAGGED, changed.assign(**{JUDGED_AT: moment}))


def flagged_values(station: Station, pin: Pin | None = None) -> pd.DataFrame:
    """What `keep_flags` kept, at a version of the lake where one is given; no row when nobody had judged yet."""
    return _in_force(_judged(station) if pin is None else read(station.lake, FLAGGED, pin))


def load_readings(station: Station, versions: Mapping[str, int] | None = None) -> Readings:
    """Everything taken in so far, or by a version of each table, every file compared with what was signed.

    Raises UnavailableError when nothing was, LakeRefused, LakeRolledBack, or FileChanged naming the file (AML.T0020).
    """
    utility = load_utility(station)
    pins = {table.name: newest_pin(station, table) for table in TABLES}
    if versions is not None:
        pins = {table.name: _pin_at(station, table, versions.get(table.name, -1)) for table in TABLES}
    if not pins[DEMAND.name].files:
        raise _no_readings(station)
    demand = read(station.lake, DEMAND, pins[DEMAND.name])
    weather = read(station.lake, WEATHER, pins[WEATHER.name], columns=[ISSUED_AT, VALID_AT, TEMPERATURE_C])
    return Readings(utility, demand.set_index(TIMESTAMP)[[DEMAND_MW, AVAILABLE_AT]], weather, pins)


def load_utility(station: Station) -> Utility:
    """Whose readings these are. Raises UnavailableError when nobody said."""
    try:
        facts = UtilityFile.model_validate_json((station.readings / "utility.json").read_bytes())
    except FileNotFoundError as error:
        if holds_readings(station):
            problem, mend = "it is missing, and the lake holds readings", "restore it from a backup"
            raise UnavailableError(problem, where=str(station.readings / "utility.json"), mend=mend) from error
        raise _no_readings(station) from error
    return Utility(
        timezone=facts.timezone,
        step=pd.Timedelta(minutes=facts.step_minutes),
        gate_closure=facts.gate_closure,
        holidays=frozenset(pd.Timestamp(day).date() for day in facts.holidays),
        demand_delay=pd.Timedelta(minutes=facts.demand_delay_minutes),
    )


def holds_readings(station: Station) -> bool:
    """Whether anything was ever acknowledged to have been taken in, or stands in the lake's folder."""
    with transaction(station.engine) as session:
        acknowledged = any(heads.acknowledged(session, table) != heads.NEVER for table in TABLES)
    return acknowledged or any((station.readings / table.name / LOG).exists() for table in TABLES)


def _no_readings(station: Station) -> UnavailableError:
    return UnavailableError("the station holds no readings", where=str(station.readings), mend="run `gridward train` first")


def _judged(station: Station) -> pd.DataFrame:
    return read(station.lake, FLAGGED, newest_pin(station, FLAGGED))


def _in_force(judged: pd.DataFrame) -> pd.DataFrame:
    last = judged.drop_duplicates([PROVIDER, VALID_AT], keep="last")
    return last.loc[last[FLAGS] != 0, [PROVIDER, VALID_AT, FLAGS]].reset_index(drop=True)


def newest_pin(station: Station, table: LakeTable) -> Pin:
    """The newest version of a table, verified as `data.lake.pins.pin_newest` does."""
    with transaction(station.engine) as session:
        known, trusted = heads.acknowledged(session, table), trusted_keys(session, "snapshot")
    return pin_newest(station.lake, table, known, trusted)


def with_newest_flags(station: Station, readings: Readings) -> Readings:
    """The same readings, and what is known today of the values among them that may not be used."""
    if not readings.pins:
        return readings
    return replace(readings, pins={**readings.pins, FLAGGED.name: newest_pin(station, FLAGGED)})


def _pin_at(station: Station, table: LakeTable, version: int) -> Pin:
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "snapshot")
    return NOTHING if version < 0 else pinned(station.lake, table, trusted, version)


def keep_rows(station: Station, table: LakeTable, rows: pd.DataFrame) -> Pin:
    """Add rows to a table and acknowledge them. No transaction is open meanwhile: a large batch holds nobody up."""
    with transaction(station.engine) as session:
        known, trusted = heads.acknowledged(session, table), trusted_keys(session, "snapshot")
    pin = append(station.lake, table, rows, known, station.signers["snapshot"], trusted)
    with transaction(station.engine) as session:
        heads.acknowledge(session, table, pin.version, pin.files, datetime.now(UTC))
    return pin


def demand_kept(station: Station, rows: pd.DataFrame) -> pd.DataFrame:
    """What is kept of demand from the first of these rows on, in the order it became known."""
    first = rows[TIMESTAMP].min() if len(rows) else None
    return read(station.lake, DEMAND, newest_pin(station, DEMAND), since=first)


def _keys(rows: pd.DataFrame) -> pd.MultiIndex:
    """An interval, and when it was known to be so."""
    return pd.MultiIndex.from_arrays([rows[name].dt.as_unit("us") for name in (TIMESTAMP, AVAILABLE_AT)])


def _seen_digests(station: Station, delivered: list[UnverifiedReport]) -> set[str]:
    """Of the reports taken in that one of these could be again: an older one is refused for its age."""
    if not delivered:
        return set()
    oldest = min(report.received_at for report in delivered) - 2 * LONGEST_LOOK_BACK
    kept = read(station.lake, WEATHER, newest_pin(station, WEATHER), columns=[PAYLOAD_SHA256], since=pd.Timestamp(oldest))
    return set(kept[PAYLOAD_SHA256].unique())
