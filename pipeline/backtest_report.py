"""A backtest's report: where its forecasts are good and where not, as one HTML page that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from data.schema import ISSUED_AT, QUANTILES, TIMESTAMP, VALID_AT
from data.weather_fusion import known_at
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS
from forecasting.metrics import bias_percent, cover_80_percent, mape_percent, pinball_mw, wape_percent
from forecasting.regimes import DAY_KINDS, WEATHER_REGIMES, day_kind, day_means, weather_bounds, weather_regime
from pipeline.backtest import ACTUAL_MW, ORIGIN, BacktestInput, BacktestResult
from pipeline.case_study.report import day, number, signed

Content = dict[str, Any]

LEAD_BIN_HOURS = 3
_GROUP = "group"
# Height [pt] of each figure, wide and narrow.
_HEIGHTS = {
    "by_month": (400, 760),
    "by_hour": (400, 760),
    "by_kind": (400, 760),
    "by_lead": (400, 760),
    "reliability": (380, 360),
    "weeks": (470, 470),
}
_WIDE_PT, _NARROW_PT = 760, 360


def write_report(result: BacktestResult, source: BacktestInput, path: Path) -> None:
    """Write the report of `result`, made from `source`, as one HTML page: no address, no script, figures inline."""
    content = content_of(result, source)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of sources come from outside
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "signed": signed, "day": day}
    page = environment.get_template("backtest_report.html.j2")
    path.write_text(page.render(content=content, figures=_figures(content)), encoding="utf-8")


def content_of(result: BacktestResult, source: BacktestInput) -> Content:
    """Every figure of the report, by name; None where there is none to give. Intervals nobody metered are left out."""
    utility = source.utility
    pairs = result.predictions.dropna(subset=[ACTUAL_MW, FORECAST_MW]).set_index(TIMESTAMP)
    local = utility.local(pd.DatetimeIndex(pairs.index))
    asked = utility.local(pd.DatetimeIndex(result.predictions[TIMESTAMP]))
    # Beyond a day's horizon an interval is forecast more than once: the pictures show the latest word.
    latest = pairs[~pairs.index.duplicated(keep="last")]
    share = mape_percent if math.isfinite(result.scores[mape_percent.__name__]) else wape_percent
    lead_hours = (pd.DatetimeIndex(pairs.index) - pd.DatetimeIndex(pairs[ORIGIN])) / pd.Timedelta(hours=1)
    lead_bin = (np.floor(lead_hours.to_numpy() / LEAD_BIN_HOURS) * LEAD_BIN_HOURS).astype(int)
    regimes = _regimes(source, local, asked[0])
    kinds = pd.Categorical.from_codes(day_kind([moment.date() for moment in local], utility), pd.Index(DAY_KINDS))
    return {
        "forecaster": result.forecaster,
        "first": asked[0].date().isoformat(),
        "last": asked[-1].date().isoformat(),
        "timezone": utility.timezone,
        "gate_closure": f"{utility.gate_closure:%H:%M} {_days_ahead(utility.lead_days)}",
        "intervals": len(pairs),
        "unmetered": len(asked) - len(pairs),
        "scores": {name: _finite(value) for name, value in result.scores.items()},
        "share": share.__name__.removesuffix("_percent").upper(),
        "notes": result.notes,
        "by_month": _table(pairs, local.strftime("%Y-%m"), share),
        "by_hour": _table(pairs, local.hour, share, "{:02d}"),
        "by_regime": _table(pairs, regimes, share),
        "by_day_kind": _table(pairs, kinds, share),
        "by_lead": _table(pairs, lead_bin, share, "{:d}"),
        "reliability": [
            {"level": level, "share": _finite(float((pairs[ACTUAL_MW] <= pairs[column]).mean()))}
            for level, column in zip(QUANTILES, QUANTILE_COLUMNS, strict=True)
        ],
        "weeks": _weeks(latest, utility.local(pd.DatetimeIndex(latest.index))),
    }


def _table(
    pairs: pd.DataFrame,
    groups: Any,
    share: Callable[[pd.Series, pd.DataFrame], float],
    form: str = "{}",
) -> list[Content]:
    """A row a group, in order: its name, how many intervals, and its scores. groups: one label a pair, or none."""
    rows = []
    for group, part in pairs.assign(**{_GROUP: groups}).groupby(_GROUP, observed=True):
        actual = part[ACTUAL_MW]
        rows.append(
            {
                "name": form.format(group),
                "intervals": len(part),
                "share": _finite(share(actual, part)),
                "bias": _finite(bias_percent(actual, part)),
                "pinball": _finite(pinball_mw(actual, part)),
                "cover": _finite(cover_80_percent(actual, part)),
            }
        )
    return rows


def _regimes(source: BacktestInput, local: pd.DatetimeIndex, start: pd.Timestamp) -> Any:
    """The weather regime of each interval's day, against the days before the period; none where no weather is known."""
    weather, utility = source.weather, source.utility
    codes = pd.Series(dtype="int64")
    if not weather.empty:
        first, last = weather[VALID_AT].min(), weather[VALID_AT].max()
        temperature_c = known_at(weather, weather[ISSUED_AT].max(), first, last, utility.step).median(axis=1)
        bounds = weather_bounds(temperature_c[temperature_c.index < start], utility)
        means = day_means(temperature_c, utility).dropna()
        codes = pd.Series(weather_regime(means.to_numpy(dtype=np.float64), bounds), index=means.index)
    of_interval = codes.reindex(local.tz_localize(None).normalize(), fill_value=-1).to_numpy(dtype=np.int64)
    return pd.Categorical.from_codes(of_interval, pd.Index(WEATHER_REGIMES))


