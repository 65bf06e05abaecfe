"""Numbers and utilities as JSON: what every model file is made of."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import date, time
from typing import Any

import numpy as np
import pandas as pd

from data.schema import Array, Utility

DOUBLE, SINGLE = "<f8", "<f4"


def packed(values: Array, *, single: bool = False) -> dict[str, Any]:
    """An array as shape, type (little-endian double, or single precision) and base64."""
    kind = SINGLE if single else DOUBLE
    content = np.ascontiguousarray(values, dtype=kind).tobytes()
    return {"shape": list(values.shape), "type": kind, "base64": base64.b64encode(content).decode()}


def array(content: object) -> Array:
    """The array that was packed, or a list of numbers.

    Raises ValueError for numbers that are not finite, KeyError and TypeError for what is neither.
    """
    if isinstance(content, Mapping):
        if content["type"] not in (DOUBLE, SINGLE):
            raise ValueError(f"numbers of type {content['type']}")
        raw = base64.b64decode(content["base64"], validate=True)
        values = np.frombuffer(raw, dtype=content["type"]).reshape(content["shape"]).astype(np.float64)
    else:
        values = np.array(content, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("numbers that are not finite")
    return values


def utility_to_json(utility: Utility) -> dict[str, Any]:
    """A utility as it stands in a model file."""
    return {
        "timezone": utility.timezone,
        "step_minutes": int(utility.step / pd.Timedelta(minutes=1)),
        "gate_closure": utility.gate_closure.isoformat(),
        "holidays": sorted(day.isoformat() for day in utility.holidays),
        "demand_delay_minutes": int(utility.demand_delay / pd.Timedelta(minutes=1)),
        "lead_days": utility.lead_days,
    }


def utility_from_json(content: Mapping[str, Any]) -> Utility:
    """The utility that was written."""
    return Utility(
        timezone=content["timezone"],
        step=pd.Timedelta(minutes=content["step_minutes"]),
        gate_closure=time.fromisoformat(content["gate_closure"]),
        holidays=frozenset(date.fromisoformat(day) for day in content["holidays"]),
        demand_delay=pd.Timedelta(minutes=content["demand_delay_minutes"]),
        lead_days=int(content["lead_days"]),
    )
