"""Certified mode: the median of models that share no week of training, and the interval it cannot leave.

    fit        each local week of the history goes to one of K models, by its date; each learns from its own weeks alone
    predict    each model forecasts the day; the answer is their median, quantile by quantile
    certified  beside it the order statistics r below and r above the median: whatever r weeks of the history had said, in
               demand, weather or both, the forecast would lie between them. If each week goes to c models, c · r

What was known at the gate closure (recent demand, the day's temperatures) is an input of every model and not covered.
Proof, assumptions and limits: docs/certified.md. Source: Hammoudeh & Lowd (2023), "Reducing Certified Regression to
Certified Classification for General Poisoning Attacks".
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Self

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, TEMPERATURE_C, Array, Utility
from forecasting.certified_blocks import block_of, blocks_of, models_of
from forecasting.certified_departures import RECENT_DAYS, by_hour, carried_over
from forecasting.certified_features import RUN_IN_DAYS, design, kind_of, temperature_without_gaps
from forecasting.certified_model import Week, learn
from forecasting.day_grid import DayGrid, bridged, gate_slot
from forecasting.errors import ForecastingError, TooLittleHistory, UnusableModels
from forecasting.forecaster import MEDIAN, QUANTILE_COLUMNS, by_interval, forecast_frame

CERTIFIED = "certified"
MODELS = 25
NEEDED_DAYS_A_MODEL = 14
# A gap in demand up to this long does not cost a training day.
BRIDGED_HOURS = 2
# No reading is larger; squares of larger numbers might not be finite.
LARGEST = 1e15
# What is certified where nobody says for how many malicious weeks.
CERTIFIED_WEEKS = 2
LOWER_MW, UPPER_MW = "lower_mw", "upper_mw"
CERTIFICATE_COLUMNS = (LOWER_MW, UPPER_MW)


class CertifiedForecaster:
    """models: how many, an odd number; copies: how many of them each week goes to; seed: nothing here is random, but model
    files name one.

    More copies make better models and a wider certificate. Learned: utility_; models_. Raises UnusableModels.
    """

    name = CERTIFIED
    needs_weather = True

    def __init__(self, models: int = MODELS, copies: int = 1, seed: int = 1) -> None:
        if models % 2 == 0 or not 1 <= copies <= models:
            raise UnusableModels(models, copies)
        self.models = models
        self.copies = copies
        self.seed = seed

    def fit(self, history: pd.DataFrame, utility: Utility) -> Self:
        """Learn from all of `history`. Raises TooLittleHistory below 14 days a model with demand."""
        self.utility_ = utility
        grid = DayGrid.of(pd.DatetimeIndex(history.index), utility)
        demand_mw, temperature_c = (grid.fold(_numbers(history, name)) for name in (DEMAND_MW, TEMPERATURE_C))
        dealt: list[list[Week]] = [[] for _ in range(self.models)]
        found_days = 0
        for rows in blocks_of(grid.days):
            week = _week(demand_mw[rows], temperature_c[rows], grid.days[rows], utility)
            if week is None:
                continue
            found_days += len(week.day)
            for model in models_of(block_of(grid.days[rows.start]), self.models, self.copies):
                dealt[model].append(week)
        if found_days < self.models * NEEDED_DAYS_A_MODEL:
            raise TooLittleHistory(found_days=found_days, needed_days=self.models * NEEDED_DAYS_A_MODEL)
        known_slots = gate_slot(utility)
        self.models_ = tuple(learn(weeks, grid.slots, known_slots, utility.lead_days) for weeks in dealt)
        return self

    def predict(self, known: pd.DataFrame, day: date) -> pd.DataFrame:
        """Forecast local day `day`; `known` as in forecasting.forecaster, of which the last 17 days are read."""
        return forecast_frame(day, self._in_order(known, day)[self.models // 2], self.utility_)

    def certified(self, known: pd.DataFrame, day: date, r: int) -> pd.DataFrame:
        """The forecast of local day `day` with columns `lower_mw`, `upper_mw`: it cannot leave them if at most `r` local
        weeks of the history were malicious.

        Infinite where r is so large that nothing can be promised. Raises ForecastingError for a negative r.
        """
        if r < 0:
            raise ForecastingError(f"{r} malicious weeks", mend="take none or more")
        said = self._in_order(known, day)
        middle, touched = self.models // 2, r * self.copies
        answer = forecast_frame(day, said[middle], self.utility_)
        if touched > middle:
            return answer.assign(**{LOWER_MW: -np.inf, UPPER_MW: np.inf})
        median = QUANTILE_COLUMNS.index(MEDIAN)
        bounds = np.stack([said[middle - touched, :, median], said[middle + touched, :, median]], axis=1)
        return answer.join(by_interval(day, bounds, CERTIFICATE_COLUMNS, self.utility_))

    def said(self, known: pd.DataFrame, day: date) -> Array:
        """Each model's quantiles of the day by time of day [MW], shape (models, slots, levels)."""
        utility = self.utility_
        days = [day - timedelta(days=ago) for ago in range(RECENT_DAYS + RUN_IN_DAYS, -1, -1)]
        index = pd.date_range(utility.day_index(days[0])[0], utility.day_index(day)[-1], freq=utility.step)
        window = known.reindex(index)
        grid = DayGrid.of(index, utility)
        known_from = index + utility.step + utility.demand_delay
        open_mw = np.where(known_from <= utility.gate_closure_of(day), _numbers(window, DEMAND_MW), np.nan)
        demand_mw = grid.fold(open_mw)[RUN_IN_DAYS:]
        temperature_c = temperature_without_gaps(grid.fold(_numbers(window, TEMPERATURE_C)))
        features = design(temperature_c, days, utility)[RUN_IN_DAYS:]
        explained = np.stack([model.explained(features) for model in self.models_])
        kinds = tuple(int(kind_of(one, utility)) for one in days[RUN_IN_DAYS:])
        centre = explained[:, -1] + carried_over(by_hour(demand_mw - explained), kinds, grid.slots)
        said: Array = centre[:, :, None] + np.stack([model.offsets_mw for model in self.models_])
        return said

    def _in_order(self, known: pd.DataFrame, day: date) -> Array:
        """The models' quantiles, of each slot and level in order: the middle ones are the forecast."""
        return np.sort(self.said(known, day), axis=0)


def _week(demand_mw: Array, temperature_c: Array, days: tuple[date, ...], utility: Utility) -> Week | None:
    """What one block teaches; None without a usable day. Gaps are closed from inside the block."""
    longest = BRIDGED_HOURS * demand_mw.shape[1] // 24
    whole = bridged(demand_mw.ravel(), longest).reshape(demand_mw.shape)
    usable = np.flatnonzero(np.isfinite(whole).all(axis=1))
    if not len(usable):
        return None
    features = design(temperature_without_gaps(temperature_c), days, utility)
    kinds = tuple(int(kind_of(days[row], utility)) for row in usable)
    return Week(usable, kinds, whole[usable], features[usable])


def _numbers(frame: pd.DataFrame, column: str) -> Array:
    """A column's numbers, NaN where there is none that can be calculated with."""
    values = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.abs(values) <= LARGEST, values, np.nan)
