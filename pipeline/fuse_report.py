"""What `gridward fuse` writes: the fused series as CSV, the report as JSON, and the report as one HTML page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from data.schema import TEMPERATURE_C, TIMESTAMP, Array
from data.trust.calendar import harmonics_of
from data.trust.learning import Learned
from data.trust.readings import Flag
from data.trust.relation import middle_of
from data.trust.standing import TrustEvent
from pipeline.case_study.report import day, number, signed
from pipeline.fuse import FuseResult

Content = dict[str, Any]

UNCERTAINTY_C = "uncertainty_c"
SOURCES = "sources"
FLAGS = "flags_"
SILENT = pd.Timedelta(days=2)
FEWEST_HOURS_A_DAY = 12
# The scale of `DayRecord.scores`.
ACCUSED_SCORE = 10.0
# Any year that is no leap year: a profile is told as its mean over the hours of one.
_YEAR = pd.date_range("2013-01-01", "2013-12-31 23:00", freq="h")
_WIDE_PT, _NARROW_PT = (760, 400), (360, 400)


def write_fused(result: FuseResult, path: Path) -> None:
    """Write the CSV: `timestamp`, `temperature_c`, `uncertainty_c`, `sources`, and `flags_NAME` of each provider."""
    progress = result.progress
    stamps = np.datetime_as_string(progress.index.tz_localize(None).to_numpy(), unit="s")
    table = {
        TIMESTAMP: np.char.add(stamps, "Z"),
        TEMPERATURE_C: progress.temperature_c.round(3),
        UNCERTAINTY_C: progress.uncertainty_c.round(3),
        SOURCES: progress.sources,
    }
    found, place = np.unique(progress.flags, return_inverse=True)
    words = np.array([flag_words(flags) for flags in found], dtype=object)[place.reshape(progress.flags.shape)]
    table |= {f"{FLAGS}{name}": words[:, column] for column, name in enumerate(result.names)}
    pd.DataFrame(table).to_csv(path, index=False)


def flag_words(flags: int) -> str:
    """Flags as words joined by `|`; nothing for a reading without reproach."""
    return "|".join(str(flag.name).lower() for flag in Flag(int(flags)))


def write_json(report: Content, path: Path) -> None:
    """Write the report."""
    path.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def report_of(result: FuseResult, notes: tuple[str, ...] = ()) -> Content:
    """The report: plain values, moments as ISO 8601 UTC, None where a figure cannot be given; `notes` after the result's."""
    progress = result.progress
    known = np.isfinite(progress.temperature_c)
    profiles = _profiles(result.names, result.learned)
    witness = result.learned is not None and result.learned.witness is not None
    return {
        "providers": {
            name: _provider(result, column) | {"profile": profiles[name]} for column, name in enumerate(result.names)
        },
        "fused": {
            "rows": len(progress.index),
            "coverage": _rounded(float(known.mean()), 6),
            "mean_uncertainty_c": _mean(progress.uncertainty_c),
        },
        "baseline": None
        if result.baseline is None
        else {"from": _iso(result.baseline.first), "to": _iso(result.baseline.end), "days": result.baseline.days},
        "demand": {"given": result.demand_given, "used": witness},
        "timezone": result.timezone,
        "step_minutes": result.step / pd.Timedelta(minutes=1),
        "from": _iso(progress.index[0]),
        "to": _iso(progress.index[-1] + result.step),
        "notes": [*result.notes, *notes],
    }


