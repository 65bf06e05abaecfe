"""From feeder meters' raw readings to the utility's demand.

Two versions of each interval are kept: a prompt one from the readings received within half an hour, known then; and, where
late readings changed it, a final one, known three days later. A forecast is given the version known at its gate closure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from data.quality import MeterFindings, repair
from data.schema import AVAILABLE_AT, DEMAND_MW, TIMESTAMP, Utility

PROMPT = pd.Timedelta(minutes=30)
FINAL = pd.Timedelta(days=3)
WATTS_PER_MW = 1e6


@dataclass(frozen=True)
class MeteredDemand:
    """demand: the schema's demand frame, index may hold an interval twice (prompt, final); findings: what was mended."""

    demand: pd.DataFrame
    findings: MeterFindings


def aggregate(readings: pd.DataFrame, utility: Utility) -> MeteredDemand:
    """Sum feeder readings (columns `meter`, `timestamp`, `received_at`, `power_w`) to demand, faults mended.

    Raises DataError when no reading can be used.
    """
    delay = readings["received_at"] - (readings[TIMESTAMP] + utility.step)
    prompt, _ = repair(readings[delay <= PROMPT], utility, hindsight=False)
    final, findings = repair(readings[delay <= FINAL], utility)
    prompt = prompt.reindex(final.index)
    changed = ~np.isclose(prompt, final, rtol=1e-9, equal_nan=True)
    demand = pd.concat([_version(prompt, utility.step + PROMPT), _version(final[changed], utility.step + FINAL)])
    return MeteredDemand(demand.sort_values([TIMESTAMP, AVAILABLE_AT], kind="stable"), findings)


def demand_as_of(demand: pd.DataFrame, moment: pd.Timestamp) -> pd.Series:
    """Demand [MW] as it was known at `moment`: the latest version of each interval, on a regular index."""
    known = demand[demand[AVAILABLE_AT] <= moment]
    latest: pd.Series = known.loc[~known.index.duplicated(keep="last"), DEMAND_MW]
    return latest


def _version(power_w: pd.Series, known_after: pd.Timedelta) -> pd.DataFrame:
    index = pd.DatetimeIndex(power_w.index, name=TIMESTAMP)
    return pd.DataFrame({DEMAND_MW: power_w.to_numpy() / WATTS_PER_MW, AVAILABLE_AT: index + known_after}, index=index)
