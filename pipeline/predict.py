"""Forecast a day: readings as known at its gate closure → the weather the model's contract allows → the model, or the
weather-free fallback when no trusted weather is left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import pandas as pd
from sqlmodel import Session

from data.errors import NoTrustedWeather
from data.meters import demand_as_of
from data.provenance import ForecastRecord, record_forecast, source_list
from data.schema import DEMAND_MW, TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, VALID_AT, Utility
from data.training_set import with_forecast
from data.weather_fusion import Exclusion, exclude, known_at
from forecasting.certified import CERTIFIED_WEEKS, CertifiedForecaster
from forecasting.day_grid import LOOKBACK_DAYS, window_days
from forecasting.ensemble import EnsembleForecaster
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS
from forecasting.horizons import widening
from forecasting.member_says import MemberSays
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
    days_ahead: from the gate closure's day to this one; beyond 1, gate_closure is that of an earlier day, and the frame
    rests on the medians of the days between (forecasting.horizons).
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
    days_ahead: int = 1

    def energy_mwh(self, utility: Utility) -> float:
        """Energy forecast for the whole day [MWh]."""
        return float(self.frame[FORECAST_MW].sum() * (utility.step / pd.Timedelta(hours=1)))


@dataclass(frozen=True, eq=False)
class Drawn:
    """A forecast, what its members say, and what the model was asked with: `known` as in forecasting.forecaster."""

    forecast: DayForecast
    says: MemberSays
    known: pd.DataFrame
    model: OpenedModel


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
    drawn = draw(readings, model, fallback, excluded, day)
    return replace(drawn.forecast, explanation=explain(drawn.model, drawn.known, day)) if explained else drawn.forecast


def draw(
    readings: Readings,
    model: OpenedModel,
    fallback: OpenedModel | None,
    excluded: Mapping[str, Exclusion],
    day: date,
    *,
    first: date | None = None,
    before: Sequence[DayForecast] = (),
) -> Drawn:
    """Forecast local day `day` as `forecast_day` does, and keep what it was drawn from.

    first: the day at whose gate closure it is forecast, where that is not `day` itself; before: forecasts, made from what
    was known at that closure too, of its own day and every one up to `day`, in order: their medians stand in the place of
    demand that was not yet drawn. Raises as forecast_day.
    """
    utility = readings.utility
    first = day if first is None else first
    days_ahead = (day - first).days + 1
    demand = _demand_known(readings, first, day)
    gate = utility.gate_closure_of(first)
    index = utility.day_index(day)
    start = utility.day_index(day - timedelta(days=window_days(utility)))[0]
    if before:
        told_mw = pd.concat([made.frame[FORECAST_MW] for made in before])
        demand = pd.concat([demand, told_mw.loc[demand.index[-1] + utility.step :]])
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
    frame, says = _asked(chosen, known, day, days_ahead)
    forecast = DayForecast(
        forecast_id=_name(chosen.model_id, day, weather, sources, days_ahead),
        day=day,
        gate_closure=gate,
        model_id=chosen.model_id,
        snapshot_id=chosen.snapshot_id,
        weather=weather,
        sources=tuple(sources),
        frame=frame,
        days_ahead=days_ahead,
    )
    return Drawn(forecast, says, known, chosen)


def explain(model: OpenedModel, known: pd.DataFrame, day: date) -> pd.DataFrame | None:
    """A forecast taken apart by driver [MW] (forecasting.explain); None for a forecaster that cannot."""
    forecaster = model.forecaster
    return forecaster.predict_explained(known, day)[1] if isinstance(forecaster, EnsembleForecaster) else None


def _asked(chosen: OpenedModel, known: pd.DataFrame, day: date, days_ahead: int) -> tuple[pd.DataFrame, MemberSays]:
    forecaster = chosen.forecaster
    if isinstance(forecaster, EnsembleForecaster):
        frame, says = forecaster.predict_with_members(known, day)
    elif isinstance(forecaster, CertifiedForecaster) and days_ahead == 1:
        frame = forecaster.certified(known, day, CERTIFIED_WEEKS)
        says = MemberSays.alone(frame)
    else:
        # Nothing is certified of a day whose inputs are the model's own words.
        frame = forecaster.predict(known, day)
        says = MemberSays.alone(frame)
    if days_ahead <= 1:
        return frame, says
    says = says.widened(widening(days_ahead, weather=forecaster.needs_weather))
    return frame.assign(**dict(zip(QUANTILE_COLUMNS, says.quantiles_mw.T, strict=True))), says


def record(station: Station, utility: Utility, forecasts: list[DayForecast], requested_by: str) -> None:
    """Enter forecasts in the ledger, each made at its gate closure."""
    with transaction(station.engine) as session:
        for forecast in forecasts:
            enter(session, utility, forecast, requested_by)


def enter(session: Session, utility: Utility, forecast: DayForecast, requested_by: str) -> None:
    """Enter one forecast in the ledger; the same one is entered once."""
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


def _demand_known(readings: Readings, day: date, wanted: date) -> pd.Series:
    """The last 52 days of demand before `wanted` as known at the gate closure of `day`. Raises DayNotForecastable."""
    zone = readings.utility.zone
    first = readings.demand.index[0].tz_convert(zone).date() + timedelta(days=LOOKBACK_DAYS + 2)
    last = readings.demand.index[-1].tz_convert(zone).date() + timedelta(days=1)
    refusal = DayNotForecastable(str(day), str(first), str(last))
    if not first <= day <= last:
        raise refusal
    gate = readings.utility.gate_closure_of(day)
    start = readings.utility.day_index(wanted - timedelta(days=window_days(readings.utility)))[0]
    demand = demand_as_of(readings.demand.loc[start:gate], gate)
    if demand.empty or gate - demand.index[-1] > OLDEST_DEMAND:
        raise refusal
    return demand


def _require_forecast_weather(temperature_c: pd.Series, day: date) -> None:
    """A day whose weather is mostly missing is not forecast from a guess at it."""
    if temperature_c.isna().mean() > LONGEST_FORECAST_GAP:
        raise NoTrustedWeather(f"no trusted weather forecast covers {day}", mend="check the providers' feeds")


def _name(model_id: str, day: date, weather: str, sources: list[str], days_ahead: int) -> str:
    further = f"|{days_ahead} days ahead" if days_ahead > 1 else ""
    return "f-" + hashlib.sha256(f"{model_id}|{day}|{weather}|{','.join(sources)}{further}".encode()).hexdigest()[:16]
