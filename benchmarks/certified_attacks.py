"""A search for weeks of training data that move a forecast as far as they can.

The attacker knows everything: the day, the code, which week goes to which model, what every model says. He may write what
he likes into `r` local weeks of the history, demand and temperature. Week by week he tries ways to spoil one and keeps the
worst (greedy); every history he tries on the way is an attack too and counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, TEMPERATURE_C, Array, Integers, Utility
from forecasting.certified import LOWER_MW, UPPER_MW, CertifiedForecaster
from forecasting.certified_blocks import block_of, models_of
from forecasting.forecaster import FORECAST_MW, MEDIAN, QUANTILE_COLUMNS

Spoiler = Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]
UP, DOWN = 1, -1
ROUNDING = 1e-9


def _demand(change: Callable[[pd.Series], pd.Series | float]) -> Spoiler:
    return lambda week, _: week.assign(**{DEMAND_MW: change(week[DEMAND_MW])})


def _temperature(change: Callable[[pd.Series], pd.Series | float]) -> Spoiler:
    return lambda week, _: week.assign(**{TEMPERATURE_C: change(week[TEMPERATURE_C])})


def _false_slope(mw_per_degree: float) -> Spoiler:
    return lambda week, _: week.assign(**{DEMAND_MW: week[DEMAND_MW] + mw_per_degree * (week[TEMPERATURE_C] - 18.0)})


def _repeated(week: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Another week's readings in place of this one's."""
    size = min(len(week), len(other))
    return other.iloc[:size].set_axis(week.index[:size], axis=0)


SPOILERS: Mapping[str, Spoiler] = {
    "demand × 3": _demand(lambda mw: mw * 3),
    "demand × 0.3": _demand(lambda mw: mw * 0.3),
    "demand + half its mean": _demand(lambda mw: mw + mw.mean() / 2),
    "demand − half its mean": _demand(lambda mw: mw - mw.mean() / 2),
    "demand constant": _demand(lambda mw: mw.mean()),
    "demand half a day late": _demand(lambda mw: pd.Series(np.roll(mw.to_numpy(), len(mw) // 14), index=mw.index)),
    "demand upside down": _demand(lambda mw: 2 * mw.mean() - mw),
    "demand 1e14": _demand(lambda _: 1e14),
    "demand −1e14": _demand(lambda _: -1e14),
    "demand infinite": _demand(lambda _: np.inf),
    "demand missing": _demand(lambda _: np.nan),
    "+500 MW a degree": _false_slope(500.0),
    "−500 MW a degree": _false_slope(-500.0),
    "temperature mirrored": _temperature(lambda celsius: 36.0 - celsius),
    "temperature 1e9": _temperature(lambda _: 1e9),
    "temperature missing": _temperature(lambda _: np.nan),
    "temperature of another week": lambda week, other: week.assign(
        **{TEMPERATURE_C: _repeated(week, other)[TEMPERATURE_C].reindex(week.index)}
    ),
    "another week again": _repeated,
    "rows left out": lambda week, _: week.iloc[:0],
}


@dataclass(frozen=True)
class Attack:
    """What was tried: weeks (numbers of local weeks), the way each was spoiled, and the history that came of it.

    share: the largest move at any interval of the day, of the way from the forecast to the certificate's edge (1: the edge);
    move_percent: the largest, of the forecast.
    """

    weeks: tuple[int, ...]
    ways: tuple[str, ...]
    history: pd.DataFrame
    share: float
    move_percent: float


@dataclass(frozen=True)
class Target:
    """One forecast to be moved: `day`, from `known`, by a forecaster fitted on `history` with so many models."""

    history: pd.DataFrame
    known: pd.DataFrame
    day: date
    utility: Utility
    models: int

    def certified(self, history: pd.DataFrame, r: int) -> pd.DataFrame:
        """The forecast and its certificate, fitted anew."""
        return self.fitted(history).certified(self.known, self.day, r)

    def fitted(self, history: pd.DataFrame) -> CertifiedForecaster:
        """A forecaster that learned from that history."""
        return CertifiedForecaster(self.models).fit(history, self.utility)


def search(target: Target, r: int, candidates: int, random: np.random.Generator) -> tuple[Attack, list[Attack]]:
    """The worst attack of `r` weeks that was found, and every one tried on the way to it."""
    honest = target.fitted(target.history)
    clean = honest.certified(target.known, target.day, r)
    weeks = weeks_of(target.history, target.utility)
    said = honest.said(target.known, target.day)[:, :, QUANTILE_COLUMNS.index(MEDIAN)].mean(axis=1)
    direction = UP if random.random() < 0.5 else DOWN
    worst = Attack((), (), target.history, 0.0, 0.0)
    tried: list[Attack] = []
    for _ in range(r):
        for _ in range(candidates):
            week = _week_to_spoil(weeks, worst.weeks, said * direction, random)
            way = str(random.choice(list(SPOILERS)))
            history = spoiled(worst.history, target.history, weeks, week, way, random)
            found = target.certified(history, 0)
            tried.append(Attack((*worst.weeks, week), (*worst.ways, way), history, *moved(clean, found)))
        worst = max(tried[-candidates:], key=lambda attack: attack.share)
    return worst, tried


def weeks_of(history: pd.DataFrame, utility: Utility) -> Integers:
    """Number of the local week of each row."""
    days = utility.local(pd.DatetimeIndex(history.index)).date
    number = {day: block_of(day) for day in set(days)}
    return np.array([number[day] for day in days], dtype=np.int64)


def spoiled(
    history: pd.DataFrame, honest: pd.DataFrame, weeks: Integers, week: int, way: str, random: np.random.Generator
) -> pd.DataFrame:
    """The history with one week spoiled. honest, weeks: the history before any attack, and the week of each of its rows."""
    rows = honest[weeks == week]
    other = honest[weeks == random.choice(weeks)]
    altered: pd.DataFrame = pd.concat([history.drop(rows.index, errors="ignore"), SPOILERS[way](rows, other)]).sort_index()
    return altered


def moved(clean: pd.DataFrame, found: pd.DataFrame) -> tuple[float, float]:
    """See Attack: share and move in percent. clean: with its certificate."""
    move = (found[FORECAST_MW] - clean[FORECAST_MW]).to_numpy(dtype=np.float64)
    room: Array = np.where(
        move > 0, clean[UPPER_MW] - clean[FORECAST_MW], clean[FORECAST_MW] - clean[LOWER_MW]
    ) + ROUNDING * np.abs(clean[FORECAST_MW].to_numpy())
    return float((np.abs(move) / room).max()), float((100 * np.abs(move) / clean[FORECAST_MW].abs()).max())


def _week_to_spoil(weeks: Integers, taken: tuple[int, ...], said: Array, random: np.random.Generator) -> int:
    """Mostly a week of a model that speaks against the attacker and that he does not have yet; now and then any."""
    free = np.setdiff1d(weeks, taken)
    if random.random() < 0.8:
        had = {models_of(week, len(said), 1)[0] for week in taken}
        against = [model for model in np.flatnonzero(said <= np.median(said)) if model not in had]
        wanted = free[np.isin([models_of(int(week), len(said), 1)[0] for week in free], against)]
        free = wanted if len(wanted) else free
    return int(random.choice(free))
