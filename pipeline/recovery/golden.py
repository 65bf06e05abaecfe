"""Golden forecasts: what the fitted model answered in memory, which the bundle on disk has to answer again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import pandas as pd

from data.errors import NoTrustedWeather
from data.weather_fusion import Exclusion
from pipeline.errors import DayNotForecastable
from pipeline.ingest import Readings
from pipeline.operate import around
from pipeline.predict import forecast_day
from pipeline.publish import OpenedModel
from pipeline.recovery.served_again import last_days
from pipeline.train import Candidate

# Local day → column → values by interval [MW].
Golden = Mapping[str, Mapping[str, Sequence[float]]]

DAYS_BEFORE = 2


def golden_forecasts(readings: Readings, candidate: Candidate, excluded: Mapping[str, Exclusion]) -> Golden:
    """What the fitted model in memory answers for the last days before its training ended and the first after it."""
    as_of = pd.Timestamp(candidate.record.as_of)
    opened = OpenedModel("", candidate.snapshot.snapshot_id, candidate.fitted, candidate.contract, as_of)
    return answers_of(readings, opened, excluded, _days_around(readings, as_of))


def answers_of(readings: Readings, model: OpenedModel, excluded: Mapping[str, Exclusion], days: Sequence[date]) -> Golden:
    """What a model answers for these days; a day that cannot be forecast is left out."""
    nearby = around(readings, list(days))
    answers = {}
    for day in days:
        try:
            frame = forecast_day(nearby, model, None, excluded, day).frame
        except (DayNotForecastable, NoTrustedWeather):
            continue
        answers[str(day)] = {str(name): frame[name].tolist() for name in frame.columns}
    return answers


def _days_around(readings: Readings, as_of: pd.Timestamp) -> list[date]:
    last = last_days(readings, as_of, DAYS_BEFORE)
    return [*last, last[-1] + timedelta(days=1)]
