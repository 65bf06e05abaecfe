"""A forecast as bytes: JSON, CSV or Parquet, the same numbers in all three.

JSON is laid out once for each prepared day and set of levels; an answer puts its numbers between. Everything is told to six
significant figures: beyond those of any meter, and no last digits of a model for a thief (AML.T0024).
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from pydantic_core import to_json

from data.schema import QUANTILES, TIMESTAMP, Array
from forecasting.any_quantile import at_levels
from forecasting.certified import LOWER_MW, UPPER_MW
from forecasting.explain import EXPLAINED_COLUMNS, USUAL_MW
from forecasting.forecaster import FORECAST_MW
from pipeline.predict import DayForecast
from pipeline.prepared_day import PreparedDay
from pipeline.weather_standing import WeatherTrust

FIGURES, EXPLAINED_FIGURES = 6, 4
CERTIFICATE = (LOWER_MW, UPPER_MW)
_MEDIAN = QUANTILES.index(0.5)
_MOST_LAYOUTS = 64
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Told = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ShownDay:
    """One day as one caller is shown it. quantiles_mw: the deciles, perhaps disguised, shape (intervals, 9) [MW];
    explanation: by driver (forecasting.explain); certified: whether to tell the certificate, where there is one.
    """

    prepared: PreparedDay
    quantiles_mw: Array
    explanation: pd.DataFrame | None = None
    certified: bool = False
    trust: WeatherTrust | None = None

    def numbers(self, levels: Sequence[float]) -> tuple[Array, Told]:
        """Everything told of each interval [MW], shape (intervals, 1 + levels + told), and what the last columns are."""
        frame = self.prepared.forecast.frame
        forecast_mw = self.quantiles_mw[:, _MEDIAN] + self.prepared.beside_median_mw
        largest = float(np.abs(forecast_mw).max())
        decimals = FIGURES if largest == 0 else min(max(FIGURES - 1 - math.floor(math.log10(largest)), 0), 12)
        columns: list[Array] = [forecast_mw[:, None], at_levels(self.quantiles_mw, levels)]
        told: Told = ()
        if self.certified and LOWER_MW in frame.columns:
            columns.append(self._certificate(forecast_mw, frame, decimals))
            told += CERTIFICATE
        if self.explanation is not None:
            columns.append(_rounded_parts(self.explanation, forecast_mw.round(decimals), decimals))
            told += EXPLAINED_COLUMNS
        # Plus nothing: no number is told as minus zero.
        return np.asarray(np.round(np.concatenate(columns, axis=1), decimals) + 0.0, dtype=np.float64), told

    def _certificate(self, shown_mw: Array, frame: pd.DataFrame, decimals: int) -> Array:
        """The certificate moves with what the caller is shown, and is rounded outwards: it promises no more than it can."""
        moved = shown_mw - frame[FORECAST_MW].to_numpy()
        lower = frame[LOWER_MW].to_numpy() + np.minimum(moved, 0.0)
        upper = frame[UPPER_MW].to_numpy() + np.maximum(moved, 0.0)
        unit = 10.0**decimals
        return np.column_stack([np.floor(lower * unit) / unit, np.ceil(upper * unit) / unit])


@dataclass(frozen=True)
class _Layout:
    """head: all before the intervals; day: the entry in `days`; intervals: with a place for each number, in JSON."""

    head: bytes
    day: bytes
    intervals: bytes


_LAYOUTS: WeakKeyDictionary[PreparedDay, dict[tuple[tuple[float, ...], Told], _Layout]] = WeakKeyDictionary()


def forecast_body(prepared: PreparedDay, levels: Sequence[float], says_quantiles: Array) -> bytes:
    """The JSON answer of one prepared day, its deciles [MW] as the caller may see them."""
    return as_json([ShownDay(prepared, says_quantiles)], levels)


def as_json(shown: Sequence[ShownDay], levels: Sequence[float]) -> bytes:
    """As `api.schemas.forecasts.ForecastAnswer` says."""
    days, intervals, head = [], [], b""
    for one in shown:
        numbers, told = one.numbers(levels)
        layout = _layout(one.prepared, tuple(levels), told)
        head = head or layout.head
        trust = b"null" if one.trust is None else to_json(asdict(one.trust))
        days.append(b'%b,"trust":%b}' % (layout.day, trust))
        intervals.append(layout.intervals % tuple(to_json(numbers.ravel().tolist())[1:-1].split(b",")))
    return b'%b,"days":[%b],"intervals":[%b]}' % (head, b",".join(days), b",".join(intervals))


def as_table(shown: Sequence[ShownDay], levels: Sequence[float]) -> pd.DataFrame:
    """The same as one table, an interval a row; `q10` … for the quantiles, and columns for what else is told in numbers."""
    frames = []
    for one in shown:
        forecast = one.prepared.forecast
        numbers, told = one.numbers(levels)
        columns = [FORECAST_MW, *(column_of(level) for level in levels), *told]
        frame = pd.DataFrame(numbers, columns=columns)
        frame.insert(0, TIMESTAMP, pd.DatetimeIndex(forecast.frame.index))
        names = {"day": forecast.day.isoformat(), "forecast_id": forecast.forecast_id, "weather": forecast.weather}
        for place, (name, text) in enumerate(names.items(), start=1):
            frame.insert(place, name, text)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def as_csv(shown: Sequence[ShownDay], levels: Sequence[float]) -> bytes:
    """The table as CSV; no text in it can be taken for a formula (OWASP CSV injection)."""
    table = as_table(shown, levels)
    table[TIMESTAMP] = _utc(table[TIMESTAMP])
    for name in ("day", "forecast_id", "weather"):
        table[name] = [f"'{text}" if text.startswith(_FORMULA) else text for text in table[name]]
    return table.to_csv(index=False, lineterminator="\n").encode()


def as_parquet(shown: Sequence[ShownDay], levels: Sequence[float]) -> bytes:
    """The table as Parquet; times in UTC."""
    buffer = io.BytesIO()
    as_table(shown, levels).to_parquet(buffer, index=False)
    return buffer.getvalue()


def column_of(level: float) -> str:
    """Name of a quantile's column: as forecasting.forecaster names it, and another one for every level."""
    return f"q{(Decimal(str(level)) * 100).normalize():f}"


