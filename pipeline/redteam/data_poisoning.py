"""Poisoned training sets: some of a source's local weeks altered before the set is frozen (AML.T0020, ML02).

Each poisoning takes a source's honest values (NaN missing, shape (rows,)), where one week lies, and a generator, and returns
them with that week altered; the honest values stay as they are. What the model sees is then fused anew, as a training does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, TEMPERATURE_C, Array, Utility
from data.snapshots import Snapshot
from pipeline.redteam.weather_lies import rounding_c
from pipeline.redteam.weather_poisoning import NO_HEATING_C, WARMING_EDGE_C
from pipeline.weather_policy import WeatherContract, draw_contract, temperature_by

DEMAND = "demand"
DAYS = 7
LONGEST_SHIFT_HOURS = 6
MONTH_HOURS = 15 * 24
# Of a source's own spread, on the mean of a week.
LEAST_ALTERED = 0.05


@dataclass(frozen=True)
class WeekAt:
    """Where a week lies: rows [start, stop), rows in an hour, and the start of another week that is as long."""

    start: int
    stop: int
    per_hour: int
    other: int

    @property
    def rows(self) -> slice:
        """The week's rows."""
        return slice(self.start, self.stop)


Poisoning = Callable[[Array, WeekAt, np.random.Generator], Array]


@dataclass(frozen=True)
class Poisoned:
    """A poisoned snapshot, its source, and the mondays of the weeks that were altered."""

    snapshot: Snapshot
    source: str
    mondays: tuple[date, ...]


def flipped(values: Array, week: WeekAt, _random: np.random.Generator) -> Array:
    """Label flip: each 24 hours turned over about their own mean; energy and range stay what they were."""
    days = values[week.rows].reshape(-1, 24 * week.per_hour)
    return _with(values, week, (2 * np.nanmean(days, axis=1, keepdims=True) - days).ravel())


def biased(percent: float) -> Poisoning:
    """Every value `percent` higher, from the first to the last."""
    return lambda values, week, _: _with(values, week, values[week.rows] * (1 + percent / 100))


def biased_gently(percent: float) -> Poisoning:
    """As `biased`, growing over the first two days and waning over the last two: no edge shows."""

    def poisoning(values: Array, week: WeekAt, _random: np.random.Generator) -> Array:
        rows = np.arange(week.stop - week.start)
        ramp = np.minimum(1.0, np.minimum(rows, rows[::-1]) / (48 * week.per_hour))
        return _with(values, week, values[week.rows] * (1 + ramp * percent / 100))

    return poisoning


def warmed(celsius: float) -> Poisoning:
    """Clean label, as in the incident: demand stays true, cold to mild hours are read up to `celsius` warmer, never beyond
    what the source read within 15 days of that week.
    """

    def poisoning(values: Array, week: WeekAt, _random: np.random.Generator) -> Array:
        honest = values[week.rows]
        around = values[max(0, week.start - MONTH_HOURS * week.per_hour) : week.stop + MONTH_HOURS * week.per_hour]
        warmer = honest + celsius * np.tanh(np.clip((NO_HEATING_C - honest) / WARMING_EDGE_C, 0.0, None))
        step = rounding_c(values)
        return _with(values, week, np.minimum(np.round(np.round(warmer / step) * step, 6), np.nanmax(around)))

    return poisoning


def duplicated(values: Array, week: WeekAt, _random: np.random.Generator) -> Array:
    """Another week's values in its place."""
    return _with(values, week, values[week.other : week.other + week.stop - week.start])


def duplicated_noisily(percent: float) -> Poisoning:
    """As `duplicated`, each value off by noise of so many percent of their spread."""

    def poisoning(values: Array, week: WeekAt, random: np.random.Generator) -> Array:
        copy = values[week.other : week.other + week.stop - week.start]
        return _with(values, week, copy + percent / 100 * np.nanstd(copy) * random.standard_normal(len(copy)))

    return poisoning


