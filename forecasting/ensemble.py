"""The ensemble: members weighed by what they recently achieved, brought up to the recent level, with calibrated quantiles.

    fit      days → features → each member, with honest forecasts of the training days it was not shown
    predict  each member's forecasts of the day and of the last known days
             → weights: those of training, tilted by how much better or worse than usual each recently was
             → correction: a share of what the last days missed by, the share learned in training
             → quantiles: the spread of such a day × scores, the recent ones counting more (`spread`), wider with gaps
               (`gaps`) and where the weather is less certain than usual (`weather_doubt`)

Nothing is kept between two forecasts: all adaptation rests on what `known` holds, so a forecast can be made again at any
time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

import numpy as np
import pandas as pd

from data.schema import TEMPERATURE_C, Array, Integers, Utility
from forecasting import day_table
from forecasting.day_grid import LOOKBACK_DAYS, bridged, window_days
from forecasting.day_table import DayTable, Driver, fold_demand
from forecasting.departure_member import DepartureMember
from forecasting.errors import TooLittleHistory
from forecasting.explain import EXPLAINED_COLUMNS
from forecasting.forecaster import MEDIAN, QUANTILE_COLUMNS, by_interval, forecast_frame
from forecasting.gaps import Gaps
from forecasting.kernel_member import KernelMember
from forecasting.lightgbm_member import LightGBMMember
from forecasting.linear_member import LinearMember
from forecasting.member import Lesson, Member
from forecasting.member_says import MemberSays
from forecasting.recent import (
    RECENT_DAYS,
    Achieved,
    carried_over,
    faded_mean,
    recent_days,
    share_to_correct,
    usual_weights,
    weights_of,
    worth_having,
)
from forecasting.regimes import weather_bounds
from forecasting.spread import Spread
from forecasting.weather_correction import WeatherCorrection
from forecasting.weather_doubt import usual_uncertainty, widened
from forecasting.weather_error import WeatherError

MEMBERS: Mapping[str, type[Member]] = {
    "linear": LinearMember,
    "kernel": KernelMember,
    "departure": DepartureMember,
    "lightgbm": LightGBMMember,
}
ENSEMBLE = "ensemble"
# In every ensemble; the others join where they are worth it (forecasting.recent.worth_having).
CORE = ("kernel", "departure")
NEEDED_DAYS = 49
# A utility whose demand never moves is forecast without error.
SMALLEST_ERROR = 1e-12
# Nothing known of the level: the spread is that of demand itself.
LEVEL_UNKNOWN = 1.0
# A gap in demand up to this long does not cost a training day.
BRIDGED_HOURS = 2
FOLD_DAYS = 28
REPLAYS = 4
# Behaviour changes: what lies further back costs more than it teaches.
LONGEST_HISTORY = pd.Timedelta(days=1096)


@dataclass(frozen=True)
class Asked:
    """One day's forecast before it is put together; relative units where not said otherwise.

    today: the day's features, as each member prepared them; said: each member's forecast, shape (members, slots); weights:
    of the members; correction, spread: shape (slots,); levels: scores at `data.schema.QUANTILES`.
    """

    today: tuple[DayTable, ...]
    level_mw: float
    said: Array
    weights: Array
    correction: Array
    spread: Array
    levels: Array


class EnsembleForecaster:
    """Day-ahead demand from weather, calendar and recent demand.

    members: names from `MEMBERS` to choose from; seed: makes a fit reproducible.
    Learned: utility_; scale_mw_ and usual_mw_, deviation and mean of demand; names_ of those chosen and members_; weights_
    and usual_error_ of each in training; share_ of recent misses that is corrected; spread_, and sharper_, its part that
    realised weather leaves; correction_, what to make of forecast temperatures; usual_uncertainty_c_ of them (NaN: nobody
    told); achieved_ on the last training days.
    """

    needs_weather = True

    def __init__(self, name: str = ENSEMBLE, members: tuple[str, ...] = tuple(MEMBERS), seed: int = 1) -> None:
        self.name = name
        self.member_names = members
        self.seed = seed

    def fit(self, history: pd.DataFrame, utility: Utility) -> Self:
        """Learn from the last three years of `history`. Raises TooLittleHistory below 49 days with demand and features."""
        history = history.loc[history.index[-1] - LONGEST_HISTORY :]
        table, demand_mw = training_days(history, utility)
        self.utility_ = utility
        self.scale_mw_ = float(np.std(demand_mw)) or 1.0
        self.usual_mw_ = float(np.mean(demand_mw))
        table = table.in_units_of(self.scale_mw_)
        drawn = (demand_mw - table.level_mw[:, None]) / self.scale_mw_
        table_served, self.correction_ = as_served(history, table, utility, self.seed)
        lesson = Lesson(table, table_served, drawn, folds(table.days), self.seed)
        members = [MEMBERS[name]() for name in self.member_names]
        honest = [member.fit(lesson) for member in members]
        core = [number for number, name in enumerate(self.member_names) if name in CORE]
        kept = worth_having(np.stack([drawn - said.served for said in honest]), core)
        self.names_ = tuple(self.member_names[number] for number in kept)
        self.members_ = tuple(members[number] for number in kept)
        seen, served = (
            np.stack([honest[number].seen for number in kept]),
            np.stack([honest[number].served for number in kept]),
        )
        self.weights_ = usual_weights(drawn - served)
        self.usual_error_ = ((seen - drawn) ** 2).mean(axis=(1, 2))
        missed_seen, missed = (drawn - np.tensordot(self.weights_, said, axes=1) for said in (seen, served))
        carried = carried_over(missed_seen, utility.lead_days)
        self.share_ = share_to_correct(missed, carried)
        bounds = weather_bounds(history[TEMPERATURE_C], utility)
        self.spread_ = Spread.learn(missed - self.share_ * carried, table, bounds, utility)
        self.usual_uncertainty_c_ = usual_uncertainty(history, utility)
        self.sharper_ = float(np.sqrt((missed_seen**2).mean() / max((missed**2).mean(), SMALLEST_ERROR)))
        last = slice(-RECENT_DAYS - utility.lead_days - 1, None)
        spread = self.spread_.of(table, utility)
        self.achieved_ = Achieved(table.days[last], seen[:, last], drawn[last], spread[last] * self.sharper_)
        return self

    def predict(self, known: pd.DataFrame, day: date) -> pd.DataFrame:
        """Forecast local day `day`; `known` as in forecasting.forecaster, 36 days back at least, `window_days` to adapt."""
        return self._forecast(self._asked(known, day), day)

    def predict_explained(self, known: pd.DataFrame, day: date) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The forecast of local day `day`, and the same taken apart by driver (forecasting.explain)."""
        asked = self._asked(known, day)
        return self._forecast(asked, day), self._explanation(asked, day)

    def predict_with_members(self, known: pd.DataFrame, day: date) -> tuple[pd.DataFrame, MemberSays]:
        """The forecast of local day `day` as `predict` answers it, and what each member says of it, at the same price."""
        asked = self._asked(known, day)
        frame = self._forecast(asked, day)
        corrected = (asked.said + asked.correction) * self.scale_mw_ + asked.level_mw
        offset_mw = asked.spread * asked.levels[QUANTILE_COLUMNS.index(MEDIAN)] * self.scale_mw_
        columns = (*self.names_, "offset_mw")
        by_row = by_interval(day, np.column_stack([*corrected, offset_mw]), columns, self.utility_).to_numpy()
        quantiles_mw = frame[list(QUANTILE_COLUMNS)].to_numpy(dtype=np.float64)
        return frame, MemberSays(quantiles_mw, by_row[:, :-1].T, asked.weights, by_row[:, -1])

    def _forecast(self, asked: Asked, day: date) -> pd.DataFrame:
        centre = np.tensordot(asked.weights, asked.said, axes=1) + asked.correction
        relative = centre[:, None] + asked.spread[:, None] * asked.levels
        return forecast_frame(day, relative * self.scale_mw_ + asked.level_mw, self.utility_)

    def _explanation(self, asked: Asked, day: date) -> pd.DataFrame:
        parts = [member.explain(today) for member, today in zip(self.members_, asked.today, strict=True)]
        by_driver = {
            driver: np.tensordot(asked.weights, [part.drivers[driver][0] for part in parts], axes=1) for driver in Driver
        }
        by_driver[Driver.RECENT_DEMAND] = by_driver[Driver.RECENT_DEMAND] + asked.correction
        base = np.tensordot(asked.weights, [part.base[0] for part in parts], axes=1)
        base = base + asked.spread * asked.levels[QUANTILE_COLUMNS.index(MEDIAN)]
        trend = np.full(len(base), asked.level_mw - self.usual_mw_)
        columns = [base * self.scale_mw_ + self.usual_mw_, trend, *(by_driver[driver] * self.scale_mw_ for driver in Driver)]
        return by_interval(day, np.column_stack(columns), EXPLAINED_COLUMNS, self.utility_)

    def _asked(self, known: pd.DataFrame, day: date) -> Asked:
        """What the members say of the day, and what they achieved on the days before it."""
        first, last = (
            self.utility_.day_index(day - timedelta(days=window_days(self.utility_)))[0],
            self.utility_.day_index(day)[-1],
        )
        known = known.loc[first:last]
        covered_from = known.index[0].tz_convert(self.utility_.zone).date() + timedelta(days=LOOKBACK_DAYS)
        if day < covered_from:
            raise TooLittleHistory(found_days=LOOKBACK_DAYS - (covered_from - day).days, needed_days=LOOKBACK_DAYS)
        if self.correction_ is not None:
            known = self.correction_.corrected(known, day, self.utility_)
        wanted = recent_days(day, self.utility_)
        since_training = [one for one in wanted if self.achieved_.days[-1] < one and covered_from <= one]
        table = self._table(known, [*since_training, day])
        prepared = [member.prepared(table) for member in self.members_]
        said = np.stack([member.predict(own) for member, own in zip(self.members_, prepared, strict=True)])
        drawn = (table.drawn_mw - table.level_mw[:, None]) / self.scale_mw_
        spread = self.spread_.of(table, self.utility_)
        later = Achieved(table.days[:-1], said[:, :-1], drawn[:-1], spread[:-1] * self.sharper_)
        achieved = self.achieved_.within(wanted[0], wanted[-1]).followed_by(later)
        weights = weights_of(self.weights_, self.usual_error_, achieved)
        missed = achieved.missed(weights)
        covered = [one for one in wanted if covered_from <= one]
        asked = np.array([len(since_training)])
        level_mw = float(table.level_mw[-1])
        level_known = bool(np.isfinite(level_mw))
        grown = (
            spread[-1] * self._grown(known, day, covered, weights) if level_known else np.maximum(spread[-1], LEVEL_UNKNOWN)
        )
        return Asked(
            today=tuple(own.at(asked) for own in prepared),
            level_mw=level_mw if level_known else self.usual_mw_,
            said=said[:, -1],
            weights=weights,
            correction=self.share_ * faded_mean(missed),
            spread=widened(
                grown,
                known,
                day,
                self.utility_,
                self.usual_uncertainty_c_,
                ask=lambda told: self._said(self._table(told, [day]), weights)[0],
            ),
            levels=self.spread_.levels(missed / achieved.spread),
        )

    def _grown(self, known: pd.DataFrame, day: date, recent: list[date], weights: Array) -> float:
        """How many times larger recent errors would have been with the gaps that today's inputs have; 1 without gaps."""
        gaps = Gaps.of(known, self.utility_, day)
        if not gaps.any() or not recent:
            return 1.0
        whole = self._missed(known, recent, weights)
        with_gaps = [
            self._missed(gaps.laid_over(known, (day - one).days, self.utility_), [one], weights, drawn_in=known)
            for one in recent
        ]
        both = np.isfinite(whole) & np.isfinite(np.concatenate(with_gaps))
        if not both.any():
            return 1.0
        usual, grown = (float(np.mean(missed[both] ** 2)) for missed in (whole, np.concatenate(with_gaps)))
        return float(np.sqrt(max(1.0, grown / max(usual, 1e-12))))

    def _missed(self, known: pd.DataFrame, days: list[date], weights: Array, drawn_in: pd.DataFrame | None = None) -> Array:
        """What the weighted members, told `known`, miss by; relative units, shape (days, slots)."""
        table = self._table(known, days)
        drawn_mw = table.drawn_mw if drawn_in is None else fold_demand(drawn_in, self.utility_, table.days)
        missed: Array = (drawn_mw - table.level_mw[:, None]) / self.scale_mw_ - self._said(table, weights)
        return missed

    def _said(self, table: DayTable, weights: Array) -> Array:
        """What the weighted members say of the days of a table; relative units, shape (days, slots)."""
        said = np.stack([member.predict(member.prepared(table)) for member in self.members_])
        return np.tensordot(weights, said, axes=1)

    def _table(self, known: pd.DataFrame, days: list[date]) -> DayTable:
        return day_table.build(known, self.utility_, days).in_units_of(self.scale_mw_)


