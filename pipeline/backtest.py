"""Backtest: forecast every day of a period as it would have been, with monthly refits, and score it.

No station, no keys: files in, predictions out. Nothing is known to a forecast but what had been issued by its gate closure;
a weather source without any forecasts in it is taken as perfect foresight, and the answer says so.

A month is one job: a fit at its first gate closure, then its days. Months know nothing of each other, so they may run side
by side and give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from itertools import groupby
from typing import Any

import pandas as pd

from data.meters import demand_as_of
from data.schema import (
    DEMAND_MW,
    TIMESTAMP,
    VALID_AT,
    Utility,
    days_between,
    providers_of,
)
from data.training_set import assemble, with_forecast
from data.weather_fusion import Profiles, known_at, learn_profiles
from forecasting.baselines import SeasonalNaive
from forecasting.certified import (
    CERTIFICATE_COLUMNS,
    CERTIFIED,
    CERTIFIED_WEEKS,
    LOWER_MW,
    UPPER_MW,
    CertifiedForecaster,
)
from forecasting.ensemble import ENSEMBLE, MEMBERS, NEEDED_DAYS, forecaster_named
from forecasting.errors import TooLittleHistory
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS, Forecaster
from forecasting.metrics import score
from forecasting.prophet_forecaster import ProphetForecaster
from forecasting.quantile_trees import QUANTILE_TREES, QuantileTreesForecaster
from pipeline.backtest_weather import forecasts_as_issued, fused_temperature, temperatures_by_day
from pipeline.errors import PipelineError
from pipeline.side_by_side import in_processes

SHORTEST_HORIZON = pd.Timedelta(hours=1)
LONGEST_HORIZON = pd.Timedelta(days=7)
LONGEST_LEAD_DAYS = 7


FORECASTERS: Mapping[str, Callable[[int], Forecaster]] = {
    **{name: partial(forecaster_named, name) for name in (ENSEMBLE, *MEMBERS)},
    ProphetForecaster.name: ProphetForecaster,
    SeasonalNaive.name: lambda _seed: SeasonalNaive(),
    CERTIFIED: lambda seed: CertifiedForecaster(seed=seed),
    QUANTILE_TREES: lambda seed: QuantileTreesForecaster(seed=seed),
}
# How many malicious weeks a backtest's certificate is for.
ACTUAL_MW = "actual_mw"
ORIGIN = "origin"
COLUMNS = (ORIGIN, TIMESTAMP, ACTUAL_MW, FORECAST_MW, *QUANTILE_COLUMNS)

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class BacktestInput:
    """demand, weather: frames of data.schema; perfect_foresight: sources whose realised values are taken as forecasts."""

    utility: Utility
    demand: pd.DataFrame
    weather: pd.DataFrame
    perfect_foresight: tuple[str, ...] = ()


@dataclass(frozen=True)
class BacktestResult:
    """predictions: columns `origin` (gate closure, UTC), `timestamp`, `actual_mw`, `forecast_mw`, `q10` … `q90` [MW]; of the
    certified forecaster `lower_mw` and `upper_mw` too, which two malicious weeks of training cannot make it leave.

    scores: `forecasting.metrics.score` over all of them; notes: what the reader of the scores should know.
    """

    forecaster: str
    predictions: pd.DataFrame
    scores: dict[str, float]
    notes: list[str]


@dataclass(frozen=True)
class MonthOrder:
    """One job: forecast `days`, whose gate closures lie in one month, with a model fitted at the first of them.

    lead_days: from the gate closure's day to the forecast one; horizon: how long after the gate closure forecasts end, None
    for whole days.
    """

    days: tuple[date, ...]
    forecaster: str
    seed: int
    lead_days: int = 1
    horizon: pd.Timedelta | None = None


def run(
    source: BacktestInput,
    start: date,
    end: date,
    forecaster: str = ENSEMBLE,
    progress: Progress = lambda _stage, _share: None,
    seed: int = 1,
    jobs: int = 1,
    horizon: pd.Timedelta | None = None,
) -> BacktestResult:
    """Forecast local days `start` to `end`, refitting at each month's first gate closure.

    progress: called with a stage and the share done. jobs: months that run at the same time, each in a process of its own.
    horizon: from the gate closure before each of these days, forecast so far ahead instead of that day, 1 h to 7 days.
    Raises PipelineError for an impossible period, forecaster, horizon or number of jobs, TooLittleHistory when demand begins
    too late for it.
    """
    needs_weather = _maker(forecaster)(seed).needs_weather
    _require_period(source, start, end)
    if jobs < 1:
        raise PipelineError(f"{jobs} jobs cannot do anything", mend="give --jobs 1 or more")
    if needs_weather and source.weather.empty:
        raise PipelineError(f"{forecaster} needs weather", mend="give --weather NAME=FILE, or --forecaster prophet")
    orders = _orders(source.utility, (start, end), forecaster, seed, horizon)
    if min(jobs, len(orders)) == 1:
        answers = _in_turn(source, orders, progress)
    else:
        answers = _side_by_side(source, orders, progress, min(jobs, len(orders)))
    predictions = pd.concat(answers).reset_index().sort_values([ORIGIN, TIMESTAMP], kind="stable", ignore_index=True)
    actual = _final_demand(source.demand)
    predictions[ACTUAL_MW] = actual.reindex(pd.DatetimeIndex(predictions[TIMESTAMP])).to_numpy()
    # The demand from before the period too: the week before is what skill is measured against.
    scores = {name: round(value, 4) for name, value in score(actual, predictions.set_index(TIMESTAMP)).items()}
    columns = [*COLUMNS, *(name for name in CERTIFICATE_COLUMNS if name in predictions)]
    return BacktestResult(forecaster, predictions[columns], scores, _notes(source, predictions))


def forecast_month(source: BacktestInput, order: MonthOrder, told: Callable[[str, int], None]) -> pd.DataFrame:
    """Fit, then forecast each day: index `timestamp`, columns `origin`, `forecast_mw`, `q10` … `q90`.

    told: called with a stage and the number of days done.
    """
    utility = replace(source.utility, lead_days=order.lead_days)
    source = replace(source, utility=utility)
    gate = utility.gate_closure_of(order.days[0])
    told(f"fitting for {order.days[0]:%Y-%m}", 0)
    model = FORECASTERS[order.forecaster](order.seed)
    profiles = _profiles(source, gate) if model.needs_weather else Profiles({})
    fitted = model.fit(_history(source, gate, profiles), utility)
    temperatures = temperatures_by_day(source.weather, source.perfect_foresight, profiles, utility, order.days)
    answers = []
    for number, (day, temperature_c) in enumerate(zip(order.days, temperatures, strict=True)):
        gate = utility.gate_closure_of(day)
        demand = demand_as_of(source.demand.loc[temperature_c.index[0] : gate], gate)
        known = with_forecast(demand.to_frame(DEMAND_MW), temperature_c)
        answer = _answer(fitted, known, day).assign(**{ORIGIN: gate})
        if order.horizon is not None:
            answer = answer.loc[gate : gate + order.horizon - utility.step]
        answers.append(answer)
        told(f"{day:%Y-%m-%d}", number + 1)
    return pd.concat(answers)


def _answer(fitted: Forecaster, known: pd.DataFrame, day: date) -> pd.DataFrame:
    """The forecast, with its certificate where there is one."""
    if isinstance(fitted, CertifiedForecaster):
        return fitted.certified(known, day, CERTIFIED_WEEKS)
    return fitted.predict(known, day)


def _maker(name: str) -> Callable[[int], Forecaster]:
    if name not in FORECASTERS:
        raise PipelineError(f"no forecaster {name!r}", mend=f"use one of {', '.join(FORECASTERS)}")
    return FORECASTERS[name]


def _orders(
    utility: Utility, period: tuple[date, date], forecaster: str, seed: int, horizon: pd.Timedelta | None
) -> list[MonthOrder]:
    """One job a month; with a horizon, one for each day that it reaches into."""
    if horizon is not None and not SHORTEST_HORIZON <= horizon <= LONGEST_HORIZON:
        raise PipelineError(f"a horizon of {horizon}", mend="give 1 h to 7 days")
    reach = 0
    if horizon is not None:
        into_day = pd.Timedelta(hours=utility.gate_closure.hour, minutes=utility.gate_closure.minute)
        # The clock may move by an hour on the way.
        reach = int((into_day + horizon + pd.Timedelta(hours=1)) // pd.Timedelta(days=1))
    orders = []
    for _, days in groupby(days_between(*period), key=lambda day: (day.year, day.month)):
        month = list(days)
        leads = [1] if horizon is None else range(min(reach, LONGEST_LEAD_DAYS) + 1)
        for lead in leads:
            target = tuple(day + timedelta(days=lead - 1) for day in month)
            orders.append(MonthOrder(target, forecaster, seed, lead, horizon))
    return orders


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
        raise TooLittleHistory(found_days=0, needed_days=NEEDED_DAYS)
    if source.weather.empty:
        return assemble(demand, pd.Series(index=demand.index, dtype=float), source.utility, gate)
    wide = known_at(source.weather, gate, demand.index[0], gate - source.utility.step, source.utility.step)
    issued = forecasts_as_issued(source.weather, source.perfect_foresight, profiles, source.utility, gate)
    return assemble(demand, fused_temperature(wide, profiles, source.utility), source.utility, gate, issued)


def _profiles(source: BacktestInput, gate: pd.Timestamp) -> Profiles:
    start = source.weather[VALID_AT].min()
    end = gate - source.utility.step
    if start > end:
        raise PipelineError(f"no weather is known before {gate:%Y-%m-%d}", mend=f"start after {start:%Y-%m-%d}")
    return learn_profiles(known_at(source.weather, gate, start, end, source.utility.step), source.utility)


def _final_demand(demand: pd.DataFrame) -> pd.Series:
    final: pd.Series = demand.loc[~demand.index.duplicated(keep="last"), DEMAND_MW]
    return final


def _notes(source: BacktestInput, predictions: pd.DataFrame) -> list[str]:
    notes = [
        f"weather {name} holds no forecasts: its realised values were taken as perfect foresight"
        for name in source.perfect_foresight
    ]
    sources: list[Any] = providers_of(source.weather) if not source.weather.empty else []
    if len(sources) > 1:
        notes.append(f"{len(sources)} weather sources were fused: {', '.join(sources)}")
    if LOWER_MW in predictions:
        weeks = f"if at most {CERTIFIED_WEEKS} weeks of the training data were malicious"
        notes.append(f"{weeks}, the forecast cannot leave {LOWER_MW} to {UPPER_MW} (docs/certified.md)")
    without_mape = int((predictions[ACTUAL_MW] <= 0).sum())
    if without_mape:
        told = f"demand is zero or negative in {without_mape} of {len(predictions)} intervals"
        notes.append(f"{told}, where MAPE is undefined: wape_percent stands in its place")
    return notes


def _in_turn(source: BacktestInput, orders: Sequence[MonthOrder], progress: Progress) -> list[pd.DataFrame]:
    total, before = sum(len(order.days) for order in orders), 0

    def told(stage: str, days: int) -> None:
        progress(stage, (before + days) / total)

    answers = []
    for order in orders:
        answers.append(forecast_month(source, order, told))
        before += len(order.days)
    return answers


def _side_by_side(source: BacktestInput, orders: Sequence[MonthOrder], progress: Progress, jobs: int) -> list[pd.DataFrame]:
    total = sum(len(order.days) for order in orders)
    progress(f"{len(orders)} months, {jobs} at a time", 0.0)
    answers, done = [], 0
    with closing(in_processes(_month_in_silence, source, orders, jobs)) as working:
        for order, answer in zip(orders, working, strict=True):
            answers.append(answer)
            done += len(order.days)
            progress(f"{order.days[0]:%Y-%m} is done", done / total)
    return answers


def _month_in_silence(source: BacktestInput, order: MonthOrder) -> pd.DataFrame:
    return forecast_month(source, order, lambda _stage, _days: None)
