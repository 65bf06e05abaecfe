"""The restore drill: bring the newest backup back in a temporary folder and make that station forecast, by the clock.

What it opens is a copy with keys of its own, gone afterwards; the backups and the station are not touched.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr
from sqlmodel import col, select

from data.errors import NoTrustedWeather
from data.provenance import SnapshotRecord
from data.snapshots import require_sources
from data.snapshots import restore as open_snapshot
from pipeline.backup.chain import Backup
from pipeline.backup.contents import DATABASE, check_database
from pipeline.backup.restore import bring_back
from pipeline.backup.verify import Trust
from pipeline.backup.witness import recorded
from pipeline.database import transaction
from pipeline.errors import DayNotForecastable
from pipeline.found_again import refound
from pipeline.predict import DayForecast
from pipeline.serving import Serving
from pipeline.settings import Settings
from pipeline.station import Station, open_station, protection_in
from security.audit_check import verify_log
from security.audit_heads import read_heads
from security.keyring import trusted_keys

DRILLED = "backup.drilled"
# The newest day may be one whose weather forecast had not come yet.
DAYS_TRIED = 8

Result = TypeVar("Result")


@dataclass(frozen=True)
class Drill:
    """What came back, and how long it took. seconds: by stage, in order; their sum is the time to recover."""

    backup: Backup
    seconds: dict[str, float]
    audit_entries: int
    snapshots: int
    forecast: DayForecast

    @property
    def seconds_to_recover(self) -> float:
        """From the order to the first forecast."""
        return sum(self.seconds.values())


def drill(root: Path, trust: Trust, settings: Settings, *, sequence: int | None, by: str) -> Drill:
    """Restore, check database, audit log and snapshots, load the active model, forecast a day. Raises what does not hold."""
    with (
        recorded(trust.station, DRILLED, root, by) as details,
        tempfile.TemporaryDirectory(prefix="gridward-drill-") as folder,
    ):
        home, seconds = Path(folder) / "station", dict[str, float]()

        def timed(stage: str, work: Callable[[], Result]) -> Result:
            begun = time.perf_counter()
            result = work()
            seconds[stage] = time.perf_counter() - begun
            return result

        protection = protection_in(settings)
        restored = timed("restore", lambda: bring_back(root, home, trust, protection, sequence=sequence, by=by))
        timed("database", lambda: check_database(home / DATABASE))
        copy = settings.model_copy(
            update={"home": home, "database_url": SecretStr(""), "lake_url": "", "audit_witness": None}
        )
        station = timed("open", lambda: open_station(copy))
        try:
            entries = timed("audit log", lambda: _audit_entries(station))
            snapshots = timed("snapshots", lambda: _open_snapshots(station))
            # The copy has keys of its own, and an old backup's releases have run out: in the copy they are founded again.
            timed("releases", lambda: refound(station, by=by, reason="restore drill", at=datetime.now(UTC)))
            forecast = timed("model and forecast", lambda: _forecast(station, by))
        finally:
            station.engine.dispose()
        details |= {"sequence": restored.backup.sequence, "seconds": round(sum(seconds.values()), 3)}
        return Drill(restored.backup, seconds, entries, snapshots, forecast)


def _audit_entries(station: Station) -> int:
    with transaction(station.engine) as session:
        heads = read_heads(station.audit_heads, trusted_keys(session, "audit")) if station.audit_heads.exists() else []
        return verify_log(session, heads)


def _open_snapshots(station: Station) -> int:
    with transaction(station.engine) as session:
        by_age = select(SnapshotRecord).order_by(col(SnapshotRecord.as_of))
        ids = [record.snapshot_id for record in session.exec(by_age)]
        trusted = trusted_keys(session, "snapshot")
    opened = [open_snapshot(station.snapshots, snapshot_id, trusted) for snapshot_id in ids]
    # The lake only grows: what the newest was made from holds what the older ones were.
    for newest in opened[-1:]:
        require_sources(newest, station.lake, trusted)
    return len(ids)


def _forecast(station: Station, by: str) -> DayForecast:
    """Of the last day that can be forecast from what came back."""
    serving = Serving(station)
    utility = serving.readings.utility
    last = serving.readings.demand.index[-1].tz_convert(utility.zone).date() + timedelta(days=1)
    return _first_that_can_be_forecast(serving, [last - timedelta(days=back) for back in range(DAYS_TRIED)], by)


def _first_that_can_be_forecast(serving: Serving, days: list[date], by: str) -> DayForecast:
    """By the main model if it can, which is what is to be tried; by the fallback where no day has its weather."""
    answered = []
    for day in days[:-1]:
        try:
            answered.append(serving.forecast(day, by))
        except (DayNotForecastable, NoTrustedWeather):
            continue
        if answered[-1].model_id == serving.active_model_id:
            return answered[-1]
    return answered[0] if answered else serving.forecast(days[-1], by)
