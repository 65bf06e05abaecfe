"""How much wider a forecast gets when its weather is less certain than the weather it was learned with.

The spread that was learned holds for temperatures as certain as usual. Where the sources of the weather are fewer, or
contradict each other, the members are asked what they would say of a day warmer and colder by that uncertainty. Their
answers lie as far apart as the doubt is worth in demand: much on a hot or a cold day, nothing where weather moves no demand.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd

from data.schema import TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, Array, Utility


def usual_uncertainty(history: pd.DataFrame, utility: Utility) -> float:
    """Median over the days of `history` of what `widened` will hold against it [°C]; NaN where none is told."""
    if TEMPERATURE_UNCERTAINTY_C not in history.columns:
        return float("nan")
    told = history[TEMPERATURE_UNCERTAINTY_C]
    return float(told.groupby(utility.local(pd.DatetimeIndex(told.index)).date).mean().median())


def widened(
    spread: Array, known: pd.DataFrame, day: date, utility: Utility, usual_c: float, ask: Callable[[pd.DataFrame], Array]
) -> Array:
    """The spread of a day with what its weather's uncertainty beyond the usual adds to it, shape (slots,).

    known: as in forecasting.forecaster; usual_c: what `usual_uncertainty` learned; ask: what is forecast of the day when
    other temperatures are known, shape (slots,), in the units of `spread`.
    """
    uncertainty_c = _uncertainty_of(known, day, utility)
    # NaN on either side is no uncertainty beyond the usual.
    if not uncertainty_c > usual_c:
        return spread
    off_c = uncertainty_c * (known.index >= utility.gate_closure_of(day))
    as_told, warmer, colder = (
        ask(known.assign(**{TEMPERATURE_C: known[TEMPERATURE_C] + error_c})) for error_c in (0 * off_c, off_c, -off_c)
    )
    # Each way for itself: in the valley between heating and cooling both raise demand.
    moved = ((warmer - as_told) ** 2 + (colder - as_told) ** 2) / 2
    # Variances add, and what is usual of this one is in the spread already.
    return np.sqrt(spread**2 + moved * (1 - (usual_c / uncertainty_c) ** 2))


def _uncertainty_of(known: pd.DataFrame, day: date, utility: Utility) -> float:
    """Mean over the intervals of the day [°C]; NaN where none is told."""
    if TEMPERATURE_UNCERTAINTY_C not in known.columns:
        return float("nan")
    return float(known[TEMPERATURE_UNCERTAINTY_C].reindex(utility.day_index(day)).mean())
