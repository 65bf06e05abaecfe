"""What fuse writes: every figure follows from the result, and the page needs nothing else."""

from __future__ import annotations

import json
import re
from collections import Counter
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data.trust.readings import Flag
from pipeline import fuse_plots, fuse_report
from pipeline.case_study import drawing
from pipeline.fuse import FuseResult, fuse_histories
from pipeline.fuse_report import day_series, flag_words, report_of, write_fused, write_json, write_page
from tests.unit.pipeline.small_histories import BASELINE_DAYS, LIE, ZONE, histories, history

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def result() -> FuseResult:
    """South lies by 3 °C from day 90 on, west dies then, east has two values that no thermometer shows."""
    given = histories()
    south, east, west = (given[name].temperature_c.copy() for name in ("south", "east", "west"))
    south[south.index >= LIE] += 3.0
    east.iloc[[2000, 2001]] = [95.0, np.inf]
    given |= {"south": history(south), "east": history(east, unreadable=4), "west": history(west[west.index < LIE])}
    return fuse_histories(given, None, ZONE, BASELINE_DAYS)


@pytest.fixture(scope="module")
def report(result: FuseResult) -> dict[str, Any]:
    return report_of(result, ("a.csv: columns not read: x",))


@pytest.fixture(scope="module")
def table(result: FuseResult, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("fused") / "fused.csv"
    write_fused(result, path)
    return pd.read_csv(path, keep_default_na=False, na_values={"temperature_c": "", "uncertainty_c": ""})


@pytest.fixture(scope="module")
def page(result: FuseResult, report: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(result, report, path)
    return path.read_text("utf-8")


# The series


def test_the_csv_holds_a_row_an_interval_with_every_providers_flags(result: FuseResult, table: pd.DataFrame) -> None:
    flags = ["flags_north", "flags_east", "flags_south", "flags_west"]
    assert list(table.columns) == ["timestamp", "temperature_c", "uncertainty_c", "sources", *flags]
    assert table["timestamp"].iloc[0] == "2013-01-01T00:00:00Z"
    assert (pd.to_datetime(table["timestamp"], utc=True).array == result.progress.index.as_unit("s")).all()
    np.testing.assert_allclose(table["temperature_c"], result.progress.temperature_c, atol=6e-4)
    np.testing.assert_allclose(table["uncertainty_c"], result.progress.uncertainty_c, atol=6e-4)


def test_a_clean_reading_has_an_empty_flag_cell_and_others_words(table: pd.DataFrame) -> None:
    assert table["flags_north"].iloc[100] == ""
    assert table["flags_east"].iloc[2000] == "invalid"
    assert table["flags_west"].iloc[-1] == "missing"
    assert "excluded" in table["flags_south"].iloc[-1].split("|")


def test_flags_are_words_joined_by_bars() -> None:
    assert flag_words(0) == ""
    assert flag_words(int(Flag.GROSS | Flag.UNUSUAL | Flag.EXCLUDED)) == "unusual|gross|excluded"


def test_where_nobody_is_believed_the_cells_are_empty(tmp_path: Path) -> None:
    given = {"alone": history(histories()["north"].temperature_c.where(lambda values: values.index < LIE))}
    write_fused(fuse_histories(given, None, ZONE, BASELINE_DAYS), tmp_path / "f.csv")

    last = (tmp_path / "f.csv").read_text().splitlines()[-1]
    assert last == "2013-04-30T23:00:00Z,,,0,missing"


# The report


def test_the_liar_stands_in_the_report_with_when_and_why(report: dict[str, Any]) -> None:
    south = report["providers"]["south"]
    assert south["status"] == "quarantined"
    event = south["events"][-1]
    assert set(event) == {"at", "from", "to", "level", "reason", "onset", "statistic"}
    assert (event["to"], event["level"]) == ("quarantined", 3)
    assert event["from"] in ("trusted", "suspect")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["at"])
    assert event["onset"] < event["at"]
    assert event["statistic"] > 10
    assert "too warm" in event["reason"]


def test_the_events_of_each_provider_are_in_order_of_time(result: FuseResult, report: dict[str, Any]) -> None:
    for name, provider in report["providers"].items():
        moments = [event["at"] for event in provider["events"]]
        assert moments == sorted(moments)
        assert len(moments) == sum(event.provider == name for event in result.progress.events)


def test_flags_and_readings_are_counted(report: dict[str, Any], table: pd.DataFrame) -> None:
    for name, provider in report["providers"].items():
        words = Counter(word for cell in table[f"flags_{name}"] for word in cell.split("|") if word)
        assert provider["flagged"] == {str(flag.name).lower(): words[str(flag.name).lower()] for flag in Flag}
        assert provider["readings"] == len(table) - words["missing"]
    assert report["providers"]["east"]["flagged"]["invalid"] == 2
    assert report["providers"]["east"]["unreadable"] == 4


def test_a_provider_that_died_is_silent_since_its_last_reading_ended(report: dict[str, Any]) -> None:
    assert report["providers"]["west"]["silent_since"] == "2013-04-01T00:00:00Z"
    assert "silent_since" not in report["providers"]["north"]


def test_a_provider_that_never_spoke_is_silent_from_the_start_and_has_no_profile() -> None:
    given = histories()
    given["west"] = history(given["west"].temperature_c * np.nan)

    west = report_of(fuse_histories(given, None, ZONE, BASELINE_DAYS))["providers"]["west"]

    assert west["silent_since"] == "2013-01-01T00:00:00Z"
    assert west["profile"] is None
    assert west["readings"] == 0


def test_the_fused_figures_are_those_of_the_series(report: dict[str, Any], table: pd.DataFrame) -> None:
    assert report["fused"]["rows"] == len(table) == 120 * 24
    assert report["fused"]["coverage"] == pytest.approx(table["temperature_c"].notna().mean())
    assert report["fused"]["mean_uncertainty_c"] == pytest.approx(table["uncertainty_c"].mean(), abs=1e-3)


def test_the_baseline_the_witness_and_the_notes_are_told(report: dict[str, Any]) -> None:
    assert report["baseline"] == {"from": "2013-01-01T23:00:00Z", "to": "2013-03-02T23:00:00Z", "days": 60}
    assert report["demand"] == {"given": False, "used": False}
    assert report["notes"] == ["a.csv: columns not read: x"]
    assert (report["timezone"], report["step_minutes"]) == (ZONE, 60)


def test_the_profile_is_the_usual_bias_and_spread_against_the_others(report: dict[str, Any]) -> None:
    bias = [provider["profile"]["bias_c"] for provider in report["providers"].values()]
    assert np.diff(bias) == pytest.approx([1, 1, 1], abs=0.2)
    for provider in report["providers"].values():
        profile = provider["profile"]
        assert (len(profile["bias_by_hour_c"]), len(profile["bias_by_month_c"])) == (24, 12)
        assert np.mean(profile["bias_by_hour_c"]) == pytest.approx(profile["bias_c"], abs=0.01)
        assert profile["bias_by_month_c"][0] == pytest.approx(profile["bias_c"], abs=0.5)
        assert 0.4 < profile["spread_c"] < 0.9
        assert 0 < profile["day_spread_c"] < 0.3
        assert -0.5 < profile["memory"] < 0.5


def test_a_provider_that_is_warm_by_day_has_that_in_its_profile() -> None:
    given = histories()
    values = given["north"].temperature_c
    hour = values.index.tz_convert(ZONE).hour
    given["north"] = history(values + 2 * np.cos(2 * np.pi * (hour - 14) / 24))

    profile = report_of(fuse_histories(given, None, ZONE, BASELINE_DAYS))["providers"]["north"]["profile"]

    assert int(np.argmax(profile["bias_by_hour_c"])) in (13, 14, 15)
    assert np.ptp(profile["bias_by_hour_c"]) == pytest.approx(4, abs=0.8)


def test_a_lone_provider_has_no_spread_against_others() -> None:
    alone = fuse_histories({"alone": histories()["north"]}, None, ZONE, BASELINE_DAYS)

    profile = report_of(alone)["providers"]["alone"]["profile"]

    assert (profile["spread_c"], profile["day_spread_c"], profile["memory"]) == (None, None, None)


def test_a_history_too_short_to_judge_has_no_baseline_and_no_profiles_but_a_report_and_a_page(tmp_path: Path) -> None:
    short = fuse_histories({"a": history(histories()["north"].temperature_c[:500])}, None, ZONE)
    facts = report_of(short)
    write_page(short, facts, tmp_path / "page.html")

    assert facts["baseline"] is None
    assert facts["providers"]["a"]["profile"] is None
    assert "The history is too short" in (tmp_path / "page.html").read_text("utf-8")


def test_the_report_is_json_without_numbers_that_json_does_not_know(report: dict[str, Any], tmp_path: Path) -> None:
    write_json(report, tmp_path / "r.json")

    assert json.loads((tmp_path / "r.json").read_text("utf-8")) == report


# The page


def test_the_page_is_self_contained_and_has_a_section_a_provider(page: str) -> None:
    assert "<script" not in page
    assert re.search(r'(?:src|href)="(?!#)', page) is None
    assert "http" not in page.replace("http-equiv", "")
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Who is believed at the end", "north", "east", "south", "west"]
    assert page.count("<svg ") == 8


def test_ids_on_the_page_are_unique(page: str) -> None:
    ids = re.findall(r'\bid="(.*?)"', page)
    assert len(ids) == len(set(ids)) > 0


def test_the_page_tells_the_events_in_words_and_local_days(page: str, report: dict[str, Any]) -> None:
    south = page[page.index("<h2>south</h2>") : page.index("<h2>west</h2>")]
    event = report["providers"]["south"]["events"][-1]
    assert "→ quarantined" in south
    assert event["reason"] in unescape(south)
    decided = pd.Timestamp(event["at"]).tz_convert(ZONE)
    assert f"{decided.day} {decided:%b %Y} 00:00" in south
    assert "silent since 1 Apr 2013 02:00" in page


def test_names_from_outside_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse_report, "_figures", lambda *_: {})
    evil = fuse_histories({EVIL: histories()["north"]}, None, ZONE, BASELINE_DAYS)
    write_page(evil, report_of(evil, (EVIL,)), tmp_path / "page.html")

    text = (tmp_path / "page.html").read_text("utf-8")
    assert EVIL not in text
    assert text.count("&lt;script&gt;") >= 3


