"""Runs of the weather watch: honest stations, one lie at a random moment, and what the watch made of it.

Truth: Melbourne's real temperature and Victoria's real demand, 2012–2014, half hours. 2012 is the trusted baseline. Each
lie of a seed starts at a random row between February 2013 and June 2014, told by a random source. The watch is advanced
without lies from one start to the next; at each start a copy of it goes on with the lie, so that what came before is worked
out once. A lie that would start after a wrong quarantine is left out: that quarantine is counted as such, and what remains
of the panel is no longer of the size that is asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from data.datasets import EmbeddedDataset, load_victoria
from data.rough_stations import simulate_stations
from data.schema import Array, Flags
from data.trust.court import FIRST_LEARNED_DAY
from data.trust.panel import ALL_KINDS, Panel
from data.trust.standing import TrustEvent
from data.trust.watch import Progress, WeatherWatch
from pipeline.redteam.weather_lies import COLLUDERS, LIES, Lie, is_mild, patient

ATTACKS = (*LIES, "patient")
FIRST_START, LAST_START = pd.Timestamp("2013-02-01", tz="UTC"), pd.Timestamp("2014-06-30", tz="UTC")
BASELINE_END = pd.Timestamp("2013-01-01", tz="UTC")
DAY = pd.Timedelta(days=1)
ROWS_AN_HOUR = 2
FEWEST_TO_COMPARE = 3


@dataclass(frozen=True)
class Setting:
    """How many sources there are, how rough they are (data/rough_stations.py), and whether demand is told."""

    sources: int
    roughness: float
    demand: bool


@dataclass(frozen=True)
class Attacked:
    """One lie and what came of it.

    delay_days: from the start until every liar was quarantined, infinite if never; lie_days: the same in days of lying (for
    a lie about mild weather only: hours of mild readings / 24); named: the first source quarantined after the start is a
    liar, None if nobody was; onset_error_days: estimated less true; wrong: honest sources quarantined after the start;
    honest_days: days of honest sources that could have been; reason: why the first liar was quarantined; error_c,
    clean_error_c, others_error_c: root mean square error of the fused temperature from the start on, with the lie, without
    it, and of the others alone (NaN with fewer than three sources or two liars).
    """

    attack: str
    seed: int
    start: str
    delay_days: float
    lie_days: float
    named: bool | None
    onset_error_days: float
    wrong: int
    honest_days: float
    error_c: float
    clean_error_c: float
    others_error_c: float
    reason: str


@dataclass(frozen=True)
class Run:
    """All lies of one seed in one setting, and how many were left out; wrong and honest_days of the run without a lie."""

    setting: Setting
    seed: int
    wrong: int
    honest_days: float
    attacked: tuple[Attacked, ...]
    left_out: int


@dataclass(frozen=True)
class _Plan:
    attack: str
    start: int
    order: tuple[int, ...]
    seed: tuple[int, ...]


@lru_cache(maxsize=1)
def victoria() -> EmbeddedDataset:
    """The truth, read once a process."""
    return load_victoria()


def run_seed(setting: Setting, seed: int, attacks: tuple[str, ...]) -> Run:
    """Every attack of `attacks` that the setting has sources for, and the run without one."""
    stations = simulate_stations(victoria().temperature_c, victoria().utility, seed, setting.sources, setting.roughness)
    honest = stations.to_numpy()
    watch, done = new_watch(list(stations.columns)), row_of(FIRST_START)
    pieces = [advance(watch, honest, 0, done, demand=setting.demand)]
    baseline = deepcopy(watch)
    plans = [_plan(attack, setting, seed) for attack in attacks if attack != "colluding" or setting.sources >= 5]
    lied = []
    for plan in sorted(plans, key=lambda plan: plan.start):
        pieces.append(advance(watch, honest, done, plan.start, demand=setting.demand))
        done = plan.start
        if len(watch.heard) == setting.sources:
            lied.append(_lied_to(watch, honest, plan, setting))
    pieces.append(advance(watch, honest, done, len(honest), demand=setting.demand))
    clean_c = np.concatenate([piece.temperature_c for piece in pieces])
    before_c = pieces[0].temperature_c
    liars = {one.liars[0] for one in lied if len(one.liars) == 1 and setting.sources >= FEWEST_TO_COMPARE}
    others_c = {name: np.concatenate([before_c, _without(baseline, honest, name, setting)]) for name in sorted(liars)}
    events = quarantines([event for piece in pieces for event in piece.events])
    end = stations.index[-1]
    honest_days = sum(days_at_risk(events, str(name), BASELINE_END, end) for name in stations.columns)
    attacked = tuple(_found(one, clean_c, others_c) for one in lied)
    return Run(setting, seed, len(events), honest_days, attacked, len(plans) - len(lied))


def new_watch(names: list[str]) -> WeatherWatch:
    """A watch on the truth's clock."""
    return WeatherWatch(names, victoria().utility.timezone, victoria().utility.step)


def advance(watch: WeatherWatch, readings: Array, start: int, stop: int, *, demand: bool) -> Progress:
    """Rows [start, stop) of the truth's index."""
    index = pd.DatetimeIndex(victoria().temperature_c.index[start:stop])
    demand_mw = victoria().demand_mw.to_numpy()[start:stop] if demand else None
    return watch.advance(index, readings[start:stop], demand_mw)


def quarantines(events: list[TrustEvent]) -> list[TrustEvent]:
    """Those that put a source out."""
    return [event for event in events if event.to_state == "quarantined"]


