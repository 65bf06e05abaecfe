"""The report: every figure in it follows from the predictions, and the page needs nothing else."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data.schema import Utility
from forecasting.metrics import bias_percent, cover_80_percent, mape_percent, pinball_mw, score, wape_percent
from pipeline import backtest_plots, backtest_report
from pipeline.backtest import BacktestInput, BacktestResult
from pipeline.backtest_report import content_of, write_report
from pipeline.case_study import drawing

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
Made = tuple[BacktestResult, BacktestInput]

FIRST, LAST = date(2013, 9, 20), date(2013, 10, 28)
PLOTS = tuple(backtest_report._HEIGHTS)
SIZES = [(760, "wide"), (360, "narrow")]


@pytest.fixture(scope="module")
def made(small_world: SmallWorld) -> Made:
    """Made-up forecasts of 39 days in Berlin, among them a holiday and the day of 25 hours, and what they were made from."""
    utility, world = small_world()
    known = world.index + utility.step
    demand = pd.DataFrame({"demand_mw": world["demand_mw"], "available_at": known}, index=world.index)
    weather = pd.DataFrame(
        {
            "provider": "<mast>",
            "issued_at": known,
            "valid_at": world.index,
            "temperature_c": world["temperature_c"].to_numpy(),
        }
    )
    wanted = world.index[(world.index >= utility.day_index(FIRST)[0]) & (world.index <= utility.day_index(LAST)[-1])]
    actual = world["demand_mw"].loc[wanted]
    random = np.random.default_rng(3)
    centre = actual + random.normal(5, 20, len(actual))
    columns = {f"q{level}0": centre + 6 * (level - 5) for level in range(1, 10)}
    days = pd.Series(utility.local(wanted).date, index=wanted)
    origin = days.map({day: utility.gate_closure_of(day) for day in days.unique()})
    frame = pd.DataFrame({"origin": origin, "actual_mw": actual, "forecast_mw": centre, **columns})
    scores = score(world["demand_mw"], frame)
    notes = ["weather <mast> holds no forecasts"]
    result = BacktestResult("lightgbm", frame.rename_axis("timestamp").reset_index(), scores, notes)
    return result, BacktestInput(utility, demand, weather, ("<mast>",))


@pytest.fixture(scope="module")
def content(made: Made) -> dict[str, Any]:
    return content_of(*made)


@pytest.fixture(scope="module")
def page(made: Made, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(*made, path)
    return path.read_text("utf-8")


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of words and tables: drawing takes seconds."""
    monkeypatch.setattr(backtest_report, "_figures", lambda _: dict.fromkeys(PLOTS, ("", "")))


def changed(made: Made, actual_mw: pd.Series) -> Made:
    result, source = made
    predictions = result.predictions.assign(actual_mw=actual_mw)
    frame = predictions.set_index("timestamp")
    return replace(result, predictions=predictions, scores=score(frame["actual_mw"], frame)), source


def test_every_grouping_holds_every_interval_once(content: dict[str, Any]) -> None:
    for grouping in ("by_month", "by_hour", "by_regime", "by_day_kind", "by_lead"):
        assert sum(row["intervals"] for row in content[grouping]) == 39 * 24 + 1, grouping


def test_a_row_is_scored_by_the_metrics_of_its_part(made: Made, content: dict[str, Any]) -> None:
    frame = made[0].predictions.set_index("timestamp")
    october = frame[frame.index.tz_convert("Europe/Berlin").month == 10]
    row = content["by_month"][1]
    actual = october["actual_mw"]
    assert row == {
        "name": "2013-10",
        "intervals": 28 * 24 + 1,
        "share": mape_percent(actual, october),
        "bias": bias_percent(actual, october),
        "pinball": pinball_mw(actual, october),
        "cover": cover_80_percent(actual, october),
    }


def test_hours_are_those_of_the_local_clock(made: Made, content: dict[str, Any]) -> None:
    result, source = made
    noon = source.utility.local(pd.DatetimeIndex(result.predictions["timestamp"])).hour == 12
    off = result.predictions["forecast_mw"].where(~noon, 2 * result.predictions["actual_mw"])
    moved = content_of(replace(result, predictions=result.predictions.assign(forecast_mw=off)), source)
    assert [row["name"] for row in moved["by_hour"]] == [f"{hour:02d}" for hour in range(24)]
    assert moved["by_hour"][12]["bias"] == pytest.approx(100)
    assert [row for row in moved["by_hour"] if row["name"] != "12"] == [
        row for row in content["by_hour"] if row["name"] != "12"
    ]


