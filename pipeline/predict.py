"""Forecast a day: readings as known at its gate closure → the weather the model's contract allows → the model, or the
weather-free fallback when no trusted weather is left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd

from data.errors import NoTrustedWeather
from data.meters import demand_as_of
from data.provenance import ForecastRecord, record_forecast, source_list
from data.schema import DEMAND_MW, TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, VALID_AT, Utility
from data.training_set import with_forecast
from data.weather_fusion import Exclusion, exclude, known_at
from forecasting.certified import CERTIFIED_WEEKS, CertifiedForecaster
from forecasting.day_grid import LOOKBACK_DAYS, window_days
from forecasting.ensemble import EnsembleForecaster
from forecasting.forecaster import FORECAST_MW
from pipeline.database import transaction
from pipeline.errors import DayNotForecastable
from pipeline.ingest import Readings
from pipeline.publish import OpenedModel
from pipeline.station import Station
from pipeline.weather_policy import temperature_by

NO_WEATHER = "none"
LONGEST_FORECAST_GAP = 0.1
OLDEST_DEMAND = pd.Timedelta(days=2)


@dataclass(frozen=True)
class DayForecast:
    """A forecast and what it was made from. frame: see forecasting.forecaster, a certified one with its interval
    (forecasting.certified); weather: the policy, or `none`;
    sources: the providers whose forecasts of that day were used; explanation: the frame taken apart by driver [MW]
    (forecasting.explain), when it was asked for and the forecaster can.
    """

    forecast_id: str
    day: date
    gate_closure: pd.Timestamp
    model_id: str
    snapshot_id: str
    weather: str
    sources: tuple[str, ...]
    frame: pd.DataFrame
    explanation: pd.DataFrame | None = None

    def energy_mwh(self, utility: Utility) -> float:
        """Energy forecast for the whole day [MWh]."""
        return float(self.frame[FORECAST_MW].sum() * (utility.step / pd.Timedelta(hours=1)))


def forecast_day(
    readings: Readings,
    model: OpenedModel,
    fallback: OpenedModel | None,
    excluded: Mapping[str, Exclusion],
    day: date,
    *,
    explained: bool = False,
) -> DayForecast:
    """Forecast local day `day` with nothing known after its gate closure.

    excluded: providers refused at that moment, and for which times. Raises DayNotForecastable, or NoTrustedWeather when
    there is no fallback either.
    """
    utility = readings.utility
    demand = _demand_known(readings, day)
    gate = utility.gate_closure_of(day)
    index = utility.day_index(day)
    start = utility.day_index(day - timedelta(days=window_days(utility)))[0]
    nearby = readings.weather[(readings.weather[VALID_AT] >= start) & (readings.weather[VALID_AT] <= index[-1])]
    wide = known_at(nearby, gate, start, index[-1], utility.step)
    chosen, weather, sources = model, str(model.contract.policy), list[str]()
    trusted = exclude(exclude(wide, excluded), model.contract.excluded)
    try:
        told, heard = temperature_by(model.contract, trusted, utility)
        _require_forecast_weather(told.loc[index[0] :, TEMPERATURE_C], day)
        sources = [name for name in heard if trusted.loc[index[0] :, name].notna().any()]
    except NoTrustedWeather:
        if fallback is None:
            raise
        told = pd.DataFrame(index=wide.index, columns=[TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C], dtype=float)
        chosen, weather = fallback, NO_WEATHER
    known = with_forecast(demand.to_frame(DEMAND_MW), told[TEMPERATURE_C], told[TEMPERATURE_UNCERTAINTY_C])
    frame, explanation = _asked(chosen, known, day, explained=explained)
    return DayForecast(
        forecast_id=_name(chosen.model_id, day, weather, sources),
        day=day,
        gate_closure=gate,
        model_id=chosen.model_id,
        snapshot_id=chosen.snapshot_id,
        weather=weather,
        sources=tuple(sources),
        frame=frame,
        explanation=explanation,
    )


def _asked(
    chosen: OpenedModel, known: pd.DataFrame, day: date, *, explained: bool
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    if explained and isinstance(chosen.forecaster, EnsembleForecaster):
        return chosen.forecaster.predict_explained(known, day)
    if isinstance(chosen.forecaster, CertifiedForecaster):
        return chosen.forecaster.certified(known, day, CERTIFIED_WEEKS), None
    return chosen.forecaster.predict(known, day), None


def record(station: Station, utility: Utility, forecasts: list[DayForecast], requested_by: str) -> None:
    """Enter forecasts in the ledger, each made at its gate closure."""
    with transaction(station.engine) as session:
        for forecast in forecasts:
            entry = ForecastRecord(
                forecast_id=forecast.forecast_id,
                model_id=forecast.model_id,
                snapshot_id=forecast.snapshot_id,
                day=forecast.day,
                made_at=forecast.gate_closure.to_pydatetime(),
                requested_by=requested_by,
                sources=source_list(forecast.sources),
                energy_mwh=forecast.energy_mwh(utility),
            )
            record_forecast(session, entry)


def _demand_known(readings: Readings, day: date) -> pd.Series:
    """The last 52 days of demand as known at the gate closure of `day`. Raises DayNotForecastable."""
    zone = readings.utility.zone
    first = readings.demand.index[0].tz_convert(zone).date() + timedelta(days=LOOKBACK_DAYS + 2)
    last = readings.demand.index[-1].tz_convert(zone).date() + timedelta(days=1)
    refusal = DayNotForecastable(str(day), str(first), str(last))
    if not first <= day <= last:
        raise refusal
    gate = readings.utility.gate_closure_of(day)
    start = readings.utility.day_index(day - timedelta(days=window_days(readings.utility)))[0]
    demand = demand_as_of(readings.demand.loc[start:gate], gate)
    if demand.empty or gate - demand.index[-1] > OLDEST_DEMAND:
        raise refusal
    return demand


def _require_forecast_weather(temperature_c: pd.Series, day: date) -> None:
    """A day whose weather is mostly missing is not forecast from a guess at it."""
    if temperature_c.isna().mean() > LONGEST_FORECAST_GAP:
        raise NoTrustedWeather(f"no trusted weather forecast covers {day}", mend="check the providers' feeds")


def _name(model_id: str, day: date, weather: str, sources: list[str]) -> str:
    return "f-" + hashlib.sha256(f"{model_id}|{day}|{weather}|{','.join(sources)}".encode()).hexdigest()[:16]
