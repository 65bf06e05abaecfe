"""Ask a forecaster what it would say if the day's temperatures were these.

A forecast temperature is doubted: `weather_correction` draws it towards what its error deserves, and the interval grows with
its uncertainty. A temperature that somebody tells is no forecast of anything, it is the condition of the question. So it is
not corrected and not doubted. The hours between the gate closure and the day stay a forecast, corrected as always; what was
measured before them stays as it is.
"""

from __future__ import annotations

import copy
from datetime import date, timedelta

import numpy as np
import pandas as pd

from data.schema import TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, Array, Utility
from forecasting.day_grid import bridged
from forecasting.ensemble import EnsembleForecaster
from forecasting.forecaster import Forecaster
from forecasting.member_says import MemberSays


def believed(forecaster: Forecaster, known: pd.DataFrame, day: date, utility: Utility) -> pd.DataFrame:
    """`known` (forecasting.forecaster) with the temperatures that the forecaster makes of it, where it corrects any."""
    if isinstance(forecaster, EnsembleForecaster) and forecaster.correction_ is not None:
        return forecaster.correction_.corrected(known, day, utility)
    return known


def day_of(frame: pd.DataFrame, day: date, utility: Utility) -> Array:
    """The temperatures of the intervals of a local day [°C], gaps bridged."""
    values = frame[TEMPERATURE_C].reindex(utility.day_index(day)).to_numpy(dtype=np.float64, na_value=np.nan)
    return bridged(values, len(values))


def day_before(frame: pd.DataFrame, day: date, utility: Utility) -> tuple[Array, float]:
    """The temperatures of the local day before [°C], NaN where not known, and how uncertain its end is, NaN where nobody
    tells.
    """
    index = utility.day_index(day - timedelta(days=1))
    values = frame[TEMPERATURE_C].reindex(index).to_numpy(dtype=np.float64, na_value=np.nan)
    if TEMPERATURE_UNCERTAINTY_C not in frame.columns:
        return values, float("nan")
    return values, float(frame[TEMPERATURE_UNCERTAINTY_C].reindex(index).iloc[-1])


def predict_told(
    forecaster: Forecaster, known: pd.DataFrame, day: date, path_c: Array, utility: Utility, *, doubted: bool
) -> tuple[pd.DataFrame, MemberSays]:
    """The forecast of local day `day` under the temperatures `path_c`, one for each of its intervals, and its members.

    known: as `believed` answers it; doubted: the uncertainty that is told of the day stays: the path is a forecast, moved.
    """
    told = known.copy()
    index = utility.day_index(day)
    told.loc[index, TEMPERATURE_C] = path_c
    if not doubted and TEMPERATURE_UNCERTAINTY_C in told.columns:
        told.loc[index, TEMPERATURE_UNCERTAINTY_C] = 0.0
    if not isinstance(forecaster, EnsembleForecaster):
        frame = forecaster.predict(told, day)
        return frame, MemberSays.alone(frame)
    uncorrected = copy.copy(forecaster)
    uncorrected.correction_ = None
    return uncorrected.predict_with_members(told, day)
