"""What an explanation of a forecast looks like.

A frame indexed by interval, all in MW; along each row the columns add up to `forecast_mw` exactly.

    usual_mw          mean demand of the training days, and what the time of day always adds to it
    trend_mw          how far the level of the last known week is from that mean
    weather_mw        temperature, now and before
    calendar_mw       weekday, holidays, season
    recent_demand_mw  the last known days and the morning of the gate closure
"""

from __future__ import annotations

from forecasting.day_table import Driver

USUAL_MW = "usual_mw"
TREND_MW = "trend_mw"
EXPLAINED_COLUMNS: tuple[str, ...] = (USUAL_MW, TREND_MW, *(f"{driver}_mw" for driver in Driver))
