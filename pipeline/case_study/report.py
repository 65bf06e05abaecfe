"""The case study's page and its picture: every figure in them is read from the content of `case_study.json`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import jinja2

from data.schema import MILD_C

Content = dict[str, Any]

NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"
# Height [pt] of each figure, wide and narrow.
_HEIGHTS = {
    "timeline": (222, 236),
    "mild_bias": (320, 330),
    "mape": (290, 310),
    "example": (290, 690),
    "detector": (300, 320),
    "alteration": (280, 300),
}
_WIDE_PT, _NARROW_PT = 760, 360


def write_report(content: Content, path: Path) -> None:
    """Write the whole story as one HTML page that needs nothing else: no address, no script, figures inline."""
    page = _environment().get_template("report.html.j2")
    views = {
        "headline": headline(content),
        "key_figures": _key_figures(content),
        "days_after": {world: _days_after(events) for world, events in content["timeline"].items()},
        "figures": _figures(content),
        "mild_c": MILD_C,
    }
    path.write_text(page.render(content=content, **views), encoding="utf-8")


def write_picture(content: Content, path: Path) -> None:
    """Write the story as one PNG of 1600 × 900 pixels, legible at half that size."""
    from pipeline.case_study import plots  # noqa: PLC0415 (matplotlib takes a second to import)

    bias = _late_mild_bias(content)
    direction = "inflated" if bias["undefended"] >= 0 else "deflated"
    heading = f"Altered weather data {direction} mild-weather demand forecasts by {number(abs(bias['undefended']), 1)} %"
    told = (
        "One provider trusted:",
        _told(content, "undefended", "suspicion", "suspected after {} days.", "never suspected."),
        "Providers compared:",
        _told(content, "defended", "quarantine", "liar out after {} days.", "liar never found."),
    )
    late = "last three attacked months: " + ", ".join(f"{world} {signed(percent)}" for world, percent in bias.items())
    plots.draw_picture(content, (heading, " ".join(told), late), path)


def headline(content: Content) -> tuple[str, str]:
    """What the attack did, and what the defence did about it: a sentence each."""
    bias = _late_mild_bias(content)["undefended"]
    direction = "overestimate" if bias >= 0 else "underestimate"
    damage = f"An altered weather feed made the utility {direction} demand in mild weather by {number(abs(bias), 1)} %"
    damage += " in the last three attacked months"
    damage += _told(content, "undefended", "suspicion", "; it took {} days to suspect", "; nobody suspected it")
    damage += _told(content, "undefended", "recovery", " and {} to recover.", " and the utility did not recover.")
    defence = "With the providers held against each other, the liar was "
    defence += _told(content, "defended", "quarantine", "quarantined after {} days", "never quarantined")
    return damage, f"{defence}, and the mild-weather forecast stayed {number(_mild_gap(content), 3)} points from clean."


def number(value: float | None, digits: int = 0) -> str:
    """A figure with a true minus and narrow spaces between thousands; a dash when there is none."""
    if value is None:
        return "–"
    return f"{value:z,.{digits}f}".replace(",", NARROW_SPACE).replace("-", "−")


def signed(value: float | None, digits: int = 1) -> str:
    """A figure that always shows its sign."""
    return number(value, digits) if value is None or round(value, digits) <= 0 else f"+{number(value, digits)}"


def day(iso: str | None) -> str:
    """`2014-09-14` as 14 Sep 2014, `2014-09` as Sep 2014; a dash when there is none."""
    if iso is None:
        return "–"
    if len(iso) == len("2014-09"):
        return f"{date.fromisoformat(f'{iso}-01'):%b %Y}"
    when = date.fromisoformat(iso[:10])
    return f"{when.day} {when:%b %Y}"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of providers and reasons come from outside
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "signed": signed, "day": day}
    return environment


def _figures(content: Content) -> dict[str, tuple[str, str]]:
    """Each figure as SVG, wide and narrow: the page shows the one that fits."""
    from pipeline.case_study import drawing, plots  # noqa: PLC0415 (matplotlib takes a second to import)

    return {
        name: (
            drawing.svg(getattr(plots, name), content, (_WIDE_PT, wide)),
            drawing.svg(getattr(plots, name), content, (_NARROW_PT, narrow)),
        )
        for name, (wide, narrow) in _HEIGHTS.items()
    }


def _key_figures(content: Content) -> list[tuple[str, str]]:
    bias, cost = _late_mild_bias(content), content["cost"]
    return [
        (f"{signed(bias['undefended'])} %", "bias in mild hours, last three attacked months"),
        (f"{signed(bias['clean'])} %", "the same with an honest feed"),
        (f"{signed(bias['defended'])} %", "the same under attack, defended"),
        (f"{number(cost['over_procured_mwh'])} MWh", "over-procured during the attack, beyond clean"),
    ]


def _late_mild_bias(content: Content) -> dict[str, float]:
    """Each world's bias in mild hours of the last three attacked months [% of demand]."""
    late = content["windows"]["last three attacked months"]
    return {world: late[world]["mild_bias_percent"] for world in content["months"]}


def _mild_gap(content: Content) -> float:
    """How far defended stood from clean then [points]."""
    bias = _late_mild_bias(content)
    return abs(bias["defended"] - bias["clean"])


def _days_after(events: dict[str, str | None]) -> dict[str, int | None]:
    """Days from the compromise to each event."""
    begin = date.fromisoformat(str(events["compromise"]))
    return {event: (date.fromisoformat(when) - begin).days if when else None for event, when in events.items()}


def _told(content: Content, world: str, event: str, happened: str, did_not: str) -> str:
    days = _days_after(content["timeline"][world])[event]
    return did_not if days is None else happened.format(days)