def smallest_accused_c(watch: WeatherWatch, source: int) -> float:
    """The smallest offset [°C] that the watch, its baseline behind it, accuses `source` of while all are heard."""
    assert watch.learned is not None  # noqa: S101 (the baseline is over)
    hours = watch.learned.hours
    baseline = hours.days(FIRST_LEARNED_DAY, int(hours.clock.day[-1]))
    panel = Panel(baseline, range(len(watch.names)), watch.learned.witness, watch.rules)
    return float(panel.noise.smallest[source * len(ALL_KINDS)])


def lie_of(attack: str, watch: WeatherWatch, source: int) -> Lie:
    """The lie of that name; the patient attacker knows what the watch has learned."""
    return patient(smallest_accused_c(watch, source)) if attack == "patient" else LIES[attack]


def rms_error_c(fused_c: Array, start: int) -> float:
    """Root mean square error from row `start` on [°C], the baseline's mean error taken off: no source knows it.

    NaN where nothing is fused.
    """
    error = fused_c - victoria().temperature_c.to_numpy()
    told = error[start:][np.isfinite(error[start:])]
    usual = np.nanmean(error[: row_of(BASELINE_END)])
    return float(np.sqrt(np.mean((told - usual) ** 2))) if len(told) else np.nan


def row_of(moment: pd.Timestamp) -> int:
    """The first row of the truth that starts at `moment` or later."""
    return int((victoria().temperature_c.index < moment).sum())


def _plan(attack: str, setting: Setting, seed: int) -> _Plan:
    drawn = (seed, ATTACKS.index(attack), setting.sources)
    random = np.random.default_rng(drawn)
    start = int(random.integers(row_of(FIRST_START), row_of(LAST_START)))
    return _Plan(attack, start, tuple(int(source) for source in random.permutation(setting.sources)), drawn)


def _without(watch: WeatherWatch, honest: Array, name: str, setting: Setting) -> Array:
    """The fused temperature [°C] from the first possible start on, when `name` is not heard from there on."""
    copy = deepcopy(watch)
    copy.set_standing(name, "revoked", FIRST_START, "left out to compare", FIRST_START)
    return advance(copy, honest, row_of(FIRST_START), len(honest), demand=setting.demand).temperature_c


@dataclass(frozen=True)
class _Lied:
    plan: _Plan
    progress: Progress
    liars: tuple[str, ...]
    honest: tuple[str, ...]
    lying: Flags


def _lied_to(watch: WeatherWatch, honest: Array, plan: _Plan, setting: Setting) -> _Lied:
    """A copy of the watch goes on from the plan's start, told the lie."""
    liars = plan.order[: COLLUDERS if plan.attack == "colluding" else 1]
    told, copy = honest.copy(), deepcopy(watch)
    for liar in liars:
        lie = lie_of(plan.attack, watch, liar)
        told[:, liar] = lie(honest[:, liar], plan.start, ROWS_AN_HOUR, np.random.default_rng([*plan.seed, 1]))
    progress = advance(copy, told, plan.start, len(told), demand=setting.demand)
    only_mild = plan.attack.startswith("mild")
    lying = is_mild(honest[:, liars[0]]) if only_mild else np.ones(len(honest), dtype=bool)
    names = [watch.names[source] for source in plan.order]
    return _Lied(plan, progress, tuple(names[: len(liars)]), tuple(names[len(liars) :]), lying)


def _found(lied: _Lied, clean_c: Array, others_c: dict[str, Array]) -> Attacked:
    """What came of one lie, and how wrong the fused temperature was meanwhile."""
    start = lied.plan.start
    fused_c = np.concatenate([clean_c[:start], lied.progress.temperature_c])
    others = others_c.get(lied.liars[0]) if len(lied.liars) == 1 else None
    index = pd.DatetimeIndex(victoria().temperature_c.index)
    return replace(
        outcome(lied.plan.attack, lied.progress, lied.liars, lied.honest, lied.lying, index, start),
        seed=lied.plan.seed[0],
        error_c=rms_error_c(fused_c, start),
        clean_error_c=rms_error_c(clean_c, start),
        others_error_c=np.nan if others is None else rms_error_c(others, start),
    )


def outcome(
    attack: str,
    progress: Progress,
    liars: Sequence[str],
    honest: Sequence[str],
    lying: Flags,
    index: pd.DatetimeIndex,
    start: int,
) -> Attacked:
    """What a watch made of a lie told from row `start` of `index` on; errors of the fused temperature are not known: NaN.

    lying: rows that the lie touches; the first of them is when it starts.
    """
    first = start + int(np.argmax(lying[start:]))
    events = quarantines(list(progress.events))
    caught = [event for event in events if event.provider in liars]
    wrong = [event for event in events if event.provider in honest]
    everyone = len(caught) == len(liars)
    until = int(index.searchsorted(caught[-1].at)) if everyone else len(index)
    rows_a_day = DAY / (index[1] - index[0])
    return Attacked(
        attack=attack,
        seed=0,
        start=str(index[first]),
        delay_days=(caught[-1].at - index[first]) / DAY if everyone else np.inf,
        lie_days=float(lying[first:until].sum() / rows_a_day) if everyone else np.inf,
        named=events[0].provider in liars if events else None,
        onset_error_days=(caught[0].onset - index[first]) / DAY if caught else np.nan,
        wrong=len(wrong),
        honest_days=sum(days_at_risk(wrong, name, index[first], index[-1]) for name in honest),
        error_c=np.nan,
        clean_error_c=np.nan,
        others_error_c=np.nan,
        reason=caught[0].reason if caught else "",
    )


def days_at_risk(events: Sequence[TrustEvent], name: str, since: pd.Timestamp, end: pd.Timestamp) -> float:
    """Days from `since` until `name` was quarantined by one of `events`, or until `end`."""
    until = next((event.at for event in events if event.provider == name), end)
    return float((until - since) / DAY)
