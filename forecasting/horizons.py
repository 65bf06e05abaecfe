"""How much wider a forecast gets with every day it looks further ahead.

Beyond the day after the gate closure a forecast reads its own medians as if they had been drawn. What that costs was learned
on Victoria 2013: by how much the 80 % interval of each further day had to grow to hold 80 % of what was drawn
(`python -m benchmarks.forecast_horizons --learn`); 2014 is held out, and printed without `--learn`.
"""

from __future__ import annotations

LONGEST_DAYS_AHEAD = 7
WITH_WEATHER: tuple[float, ...] = (1.0, 1.13, 1.32, 1.48, 1.54, 1.63, 1.87)
WITHOUT_WEATHER: tuple[float, ...] = (1.0, 1.06, 1.12, 1.12, 1.12, 1.14, 1.14)


def widening(days_ahead: int, *, weather: bool) -> float:
    """How many times as wide as the day-ahead forecast's; days_ahead: 1 to 7."""
    return (WITH_WEATHER if weather else WITHOUT_WEATHER)[days_ahead - 1]
