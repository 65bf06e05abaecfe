"""The case study's figures, each drawn onto an empty figure of any width from the content of `case_study.json` alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data.schema import MILD_C
from pipeline.case_study.drawing import (
    COLOURS,
    FORECAST,
    INK,
    LINES,
    MEASURED,
    MUTED,
    NARROW_PT,
    PAPER,
    SHADE,
    STYLE,
    WORLDS,
    Event,
    at,
    date_axis,
    label_ends,
    label_events,
    single_axes,
)

Content = dict[str, Any]


def timeline(figure: Figure, content: Content) -> None:
    """From compromise to recovery, one row for each attacked world, on one time axis."""
    axes = single_axes(figure, left=2, right=14)
    days = [day for events in content["timeline"].values() for day in events.values() if day]
    axes.set_xlim(at(min(days)), at(max(days)) + 4)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    rows = (("undefended", "one provider trusted", 0.55), ("defended", "providers held against each other", 0.03))
    for world, title, foot in rows:
        events, colour = content["timeline"][world], COLOURS[world]
        begin, end = at(events["compromise"]), at(events["quarantine"] or max(days))
        unseen = at(events["suspicion"]) if events["suspicion"] else end
        axes.barh(foot + 0.04, end - begin, 0.06, begin, color=colour, alpha=0.35)
        axes.barh(foot + 0.04, unseen - begin, 0.06, begin, color=colour)
        axes.text(0, foot + 0.4, f"{world}: {title}", color=colour, weight="bold", transform=axes.transAxes)
        label_events(axes, _joined_by_day(events, colour), foot + 0.01, foot + 0.07)
    date_axis(axes)


def mild_bias(figure: Figure, content: Content) -> None:
    """Bias in mild hours, month by month, in the three worlds."""
    _draw_months(single_axes(figure, "Bias in mild hours [% of demand]"), content, "mild_bias_percent")


def mape(figure: Figure, content: Content) -> None:
    """Mean absolute percentage error, month by month, in the three worlds."""
    _draw_months(single_axes(figure, "MAPE [% of demand]"), content, "mape_percent")


def detector(figure: Figure, content: Content) -> None:
    """The running sum of errors on the high side, day by day, with each world's control limit."""
    axes, watched = single_axes(figure, "CUSUM of daily error [standard deviations]"), content["detector"]
    days = [at(day) for day in watched["clean"]["day"]]
    axes.set_xlim(days[0], days[-1])
    axes.set_ylim(0, 1.08 * max(max([*watched[world]["over"], watched[world]["limit"]]) for world in WORLDS))
    axes.axvspan(days[0], at(watched["learns_until"]), color=SHADE, linewidth=0)
    axes.text(days[0] + 6, axes.get_ylim()[1] * 0.93, "learning", color=MUTED)
    events = [Event(content["attack"]["start"], "compromise", INK)]
    for world in WORLDS:
        sums, colour = watched[world], COLOURS[world]
        axes.plot(
            [at(day) for day in sums["day"]], sums["over"], **LINES[world] | {"linewidth": LINES[world]["linewidth"] * 0.6}
        )
        axes.axhline(sums["limit"], color=colour, linewidth=1.1, linestyle=(0, (5, 3)))
        if sums["alarm"]:
            axes.plot(at(sums["alarm"]), sums["over"][sums["day"].index(sums["alarm"])], "o", color=colour, markersize=6)
            events.append(Event(sums["alarm"], "limit crossed", colour))
    label_events(axes, events, 0, 1)
    limits = (max(watched[world]["limit"] for world in WORLDS), "limits", MUTED)
    label_ends(axes, [*((watched[world]["over"][-1], world, COLOURS[world]) for world in WORLDS), limits])
    axes.grid(axis="y")
    date_axis(axes)


def alteration(figure: Figure, content: Content) -> None:
    """How far the compromised provider's values were moved, day by day."""
    axes = single_axes(figure, "Mean change to the provider’s temperatures [°C]")
    _draw_alteration(axes, content)
    label_events(axes, _milestones(content), 0, 1)


def example(figure: Figure, content: Content) -> None:
    """One mild day: what was used, and what each world had forecast, with its 80 % band."""
    day = content["example"]
    hours = [step * 24 / len(day["timestamp"]) for step in range(len(day["timestamp"]))]
    mild = [MILD_C[0] <= value <= MILD_C[1] for value in day["temperature_c"]]
    for world, axes in zip(WORLDS, _panels(figure, len(WORLDS)), strict=True):
        forecast, colour = day[world], COLOURS[world]
        axes.fill_between(hours, 0, 1, where=mild, transform=axes.get_xaxis_transform(), color=SHADE, linewidth=0)
        axes.fill_between(hours, _gw(forecast["q10"]), _gw(forecast["q90"]), color=colour, alpha=0.3, linewidth=0)
        axes.plot(hours, _gw(forecast["forecast_mw"]), color=colour, linewidth=2)
        axes.plot(hours, _gw(day["actual_mw"]), color=INK, linewidth=1.3)
        axes.set_title(world, loc="left", color=colour, weight="bold", pad=8)
        axes.set_xlim(0, 24)
        axes.set_xticks([0, 6, 12, 18])
        axes.margins(y=0.14)
        axes.grid(axis="y")
    lowest = min(range(len(hours)), key=lambda step: day["actual_mw"][step])
    place = (hours[lowest], day["actual_mw"][lowest] / 1000)
    figure.axes[0].annotate("actual", place, (8, -10), textcoords="offset points", weight="bold")


