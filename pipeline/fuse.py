"""Offline fusion: providers' histories on one grid, through the weather watch from the first row to the last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

import numpy as np
import pandas as pd

from data.files import DemandFile, WeatherHistory
from data.schema import DEMAND_MW, TIMESTAMP, Array
from data.trust.learning import Learned
from data.trust.rules import FEWEST_BASELINE_DAYS, TrustRules
from data.trust.standing import TrustState
from data.trust.watch import Progress, WeatherWatch
from pipeline.errors import PipelineError

BASELINE_DAYS = TrustRules().baseline_days
JUDGED_DAYS = 30
MOST_ROWS = 4_000_000

_SECOND = pd.Timedelta(seconds=1)
_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Baseline:
    """The days in which everybody is trusted: UTC moments of the local midnights where they begin and end."""

    first: pd.Timestamp
    end: pd.Timestamp
    days: int


@dataclass(frozen=True, eq=False)
class FuseResult:
    """What the watch made of the histories. Arrays of shape (rows, names); `progress.index` are the rows.

    readings: what was said [°C]; standings: at the end; learned, baseline: None where the history is too short to judge;
    unreadable: cells of each file that held no number; notes: what the reader should know.
    """

    names: tuple[str, ...]
    timezone: str
    step: pd.Timedelta
    rules: TrustRules
    readings: Array
    progress: Progress
    standings: tuple[TrustState, ...]
    learned: Learned | None
    baseline: Baseline | None
    unreadable: Mapping[str, int]
    demand_given: bool
    notes: tuple[str, ...]


def fuse_histories(
    histories: Mapping[str, WeatherHistory], demand: DemandFile | None, timezone: str, baseline_days: int = BASELINE_DAYS
) -> FuseResult:
    """Watch and fuse the histories of named providers, with demand as a witness where it is given.

    A history shorter than the baseline and 30 days more has half of its whole days as baseline; with fewer than 56 days
    for it, levels 3 and 4 judge nobody. Raises PipelineError where the histories span too long a time.
    """
    index, step = common_grid(histories, timezone)
    readings = np.column_stack([held(history.temperature_c, history.step, index) for history in histories.values()])
    demand_mw = None if demand is None else demand_on(index, step, demand)
    baseline, days = _baseline(index[0], index[-1] + step, timezone, baseline_days)
    # With fewer whole days than its baseline the watch learns nothing.
    rules = TrustRules(baseline_days=baseline.days if baseline else max(days + 1, FEWEST_BASELINE_DAYS))
    watch = WeatherWatch(tuple(histories), timezone, step, rules)
    progress = watch.advance(index, readings, demand_mw)
    return FuseResult(
        names=watch.names,
        timezone=timezone,
        step=step,
        rules=rules,
        readings=readings,
        progress=progress,
        standings=tuple(watch.standings),
        learned=watch.learned,
        baseline=baseline,
        unreadable={name: history.unreadable for name, history in histories.items()},
        demand_given=demand is not None,
        notes=(
            *_baseline_notes(baseline, days, baseline_days),
            *_witness_notes(watch.learned, demand_given=demand is not None),
        ),
    )


def common_grid(histories: Mapping[str, WeatherHistory], timezone: str) -> tuple[pd.DatetimeIndex, pd.Timedelta]:
    """UTC starts of rows from the first reading of any history to the end of the last one, and their step.

    The step is the longest that divides every history's step and on which every reading and local midnight falls: the
    shortest of theirs where they share a clock; half an hour for hourly values of UTC in India.
    """
    first = min(history.temperature_c.index[0] for history in histories.values())
    end = max(history.temperature_c.index[-1] + history.step for history in histories.values())
    days = pd.date_range(first, end, freq="D")
    offsets = (days.tz_convert(timezone).tz_localize(None) - days.tz_localize(None)).unique()
    starts = [history.temperature_c.index[0] - pd.Timestamp(0, tz="UTC") for history in histories.values()]
    midnights = [(start + offset) // _SECOND for start in starts for offset in offsets]
    step = gcd(*(history.step // _SECOND for history in histories.values()), *midnights) * _SECOND
    if (end - first) / step > MOST_ROWS:
        problem = (
            f"the histories reach from {first:%Y-%m-%d} to {end:%Y-%m-%d} in steps of {step / pd.Timedelta(minutes=1):g} min"
        )
        raise PipelineError(problem, where="weather", mend=f"look for stray times; at most {MOST_ROWS:,} rows are watched")
    return pd.date_range(first, end, freq=step, inclusive="left", unit="us", name=TIMESTAMP), step


def held(values: pd.Series, step: pd.Timedelta, index: pd.DatetimeIndex) -> Array:
    """Values of intervals of `step` at the rows of `index`: each holds from its start to its end, NaN outside. Unit kept."""
    place = np.asarray((index - values.index[0]) // step)
    inside = (place >= 0) & (place < len(values))
    return np.where(inside, values.to_numpy()[np.clip(place, 0, len(values) - 1)], np.nan)


def demand_on(index: pd.DatetimeIndex, step: pd.Timedelta, demand: DemandFile) -> Array:
    """Mean power of each row of `index` [MW]: of the intervals that begin in it, or of the one it lies in if that is longer.

    NaN where nothing is known.
    """
    known = demand.frame[DEMAND_MW]
    if demand.step >= step:
        return held(known, demand.step, index)
    known = known.dropna()
    row = np.asarray((pd.DatetimeIndex(known.index) - index[0]) // step)
    inside = (row >= 0) & (row < len(index))
    count = np.bincount(row[inside], minlength=len(index))
    total = np.bincount(row[inside], known.to_numpy()[inside], len(index))
    mean: Array = np.divide(total, count, out=np.full(len(index), np.nan), where=count > 0)
    return mean


def _baseline(begin: pd.Timestamp, end: pd.Timestamp, timezone: str, wanted: int) -> tuple[Baseline | None, int]:
    """The baseline that a history allows, None if it is too short for any; and how many whole local days it has."""
    first = begin.tz_convert(timezone).tz_localize(None).ceil("D")
    whole = max((end.tz_convert(timezone).tz_localize(None).normalize() - first).days, 0)
    days = wanted if whole >= wanted + JUDGED_DAYS else whole // 2
    if days < FEWEST_BASELINE_DAYS:
        return None, whole
    start, stop = (
        midnight.tz_localize(timezone, ambiguous=True, nonexistent="shift_forward").tz_convert("UTC")
        for midnight in (first, first + days * _DAY)
    )
    return Baseline(start, stop, days), whole


def _baseline_notes(baseline: Baseline | None, days: int, wanted: int) -> list[str]:
    if baseline is None:
        needed = 2 * FEWEST_BASELINE_DAYS
        return [f"{days} whole days are too few to learn from: nobody is judged by levels 3 and 4 (give at least {needed})"]
    if baseline.days != wanted:
        return [f"{days} whole days are too few for a baseline of {wanted}: the first {baseline.days} are the baseline"]
    return []


def _witness_notes(learned: Learned | None, *, demand_given: bool) -> list[str]:
    if demand_given and learned is not None and learned.witness is None:
        return ["demand is known on too few days of the baseline to be a witness"]
    return []
