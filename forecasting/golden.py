"""Golden forecasts: what a forecaster said of one day when it was published, kept with what it was asked.

Whoever loads the model later asks it the same again: another answer means another model, or a machine that cannot run this
one (AML.T0018). The frame is kept to the bit, so that a build answers itself exactly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pandas as pd

from data.schema import (
    DEMAND_MW,
    FORECAST_TEMPERATURE_C,
    TEMPERATURE_C,
    TEMPERATURE_UNCERTAINTY_C,
    TIMESTAMP,
    Array,
)
from forecasting.arrays import packed
from forecasting.errors import ModelFileRefused
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS, Forecaster
from forecasting.strict_json import (
    STEPS_MINUTES,
    Unexpected,
    block,
    dates,
    exactly,
    fields,
    parsed,
    refusing,
    step_minutes,
    text,
    unchecked_block,
    whole,
)

GOLDEN_JSON = "golden.json"
VERSION = 1
# Another processor adds in another order; another model is off by far more. Against the largest number of the forecast.
TOLERANCE = 1e-9
# The longest window that a forecast reads, of five minutes, and as much again.
MOST_ROWS = 40_000
MOST_BYTES = 8 * 1024 * 1024
MOST_PARTS = 1_000
INPUTS = (DEMAND_MW, TEMPERATURE_C, FORECAST_TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C)
OUTPUTS = (FORECAST_MW, *QUANTILE_COLUMNS)
# A day has no more than 25 hours of intervals.
MOST_INTERVALS = 300
MINUTE = pd.Timedelta(minutes=1)
STEPS = tuple(minutes * MINUTE for minutes in STEPS_MINUTES)


@dataclass(frozen=True)
class GoldenCase:
    """known, day: what the forecaster was asked (forecasting.forecaster); expected: what it answered, shape (intervals,
    `OUTPUTS`) [MW].
    """

    known: pd.DataFrame
    day: date
    expected: Array


def golden_json(forecaster: Forecaster, known: pd.DataFrame, day: date) -> bytes:
    """The golden case of a fitted forecaster: the frame, the day, and what it forecasts.

    known: as in forecasting.forecaster, a window as of `day_grid.known_until_gate`. Raises ValueError for a frame that is
    not regular, has other columns or more than `MOST_ROWS` rows, and for a forecast with anything but numbers.
    """
    step = _step_of(known)
    start = pd.DatetimeIndex(known.index)[0].tz_convert("UTC")
    expected = _asked(forecaster, known, day)
    if not np.isfinite(expected).all():
        raise ValueError(f"the forecast of {day} is not all numbers")
    content = {
        "version": VERSION,
        "day": day.isoformat(),
        "start": start.strftime("%Y-%m-%dT%H:%MZ"),
        "step_minutes": step // MINUTE,
        "rows": len(known),
        "inputs": {name: packed(known[name].to_numpy(dtype=np.float64, na_value=np.nan)) for name in known.columns},
        "intervals": len(expected),
        "expected": packed(expected),
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def golden_case(content: bytes) -> GoldenCase:
    """The case that was written. Raises ModelFileRefused."""
    with refusing(GOLDEN_JSON):
        names = ("version", "day", "start", "step_minutes", "rows", "inputs", "intervals", "expected")
        found = fields(parsed(content, most_bytes=MOST_BYTES, most_parts=MOST_PARTS), "", names)
        exactly(found["version"], "version", VERSION)
        (day,) = dates([found["day"]], "day", 1, 1)
        rows = whole(found["rows"], "rows", 2, MOST_ROWS)
        start = _moment(found["start"], "start")
        step = MINUTE * step_minutes(found["step_minutes"], "step_minutes")
        index = pd.date_range(start, periods=rows, freq=step, tz="UTC", name=TIMESTAMP)
        stored = fields(found["inputs"], "inputs", (DEMAND_MW,), INPUTS)
        inputs = {name: _input(stored[name], f"inputs.{name}", rows) for name in INPUTS if name in stored}
        intervals = whole(found["intervals"], "intervals", 1, MOST_INTERVALS)
        expected = block(found["expected"], "expected", (intervals, len(OUTPUTS)))
        return GoldenCase(pd.DataFrame(inputs, index=index), day, expected)


def answers(forecaster: Forecaster, case: GoldenCase) -> Array:
    """What a forecaster answers to the case, shape (intervals, `OUTPUTS`) [MW]."""
    return _asked(forecaster, case.known, case.day)


def require_equal(case: GoldenCase, answered: Array) -> None:
    """Raises ModelFileRefused where an answer is not the expected one, up to `TOLERANCE`."""
    if answered.shape != case.expected.shape:
        problem = f"the golden forecast has {len(answered)} intervals, {len(case.expected)} are expected"
        raise ModelFileRefused(problem, part=GOLDEN_JSON)
    off = np.abs(answered - case.expected).max() / max(float(np.abs(case.expected).max()), 1e-12)
    # A NaN is not close to anything.
    if not off <= TOLERANCE:
        problem = f"the golden forecast of {case.day} is off by {off:.1e} of its largest value"
        raise ModelFileRefused(problem, part=GOLDEN_JSON)


def _step_of(known: pd.DataFrame) -> pd.Timedelta:
    """The step of a frame that can be written and comes back the same."""
    index = pd.DatetimeIndex(known.index)
    if not 2 <= len(index) <= MOST_ROWS or not set(known.columns) <= set(INPUTS):
        raise ValueError(f"a golden case of {len(index)} rows with columns {', '.join(known.columns)}")
    step = index[1] - index[0]
    if not (np.diff(index.asi8) == index.asi8[1] - index.asi8[0]).all() or step not in STEPS:
        raise ValueError("a golden case of a frame that is not regular")
    return step


def _asked(forecaster: Forecaster, known: pd.DataFrame, day: date) -> Array:
    return forecaster.predict(known, day)[list(OUTPUTS)].to_numpy(dtype=np.float64)


def _input(value: object, at: str, rows: int) -> Array:
    values = unchecked_block(value, at, (rows,)).copy()
    if np.isinf(values).any():
        raise Unexpected(at, "a number is infinite")
    return values


def _moment(value: object, at: str) -> datetime:
    try:
        found = datetime.strptime(text(value, at, 17), "%Y-%m-%dT%H:%MZ")  # noqa: DTZ007 (the Z is part of the form)
    except ValueError as error:
        raise Unexpected(at, "a moment like 2014-01-01T00:00Z is expected") from error
    dates([found.date().isoformat()], at, 1, 1)
    return found