def test_lead_time_is_counted_from_the_gate_closure_in_bins_of_three_hours(content: dict[str, Any]) -> None:
    # 09:00 on the day before: 15 to 39 hours; the day of 25 hours has the last bin to itself.
    assert [row["name"] for row in content["by_lead"]] == ["15", "18", "21", "24", "27", "30", "33", "36", "39"]
    assert content["by_lead"][0]["intervals"] == 39 * 3
    assert content["by_lead"][-1]["intervals"] == 1


def test_kinds_of_days_and_regimes_stand_in_their_order(content: dict[str, Any]) -> None:
    assert [row["name"] for row in content["by_day_kind"]] == ["weekday", "weekend", "holiday"]
    assert content["by_day_kind"][2]["intervals"] == 24
    names = [row["name"] for row in content["by_regime"]]
    assert names == [name for name in ("cold", "mild", "warm", "hot") if name in names]


def test_regimes_are_told_against_the_days_before_the_period(made: Made) -> None:
    result, source = made
    start = source.utility.day_index(FIRST)[0]
    before = source.weather["valid_at"] < start
    heat = source.weather["temperature_c"].where(before, 40.0)
    hot = content_of(result, replace(source, weather=source.weather.assign(temperature_c=heat)))
    assert [row["name"] for row in hot["by_regime"]] == ["hot"]


def test_days_of_unknown_weather_belong_to_no_regime(made: Made) -> None:
    result, source = made
    known = source.weather[source.weather["valid_at"] < source.utility.day_index(date(2013, 9, 25))[0]]
    some = content_of(result, replace(source, weather=known))
    assert sum(row["intervals"] for row in some["by_regime"]) == 5 * 24


def test_reliability_is_the_share_at_or_below_each_quantile(made: Made, content: dict[str, Any]) -> None:
    predictions = made[0].predictions
    for row, column in zip(content["reliability"], [f"q{level}0" for level in range(1, 10)], strict=True):
        assert row["share"] == (predictions["actual_mw"] <= predictions[column]).mean()
    assert [row["level"] for row in content["reliability"]] == pytest.approx([level / 10 for level in range(1, 10)])


def test_the_worst_week_is_the_one_with_the_largest_error(made: Made) -> None:
    result, source = made
    third = result.predictions.index[14 * 24 : 21 * 24]
    off = result.predictions["forecast_mw"].copy()
    off.loc[third] *= 1.5
    worst, typical = content_of(replace(result, predictions=result.predictions.assign(forecast_mw=off)), source)["weeks"]
    assert (worst["name"], worst["first"], len(worst["days"])) == ("worst", "2013-10-04", 7)
    assert worst["error_percent"] > 40
    assert typical["error_percent"] < 5
    assert worst["hours"] == [float(hour) for hour in range(7 * 24)]
    assert worst["actual_mw"] == result.predictions["actual_mw"].loc[third].tolist()


def test_a_period_shorter_than_two_weeks_shows_one_week(made: Made) -> None:
    result, source = made
    (week,) = content_of(replace(result, predictions=result.predictions.iloc[:48]), source)["weeks"]
    assert week["days"] == ["2013-09-20", "2013-09-21"]


def test_where_demand_is_not_positive_wape_stands_in_for_mape(made: Made) -> None:
    actual = made[0].predictions["actual_mw"].copy()
    actual.iloc[30] = -5.0
    result, source = changed(made, actual)
    content = content_of(result, source)
    frame = result.predictions.set_index("timestamp")
    september = frame[: source.utility.day_index(date(2013, 9, 30))[-1]]
    assert content["share"] == "WAPE"
    assert content["by_month"][0]["share"] == wape_percent(september["actual_mw"], september)


@pytest.mark.usefixtures("no_figures")
def test_what_nobody_metered_is_left_out_and_counted(made: Made, tmp_path: Path) -> None:
    actual = made[0].predictions["actual_mw"].copy()
    actual.iloc[-24:] = np.nan
    result, source = changed(made, actual)
    assert (content_of(result, source)["intervals"], content_of(result, source)["unmetered"]) == (38 * 24 + 1, 24)
    write_report(result, source, tmp_path / "r.html")
    assert "24 more were forecast and have no actual value" in (tmp_path / "r.html").read_text("utf-8")


def test_a_report_on_nothing_metered_at_all_is_written(made: Made, tmp_path: Path) -> None:
    write_report(*changed(made, made[0].predictions["actual_mw"] * np.nan), tmp_path / "r.html")
    assert "0 intervals scored" in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.usefixtures("no_figures")
