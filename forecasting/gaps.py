"""What a gap in the inputs costs: the same gap is laid over days whose demand is known, and their forecasts made again.

No constant says how much wider an interval has to be without this morning's demand or tomorrow's temperature: the last two
weeks say it, for the utility and the gap at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, TEMPERATURE_C, Flags, Utility

# Demand older than this, and temperature older than the day before, weigh little in a forecast.
DEMAND_DAYS = 8
TEMPERATURE_DAYS = 1


@dataclass(frozen=True)
class Gaps:
    """Intervals of a window in which demand, or temperature, should be known and is not; one flag a row of the window."""

    demand: Flags
    temperature: Flags

    @staticmethod
    def of(known: pd.DataFrame, utility: Utility, day: date) -> Gaps:
        """Gaps that matter to the forecast of `day`; known: as in forecasting.forecaster."""
        index = pd.DatetimeIndex(known.index)
        gate = utility.gate_closure_of(day)
        felt = utility.day_index(day - timedelta(days=utility.lead_days + TEMPERATURE_DAYS))[0]
        recent = slice(index.searchsorted(gate - timedelta(days=DEMAND_DAYS)), None)
        in_time = slice(None, index.searchsorted(gate - utility.step - utility.demand_delay, side="right"))
        demand, temperature = (known[name].isna().to_numpy(dtype=np.bool_) for name in (DEMAND_MW, TEMPERATURE_C))
        return Gaps(
            demand=_only(_only(demand, recent), in_time),
            temperature=_only(temperature, slice(index.searchsorted(felt), None)),
        )

    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.demand.any() or self.temperature.any())

    def laid_over(self, known: pd.DataFrame, days_earlier: int, utility: Utility) -> pd.DataFrame:
        """`known` with the same gaps so many days earlier."""
        rows = days_earlier * utility.steps_per_day
        nothing = np.zeros(rows, dtype=np.bool_)
        gaps = {DEMAND_MW: self.demand, TEMPERATURE_C: self.temperature}
        return known.assign(**{name: known[name].mask(np.r_[flags[rows:], nothing]) for name, flags in gaps.items()})


def _only(flags: Flags, where: slice) -> Flags:
    """The flags inside; none outside."""
    inside = np.zeros_like(flags)
    inside[where] = flags[where]
    return inside
