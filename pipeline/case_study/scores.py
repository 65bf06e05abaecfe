"""The story's figures, each computed from daily parts that stand in `case_study.json`, so that anyone can do it again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from data.schema import Utility, is_mild
from forecasting.forecaster import FORECAST_MW
from pipeline.operate import Operation

# Hong, "Crystal ball lessons in predictive analytics", EnergyBiz (2015), and the bracket published since: a point of
# MAPE in day-ahead forecasting costs 0.16–0.30 M$ a year for each GW of peak demand.
COST_MUSD_PER_POINT_GW_YEAR = (0.16, 0.30)
MILD_BIAS_WITHIN_POINTS = 0.3
MAPE_WITHIN_POINTS = 0.15
LEAST_MILD_BIAS_PERCENT = 2.5
MOST_MAPE_RATIO = 2.0


@dataclass(frozen=True)
class DayParts:
    """One world's day: sums from which every figure follows. Energy [MWh]; mape_percent: mean over the intervals."""

    day: str
    intervals: int
    actual_mwh: float
    forecast_mwh: float
    over_mwh: float
    mape_percent: float
    inside_80: int
    mild_intervals: int
    mild_actual_mwh: float
    mild_forecast_mwh: float
    model_id: str
    weather: str


def day_parts(operation: Operation, actual_mw: pd.Series, temperature_c: pd.Series, utility: Utility) -> list[DayParts]:
    """The parts of every forecast day. actual_mw, temperature_c: the real series, not what meters or providers said."""
    hours = utility.step / pd.Timedelta(hours=1)
    parts = []
    for made in operation.forecasts:
        forecast = made.frame[FORECAST_MW].to_numpy()
        actual = actual_mw.loc[made.frame.index].to_numpy()
        mild = is_mild(temperature_c.loc[made.frame.index]).to_numpy()
        inside = (actual >= made.frame["q10"].to_numpy()) & (actual <= made.frame["q90"].to_numpy())
        parts.append(
            DayParts(
                day=made.day.isoformat(),
                intervals=len(actual),
                actual_mwh=round(float(actual.sum() * hours), 3),
                forecast_mwh=round(float(forecast.sum() * hours), 3),
                over_mwh=round(float(np.maximum(forecast - actual, 0).sum() * hours), 3),
                mape_percent=round(float(np.mean(np.abs(forecast - actual) / actual) * 100), 6),
                inside_80=int(inside.sum()),
                mild_intervals=int(mild.sum()),
                mild_actual_mwh=round(float(actual[mild].sum() * hours), 3),
                mild_forecast_mwh=round(float(forecast[mild].sum() * hours), 3),
                model_id=made.model_id,
                weather=made.weather,
            )
        )
    return parts


def figures(parts: Iterable[DayParts]) -> dict[str, Any]:
    """MAPE, bias in mild hours, cover of [q10, q90] and energy forecast too high, over these days."""
    days = list(parts)
    intervals = sum(day.intervals for day in days)
    mild_actual = sum(day.mild_actual_mwh for day in days)
    mild_error = sum(day.mild_forecast_mwh - day.mild_actual_mwh for day in days)
    return {
        "days": len(days),
        "mape_percent": round(sum(day.mape_percent * day.intervals for day in days) / intervals, 3),
        "mild_bias_percent": round(mild_error / mild_actual * 100, 3) if mild_actual else None,
        "mild_intervals": sum(day.mild_intervals for day in days),
        "cover_80_percent": round(sum(day.inside_80 for day in days) / intervals * 100, 1),
        "over_mwh": round(sum(day.over_mwh for day in days), 1),
    }


def between(parts: Iterable[DayParts], first: date, last: date) -> list[DayParts]:
    """The days from `first` to `last`, both included."""
    return [part for part in parts if first.isoformat() <= part.day <= last.isoformat()]


