"""What the case study's figures share: colours, axes in points, labels that never meet, SVG that belongs inside a page.

An inlined SVG names no address, its text is text, its colours are the page's CSS variables (so that it follows light and
dark), and equal content gives equal bytes. Colours are Okabe and Ito's, told apart by the colour-blind; a world keeps its
colour throughout. One point here is one CSS pixel at the figure's full width.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WORLDS = ("clean", "undefended", "defended")
COLOURS = {"clean": "#8c9196", "undefended": "#d55e00", "defended": "#0072b2"}
INK, MUTED, RULE, SHADE, PAPER = "#1d2329", "#5f6871", "#dfe2e5", "#f5efe4", "#ffffff"
MEASURED, FORECAST = "#009e73", "#b0679b"
# The yardstick lies wide and pale beneath, so that a world which keeps to it still shows.
LINES: dict[str, dict[str, Any]] = {
    "clean": {"color": COLOURS["clean"], "linewidth": 5.0, "alpha": 0.55},
    "undefended": {"color": COLOURS["undefended"], "linewidth": 2.2},
    "defended": {"color": COLOURS["defended"], "linewidth": 1.8},
}
NARROW_PT = 480

_VARIABLES = {colour: world for world, colour in COLOURS.items()} | {
    INK: "ink",
    MUTED: "muted",
    RULE: "rule",
    SHADE: "shade",
    MEASURED: "measured",
    FORECAST: "announced",
}
_LEVEL_PT, _LETTER_PT, _LINE_PT, _MONTH_PT = 15, 6.1, 14, 46
_EPOCH = date(1970, 1, 1)
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": INK,
    "text.parse_math": False,
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "svg.fonttype": "none",
    "svg.hashsalt": "gridward",
}


@dataclass(frozen=True)
class Event:
    """Something that happened on an ISO `day`."""

    day: str
    text: str
    colour: str

    @property
    def label(self) -> str:
        """What happened and when, `quarantine 18 Apr`."""
        when = date.fromisoformat(self.day)
        return f"{self.text} {when.day} {when:%b}"


def svg(
    draw: Callable[[Figure, dict[str, Any]], None], content: dict[str, Any], size_pt: tuple[int, int], name: str = ""
) -> str:
    """One figure as an inline SVG element of this width and height [pt]; its ids start with `name`, or that of `draw`."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(size_pt[0] / 72, size_pt[1] / 72), dpi=72, facecolor="none")
        draw(figure, content)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _inlined(text.getvalue(), f"{name or draw.__name__}-{size_pt[0]}")


def single_axes(figure: Figure, caption: str = "", left: int = 30, right: int = 84) -> Axes:
    """The figure's one pair of axes, room above it for event labels, and on top what is measured in which unit."""
    width, height = figure.bbox.width, figure.bbox.height
    top = (84 if width < NARROW_PT else 58) if caption else 16
    figure.text(2 / width, 1 - 10 / height, caption, color=MUTED)
    return figure.add_axes((left / width, 26 / height, (width - left - right) / width, (height - top - 26) / height))


def at(day: str) -> int:
    """Where an ISO day stands on a date axis [days since 1970]."""
    return (date.fromisoformat(day) - _EPOCH).days


