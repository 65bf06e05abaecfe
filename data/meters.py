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
    prompt, final = prompt / WATTS_PER_MW, final / WATTS_PER_MW
    demand = pd.concat([_version(prompt, utility.step + PROMPT), _version(final[changed], utility.step + FINAL)])
    return MeteredDemand(demand.sort_values([TIMESTAMP, AVAILABLE_AT], kind="stable"), findings)


def demand_as_of(demand: pd.DataFrame, moment: pd.Timestamp) -> pd.Series:
    """Demand [MW] as it was known at `moment`: the latest version of each interval, on a regular index."""
    known = demand[demand[AVAILABLE_AT] <= moment]
    latest: pd.Series = known.loc[~known.index.duplicated(keep="last"), DEMAND_MW]
    return latest


def due_demand(demand: pd.DataFrame, held: pd.DataFrame, utility: Utility, until: pd.Timestamp) -> pd.DataFrame:
    """What is to be added to the demand that is kept, once everything received by `until` was summed.

    demand: as `aggregate` answers, of the intervals to look at; held: rows kept before, with a column `timestamp`, in the
    order they became known. An interval's prompt version is due when it became known, and stays what it was, even if
    it would be mended otherwise today; its final one, when that is due and says otherwise than the last one kept.
    Answers columns `timestamp`, `demand_mw`, `available_at`.
    """
    prompt, latest = (demand[~demand.index.duplicated(keep=which)][DEMAND_MW] for which in ("first", "last"))
    index = pd.DatetimeIndex(prompt.index)
    new = ~index.isin(held[TIMESTAMP]) & (index + utility.step + PROMPT <= until)
    kept = held.drop_duplicates(TIMESTAMP, keep="last").set_index(TIMESTAMP)[DEMAND_MW].reindex(index)
    kept = kept.where(~new, prompt)
    told = index.isin(held.loc[held[AVAILABLE_AT] >= held[TIMESTAMP] + utility.step + FINAL, TIMESTAMP])
    due = (index + utility.step + FINAL <= until) & (new | index.isin(held[TIMESTAMP])) & ~told
    other = due & ~np.isclose(kept.to_numpy(), latest.to_numpy(), rtol=1e-9, equal_nan=True)
    parts = [_version(prompt[new], utility.step + PROMPT), _version(latest[other], utility.step + FINAL)]
    return pd.concat(parts).reset_index()


def _version(demand_mw: pd.Series, known_after: pd.Timedelta) -> pd.DataFrame:
    index = pd.DatetimeIndex(demand_mw.index, name=TIMESTAMP)
    return pd.DataFrame({DEMAND_MW: demand_mw.to_numpy(), AVAILABLE_AT: index + known_after}, index=index)
