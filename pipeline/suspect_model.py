"""Was this model learned from our answers? A suspect's forecasts of past days are held against every caller's watermark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sqlmodel import Session, select

from data.errors import FileRefused
from data.schema import QUANTILES, TIMESTAMP, Utility
from forecasting.day_grid import DayGrid
from forecasting.forecaster import FORECAST_MW
from pipeline.errors import PipelineError
from pipeline.serving import Serving
from pipeline.watermark import Overlap, guard_secret, recognise
from security.audit_log import AuditEntry

FEWEST_DAYS = 28
SERVED = ("forecast.served", "what_if.served")
_MEDIAN = QUANTILES.index(0.5)


@dataclass(frozen=True)
class Suspicion:
    """How much a suspect's forecasts of `days` days bear each caller's mark, the most first."""

    days: int
    overlaps: list[Overlap]


def read_suspect(path: Path) -> pd.Series:
    """A suspect's forecasts [MW] by the start of their interval, UTC. CSV with columns `timestamp`, with offset, and
    `forecast_mw`. Raises FileRefused.
    """
    try:
        frame = pd.read_csv(path, usecols=[TIMESTAMP, FORECAST_MW])
        index = pd.DatetimeIndex(pd.to_datetime(frame[TIMESTAMP], utc=True, format="ISO8601"))
        forecast = pd.Series(frame[FORECAST_MW].to_numpy(dtype=np.float64), index=index, name=FORECAST_MW).sort_index()
    except (OSError, ValueError) as error:
        raise FileRefused(f"cannot be read as forecasts: {error}", path=str(path)) from None
    if not forecast.index.is_unique or not (forecast > 0).all():
        raise FileRefused("forecasts must be above zero, one for each interval", path=str(path))
    return forecast


def callers_served(session: Session) -> list[str]:
    """Everybody who was ever answered with a forecast, by the audit log."""
    return sorted(session.exec(select(AuditEntry.actor).where(AuditEntry.action.in_(SERVED)).distinct()))  # type: ignore[attr-defined]


def held_against(serving: Serving, forecast: pd.Series, callers: Sequence[str], by: str) -> Suspicion:
    """The suspect's whole days against the station's own forecasts of them, and both against every caller's mark.

    Raises PipelineError for fewer than 28 whole days, DayNotForecastable for a day that the station cannot forecast.
    """
    utility = serving.readings.utility
    grid = DayGrid.of(pd.DatetimeIndex(forecast.index), utility)
    rows = [row for row, day in enumerate(grid.days) if _is_whole(grid, row, utility)]
    days = [grid.days[row] for row in rows]
    if len(days) < FEWEST_DAYS:
        raise PipelineError(
            f"the suspect forecasts {len(days)} whole days without a change of the clock, too few to tell",
            mend=f"give {FEWEST_DAYS} at least; a year tells most",
        )
    own_mw = np.stack([serving.prepare(day, by=by).says.quantiles_mw[:, _MEDIAN] for day in days])
    suspect_mw = grid.fold(forecast.to_numpy())[rows]
    secret = guard_secret(serving.station.chest)
    return Suspicion(len(days), recognise(suspect_mw, own_mw, days, callers, secret))


def _is_whole(grid: DayGrid, row: int, utility: Utility) -> bool:
    """Whether every interval of the day is there, each once: days on which the clock changes are left out."""
    slots = grid.slot_of_row[grid.day_of_row == row]
    regular = len(utility.day_index(grid.days[row])) == grid.slots
    return regular and len(slots) == grid.slots and len(np.unique(slots)) == grid.slots