def forecaster_named(name: str, seed: int) -> EnsembleForecaster:
    """The whole ensemble, or one member of it alone; name: `ensemble` or one of `MEMBERS`."""
    return EnsembleForecaster(name, tuple(MEMBERS) if name == ENSEMBLE else (name,), seed)


def as_served(
    history: pd.DataFrame, table: DayTable, utility: Utility, seed: int
) -> tuple[DayTable | None, WeatherCorrection | None]:
    """The training days of `table` with temperatures as good as they will be served, in its units, and what to make of a
    forecast temperature; None where nothing is known of that.
    """
    error = WeatherError.learn(history, utility)
    if error is None:
        return None, None
    replays = [error.replay(table.days, utility, seed + number) for number in range(REPLAYS)]
    forecasts = [day_table.temperature_paths(history, utility, table.days, error_c) for error_c in replays]
    correction = WeatherCorrection.learn(table.days * REPLAYS, np.concatenate(forecasts), np.concatenate(replays), utility)
    error_c, forecast_c = replays[0], forecasts[0]
    left_c = error_c if correction is None else error_c + correction.of(table.days, forecast_c, utility)
    return day_table.build(history, utility, list(table.days), left_c).in_units_of(table.scale_mw), correction


def training_days(history: pd.DataFrame, utility: Utility) -> tuple[DayTable, Array]:
    """Features and demand [MW] of every day whose demand is known whole. Raises TooLittleHistory below 49 of them."""
    table = day_table.build(history, utility)
    folded = fold_demand(history, utility, table.days)
    demand_mw = bridged(folded.ravel(), BRIDGED_HOURS * utility.steps_per_day // 24).reshape(folded.shape)
    usable = np.isfinite(demand_mw).all(axis=1) & np.isfinite(table.level_mw)
    found_days = int(usable.sum())
    if found_days < NEEDED_DAYS:
        raise TooLittleHistory(found_days=found_days, needed_days=NEEDED_DAYS)
    return table.at(np.flatnonzero(usable)), demand_mw[usable]


def folds(days: tuple[date, ...]) -> Integers:
    """Four weeks are a fold; with little history, a quarter of it."""
    since_first = np.array([(day - days[0]).days for day in days], dtype=np.int64)
    length = min(FOLD_DAYS, max(1, int(since_first[-1] + 1) // 4))
    return since_first // length