def test_without_weather_there_are_no_regimes_and_the_page_says_so(made: Made, tmp_path: Path) -> None:
    result, source = made
    write_report(result, replace(source, weather=source.weather.iloc[:0]), tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "there are no weather regimes" in text
    assert ">cold<" not in text


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("skill", "words"),
    [(41.6, "an error 42 % smaller than that of"), (-7.0, "7 % larger than that of"), (0.2, "as large an error as that of")],
)
def test_the_page_says_how_it_compares_with_the_week_before(made: Made, tmp_path: Path, skill: float, words: str) -> None:
    result, source = made
    write_report(replace(result, scores=result.scores | {"skill_percent": skill}), source, tmp_path / "r.html")
    assert words in " ".join((tmp_path / "r.html").read_text("utf-8").split())


def test_the_page_needs_nothing_else_and_runs_nothing(page: str) -> None:
    assert "://" not in page
    assert "<script" not in page
    assert "default-src 'none'" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r"var\((--[a-z]+)\)", page)) <= set(re.findall(r"(--[a-z]+):", page))
    assert len(page.encode()) < 1_500_000


def test_names_from_outside_are_text_and_never_markup(page: str) -> None:
    assert "&lt;mast&gt;" in page
    assert "<mast>" not in page


def test_the_page_shows_the_scores_and_every_row(page: str, made: Made, content: dict[str, Any]) -> None:
    assert f"{made[0].scores['mape_percent']:.2f} %" in page
    for row in (row for grouping in ("by_month", "by_hour", "by_regime", "by_lead") for row in content[grouping]):
        assert f'<td class="n">{row["pinball"]:.1f}</td>' in page


def test_equal_content_makes_an_equal_page(page: str, made: Made, tmp_path: Path) -> None:
    write_report(*made, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text("utf-8") == page


def drawn(name: str, content: dict[str, Any], size_pt: tuple[int, int]) -> Figure:
    with drawing.mpl.rc_context(drawing.STYLE):
        figure = Figure(figsize=(size_pt[0] / 72, size_pt[1] / 72), dpi=72)
        getattr(backtest_plots, name)(figure, content)
        FigureCanvasAgg(figure).draw()
    return figure


@pytest.mark.parametrize("months", [2, 12, 36])
@pytest.mark.parametrize(("width_pt", "form"), SIZES)
@pytest.mark.parametrize("name", PLOTS)
def test_no_label_of_an_axis_meets_its_neighbour_or_is_cut_off(
    content: dict[str, Any], name: str, width_pt: int, form: str, months: int
) -> None:
    many = copy.deepcopy(content)
    row = content["by_month"][0]
    many["by_month"] = [row | {"name": f"{2012 + n // 12}-{n % 12 + 1:02d}"} for n in range(months)]
    row = content["by_regime"][0]
    many["by_regime"] = [row | {"name": regime} for regime in ("cold", "mild", "warm", "hot")]
    figure = drawn(name, many, (width_pt, backtest_report._HEIGHTS[name][form == "narrow"]))
    assert figure.axes
    for axes in figure.axes:
        low, high = axes.get_xlim()
        labels = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
        boxes = [label.get_window_extent() for label in labels]
        # DejaVu Sans, measured here, is a tenth wider than the faces that a page shows.
        assert all(left.x0 + 0.9 * left.width <= right.x0 for left, right in pairwise(boxes)), [*map(str, labels)]
        assert all(box.x0 >= 0 and box.x0 + 0.9 * box.width <= width_pt and box.y0 >= 0 for box in boxes)


def test_the_reliability_plot_draws_the_shares_against_the_levels(content: dict[str, Any]) -> None:
    (axes,) = drawn("reliability", content, (380, 360)).axes
    aim, line = axes.lines
    assert list(aim.get_xdata()) == list(aim.get_ydata())
    assert list(line.get_xdata()) == pytest.approx(list(range(10, 100, 10)))
    assert list(line.get_ydata()) == [100 * row["share"] for row in content["reliability"]]


def test_bars_are_as_high_as_the_rows_say(content: dict[str, Any]) -> None:
    share, bias, pinball, cover = drawn("by_hour", content, (760, 400)).axes
    for axes, kind in ((share, "share"), (bias, "bias"), (pinball, "pinball")):
        assert [bar.get_height() for bar in axes.patches] == [row[kind] for row in content["by_hour"]]  # type: ignore[attr-defined]  # bars are rectangles
    assert list(cover.lines[1].get_ydata()) == [row["cover"] for row in content["by_hour"]]
