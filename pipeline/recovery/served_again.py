"""The last weeks served once more: by the recipe of a recovery that has seen none of them, and as they were served then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import pandas as pd

from data.errors import NoTrustedWeather
from data.schema import days_between
from data.weather_fusion import Exclusion
from forecasting.errors import TooLittleHistory
from pipeline import registry
from pipeline.database import transaction
from pipeline.errors import DayNotForecastable
from pipeline.ingest import Readings
from pipeline.operate import around
from pipeline.predict import forecast_day
from pipeline.provider_standings import exclusions_at
from pipeline.publish import OpenedModel, open_model
from pipeline.recover import backup_before, clean_past
from pipeline.station import Station
from pipeline.train import TrainingOrder, learnable, new_forecaster
from security.errors import GridwardError

BACKTEST_DAYS = 28
FEWEST_DAYS = 14


@dataclass(frozen=True)
class Served:
    """Forecasts of the same days. recipe: by the candidate's recipe; in_service: as they would have been served then."""

    recipe: pd.DataFrame
    in_service: pd.DataFrame
    days: int


def serve_again(
    station: Station, readings: Readings, order: TrainingOrder, excluded: Mapping[str, Exclusion], against: str
) -> Served | str:
    """Both sides' forecasts of the last days before the training's end, or why there are none."""
    if not against:
        return "no model is in service to be held against"
    days = last_days(readings, order.as_of, BACKTEST_DAYS)
    nearby = around(readings, days)
    try:
        recipe = _recipe(station, readings, order, excluded, readings.utility.gate_closure_of(days[0]))
    except (TooLittleHistory, NoTrustedWeather) as error:
        return f"the recipe cannot be trained without these days: {error}"
    try:
        fallback, models = _opened_fallback(station), _in_service(station, readings, days, against)
    except GridwardError as error:
        return f"the model in service cannot be opened: {error}"
    frames: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    for day, model in zip(days, models, strict=True):
        gate = readings.utility.gate_closure_of(day).to_pydatetime()
        with transaction(station.engine) as session:
            refused_then = exclusions_at(session, gate)
        try:
            was = forecast_day(nearby, model, fallback, refused_then, day).frame
            would_be = forecast_day(nearby, recipe, fallback, excluded, day).frame
        except (DayNotForecastable, NoTrustedWeather):
            continue
        frames.append((would_be, was))
    if len(frames) < FEWEST_DAYS:
        return f"only {len(frames)} of the last {BACKTEST_DAYS} days can be forecast, {FEWEST_DAYS} are needed"
    return Served(pd.concat([pair[0] for pair in frames]), pd.concat([pair[1] for pair in frames]), len(frames))


def _recipe(
    station: Station, readings: Readings, order: TrainingOrder, excluded: Mapping[str, Exclusion], as_of: pd.Timestamp
) -> OpenedModel:
    """The recipe of the recovery, trained on what was known at `as_of`; it is neither frozen nor published."""
    with transaction(station.engine) as session:
        clean = backup_before(session, excluded, as_of)
    past = clean_past(station, readings, replace(order, as_of=as_of), excluded, clean)
    training, _ = learnable(readings, past.demand_mw, past.wide, past.contract, as_of)
    fitted = new_forecaster(station.forecaster, order.seed).fit(training, readings.utility)
    return OpenedModel("recipe", "", fitted, past.contract, as_of)


def _in_service(station: Station, readings: Readings, days: Sequence[date], against: str) -> list[OpenedModel]:
    """For each day the model that was in service at its gate closure, as one trained later has seen the day's answer.

    In the place of one that is lost stands the one in service now. Raises IntegrityError when that cannot be opened.
    """
    with transaction(station.engine) as session:
        past = [e for e in registry.listing(session) if e.role == "main" and e.state != registry.CANDIDATE]
    opened = {against: open_model(station, against)}
    chosen = []
    for day in days:
        gate = readings.utility.gate_closure_of(day)
        served = [e for e in past if e.as_of <= gate]
        model_id = max(served, key=lambda e: (e.as_of, e.published_at)).model_id if served else against
        if model_id not in opened:
            opened[model_id] = _opened_or(station, model_id, opened[against])
        chosen.append(opened[model_id])
    return chosen


def _opened_or(station: Station, model_id: str, other: OpenedModel) -> OpenedModel:
    try:
        return open_model(station, model_id)
    except GridwardError:
        return other


def _opened_fallback(station: Station) -> OpenedModel | None:
    with transaction(station.engine) as session:
        model_id = registry.active_id(session, "fallback")
    return open_model(station, model_id) if model_id else None


def last_days(readings: Readings, as_of: pd.Timestamp, number: int) -> list[date]:
    """The last whole local days before `as_of`."""
    today = as_of.tz_convert(readings.utility.zone).date()
    return days_between(today - timedelta(days=number), today - timedelta(days=1))