def test_the_figure_shows_each_judged_day_on_the_utilitys_clock(result: FuseResult, report: dict[str, Any]) -> None:
    series = day_series(result, 2, report)

    assert series["days"] == [day.date().isoformat() for day in pd.date_range("2013-03-03", "2013-04-30")]
    assert max(series["score"]) > series["accuse_at"] == 10
    (quarantine,) = series["quarantines"]
    assert quarantine["onset"] < quarantine["at"]


@pytest.mark.parametrize("size", [(760, 400), (360, 400)])
def test_the_score_axis_ends_at_20_and_shows_both_thresholds(
    result: FuseResult, report: dict[str, Any], size: tuple[int, int]
) -> None:
    figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72)
    FigureCanvasAgg(figure)
    fuse_plots.evidence(figure, day_series(result, 2, report))

    low, high = figure.axes
    assert low.get_ylim() == (0, 20)
    assert list(low.get_yticks()) == [0, 6, 10, 20]
    assert high.get_xlim() == low.get_xlim()
    bottom, top = high.get_ylim()
    assert bottom == -top


def test_a_provider_without_a_single_judged_residual_can_be_drawn(result: FuseResult, report: dict[str, Any]) -> None:
    series = day_series(result, 0, report)
    series["residual_c"] = [float("nan")] * len(series["days"])

    assert drawing.svg(fuse_plots.evidence, series, (360, 400), "x").startswith("<svg ")