def etag_of(body: bytes) -> str:
    """A strong entity tag: the same for the very same bytes only."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _layout(prepared: PreparedDay, levels: tuple[float, ...], told: Told) -> _Layout:
    layouts = _LAYOUTS.setdefault(prepared, {})
    found = layouts.get((levels, told))
    if found is None:
        if len(layouts) >= _MOST_LAYOUTS:
            layouts.clear()
        found = layouts[levels, told] = _laid_out(prepared.forecast, levels, told)
    return found


def _laid_out(forecast: DayForecast, levels: tuple[float, ...], told: Told) -> _Layout:
    made_from: Mapping[str, Any] = {
        "forecast_id": forecast.forecast_id,
        "day": forecast.day,
        "model_id": forecast.model_id,
        "snapshot_id": forecast.snapshot_id,
        "weather": forecast.weather,
        "sources": forecast.sources,
    }
    head = to_json({**made_from, "gate_closure": forecast.gate_closure.to_pydatetime(), "unit": "MW"})
    day = to_json({**made_from, "days_ahead": forecast.days_ahead})
    places = ",".join(f'"{level}":%b' for level in levels)
    rest = f'"quantiles":{{{places}}},"certified":{_place(told, CERTIFICATE)},"explained":{_place(told, EXPLAINED_COLUMNS)}'
    starts = _utc(pd.Series(forecast.frame.index))
    intervals = ",".join(f'{{"{TIMESTAMP}":{json.dumps(start)},"{FORECAST_MW}":%b,{rest}}}' for start in starts)
    return _Layout(head[:-1], day[:-1], intervals.encode())


def _place(told: Told, columns: Told) -> str:
    return "{" + ",".join(f'"{name}":%b' for name in columns) + "}" if set(columns) <= set(told) else "null"


def _utc(moments: pd.Series) -> list[str]:
    return [str(text) for text in moments.dt.strftime("%Y-%m-%dT%H:%M:%SZ")]


def _rounded_parts(explanation: pd.DataFrame, shown_mw: Array, decimals: int) -> Array:
    """The drivers to four figures of demand, and the rest of what is shown in `usual_mw`: the parts add up to it."""
    parts = explanation[list(EXPLAINED_COLUMNS)].to_numpy(dtype=np.float64).round(decimals - FIGURES + EXPLAINED_FIGURES)
    usual = EXPLAINED_COLUMNS.index(USUAL_MW)
    parts[:, usual] = 0.0
    parts[:, usual] = shown_mw - parts.sum(axis=1)
    return parts