def by_month(parts: Iterable[DayParts]) -> dict[str, dict[str, Any]]:
    """Figures of each month, keyed `2014-03`."""
    months: dict[str, list[DayParts]] = {}
    for part in parts:
        months.setdefault(part.day[:7], []).append(part)
    return {month: figures(days) for month, days in months.items()}


def windows(worlds: dict[str, list[DayParts]], periods: dict[str, tuple[date, date]]) -> dict[str, dict[str, Any]]:
    """Figures of each world over each named period."""
    return {
        name: {
            "first": first.isoformat(),
            "last": last.isoformat(),
            **{world: figures(between(parts, first, last)) for world, parts in worlds.items()},
        }
        for name, (first, last) in periods.items()
    }


def bounds(table: dict[str, dict[str, Any]], outside_climatology: int, unexpected_answers: int) -> list[dict[str, Any]]:
    """The story's claims with their limits: name, value, limit, holds."""
    late, attacked, after = table["last three attacked months"], table["attack"], table["after recovery"]
    rows = [
        (
            "undefended: mild-hour bias, last three attacked months [%]",
            late["undefended"]["mild_bias_percent"],
            ">=",
            LEAST_MILD_BIAS_PERCENT,
        ),
        ("undefended: MAPE as a multiple of clean, last three attacked months", _ratio(late), "<", MOST_MAPE_RATIO),
        ("undefended: MAPE as a multiple of clean, whole attack", _ratio(attacked), "<", MOST_MAPE_RATIO),
        ("altered values outside the month's climatology", outside_climatology, "<=", 0),
        ("service: answers with another status than the story needs", unexpected_answers, "<=", 0),
    ]
    for world, window, label in (
        ("defended", late, "last three attacked months"),
        ("defended", attacked, "whole attack"),
        ("undefended", after, "after recovery"),
    ):
        rows.append(
            (
                f"{world}: mild-hour bias off clean, {label} [points]",
                _apart(window, world, "mild_bias_percent"),
                "<=",
                MILD_BIAS_WITHIN_POINTS,
            )
        )
        rows.append(
            (f"{world}: MAPE off clean, {label} [points]", _apart(window, world, "mape_percent"), "<=", MAPE_WITHIN_POINTS)
        )
    return [
        {"claim": claim, "value": value, "relation": relation, "limit": limit, "holds": _holds(value, relation, limit)}
        for claim, value, relation, limit in rows
    ]


def cost(table: dict[str, dict[str, Any]], peak_gw: float) -> dict[str, Any]:
    """Energy forecast too high beyond the clean world's; the cost of the lost accuracy as a range, with its assumption."""
    attacked = table["attack"]
    points = attacked["undefended"]["mape_percent"] - attacked["clean"]["mape_percent"]
    years = attacked["undefended"]["days"] / 365
    low, high = (round(points * peak_gw * years * rate, 2) for rate in COST_MUSD_PER_POINT_GW_YEAR)
    return {
        "over_procured_mwh": round(attacked["undefended"]["over_mwh"] - attacked["clean"]["over_mwh"], 0),
        "mape_points_lost": round(points, 3),
        "peak_gw": round(peak_gw, 2),
        "days": attacked["undefended"]["days"],
        "low_musd": low,
        "high_musd": high,
        "assumption": "a point of MAPE costs 0.16 to 0.30 million US$ a year per GW of peak demand (after Hong, 2015)",
    }


def as_json(parts: Iterable[DayParts]) -> list[dict[str, Any]]:
    """The parts as they stand in `case_study.json`."""
    return [asdict(part) for part in parts]


def _ratio(window: dict[str, Any]) -> float:
    return round(float(window["undefended"]["mape_percent"] / window["clean"]["mape_percent"]), 3)


def _apart(window: dict[str, Any], world: str, figure: str) -> float:
    return round(abs(float(window[world][figure] - window["clean"][figure])), 3)


def _holds(value: float, relation: str, limit: float) -> bool:
    return {"<=": value <= limit, "<": value < limit, ">=": value >= limit}[relation]
