"""Demand and trusted weather joined: what a forecaster may learn from, as it was known at one moment."""

from __future__ import annotations

import pandas as pd

from data.schema import DEMAND_MW, FORECAST_TEMPERATURE_C, TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, TIMESTAMP, Utility

LONGEST_TRAINING = pd.Timedelta(days=1096)


def assemble(
    demand_mw: pd.Series,
    temperature_c: pd.Series,
    utility: Utility,
    as_of: pd.Timestamp,
    forecast_temperature_c: pd.Series | None = None,
    uncertainty_c: pd.Series | None = None,
) -> pd.DataFrame:
    """The last three years before `as_of`: index UTC, regular; columns `demand_mw`, `temperature_c`, and where it is given
    `forecast_temperature_c`, what had been forecast by the gate closure of each interval's own day, and how uncertain that
    was, `temperature_uncertainty_c`.

    All series hold only what was known at `as_of` (`meters.demand_as_of`, `weather_fusion.known_at`); nothing later is
    let through either way. Gaps stay NaN.
    """
    end = min(demand_mw.index[-1], as_of - utility.step)
    index = pd.date_range(demand_mw.index[0], end, freq=utility.step, name=TIMESTAMP)
    index = index[index >= as_of - LONGEST_TRAINING]
    columns = {DEMAND_MW: demand_mw.reindex(index), TEMPERATURE_C: temperature_c.reindex(index)}
    if forecast_temperature_c is not None:
        columns[FORECAST_TEMPERATURE_C] = forecast_temperature_c.reindex(index)
    if uncertainty_c is not None:
        columns[TEMPERATURE_UNCERTAINTY_C] = uncertainty_c.reindex(index)
    return pd.DataFrame(columns, index=index)


def with_forecast(history: pd.DataFrame, temperature_c: pd.Series, uncertainty_c: pd.Series | None = None) -> pd.DataFrame:
    """What a forecaster is asked with: recent demand, and temperatures, perhaps with their uncertainty, regular, to the end
    of the day that is forecast.
    """
    start, end = min(history.index[0], temperature_c.index[0]), temperature_c.index[-1]
    index = pd.date_range(start, end, freq=temperature_c.index[1] - temperature_c.index[0], name=TIMESTAMP)
    columns = {DEMAND_MW: history[DEMAND_MW].reindex(index), TEMPERATURE_C: temperature_c.reindex(index)}
    if uncertainty_c is not None:
        columns[TEMPERATURE_UNCERTAINTY_C] = uncertainty_c.reindex(index)
    return pd.DataFrame(columns, index=index)
