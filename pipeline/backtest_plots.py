"""The figures of a backtest's report, each drawn onto an empty figure of any width from the report's content alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.case_study.drawing import COLOURS, INK, MUTED, NARROW_PT, RULE

Content = dict[str, Any]

BAR, AIM = COLOURS["defended"], COLOURS["undefended"]
_LETTER_PT, _SHORT_LABEL = 7.0, 4
_COVER_AIM_PERCENT = 80
_FEWEST_PLACES = 7


def by_month(figure: Figure, content: Content) -> None:
    """Scores of each month."""
    labels = [f"{date.fromisoformat(row['name'] + '-01'):%b}" for row in content["by_month"]]
    years = [row["name"][:4] for row in content["by_month"]]
    named = [label if n > 0 and years[n - 1] == years[n] else f"{label}\n{years[n]}" for n, label in enumerate(labels)]
    _four_scores(figure, content, content["by_month"], named)


def by_hour(figure: Figure, content: Content) -> None:
    """Scores of each hour of the local day."""
    _four_scores(figure, content, content["by_hour"], [row["name"] for row in content["by_hour"]], "hour of the local day")


def by_kind(figure: Figure, content: Content) -> None:
    """Scores of each weather regime, and beside them of each kind of day."""
    rows = [*content["by_regime"], *content["by_day_kind"]]
    _four_scores(figure, content, rows, [row["name"] for row in rows], gap_after=len(content["by_regime"]))


def by_lead(figure: Figure, content: Content) -> None:
    """Scores of each stretch of lead time."""
    names = [row["name"] for row in content["by_lead"]]
    _four_scores(figure, content, content["by_lead"], names, "hours from gate closure, from")


def reliability(figure: Figure, content: Content) -> None:
    """Share of actual values at or below each quantile, against the share there should be."""
    width, height = figure.bbox.width, figure.bbox.height
    side = min(width - 70, height - 70)
    axes = figure.add_axes((48 / width, 40 / height, side / width, side / height))
    figure.text(2 / width, 1 - 12 / height, "Observed share at or below the quantile [%]", color=MUTED)
    figure.text((48 + side) / width, 6 / height, "nominal level of the quantile [%]", color=MUTED, ha="right")
    levels = [100 * row["level"] for row in content["reliability"]]
    shares = [_percent(row["share"]) for row in content["reliability"]]
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (5, 3)))
    axes.plot(levels, shares, color=BAR, linewidth=2, marker="o", markersize=6)
    axes.annotate("as it should be", (92, 92), (-6, 4), textcoords="offset points", ha="right", color=MUTED)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xticks(range(0, 101, 20))
    axes.set_yticks(range(0, 101, 20))
    axes.grid()


def weeks(figure: Figure, content: Content) -> None:
    """Forecast with its 80 % band, and actual demand, over the worst and a typical week."""
    width, height = figure.bbox.width, figure.bbox.height
    shown = content["weeks"]
    each = (height - 20) / max(1, len(shown))
    figure.text(2 / width, 1 - 12 / height, "Demand [GW]", color=MUTED)
    for number, week in enumerate(shown):
        bottom = height - 20 - (number + 1) * each + 30
        axes = figure.add_axes((40 / width, bottom / height, (width - 54) / width, (each - 66) / height))
        _draw_week(axes, week, narrow=width < NARROW_PT)


def _draw_week(axes: Axes, week: Content, *, narrow: bool) -> None:
    hours = week["hours"]
    axes.fill_between(hours, _gw(week["q10"]), _gw(week["q90"]), color=BAR, alpha=0.3, linewidth=0)
    axes.plot(hours, _gw(week["forecast_mw"]), color=BAR, linewidth=1.8)
    axes.plot(hours, _gw(week["actual_mw"]), color=INK, linewidth=1.3)
    days = [date.fromisoformat(day) for day in week["days"]]
    name = f"{week['name']} week from {days[0].day} {days[0]:%b %Y}".strip()
    error = "" if week["error_percent"] is None else f": WAPE {week['error_percent']:.1f} %"
    axes.set_title(f"{name}{error}", loc="left", weight="bold", color=INK, pad=8)
    axes.set_xlim(0, 24 * len(days))
    form = "{:%a}" if narrow else "{0:%a} {0.day} {0:%b}"
    axes.set_xticks([24 * n for n in range(len(days))], [form.format(day) for day in days], ha="left")
    axes.margins(y=0.1)
    axes.grid()


def _four_scores(
    figure: Figure,
    content: Content,
    rows: Sequence[Content],
    labels: Sequence[str],
    caption: str = "",
    gap_after: int = 0,
) -> None:
    """Error, bias, pinball loss and cover of each row, side by side where there is room."""
    width, height = figure.bbox.width, figure.bbox.height
    across = 1 if width < NARROW_PT else 2
    down = 4 // across
    each_wide, each_high = width / across, (height - 18) / down
    places = [n + (0.6 if 0 < gap_after <= n else 0.0) for n in range(len(rows))]
    kinds = (
        ("share", f"{content['share']} [%]"),
        ("bias", "Bias [%]"),
        ("pinball", "Pinball loss [MW]"),
        ("cover", "Cover [%]"),
    )
    for number, (kind, title) in enumerate(kinds):
        left, top = 36 + (number % across) * each_wide, height - (number // across) * each_high
        box = (left / width, (top - each_high + 36) / height, (each_wide - 48) / width, (each_high - 66) / height)
        axes = figure.add_axes(box)
        axes.set_title(title, loc="left", color=MUTED, pad=8)
        _draw_score(axes, kind, places, [_number(row[kind]) for row in rows])
        _name_places(axes, places, labels)
    figure.text(1 - 12 / width, 4 / height, caption, color=MUTED, ha="right")


def _draw_score(axes: Axes, kind: str, places: Sequence[float], values: Sequence[float]) -> None:
    if kind == "cover":
        axes.axhline(_COVER_AIM_PERCENT, color=AIM, linewidth=1.2, linestyle=(0, (5, 3)))
        axes.plot(places, values, "o", color=BAR, markersize=6)
        lowest = min((value for value in values if math.isfinite(value)), default=0.0)
        axes.set_ylim(min(60, 10 * math.floor(lowest / 10)), 102)
    else:
        axes.bar(places, values, 0.72, color=BAR)
        axes.axhline(0, color=MUTED, linewidth=0.8)
    # A lone month is no wider than one of many.
    axes.set_xlim(-0.6, max([*places, _FEWEST_PLACES - 1]) + 0.6)
    axes.grid(axis="y", color=RULE)


def _name_places(axes: Axes, places: Sequence[float], labels: Sequence[str]) -> None:
    """Name as many as there is room for; words, which are few, all of them and smaller."""
    longest = max((len(line) for label in labels for line in label.split("\n")), default=1)
    low, high = axes.get_xlim()
    words = longest > _SHORT_LABEL
    step = 1 if words else max(1, math.ceil((_LETTER_PT * longest + 4) * (high - low) / axes.bbox.width))
    shown = [n for n in range(len(labels)) if n % step == 0]
    axes.set_xticks([places[n] for n in shown], [labels[n] for n in shown])
    axes.tick_params(axis="x", labelsize=9 if words else 11)


def _percent(share: float | None) -> float:
    return math.nan if share is None else 100 * share


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _gw(megawatts: Sequence[float]) -> list[float]:
    return [value / 1000 for value in megawatts]
