"""The figures: what they show, that their labels never meet, and that their SVG is fit for a page."""

from __future__ import annotations

import copy
import json
import re
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from pipeline.case_study import drawing, plots

CONTENT = json.loads((Path(__file__).parents[2] / "fixtures" / "case_study_thinned.json").read_text("utf-8"))
ALL = (plots.timeline, plots.mild_bias, plots.mape, plots.detector, plots.alteration, plots.example)
SIZES = ((760, 300), (360, 320))


def drawn(draw: Any, size_pt: tuple[int, int], content: dict[str, Any] = CONTENT) -> Figure:
    with drawing.mpl.rc_context(drawing.STYLE):
        figure = Figure(figsize=(size_pt[0] / 72, size_pt[1] / 72), dpi=72)
        draw(figure, content)
    return figure


@pytest.mark.parametrize("size_pt", SIZES)
@pytest.mark.parametrize("draw", ALL)
def test_no_label_of_a_figure_meets_another(draw: Any, size_pt: tuple[int, int]) -> None:
    figure = drawn(draw, size_pt)
    renderer = FigureCanvasAgg(figure).get_renderer()
    labels = [text for axes in figure.axes for text in axes.texts if isinstance(text, Annotation)]
    boxes = [(text.get_text(), text.get_window_extent(renderer).padded(-1.5)) for text in labels]
    assert [(one, other) for (one, a), (other, b) in combinations(boxes, 2) if a.overlaps(b)] == []


@pytest.mark.parametrize("size_pt", SIZES)
@pytest.mark.parametrize("draw", ALL)
def test_no_label_of_a_figure_is_cut_off(draw: Any, size_pt: tuple[int, int]) -> None:
    figure = drawn(draw, size_pt)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text in (text for axes in figure.axes for text in axes.texts):
        box = text.get_window_extent(renderer)
        # DejaVu Sans, measured here, is a tenth wider than the faces that a page shows.
        assert box.x0 >= -1, text.get_text()
        assert box.x0 + box.width * 0.9 <= size_pt[0] + 1, text.get_text()
        assert -1 <= box.y0 <= box.y1 <= size_pt[1] + 1, text.get_text()


@pytest.mark.parametrize("draw", ALL)
def test_an_inlined_figure_has_no_address_no_fixed_size_and_only_page_colours(draw: Any) -> None:
    element = drawing.svg(draw, CONTENT, (760, 300))
    assert element.startswith('<svg viewBox="0 0 760 300"')
    assert element.rstrip().endswith("</svg>")
    assert "://" not in element
    assert "<metadata" not in element
    assert not re.search(r"(?:fill|stroke): #", element)


def test_one_figure_in_two_widths_shares_no_id() -> None:
    wide, narrow = (set(re.findall(r'id="([^"]+)"', drawing.svg(plots.mape, CONTENT, size))) for size in SIZES)
    assert wide
    assert wide.isdisjoint(narrow)


def test_equal_content_makes_equal_bytes() -> None:
    assert drawing.svg(plots.detector, CONTENT, (760, 300)) == drawing.svg(plots.detector, CONTENT, (760, 300))


def test_the_months_are_drawn_as_they_stand_in_the_content() -> None:
    axes = drawn(plots.mild_bias, (760, 300)).axes[0]
    by_colour = {line.get_color(): list(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) > 2}
    for world, colour in drawing.COLOURS.items():
        assert by_colour[colour] == [month["mild_bias_percent"] for month in CONTENT["months"][world].values()]


def test_a_month_without_mild_hours_is_a_gap_and_not_a_zero() -> None:
    content = copy.deepcopy(CONTENT)
    content["months"]["clean"]["2013-06"]["mild_bias_percent"] = None
    axes = drawn(plots.mild_bias, (760, 300), content).axes[0]
    clean = next(line for line in axes.lines if line.get_color() == drawing.COLOURS["clean"])
    assert [value != value for value in clean.get_ydata()] == [name == "2013-06" for name in content["months"]["clean"]]  # noqa: PLR0124 (only nan is not itself)


def test_the_error_axis_starts_at_zero_and_the_bias_axis_shows_what_is_below() -> None:
    assert drawn(plots.mape, (760, 300)).axes[0].get_ylim()[0] == 0
    assert drawn(plots.mild_bias, (760, 300)).axes[0].get_ylim()[0] < 0


def test_the_detector_marks_the_day_of_the_alarm() -> None:
    axes = drawn(plots.detector, (760, 300)).axes[0]
    marked = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in marked] == [drawing.at(CONTENT["detector"]["undefended"]["alarm"])]


def test_panels_stand_side_by_side_when_wide_and_one_above_the_other_when_narrow() -> None:
    wide = [axes.get_position() for axes in drawn(plots.example, (760, 300)).axes]
    narrow = [axes.get_position() for axes in drawn(plots.example, (360, 690)).axes]
    assert len({round(box.y0, 6) for box in wide}) == 1
    assert len({round(box.x0, 6) for box in narrow}) == 1
    assert narrow[0].y0 > narrow[1].y0 > narrow[2].y0


def test_what_happens_on_one_day_shares_a_label() -> None:
    texts = [text.get_text() for text in drawn(plots.timeline, (760, 236)).axes[0].texts]
    assert "attribution, quarantine 21 Sep" in texts


@settings(deadline=None)
@given(st.lists(st.floats(0, 300), min_size=1, max_size=6).map(sorted))
def test_names_at_line_ends_keep_their_order_and_stand_a_line_apart(heights: list[float]) -> None:
    placed = drawing.spread(heights)
    assert all(above - below >= 14 - 1e-6 for below, above in pairwise(placed))
    assert sum(placed) == pytest.approx(sum(heights), abs=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 500), st.floats(1, 150)), max_size=8))
def test_labels_given_their_level_in_turn_never_meet(labels: list[tuple[float, float]]) -> None:
    taken: list[tuple[int, float, float]] = []
    for left, width in labels:
        level = drawing.free_level(taken, (left, left + width), left)
        assert all(other != level or end <= left or left + width <= start for other, start, end in taken)
        taken.append((level, left, left + width))


@pytest.mark.parametrize(
    ("first", "last", "labels"),
    [
        (
            "2013-01-01",
            "2014-12-31",
            ["Jan 2013", "Mar", "May", "Jul", "Sep", "Nov", "2014", "Mar", "May", "Jul", "Sep", "Nov"],
        ),
        ("2014-02-15", "2014-05-20", ["Mar 2014", "Apr", "May"]),
        ("2014-02-15", "2014-02-20", []),
        ("1990-02-01", "2014-12-31", [*["Jan 1991"], *(str(year) for year in range(1992, 2015))]),
    ],
)
def test_a_date_axis_names_as_many_months_as_fit_and_the_year_of_the_first(first: str, last: str, labels: list[str]) -> None:
    figure = Figure(figsize=(640 / 72, 2), dpi=72)
    axes = figure.add_axes((0, 0.2, 1, 0.6))
    axes.set_xlim(drawing.at(first), drawing.at(last))
    drawing.date_axis(axes)
    assert [label.get_text() for label in axes.get_xticklabels()] == labels
