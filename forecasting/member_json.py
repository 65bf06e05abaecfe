"""What each member's part of `model.json` must be: see `forecasting.model_json`."""

from __future__ import annotations

from collections.abc import Callable
from math import exp

from forecasting.departure_member import KEPT_DAYS
from forecasting.ensemble import LONGEST_HISTORY
from forecasting.kernel_learning import FURTHEST, starting_kernel
from forecasting.linear_member import HINGED, KNOT_LEVELS, UNMOVED
from forecasting.model_layout import KernelLayout, Layout
from forecasting.strict_json import Unexpected, block, dates, exactly, fields, items, number, row, rows_in

# The days of a history, and one at each end that it touches.
MOST_DAYS = LONGEST_HISTORY.days + 2
# Deviations below are taken for none; those of features that never move are huge, and shared out over their group.
LEAST_SPREAD, MOST_SPREAD = 1e-10, 1e3 * UNMOVED
# In units of its own deviation over so many days, no day is further from the mean.
FURTHEST_DAY = 1e3
# The bounds of the search (forecasting.kernel_learning), and a little for its rounding.
FURTHEST_FACTOR = exp(1.001 * FURTHEST)


def check_line(value: object, at: str, columns: tuple[str, ...], slots: int) -> None:
    """A line per time of day over these features."""
    found = fields(value, at, ("columns", "knots", "centre", "spread", "coefficients"))
    exactly(found["columns"], f"{at}.columns", list(columns))
    knots = fields(found["knots"], f"{at}.knots", HINGED)
    for name in HINGED:
        row(knots[name], f"{at}.knots.{name}", len(KNOT_LEVELS))
    width = len(columns) + len(HINGED) * len(KNOT_LEVELS)
    block(found["centre"], f"{at}.centre", (width,))
    block(found["spread"], f"{at}.spread", (width,), LEAST_SPREAD, MOST_SPREAD)
    block(found["coefficients"], f"{at}.coefficients", (slots, 1 + width))


def check_kernel(value: object, at: str, layout: KernelLayout, slots: int) -> None:
    """A kernel and its blocks of hours."""
    found = fields(value, at, ("kernel", "blocks"))
    _check_lengths(found["kernel"], f"{at}.kernel", layout.groups)
    blocks = items(found["blocks"], f"{at}.blocks", len(layout.blocks), len(layout.blocks))
    for place, stored in enumerate(blocks):
        _check_block(stored, f"{at}.blocks[{place}]", layout, place, slots)


def check_departure(value: object, at: str, layout: Layout) -> None:
    """Ordinary demand in two ways, and the departure from it."""
    found = fields(value, at, ("line", "kernel", "rest", "usual", "seen", "days", "said"))
    check_line(found["line"], f"{at}.line", layout.ordinary, layout.slots)
    check_kernel(found["kernel"], f"{at}.kernel", layout.departure, layout.slots)
    check_kernel(found["rest"], f"{at}.rest", layout.rest, layout.slots)
    number(found["usual"], f"{at}.usual")
    lowest, highest = row(found["seen"], f"{at}.seen", 2)
    if lowest > highest:
        raise Unexpected(f"{at}.seen", "the lowest is above the highest")
    days = dates(found["days"], f"{at}.days", 1, KEPT_DAYS)
    block(found["said"], f"{at}.said", (len(days), layout.slots))


def _check_lengths(value: object, at: str, groups: tuple[str, ...]) -> None:
    found = fields(value, at, ("groups", "length", "line", "noise"))
    exactly(found["groups"], f"{at}.groups", list(groups))
    start = starting_kernel(groups)
    for name, starts in (("length", start.length), ("line", start.line)):
        values = items(found[name], f"{at}.{name}", len(groups), len(groups))
        for group, stored in zip(groups, values, strict=True):
            _check_near(stored, f"{at}.{name}", starts[group])
    _check_near(found["noise"], f"{at}.noise", start.noise)


def _check_near(value: object, at: str, start: float) -> None:
    number(value, at, start / FURTHEST_FACTOR, start * FURTHEST_FACTOR)


def _check_block(value: object, at: str, layout: KernelLayout, place: int, slots: int) -> None:
    found = fields(value, at, ("hours", "widths", "centre", "spread", "days", "weights", "usual"))
    hours, widths = layout.blocks[place], layout.widths[place]
    exactly(found["hours"], f"{at}.hours", [hours.first_hour, hours.last_hour, hours.parts])
    exactly(found["widths"], f"{at}.widths", list(widths))
    inside = hours.slots(slots)
    width, own_slots = sum(widths), inside.stop - inside.start
    days = rows_in(found["days"], f"{at}.days", MOST_DAYS)
    block(found["centre"], f"{at}.centre", (width,))
    block(found["spread"], f"{at}.spread", (width,), LEAST_SPREAD, MOST_SPREAD)
    block(found["days"], f"{at}.days", (days, width), -FURTHEST_DAY, FURTHEST_DAY, single=True)
    block(found["weights"], f"{at}.weights", (days, own_slots))
    block(found["usual"], f"{at}.usual", (own_slots,))


CHECKS: dict[str, Callable[[object, str, Layout], None]] = {
    "linear": lambda value, at, layout: check_line(value, at, layout.columns, layout.slots),
    "kernel": lambda value, at, layout: check_kernel(value, at, layout.kernel, layout.slots),
    "departure": check_departure,
    "lightgbm": lambda value, at, layout: check_line(
        fields(value, at, ("line",))["line"], f"{at}.line", layout.columns, layout.slots
    ),
}
