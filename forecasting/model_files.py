"""Fitted forecasters as data: LightGBM text, Prophet JSON, our own JSON; never an executable format (AML.T0018, ML06).

`dump` and `load` deal in bytes only; reading, signing and verifying files is the pipeline's business, and it verifies
before it calls `load`: LightGBM's parser aborts the process on many malformed texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, time
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from data.schema import Array, Utility
from forecasting.errors import ModelFileRefused
from forecasting.lightgbm_forecaster import LightGBMForecaster
from forecasting.linear_base import LinearBase
from forecasting.prophet_forecaster import ProphetForecaster, quiet

FORMAT_VERSION = 1
MODEL_JSON = "model.json"
HALVES = ("booster-a.txt", "booster-b.txt")
SPREAD = "spread.txt"
PROPHET_JSON = "prophet.json"

Restorable = LightGBMForecaster | ProphetForecaster


def dump(forecaster: Restorable) -> dict[str, bytes]:
    """The files of a fitted forecaster: name → content."""
    content: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "forecaster": forecaster.name,
        "seed": forecaster.seed,
        "utility": _utility_to_json(forecaster.utility_),
    }
    if isinstance(forecaster, ProphetForecaster):
        with quiet():
            from prophet.serialize import model_to_json  # noqa: PLC0415 (slow to import, rarely needed)

            text = model_to_json(forecaster.model_)
        content["miss_mw"] = forecaster.miss_mw_.tolist()
        return {MODEL_JSON: _json(content), PROPHET_JSON: text.encode()}
    base = forecaster.linear_
    content |= {
        "scale_mw": forecaster.scale_mw_,
        "scores": forecaster.scores_.tolist(),
        "linear": {
            "columns": list(base.columns),
            "knots": {name: list(values) for name, values in base.knots.items()},
            "centre": base.centre.tolist(),
            "spread": base.spread.tolist(),
            "coefficients": base.coefficients.tolist(),
        },
    }
    files = {MODEL_JSON: _json(content), SPREAD: forecaster.spread_.model_to_string().encode()}
    texts = (booster.model_to_string().encode() for booster in forecaster.boosters_)
    return files | dict(zip(HALVES, texts, strict=True))


def load(files: Mapping[str, bytes]) -> Restorable:
    """The forecaster that `dump` wrote. Give it verified bytes only. Raises ModelFileRefused."""
    try:
        content = json.loads(files[MODEL_JSON])
        if content["format"] != FORMAT_VERSION:
            raise ModelFileRefused(f"format {content['format']} is not known", part=MODEL_JSON)
        if content["forecaster"] == ProphetForecaster.name:
            return _load_prophet(content, files)
        return _load_lightgbm(content, files)
    except (AttributeError, KeyError, TypeError, ValueError, lgb.basic.LightGBMError) as error:
        raise ModelFileRefused(f"not a model of format {FORMAT_VERSION}: {error}", part=MODEL_JSON) from error


def _load_prophet(content: Mapping[str, Any], files: Mapping[str, bytes]) -> ProphetForecaster:
    forecaster = ProphetForecaster(seed=int(content["seed"]))
    forecaster.utility_ = _utility_from_json(content["utility"])
    with quiet():
        from prophet.serialize import model_from_json  # noqa: PLC0415 (slow to import, rarely needed)

        forecaster.model_ = model_from_json(files[PROPHET_JSON].decode())
    forecaster.miss_mw_ = _array(content["miss_mw"])
    return forecaster


def _load_lightgbm(content: Mapping[str, Any], files: Mapping[str, bytes]) -> LightGBMForecaster:
    linear = content["linear"]
    forecaster = LightGBMForecaster(seed=int(content["seed"]))
    forecaster.utility_ = _utility_from_json(content["utility"])
    forecaster.scale_mw_ = float(content["scale_mw"])
    forecaster.scores_ = _array(content["scores"])
    forecaster.linear_ = LinearBase(
        columns=tuple(linear["columns"]),
        knots={name: tuple(values) for name, values in linear["knots"].items()},
        centre=_array(linear["centre"]),
        spread=_array(linear["spread"]),
        coefficients=_array(linear["coefficients"]),
    )
    forecaster.boosters_ = tuple(lgb.Booster(model_str=files[name].decode()) for name in HALVES)
    forecaster.spread_ = lgb.Booster(model_str=files[SPREAD].decode())
    return forecaster


def _array(values: object) -> Array:
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("numbers that are not finite")
    return array


def _utility_to_json(utility: Utility) -> dict[str, Any]:
    return {
        "timezone": utility.timezone,
        "step_minutes": int(utility.step / pd.Timedelta(minutes=1)),
        "gate_closure": utility.gate_closure.isoformat(),
        "holidays": sorted(day.isoformat() for day in utility.holidays),
        "demand_delay_minutes": int(utility.demand_delay / pd.Timedelta(minutes=1)),
    }


def _utility_from_json(content: Mapping[str, Any]) -> Utility:
    return Utility(
        timezone=content["timezone"],
        step=pd.Timedelta(minutes=content["step_minutes"]),
        gate_closure=time.fromisoformat(content["gate_closure"]),
        holidays=frozenset(date.fromisoformat(day) for day in content["holidays"]),
        demand_delay=pd.Timedelta(minutes=content["demand_delay_minutes"]),
    )


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
