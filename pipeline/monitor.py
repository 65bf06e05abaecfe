"""Watch: the providers against each other, and the forecasts against what was drawn."""

from __future__ import annotations

import pandas as pd

from data.schema import VALID_AT, Utility
from data.weather_fusion import known_at, known_at_gate_closures, learn_profiles
from data.weather_trust import TrustEvent, watch
from forecasting.drift import DriftAlarm, cusum, first_alarm
from forecasting.forecaster import FORECAST_MW
from pipeline.database import transaction
from pipeline.ingest import Readings
from pipeline.provider_standings import record_events
from pipeline.station import Station, note
from pipeline.weather_policy import BASELINE


def judge_providers(readings: Readings, until: pd.Timestamp) -> list[TrustEvent]:
    """Level 3 over every local day that ended by `until`; each event rests on what came before it only."""
    utility = readings.utility
    start = readings.weather[VALID_AT].min()
    baseline_end = start + BASELINE
    today = utility.day_index(until.tz_convert(utility.zone).date())[0]
    if not baseline_end < today:  # also when there is no weather at all: NaT is never before anything
        return []
    index = pd.date_range(start, today, freq=utility.step, inclusive="left")
    known = readings.weather[readings.weather["issued_at"] <= until]
    measured = known_at(known, until, index[0], index[-1], utility.step)
    forecast = known_at_gate_closures(known, utility, index).reindex(columns=measured.columns)
    profiles = learn_profiles(measured.loc[:baseline_end], utility)
    return watch({"measured": measured, "forecast": forecast}, profiles, utility, baseline_end)


def record_judgement(station: Station, events: list[TrustEvent]) -> None:
    """Enter the events in the standings and the audit log."""
    with transaction(station.engine) as session:
        fresh = record_events(session, events)
    for event in fresh:
        note(
            station,
            actor="drift watch",
            action=f"provider.{event.to_state}",
            subject=event.provider,
            details={"reason": event.reason, "onset": event.onset.isoformat(), "statistic": event.statistic},
            at=event.at,
        )


def daily_error_percent(actual_mw: pd.Series, forecasts: pd.DataFrame, utility: Utility) -> pd.Series:
    """Signed error of each local day's energy [% of demand]; index: naive local dates."""
    paired = pd.DataFrame({"forecast": forecasts[FORECAST_MW], "actual": actual_mw.reindex(forecasts.index)}).dropna()
    day = utility.local(pd.DatetimeIndex(paired.index)).tz_localize(None).normalize()
    totals = paired.groupby(day).sum()
    return (totals["forecast"] - totals["actual"]) / totals["actual"].abs() * 100


def forecast_alarm(error_percent: pd.Series, learn_until: pd.Timestamp) -> tuple[pd.DataFrame, DriftAlarm | None]:
    """The CUSUM of forecast against actual, and its first alarm."""
    sums = cusum(error_percent, learn_until)
    return sums, first_alarm(sums, learn_until)