def draw_picture(content: Content, lines: tuple[str, str, str], path: Path) -> None:
    """The story in one PNG of 1600 × 900 pixels: bias in mild hours above, what the attacker changed below.

    lines: the heading, the line under it, and the figures beside the upper plot's caption.
    """
    with mpl.rc_context(STYLE | {"font.size": 12}):
        figure = Figure(figsize=(800 / 72, 450 / 72), dpi=72, facecolor=PAPER)
        figure.text(0.025, 0.935, lines[0], size=15.5, weight="bold")
        figure.text(0.025, 0.885, lines[1], size=12.5, color=MUTED)
        upper = figure.add_axes((0.05, 0.365, 0.82, 0.295))
        _draw_months(upper, content, "mild_bias_percent")
        figure.text(0.025, 0.825, f"Bias in mild hours [% of demand]; {lines[2]}", color=MUTED)
        lower = figure.add_axes((0.05, 0.065, 0.82, 0.16))
        _draw_alteration(lower, content)
        lower.set_xlim(upper.get_xlim())
        date_axis(lower)
        figure.text(0.025, 0.255, "Mean change to the provider’s temperatures [°C]", color=MUTED)
        figure.savefig(path, dpi=144, metadata={"Software": None})


def _draw_months(axes: Axes, content: Content, measure: str) -> None:
    months = content["months"]
    names = sorted(months["clean"])
    axes.set_xlim(at(f"{names[0]}-01"), at(f"{names[-1]}-28") + 3)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    ends = []
    for world in WORLDS:
        values = [_number(months[world][name][measure]) for name in names]
        axes.plot([at(f"{name}-15") for name in names], values, **LINES[world])
        ends.append((values[-1], world, COLOURS[world]))
    if axes.dataLim.y0 >= 0:
        axes.set_ylim(bottom=0)
    attack = content["windows"]["attack"]
    axes.axvspan(at(attack["first"]), at(attack["last"]), color=SHADE, linewidth=0, zorder=0)
    label_events(axes, _milestones(content), 0, 1)
    axes.grid(axis="y")
    label_ends(axes, ends)
    date_axis(axes)


def _draw_alteration(axes: Axes, content: Content) -> None:
    rows = content["alteration"]
    days = [at(row["day"]) for row in rows]
    ends = []
    for kind, name, colour in (("observed_c", "measured", MEASURED), ("forecast_c", "forecast", FORECAST)):
        values = [_number(row[kind]) for row in rows]
        axes.plot(days, values, color=colour, linewidth=1.4)
        ends.append((values[-1], name, colour))
    axes.set_xlim(days[0], days[-1])
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    label_ends(axes, ends)
    date_axis(axes)


def _milestones(content: Content) -> list[Event]:
    wanted = (("defended", "quarantine"), ("undefended", "suspicion"), ("undefended", "recovery"))
    days = [(world, event, content["timeline"][world][event]) for world, event in wanted]
    return [
        Event(content["attack"]["start"], "compromise", INK),
        *(Event(day, event, COLOURS[world]) for world, event, day in days if day),
    ]


def _joined_by_day(events: dict[str, str | None], colour: str) -> list[Event]:
    """One label a day, however much happened on it."""
    names: dict[str, list[str]] = {}
    for event, day in events.items():
        if day:
            names.setdefault(day, []).append(event)
    return [Event(day, ", ".join(happened), colour) for day, happened in names.items()]


def _panels(figure: Figure, count: int) -> list[Axes]:
    """Side by side where there is room, one above the other where not, on one scale."""
    width, height = figure.bbox.width, figure.bbox.height
    wide = width > NARROW_PT
    across, down = (count, 1) if wide else (1, count)
    panel_width, panel_height = (width - 44) / across, (height - 36) / down
    panels: list[Axes] = []
    for index in range(count):
        left, bottom = 34 + (index % across) * panel_width, 36 + (down - 1 - index // across) * panel_height
        box = (left / width, bottom / height, (panel_width - 16) / width, (panel_height - 48) / height)
        axes = figure.add_axes(box, sharey=panels[0] if panels else None)
        axes.tick_params(labelleft=index == 0 or not wide)
        panels.append(axes)
    figure.text(2 / width, 1 - 12 / height, "Demand [GW]", color=MUTED)
    figure.text(1 - 26 / width, 6 / height, "hour of the local day [h]", color=MUTED, ha="right")
    return panels


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _gw(megawatts: Sequence[float]) -> list[float]:
    return [value / 1000 for value in megawatts]