def shifted(values: Array, week: WeekAt, random: np.random.Generator) -> Array:
    """What was read one to six hours before, or after."""
    rows = int(random.integers(1, LONGEST_SHIFT_HOURS + 1)) * int(random.choice([-1, 1])) * week.per_hour
    moved = np.clip(np.arange(week.start, week.stop) - rows, 0, len(values) - 1)
    return _with(values, week, values[moved])


def planted(snapshot: Snapshot, utility: Utility, source: str, poisoning: Poisoning, share: float, seed: int) -> Poisoned:
    """The snapshot as it would be frozen had `share` of the whole weeks of `source` been altered before.

    source: `demand`, or a provider. Weeks with a change of the clocks are left alone, and so are those that the poisoning
    hardly alters: summer has no cool hours to warm.
    """
    random = np.random.default_rng([seed, 91])
    weeks = _whole_weeks(pd.DatetimeIndex(snapshot.training.index), utility)
    wanted = max(1, round(share * len(weeks)))
    frame, column = (snapshot.training, DEMAND_MW) if source == DEMAND else (snapshot.readings, source)
    honest = frame[column].reindex(snapshot.training.index)
    values: Array = honest.to_numpy(dtype=np.float64)
    per_hour = int(pd.Timedelta(hours=1) / utility.step)
    order = [list(weeks)[number] for number in random.permutation(len(weeks))]
    # The later half of the order lends its weeks to the earlier.
    altered, lenders = [], order[len(order) // 2 :]
    for monday in order[: len(order) // 2]:
        start, other = weeks[monday], weeks[lenders[int(random.integers(len(lenders)))]]
        week = WeekAt(start, start + DAYS * utility.steps_per_day, per_hour, other)
        poisoned = poisoning(values, week, random)
        if np.nanmean(np.abs(poisoned - values)[week.rows]) >= LEAST_ALTERED * np.nanstd(values):
            values = poisoned
            altered.append(monday)
        if len(altered) == wanted:
            break
    series = pd.Series(values, index=honest.index)
    return Poisoned(_with_source(snapshot, utility, source, series), source, tuple(sorted(altered)))


def _with_source(snapshot: Snapshot, utility: Utility, source: str, values: pd.Series) -> Snapshot:
    if source == DEMAND:
        return replace(snapshot, training=snapshot.training.assign(**{DEMAND_MW: values}))
    known = snapshot.readings[source]
    readings = snapshot.readings.assign(**{source: values.reindex(known.index).where(known.index.isin(values.index), known)})
    contract = WeatherContract.from_json(snapshot.facts["weather"])
    drawn = draw_contract(readings, utility, contract.policy, contract.excluded)
    told, _ = temperature_by(drawn, readings, utility)
    training = snapshot.training.assign(**{TEMPERATURE_C: told[TEMPERATURE_C].reindex(snapshot.training.index)})
    facts: Mapping[str, object] = {**snapshot.facts, "weather": drawn.to_json()}
    return replace(snapshot, training=training, readings=readings, facts=facts)


def _whole_weeks(index: pd.DatetimeIndex, utility: Utility) -> dict[date, int]:
    """First row of each local week that has 168 hours, by its Monday."""
    first = utility.local(index)[0].date()
    monday = first + timedelta(days=-first.weekday() % DAYS)
    rows = DAYS * utility.steps_per_day
    weeks: dict[date, int] = {}
    while True:
        begin, end = utility.day_index(monday)[0], utility.day_index(monday + timedelta(days=DAYS))[0]
        if end > index[-1] + utility.step:
            return weeks
        start = index.get_indexer(pd.DatetimeIndex([begin]))[0]
        if start >= 0 and (end - begin) / utility.step == rows:
            weeks[monday] = int(start)
        monday += timedelta(days=DAYS)


def _with(values: Array, week: WeekAt, altered: Array) -> Array:
    poisoned = values.copy()
    poisoned[week.rows] = altered
    return poisoned
