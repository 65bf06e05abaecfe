"""Operations as the utility runs them: retrain at the start of each month, forecast every day, look at yesterday's miss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import pandas as pd

from data.schema import DEMAND_MW, VALID_AT, days_between
from forecasting.day_grid import window_days
from pipeline import registry
from pipeline.database import transaction
from pipeline.ingest import Readings
from pipeline.predict import DayForecast, forecast_day, record
from pipeline.provider_standings import exclusions_at
from pipeline.publish import OpenedModel, open_model
from pipeline.station import Station
from pipeline.train import TrainingOrder, train
from pipeline.weather_policy import WeatherPolicy


@dataclass
class Operation:
    """What came of it: every day's forecast, in order."""

    forecasts: list[DayForecast] = field(default_factory=list)

    def frame(self) -> pd.DataFrame:
        """All forecasts under each other, indexed by interval."""
        return pd.concat([forecast.frame for forecast in self.forecasts])


def operate(
    station: Station,
    readings: Readings,
    policy: WeatherPolicy,
    period: tuple[date, date],
    *,
    seed: int = 1,
    trained: registry.ModelRecord | None = None,
    stop: Callable[[Operation, date], bool] | None = None,
    month_done: Callable[[], None] | None = None,
) -> Operation:
    """Run every local day of `period`, first and last included, retraining at its first day and at the start of each month.

    trained: a model to begin with instead of training on the first day. stop: asked before each day, with what came before;
    True ends the operation. Everything a day uses was known at its gate closure.
    """
    operation = Operation()
    first, last = period
    fallback = _fallback(station)
    model = open_model(station, trained.model_id) if trained is not None else None
    for month_first, days in _months(first, last):
        if model is None or month_first != first:
            as_of = readings.utility.gate_closure_of(month_first)
            order = TrainingOrder(policy=policy, as_of=as_of, at=as_of.to_pydatetime(), by="monthly schedule", seed=seed)
            model = open_model(station, train(station, readings, order).model_id)
        made = len(operation.forecasts)
        stopped = not _run_days(station, around(readings, days), model, fallback, days, operation, stop)
        record(station, readings.utility, operation.forecasts[made:], "daily schedule")
        if month_done is not None:
            month_done()
        if stopped:
            break
    return operation


def known_demand(readings: Readings) -> pd.Series:
    """Demand as finally measured [MW]: what forecasts are scored against."""
    final: pd.Series = readings.demand.loc[~readings.demand.index.duplicated(keep="last"), DEMAND_MW]
    return final


def _run_days(
    station: Station,
    readings: Readings,
    model: OpenedModel,
    fallback: OpenedModel | None,
    days: list[date],
    operation: Operation,
    stop: Callable[[Operation, date], bool] | None,
) -> bool:
    for day in days:
        if stop is not None and stop(operation, day):
            return False
        gate = readings.utility.gate_closure_of(day).to_pydatetime()
        with transaction(station.engine) as session:
            refused = exclusions_at(session, gate)
        operation.forecasts.append(forecast_day(readings, model, fallback, refused, day))
    return True


def around(readings: Readings, days: list[date]) -> Readings:
    """The readings that forecasts of these local days can need: a tenth of the rows to search each day."""
    start = readings.utility.day_index(days[0] - timedelta(days=window_days(readings.utility) + 1))[0]
    end = readings.utility.day_index(days[-1])[-1]
    nearby = readings.weather[(readings.weather[VALID_AT] >= start) & (readings.weather[VALID_AT] <= end)]
    return replace(readings, weather=nearby)


def _months(first: date, last: date) -> Iterator[tuple[date, list[date]]]:
    days = days_between(first, last)
    while days:
        head = days[0]
        month = [day for day in days if (day.year, day.month) == (head.year, head.month)]
        yield head, month
        days = days_between(month[-1] + timedelta(days=1), last) if month[-1] < last else []


def _fallback(station: Station) -> OpenedModel | None:
    with transaction(station.engine) as session:
        published = [entry for entry in registry.listing(session) if entry.role == "fallback"]
    in_service = [entry.model_id for entry in published if entry.state == registry.ACTIVE]
    return open_model(station, in_service[0]) if in_service else None
