"""The story's figures, done again by hand."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import date
from typing import Any

import pandas as pd
import pytest

from data.schema import Utility
from forecasting.forecaster import QUANTILE_COLUMNS
from pipeline.case_study.scores import (
    DayParts,
    as_json,
    between,
    bounds,
    by_month,
    cost,
    day_parts,
    figures,
    windows,
)
from pipeline.operate import Operation
from pipeline.predict import DayForecast

PART = DayParts(
    day="2014-03-01",
    intervals=2,
    actual_mwh=200.0,
    forecast_mwh=210.0,
    over_mwh=12.0,
    mape_percent=5.0,
    inside_80=1,
    mild_intervals=1,
    mild_actual_mwh=100.0,
    mild_forecast_mwh=110.0,
    model_id="m",
    weather="multi-source",
)


def test_the_parts_of_a_day_by_hand() -> None:
    utility = Utility("UTC", pd.Timedelta(minutes=30))
    index = pd.date_range("2014-03-01", periods=4, freq="30min", tz="UTC")
    frame = pd.DataFrame({"forecast_mw": [110.0, 90.0, 100.0, 130.0]}, index=index)
    for number, name in enumerate(QUANTILE_COLUMNS):
        frame[name] = frame["forecast_mw"] - 5 + 1.875 * number  # five below to ten above, both inside
    actual_mw = pd.Series([100.0, 100.0, 100.0, 125.0], index=index)
    temperature_c = pd.Series([14.9, 15.0, 22.0, 22.1], index=index)
    made = DayForecast("f", date(2014, 3, 1), index[0], "m-1", "s-1", "none", (), frame)
    (part,) = day_parts(Operation([made]), actual_mw, temperature_c, utility)
    assert part == DayParts(
        day="2014-03-01",
        intervals=4,
        actual_mwh=212.5,
        forecast_mwh=215.0,
        over_mwh=7.5,
        mape_percent=6.0,
        inside_80=3,
        mild_intervals=2,
        mild_actual_mwh=100.0,
        mild_forecast_mwh=95.0,
        model_id="m-1",
        weather="none",
    )


def test_figures_weigh_days_by_their_intervals_and_mild_hours_by_their_energy() -> None:
    other = replace(
        PART, intervals=6, mape_percent=1.0, inside_80=6, over_mwh=0.5, mild_actual_mwh=300.0, mild_forecast_mwh=298.0
    )
    assert figures([PART, other]) == {
        "days": 2,
        "mape_percent": 2.0,
        "mild_bias_percent": 2.0,
        "mild_intervals": 2,
        "cover_80_percent": 87.5,
        "over_mwh": 12.5,
    }


def test_days_without_a_mild_hour_have_no_mild_bias() -> None:
    cold = replace(PART, mild_intervals=0, mild_actual_mwh=0.0, mild_forecast_mwh=0.0)
    assert figures([cold])["mild_bias_percent"] is None


def test_periods_and_months_take_in_their_first_and_last_day() -> None:
    parts = [replace(PART, day=day) for day in ("2014-02-28", "2014-03-01", "2014-03-31", "2014-04-01")]
    assert [part.day for part in between(parts, date(2014, 3, 1), date(2014, 3, 31))] == ["2014-03-01", "2014-03-31"]
    assert {month: figure["days"] for month, figure in by_month(parts).items()} == {
        "2014-02": 1,
        "2014-03": 2,
        "2014-04": 1,
    }
    worlds = {"clean": parts, "defended": [replace(part, mape_percent=7.0) for part in parts]}
    table = windows(worlds, {"spring": (date(2014, 3, 1), date(2014, 4, 30))})
    assert table["spring"]["first"] == "2014-03-01"
    assert table["spring"]["clean"] == figures(parts[1:])
    assert table["spring"]["defended"]["mape_percent"] == 7.0


def test_the_parts_in_the_file_are_the_parts() -> None:
    assert [DayParts(**row) for row in as_json([PART])] == [PART]


def world(mape: float, bias: float, over: float = 0.0) -> dict[str, Any]:
    return {"days": 73, "mape_percent": mape, "mild_bias_percent": bias, "over_mwh": over}


GOOD_WINDOWS: dict[str, dict[str, Any]] = {
    "last three attacked months": {
        "clean": world(1.5, 0.1),
        "undefended": world(2.9, 2.5),
        "defended": world(1.65, 0.4),
    },
    "attack": {
        "clean": world(1.5, 0.1, 1000.0),
        "undefended": world(2.5, 2.0, 5000.0),
        "defended": world(1.35, -0.2),
    },
    "after recovery": {"clean": world(1.5, 0.1), "undefended": world(1.6, 0.3), "defended": world(1.5, 0.1)},
}


def failing(table: dict[str, dict[str, Any]], outside: int = 0, unexpected: int = 0) -> list[str]:
    return [row["claim"] for row in bounds(table, outside, unexpected) if not row["holds"]]


def test_a_story_within_its_limits_holds_every_claim_limits_included() -> None:
    rows = bounds(GOOD_WINDOWS, 0, 0)
    assert failing(GOOD_WINDOWS) == []
    assert len(rows) == len({row["claim"] for row in rows}) == 11
    values = {row["claim"]: row["value"] for row in rows}
    assert values["undefended: MAPE as a multiple of clean, last three attacked months"] == pytest.approx(1.933)
    assert values["defended: mild-hour bias off clean, whole attack [points]"] == 0.3


@pytest.mark.parametrize(
    ("window", "name", "figure", "value", "claim"),
    [
        ("last three attacked months", "undefended", "mild_bias_percent", 2.499, "undefended: mild-hour bias, last"),
        ("last three attacked months", "undefended", "mape_percent", 3.0, "undefended: MAPE as a multiple"),
        ("attack", "undefended", "mape_percent", 3.01, "undefended: MAPE as a multiple of clean, whole"),
        ("last three attacked months", "defended", "mild_bias_percent", 0.41, "defended: mild-hour bias off clean, last"),
        ("last three attacked months", "defended", "mild_bias_percent", -0.21, "defended: mild-hour bias off clean, last"),
        ("last three attacked months", "defended", "mape_percent", 1.66, "defended: MAPE off clean, last"),
        ("attack", "defended", "mild_bias_percent", 0.5, "defended: mild-hour bias off clean, whole"),
        ("attack", "defended", "mape_percent", 1.7, "defended: MAPE off clean, whole"),
        ("after recovery", "undefended", "mild_bias_percent", 0.5, "undefended: mild-hour bias off clean, after"),
        ("after recovery", "undefended", "mape_percent", 1.2, "undefended: MAPE off clean, after"),
    ],
)
def test_a_figure_past_its_limit_fails_its_claim_alone(
    window: str, name: str, figure: str, value: float, claim: str
) -> None:
    table = copy.deepcopy(GOOD_WINDOWS)
    table[window][name][figure] = value
    (failed,) = failing(table)
    assert failed.startswith(claim)


def test_an_altered_value_outside_the_climatology_or_an_unexpected_answer_fails_the_story() -> None:
    assert failing(GOOD_WINDOWS, outside=1) == ["altered values outside the month's climatology"]
    assert failing(GOOD_WINDOWS, unexpected=1) == ["service: answers with another status than the story needs"]


def test_the_cost_is_a_range_with_its_assumption() -> None:
    # One point of MAPE, 9 GW, a fifth of a year: 0.16 and 0.30 M$ a point, GW and year.
    assert cost(GOOD_WINDOWS, 9.0) == {
        "over_procured_mwh": 4000.0,
        "mape_points_lost": 1.0,
        "peak_gw": 9.0,
        "days": 73,
        "low_musd": 0.29,
        "high_musd": 0.54,
        "assumption": "a point of MAPE costs 0.16 to 0.30 million US$ a year per GW of peak demand (after Hong, 2015)",
    }
