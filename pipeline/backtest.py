"""Backtest: forecast every day of a period as it would have been, with monthly refits, and score it.

No station, no keys: files in, predictions out. Nothing is known to a forecast but what had been issued by its gate closure;
a weather source without any forecasts in it is taken as perfect foresight, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from data.meters import demand_as_of
from data.schema import (
    DEMAND_MW,
    ISSUED_AT,
    PROVIDER,
    TEMPERATURE_C,
    TIMESTAMP,
    VALID_AT,
    Utility,
    days_between,
    providers_of,
)
from data.training_set import assemble, with_forecast
from data.weather_fusion import Profiles, fuse, known_at, learn_profiles
from forecasting.baselines import SeasonalNaive
from forecasting.errors import TooLittleHistory
from forecasting.features import LOOKBACK_DAYS
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS, Forecaster
from forecasting.lightgbm_forecaster import LightGBMForecaster
from forecasting.metrics import score
from forecasting.prophet_forecaster import ProphetForecaster
from pipeline.errors import PipelineError

FORECASTERS: Mapping[str, Callable[[int], Forecaster]] = {
    LightGBMForecaster.name: LightGBMForecaster,
    ProphetForecaster.name: ProphetForecaster,
    SeasonalNaive.name: lambda _seed: SeasonalNaive(),
}
ACTUAL_MW = "actual_mw"
COLUMNS = ("origin", TIMESTAMP, ACTUAL_MW, FORECAST_MW, *QUANTILE_COLUMNS)


@dataclass(frozen=True)
class BacktestInput:
    """demand, weather: frames of data.schema; perfect_foresight: sources whose realised values are taken as forecasts."""

    utility: Utility
    demand: pd.DataFrame
    weather: pd.DataFrame
    perfect_foresight: tuple[str, ...] = ()


@dataclass(frozen=True)
class BacktestResult:
    """predictions: columns `origin` (gate closure, UTC), `timestamp`, `actual_mw`, `forecast_mw`, `q10` … `q90` [MW]."""

    predictions: pd.DataFrame
    scores: dict[str, float]
    notes: list[str]


def run(
    source: BacktestInput,
    start: date,
    end: date,
    forecaster: str = LightGBMForecaster.name,
    progress: Callable[[str, float], None] = lambda _stage, _share: None,
    seed: int = 1,
) -> BacktestResult:
    """Forecast local days `start` to `end`, refitting at each month's first gate closure.

    progress: called with a stage and the share done. Raises PipelineError for an impossible period or forecaster,
    TooLittleHistory when demand begins too late for it.
    """
    make = _maker(forecaster)
    _require_period(source, start, end)
    needs_weather = make(seed).needs_weather
    if needs_weather and source.weather.empty:
        raise PipelineError(f"{forecaster} needs weather", mend="give --weather NAME=FILE, or --forecaster prophet")
    days = days_between(start, end)
    answers: list[pd.DataFrame] = []
    fitted: Forecaster | None = None
    profiles = Profiles({})
    for number, day in enumerate(days):
        gate = source.utility.gate_closure_of(day)
        if fitted is None or day.day == 1:
            progress(f"fitting for {day:%Y-%m}", number / len(days))
            profiles = _profiles(source, gate) if needs_weather else profiles
            fitted = make(seed).fit(_history(source, gate, profiles), source.utility)
        known = _known(source, day, gate, profiles)
        answers.append(fitted.predict(known, day).assign(origin=gate))
        progress(f"{day:%Y-%m-%d}", (number + 1) / len(days))
    predictions = pd.concat(answers).reset_index()
    actual = _final_demand(source.demand)
    predictions[ACTUAL_MW] = actual.reindex(pd.DatetimeIndex(predictions[TIMESTAMP])).to_numpy()
    frame = predictions.set_index(TIMESTAMP)
    scores = {name: round(value, 4) for name, value in score(frame[ACTUAL_MW], frame.drop(columns=ACTUAL_MW)).items()}
    return BacktestResult(predictions[list(COLUMNS)], scores, _notes(source))


def _maker(name: str) -> Callable[[int], Forecaster]:
    if name not in FORECASTERS:
        raise PipelineError(f"no forecaster {name!r}", mend=f"use one of {', '.join(FORECASTERS)}")
    return FORECASTERS[name]


def _require_period(source: BacktestInput, start: date, end: date) -> None:
    if end < start:
        raise PipelineError(f"the period ends on {end}, before it starts on {start}", mend="swap --start and --end")
    zone = source.utility.zone
    first = source.demand.index[0].tz_convert(zone).date()
    last = source.demand.index[-1].tz_convert(zone).date()
    if start <= first or end > last + timedelta(days=1):
        raise PipelineError(
            f"demand covers {first} to {last}, the period {start} to {end}", mend="choose a period inside the demand file"
        )


def _history(source: BacktestInput, gate: pd.Timestamp, profiles: Profiles) -> pd.DataFrame:
    demand = demand_as_of(source.demand, gate)
    if demand.empty:
        raise TooLittleHistory(found_days=0, needed_days=LOOKBACK_DAYS)
    temperature = pd.Series(index=demand.index, dtype=float)
    if not source.weather.empty:
        wide = known_at(source.weather, gate, demand.index[0], gate - source.utility.step, source.utility.step)
        temperature = _fused(wide, profiles, source.utility)
    return assemble(demand, temperature, source.utility, gate)


def _known(source: BacktestInput, day: date, gate: pd.Timestamp, profiles: Profiles) -> pd.DataFrame:
    utility = source.utility
    start = utility.day_index(day - timedelta(days=LOOKBACK_DAYS + 1))[0]
    end = utility.day_index(day)[-1]
    demand = demand_as_of(source.demand.loc[start:gate], gate)
    temperature = pd.Series(index=pd.date_range(start, end, freq=utility.step), dtype=float)
    if not source.weather.empty:
        nearby = source.weather[(source.weather[VALID_AT] >= start) & (source.weather[VALID_AT] <= end)]
        # Perfect foresight: the realised value is let through as if it had been issued at the gate closure.
        foreseen = nearby[PROVIDER].isin(source.perfect_foresight)
        nearby = nearby.assign(**{ISSUED_AT: nearby[ISSUED_AT].where(~foreseen, gate)})
        temperature = _fused(known_at(nearby, gate, start, end, utility.step), profiles, utility)
    return with_forecast(demand.to_frame(DEMAND_MW), temperature)


def _profiles(source: BacktestInput, gate: pd.Timestamp) -> Profiles:
    start = source.weather[VALID_AT].min()
    end = gate - source.utility.step
    if start > end:
        raise PipelineError(f"no weather is known before {gate:%Y-%m-%d}", mend=f"start after {start:%Y-%m-%d}")
    return learn_profiles(known_at(source.weather, gate, start, end, source.utility.step), source.utility)


def _fused(wide: pd.DataFrame, profiles: Profiles, utility: Utility) -> pd.Series:
    if not wide.notna().to_numpy().any():
        return pd.Series(np.nan, index=wide.index, name=TEMPERATURE_C)
    fused: pd.Series = fuse(wide, profiles, utility, [str(name) for name in wide.columns])[TEMPERATURE_C]
    return fused


def _final_demand(demand: pd.DataFrame) -> pd.Series:
    final: pd.Series = demand.loc[~demand.index.duplicated(keep="last"), DEMAND_MW]
    return final


def _notes(source: BacktestInput) -> list[str]:
    notes = [
        f"weather {name} holds no forecasts: its realised values were taken as perfect foresight"
        for name in source.perfect_foresight
    ]
    sources: list[Any] = providers_of(source.weather) if not source.weather.empty else []
    if len(sources) > 1:
        notes.append(f"{len(sources)} weather sources were fused: {', '.join(sources)}")
    return notes