def write_page(result: FuseResult, report: Content, path: Path) -> None:
    """Write `report`, made from `result`, as one HTML page: no address, no script, figures inline."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of providers come from outside
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def moment(iso: str) -> str:
        return f"{local_day(iso)} {pd.Timestamp(iso).tz_convert(result.timezone):%H:%M}"

    def local_day(iso: str) -> str:
        return day(_local_day(iso, result.timezone))

    def last_day(end: str) -> str:
        return local_day(_iso(pd.Timestamp(end) - result.step))

    environment.filters |= {"number": number, "signed": signed}
    environment.filters |= {"moment": moment, "local_day": local_day, "last_day": last_day}
    page = environment.get_template("fuse_report.html.j2")
    rules = {"accuse_at": ACCUSED_SCORE, "suspect_at": result.rules.suspect_at, "regimes_c": result.rules.regimes_c}
    path.write_text(page.render(report=report, figures=_figures(result, report), rules=rules), encoding="utf-8")


def day_series(result: FuseResult, column: int, report: Content) -> Content:
    """What the figure of one provider shows: local days, residual [°C], score and middle temperature [°C], and events."""
    days = result.progress.days
    events = report["providers"][result.names[column]]["events"]
    return {
        "days": [_local_day(record.day, result.timezone) for record in days],
        "residual_c": [float(record.residual_c[column]) for record in days],
        "score": [float(record.scores[column]) for record in days],
        "level_c": [record.level_c for record in days],
        "regimes_c": result.rules.regimes_c,
        "accuse_at": ACCUSED_SCORE,
        "suspect_at": result.rules.suspect_at,
        "quarantines": [
            {key: _local_day(event[key], result.timezone) for key in ("onset", "at")}
            for event in events
            if event["to"] == "quarantined"
        ],
    }


def _provider(result: FuseResult, column: int) -> Content:
    name, flags = result.names[column], result.progress.flags[:, column]
    said = np.flatnonzero(~np.isnan(result.readings[:, column]))
    events = sorted((event for event in result.progress.events if event.provider == name), key=lambda event: event.at)
    facts: Content = {
        "status": result.standings[column],
        "events": [_event(event) for event in events],
        "readings": len(said),
        "flagged": {str(flag.name).lower(): int(((flags & flag) != 0).sum()) for flag in Flag},
        "unreadable": result.unreadable[name],
    }
    index = result.progress.index
    silent_since = index[said[-1]] + result.step if len(said) else index[0]
    if index[-1] + result.step - silent_since > SILENT:
        facts["silent_since"] = _iso(silent_since)
    return facts


def _event(event: TrustEvent) -> Content:
    return {
        "at": _iso(event.at),
        "from": event.from_state,
        "to": event.to_state,
        "level": event.level,
        "reason": event.reason,
        "onset": _iso(event.onset),
        "statistic": _rounded(event.statistic, 2),
    }


def _profiles(names: tuple[str, ...], learned: Learned | None) -> Mapping[str, Content | None]:
    """What the baseline taught of each provider; None of one that says nothing in it."""
    if learned is None:
        return dict.fromkeys(names)
    said = np.asarray(np.isfinite(learned.hours.known).any(axis=0))
    bias = harmonics_of(_YEAR) @ learned.profiles
    by_hour = bias.reshape(-1, 24, len(names)).mean(axis=0)
    by_month = np.array([bias[_YEAR.month == month].mean(axis=0) for month in range(1, 13)])
    alone = len(names) == 1
    profiles: dict[str, Content | None] = {}
    for column, name in enumerate(names):
        residual = _daily_residual(learned, column)
        profiles[name] = (
            {
                "bias_c": _mean(bias[:, column]),
                "bias_by_hour_c": [_rounded(value) for value in by_hour[:, column]],
                "bias_by_month_c": [_rounded(value) for value in by_month[:, column]],
                "spread_c": None if alone else _rounded(float(learned.spread_c[column])),
                "day_spread_c": _rounded(float(np.nanstd(residual))) if np.isfinite(residual).any() else None,
                "memory": _memory(residual),
            }
            if said[column]
            else None
        )
    return profiles


def _daily_residual(learned: Learned, column: int) -> Array:
    """Daily mean of a provider against the middle of the others on the baseline, usual bias taken off [°C]; NaN: unknown."""
    hours = learned.hours
    others = np.delete(hours.known, column, axis=1)
    count = int(hours.clock.day[-1]) + 1
    if not others.shape[1]:
        return np.full(count, np.nan)
    residual = hours.known[:, column] - middle_of(others)
    known = np.isfinite(residual)
    said = np.bincount(hours.clock.day[known], minlength=count)
    total = np.bincount(hours.clock.day[known], residual[known], count)
    mean: Array = np.divide(total, said, out=np.full(count, np.nan), where=said >= FEWEST_HOURS_A_DAY)
    return mean


def _memory(residual: Array) -> float | None:
    """Correlation of neighbouring days; None where too few are known or nothing varies."""
    today, before = residual[1:], residual[:-1]
    both = np.isfinite(today) & np.isfinite(before)
    if both.sum() < 3 or today[both].std() == 0 or before[both].std() == 0:
        return None
    return _rounded(float(np.corrcoef(today[both], before[both])[0, 1]))


def _figures(result: FuseResult, report: Content) -> dict[str, tuple[str, str]]:
    """The figure of each provider as SVG, wide and narrow; none where nobody is judged."""
    from pipeline import fuse_plots  # noqa: PLC0415 (matplotlib takes a second to import)
    from pipeline.case_study import drawing  # noqa: PLC0415 (likewise)

    if not result.progress.days:
        return {}
    figures = {}
    for column, name in enumerate(result.names):
        content = day_series(result, column, report)
        wide, narrow = (
            drawing.svg(fuse_plots.evidence, content, size, f"provider-{column}") for size in (_WIDE_PT, _NARROW_PT)
        )
        figures[name] = (wide, narrow)
    return figures


def _local_day(moment: pd.Timestamp | str, timezone: str) -> str:
    return pd.Timestamp(moment).tz_convert(timezone).date().isoformat()


def _iso(moment: pd.Timestamp) -> str:
    return f"{moment.tz_convert('UTC'):%Y-%m-%dT%H:%M:%SZ}"


def _mean(values: Array) -> float | None:
    known = values[np.isfinite(values)]
    return _rounded(float(known.mean())) if len(known) else None


def _rounded(value: float, digits: int = 3) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