def date_axis(axes: Axes) -> None:
    """Name as many months as there is room for, the first and every January with its year."""
    low, high = (_EPOCH + timedelta(days=float(limit)) for limit in axes.get_xlim())
    months = [date(low.year + number // 12, number % 12 + 1, 1) for number in range(12 * (high.year - low.year + 1))]
    inside = [month for month in months if low <= month <= high]
    step = next((step for step in (1, 2, 3, 6) if len(inside) / step * _MONTH_PT <= axes.bbox.width), 12)
    shown = [month for month in inside if (month.month - 1) % step == 0]
    labels = [f"{month:%Y}" if month.month == 1 else f"{month:%b}" for month in shown]
    labels[:1] = [f"{month:%b %Y}" for month in shown[:1]]
    axes.set_xticks([at(month.isoformat()) for month in shown], labels)


def label_events(axes: Axes, events: Sequence[Event], foot: float, head: float) -> None:
    """Mark each event by a thin line from `foot` to above `head` (shares of the axes' height), there with a label.

    Labels in the left half run to the right, the others to the left; each takes the lowest free level.
    """
    low, high = axes.get_xlim()
    scale = axes.bbox.width / (high - low)
    by_day = sorted(events, key=lambda event: event.day)
    early = [event for event in reversed(by_day) if at(event.day) <= (low + high) / 2]
    late = [event for event in by_day if event not in early]
    taken: list[tuple[int, float, float]] = []
    for event in early + late:
        x, reach = (at(event.day) - low) * scale, _LETTER_PT * len(event.label) + 8
        span = (x, x + reach) if event in early else (x - reach, x)
        level = free_level(taken, span, x)
        taken += [(level, *span), *((below, x - 1, x + 1) for below in range(level))]
        _mark(axes, event, (foot, head + (6 + level * _LEVEL_PT) / axes.bbox.height), rightwards=event in early)


def free_level(taken: Sequence[tuple[int, float, float]], span: tuple[float, float], stem: float) -> int:
    """The lowest level where a label meets nothing and its stem, through the levels below, crosses no label.

    taken: level, left and right of what is there; a level above all when there is none.
    """

    def free(level: int, left: float, right: float) -> bool:
        return all(level != other or right <= start or end <= left for other, start, end in taken)

    above_all = 1 + max((level for level, _, _ in taken), default=-1)
    for level in range(above_all):
        if free(level, *span) and all(free(below, stem - 1, stem + 1) for below in range(level)):
            return level
    return above_all


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name each line at its right end (value, text, colour); names are pushed apart where they would meet."""
    low, high = axes.get_ylim()
    ordered = sorted(end for end in ends if math.isfinite(end[0]))
    wanted = [(value - low) / (high - low) * axes.bbox.height for value, _, _ in ordered]
    for (_, text, colour), height in zip(ordered, spread(wanted), strict=True):
        axes.annotate(
            text,
            (1, height / axes.bbox.height),
            (7, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            color=colour,
            weight="bold",
            annotation_clip=False,
        )


def spread(wanted: Sequence[float]) -> list[float]:
    """Ascending heights [pt] moved as little as it takes to stand a line of text apart."""
    placed: list[float] = []
    for height in wanted:
        placed.append(max(height, placed[-1] + _LINE_PT) if placed else height)
    lifted = sum(placed) - sum(wanted)
    return [height - lifted / len(placed) for height in placed]


def _mark(axes: Axes, event: Event, span: tuple[float, float], *, rightwards: bool) -> None:
    place = axes.get_xaxis_transform()
    tip = span[1] + 10 / axes.bbox.height
    axes.plot([at(event.day)] * 2, [span[0], tip], color=event.colour, linewidth=1, transform=place, clip_on=False)
    axes.annotate(
        event.label,
        (at(event.day), span[1]),
        (4 if rightwards else -4, 0),
        xycoords=place,
        textcoords="offset points",
        ha="left" if rightwards else "right",
        color=event.colour,
        annotation_clip=False,
    )


def _inlined(document: str, name: str) -> str:
    """The element alone: no prolog, metadata, address or fixed size; its ids are the page's only ones of that name."""
    element = document[document.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", element, flags=re.DOTALL)
    element = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true">', element)
    element = re.sub(r'id="|href="#|url\(#', lambda found: f"{found[0]}{name}-", element.replace("xlink:href", "href"))
    element = element.replace("'DejaVu Sans', sans-serif", "var(--sans)")
    return re.sub("|".join(_VARIABLES), lambda found: f"var(--{_VARIABLES[found[0]]})", element)
