"""Prophet without weather: the fallback when no weather source can be trusted (fail closed on weather, not on forecasts).

Prophet sees hourly means of the last two years, holidays included. It knows season, week and day, but not the last few
days, so each forecast is shifted by its mean error over the last known week. What is left over on eight weeks that the
fit had not seen gives the intervals: its own in-sample ones are known to be too narrow.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, Self

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, TIMESTAMP, Array, Utility
from forecasting.calibration import quantiles_around, score_quantiles
from forecasting.errors import TooLittleHistory
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS

LONGEST_HISTORY = pd.Timedelta(days=850)
HELD_OUT_DAYS = 56
NEEDED_DAYS = 120
CORRECTION = timedelta(days=7)
GATE_TO_MIDNIGHT_DAYS = 2


class ProphetForecaster:
    """Day-ahead demand from calendar and recent level alone. seed: of Stan's optimiser."""

    name = "prophet"
    needs_weather = False

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed

    def fit(self, history: pd.DataFrame, utility: Utility) -> Self:
        """Learn from the last two years of `history`. Raises TooLittleHistory below 120 days with demand."""
        hourly: pd.Series = history[DEMAND_MW].loc[history.index[-1] - LONGEST_HISTORY :].resample("h").mean().dropna()
        found_days = len(hourly) // 24
        if found_days < NEEDED_DAYS:
            raise TooLittleHistory(found_days=found_days, needed_days=NEEDED_DAYS)
        self.utility_ = utility
        seen = hourly.iloc[: -24 * HELD_OUT_DAYS]
        with quiet():
            model = _new_model(utility, yearly=found_days >= 365)
            model.fit(_to_prophet(seen, utility), seed=self.seed)
        self.model_ = model
        self.miss_mw_ = self._learn_miss(history[DEMAND_MW].loc[seen.index[-1] :])
        return self

    def predict(self, known: pd.DataFrame, day: date) -> pd.DataFrame:
        """Forecast local day `day` from demand before its gate closure; temperature is not read."""
        index = self.utility_.day_index(day)
        recent = known[DEMAND_MW].loc[index[0] - CORRECTION - timedelta(days=self.utility_.lead_days) :].dropna()
        known_from = pd.DatetimeIndex(recent.index) + self.utility_.step + self.utility_.demand_delay
        recent = recent[known_from <= self.utility_.gate_closure_of(day)]
        path = self._path(recent.index.append(index))
        shift = float((recent.to_numpy() - path[: len(recent)]).mean()) if len(recent) else 0.0
        centre = path[len(recent) :] + shift
        quantiles = quantiles_around(centre, np.ones(len(centre)), self.miss_mw_)
        answer = pd.DataFrame(quantiles, index=index, columns=QUANTILE_COLUMNS)
        answer.insert(0, FORECAST_MW, centre)
        return answer.rename_axis(TIMESTAMP)

    def _path(self, index: pd.Index[pd.Timestamp]) -> Array:
        frame = pd.DataFrame({"ds": self.utility_.local(pd.DatetimeIndex(index)).tz_localize(None)})
        with quiet():
            path: Array = self.model_.predict(frame)["yhat"].to_numpy(dtype=np.float64)
        return path

    def _learn_miss(self, unseen: pd.Series) -> Array:
        """Quantiles of what the corrected forecast missed by on weeks it was not fitted on [MW]."""
        error = unseen - self._path(unseen.index)
        per_day = self.utility_.steps_per_day
        usual = error.rolling(7 * per_day, min_periods=per_day).mean().shift(GATE_TO_MIDNIGHT_DAYS * per_day)
        miss = (error - usual).to_numpy(dtype=np.float64, na_value=np.nan)
        return score_quantiles(miss, np.ones(len(miss)))


def _new_model(utility: Utility, *, yearly: bool) -> Any:
    from prophet import Prophet  # noqa: PLC0415 (takes over a second to import, and is the exception)

    return Prophet(
        yearly_seasonality=3 if yearly else False,
        weekly_seasonality=8,
        daily_seasonality=6,
        n_changepoints=0,
        uncertainty_samples=0,
        holidays=_holiday_table(utility),
    )


def _to_prophet(hourly: pd.Series, utility: Utility) -> pd.DataFrame:
    local = utility.local(pd.DatetimeIndex(hourly.index)).tz_localize(None)
    frame = pd.DataFrame({"ds": local, "y": hourly.to_numpy()})
    return frame.drop_duplicates("ds", ignore_index=True)


def _holiday_table(utility: Utility) -> pd.DataFrame | None:
    if not utility.holidays:
        return None
    return pd.DataFrame({"holiday": "holiday", "ds": pd.to_datetime(sorted(utility.holidays))})


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Prophet logs that plotly is missing, Stan logs every fit, pandas warns them of pandas 4: none is for our user."""
    # Disabled rather than raised in level: both set their own level, the first time they are used.
    loggers = [logging.getLogger(name) for name in ("prophet", "prophet.models", "prophet.plot", "cmdstanpy")]
    were_disabled = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message="The inplace keyword")
            yield
    finally:
        for logger, was_disabled in zip(loggers, were_disabled, strict=True):
            logger.disabled = was_disabled
