"""The figure of one provider under watch, drawn onto an empty figure of any width from its content alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from data.schema import Array
from pipeline.case_study.drawing import (
    COLOURS,
    FORECAST,
    INK,
    MEASURED,
    MUTED,
    NARROW_PT,
    Event,
    at,
    date_axis,
    label_events,
)

Content = dict[str, Any]

REGIMES = {"cold": COLOURS["defended"], "mild": MEASURED, "warm": COLOURS["undefended"]}
MOST_SCORE = 20
LEAST_REACH_C, MOST_REACH_C = 2.0, 8.0
SMOOTH_DAYS = 14
_LEFT, _RIGHT, _FOOT, _BETWEEN = 30, 12, 26, 40
_SCORE_SHARE = 0.36
_BROKEN = (0, (5, 3))


def evidence(figure: Figure, content: Content) -> None:
    """Daily residual by weather regime above, evidence that the provider lies below; onsets and quarantines through both."""
    width, height = figure.bbox.width, figure.bbox.height
    narrow = width < NARROW_PT
    top = (64 if content["quarantines"] else 28) + (20 if narrow else 0)
    room = height - top - _FOOT - _BETWEEN
    across = (width - _LEFT - _RIGHT) / width
    low = figure.add_axes((_LEFT / width, _FOOT / height, across, _SCORE_SHARE * room / height))
    foot = _FOOT + _SCORE_SHARE * room + _BETWEEN
    high = figure.add_axes((_LEFT / width, foot / height, across, (1 - _SCORE_SHARE) * room / height))
    figure.text(2 / width, 1 - 12 / height, "Daily residual against the others [°C]", color=MUTED)
    _name_regimes(figure, 30 if narrow else 12)
    figure.text(2 / width, (foot - 24) / height, "Evidence that it lies", color=MUTED)
    days = np.array([at(day) for day in content["days"]])
    _draw_residual(high, days, content)
    _draw_score(low, days, content)
    for axes in (high, low):
        axes.set_xlim(days[0] - 3, days[-1] + 4)
        axes.grid(axis="y")
    high.tick_params(axis="x", length=0, labelbottom=False)
    date_axis(low)
    _mark(high, low, content)


def _draw_residual(axes: Axes, days: npt.NDArray[np.int_], content: Content) -> None:
    residual = np.array(content["residual_c"])
    known = np.isfinite(residual)
    reach = 1.1 * float(np.abs(residual[known]).max(initial=0.0))
    reach = min(max(reach, LEAST_REACH_C), MOST_REACH_C)
    shown = np.clip(residual, -reach, reach)
    regime = np.digitize(np.array(content["level_c"]), content["regimes_c"])
    for place, colour in enumerate(REGIMES.values()):
        chosen = known & (regime == place)
        axes.plot(days[chosen], shown[chosen], "o", color=colour, markersize=2.6, markeredgewidth=0, clip_on=False)
    smooth: Array = pd.Series(shown).rolling(SMOOTH_DAYS, min_periods=SMOOTH_DAYS // 2).median().to_numpy()
    axes.plot(days, smooth, color=INK, linewidth=1.3)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_ylim(-reach, reach)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_score(axes: Axes, days: npt.NDArray[np.int_], content: Content) -> None:
    score = np.clip(np.array(content["score"]), 0, MOST_SCORE)
    axes.fill_between(days, score, step="mid", color=FORECAST, alpha=0.35, linewidth=0)
    axes.plot(days, score, color=FORECAST, linewidth=1.1, drawstyle="steps-mid")
    axes.axhline(content["accuse_at"], color=INK, linewidth=1)
    axes.axhline(content["suspect_at"], color=MUTED, linewidth=1, linestyle=_BROKEN)
    axes.set_ylim(0, MOST_SCORE)
    axes.set_yticks([0, content["suspect_at"], content["accuse_at"], MOST_SCORE])


def _mark(high: Axes, low: Axes, content: Content) -> None:
    events = []
    for quarantine in content["quarantines"]:
        events += [Event(quarantine["onset"], "onset", MUTED), Event(quarantine["at"], "quarantined", INK)]
    # What began before the days that were judged is told in the table.
    shown = [event for event in events if event.day >= content["days"][0]]
    label_events(high, shown, 0, 1)
    for event in shown:
        low.axvline(at(event.day), color=event.colour, linewidth=1)


def _name_regimes(figure: Figure, below: float) -> None:
    """The regimes' names in their colours, at the right end of a line `below` the top [pt]."""
    width, height = figure.bbox.width, figure.bbox.height
    right = width - _RIGHT
    for name, colour in reversed(REGIMES.items()):
        figure.text(right / width, 1 - below / height, name, color=colour, weight="bold", ha="right")
        right -= 44
