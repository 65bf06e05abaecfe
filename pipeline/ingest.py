"""Take readings in: verify, set aside what is refused, keep the rest. Nothing is half-ingested.

meter readings → repaired and summed → readings/demand.parquet
signed reports → levels 0 and 1      → readings/weather.parquet     refused ones → quarantine, with the reason
weather watch  → levels 1 and 2      → readings/flagged.parquet     values that are kept, and not to be trained on
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import time
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict
from sqlmodel import select

from data.errors import ReportRefused
from data.meters import MeteredDemand, aggregate
from data.quarantine import quarantine
from data.schema import ISSUED_AT, PROVIDER, VALID_AT, Utility
from data.weather_providers import UnverifiedReport, VerifiedReport, to_frame
from data.weather_trust import verify_report
from pipeline.database import transaction
from pipeline.station import Station
from security.errors import UnavailableError
from security.keyring import KeyRecord

FLAGS = "flags"


@dataclass(frozen=True)
class Readings:
    """Everything a station has taken in. demand, weather: frames of data.schema, sorted."""

    utility: Utility
    demand: pd.DataFrame
    weather: pd.DataFrame


@dataclass(frozen=True)
class Intake:
    """Reports accepted, and refused by reason."""

    accepted: int
    refused: dict[str, int]


class UtilityFile(BaseModel):
    """`readings/utility.json`: whose readings these are."""

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
    _replace({station.readings / "utility.json": lambda path: path.write_text(content.model_dump_json())})


def take_meter_readings(station: Station, readings: pd.DataFrame, utility: Utility) -> MeteredDemand:
    """Repair and sum raw meter readings, and keep the demand. Raises DataError."""
    metered = aggregate(readings, utility)
    take_demand(station, metered.demand)
    return metered


def take_demand(station: Station, demand: pd.DataFrame) -> None:
    """Keep a demand frame (data.schema) as it is."""
    station.readings.mkdir(parents=True, exist_ok=True)
    _replace({station.readings / "demand.parquet": lambda path: demand.reset_index().to_parquet(path, index=False)})


def take_reports(station: Station, reports: Iterable[UnverifiedReport]) -> Intake:
    """Verify reports one by one in the order given; keep the good ones, quarantine the others."""
    accepted: list[VerifiedReport] = []
    refused: dict[str, int] = {}
    with transaction(station.engine) as session:
        seen = _seen_digests(station)
        # Held on to, so that the session finds each key in memory instead of asking the database for every report.
        _keys = session.exec(select(KeyRecord)).all()
        for report in reports:
            try:
                verified = verify_report(session, report, seen)
            except ReportRefused as error:
                refused[error.reason] = refused.get(error.reason, 0) + 1
                quarantine(
                    session,
                    source=report.provider,
                    reason=error.reason,
                    detail=error.problem,
                    digest=hashlib.sha256(report.payload).hexdigest(),
                    received_at=report.received_at,
                )
                continue
            seen.add(verified.digest)
            accepted.append(verified)
        station.readings.mkdir(parents=True, exist_ok=True)
        digests = "\n".join(sorted(seen))
        # The weather goes first: a report cut off between the two is accepted again, which adds nothing new.
        _replace(
            _with_weather(station, to_frame(accepted))
            | {station.readings / "digests.txt": lambda draft: draft.write_text(digests)}
        )
    return Intake(len(accepted), refused)


def take_weather(station: Station, weather: pd.DataFrame) -> None:
    """Keep a weather frame (data.schema) beside what is there already."""
    station.readings.mkdir(parents=True, exist_ok=True)
    _replace(_with_weather(station, weather))


def keep_flags(station: Station, flagged: pd.DataFrame) -> None:
    """Keep which values may not be used, in place of the former: `provider`, `valid_at`, `flags` (data.trust.readings)."""
    station.readings.mkdir(parents=True, exist_ok=True)
    _replace({station.readings / "flagged.parquet": lambda draft: flagged.to_parquet(draft, index=False)})


def flagged_values(station: Station) -> pd.DataFrame:
    """What `keep_flags` kept; no row when nobody has judged yet."""
    path = station.readings / "flagged.parquet"
    return pd.read_parquet(path) if path.exists() else pd.DataFrame(columns=[PROVIDER, VALID_AT, FLAGS])


def load_readings(station: Station) -> Readings:
    """Everything taken in so far. Raises UnavailableError when nothing was."""
    try:
        facts = UtilityFile.model_validate_json((station.readings / "utility.json").read_bytes())
        demand = pd.read_parquet(station.readings / "demand.parquet").set_index("timestamp")
        weather = pd.read_parquet(station.readings / "weather.parquet")
    except FileNotFoundError as error:
        raise UnavailableError(
            "the station holds no readings", where=str(station.readings), mend="run `gridward train` first"
        ) from error
    utility = Utility(
        timezone=facts.timezone,
        step=pd.Timedelta(minutes=facts.step_minutes),
        gate_closure=facts.gate_closure,
        holidays=frozenset(pd.Timestamp(day).date() for day in facts.holidays),
        demand_delay=pd.Timedelta(minutes=facts.demand_delay_minutes),
    )
    return Readings(utility, demand, weather)


def _seen_digests(station: Station) -> set[str]:
    path = station.readings / "digests.txt"
    return set(path.read_text().split()) if path.exists() else set()


def _with_weather(station: Station, weather: pd.DataFrame) -> dict[Path, Callable[[Path], object]]:
    path = station.readings / "weather.parquet"
    if path.exists():
        weather = pd.concat([pd.read_parquet(path), weather]).sort_values([PROVIDER, VALID_AT, ISSUED_AT], ignore_index=True)
    return {path: lambda draft: weather.to_parquet(draft, index=False)}


def _replace(writers: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write every file beside its place, then rename: a reader sees old files or new ones, never a part of one."""
    drafts = {path: path.with_suffix(path.suffix + ".draft") for path in writers}
    for path, write in writers.items():
        write(drafts[path])
    for path, draft in drafts.items():
        draft.replace(path)