def _weeks(pairs: pd.DataFrame, local: pd.DatetimeIndex) -> list[Content]:
    """The worst of the period's weeks, counted from its first day, and the one in the middle of all by error."""
    if pairs.empty:
        return []
    midnight = local.tz_localize(None).normalize()
    week = (midnight - midnight[0]).days // 7
    whole = max(1, ((midnight[-1] - midnight[0]).days + 1) // 7)
    parts = [part for _, part in pairs[week < whole].groupby(week[week < whole])]
    by_error = sorted(parts, key=lambda part: _sortable(wape_percent(part[ACTUAL_MW], part)))
    if len(by_error) == 1:
        chosen = {"": by_error[0]}
    else:
        chosen = {"worst": by_error[-1], "typical": by_error[(len(by_error) - 1) // 2]}
    return [_week(name, part, local[pairs.index.get_indexer(part.index)]) for name, part in chosen.items()]


def _week(name: str, part: pd.DataFrame, local: pd.DatetimeIndex) -> Content:
    first = local[0].normalize()
    hours = (pd.DatetimeIndex(part.index) - first.tz_convert("UTC")) / pd.Timedelta(hours=1)
    return {
        "name": name,
        "first": first.date().isoformat(),
        "days": [(first.date() + timedelta(days=n)).isoformat() for n in range((local[-1].date() - first.date()).days + 1)],
        "error_percent": _finite(wape_percent(part[ACTUAL_MW], part)),
        "hours": hours.tolist(),
        **{column: part[column].tolist() for column in (ACTUAL_MW, FORECAST_MW, "q10", "q90")},
    }


def _figures(content: Content) -> dict[str, tuple[str, str]]:
    """Each figure as SVG, wide and narrow: the page shows the one that fits."""
    from pipeline import backtest_plots  # noqa: PLC0415 (matplotlib takes a second to import)
    from pipeline.case_study import drawing  # noqa: PLC0415 (likewise)

    return {
        name: (
            drawing.svg(getattr(backtest_plots, name), content, (_WIDE_PT, wide)),
            drawing.svg(getattr(backtest_plots, name), content, (_NARROW_PT, narrow)),
        )
        for name, (wide, narrow) in _HEIGHTS.items()
    }


def _days_ahead(days: int) -> str:
    return {0: "on the day itself", 1: "on the day before"}.get(days, f"{days} days before")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _sortable(value: float) -> float:
    return value if math.isfinite(value) else -1.0
