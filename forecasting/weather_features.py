"""Temperature as demand feels it: now, before, smoothed over hours and days, and the extremes of the day.

Source of the smoothing: Hong, Wilson, Xie (2014), "Long term probabilistic load forecasting and normalization with hourly
information", IEEE Trans. Smart Grid 5(1): lagged and averaged temperatures carry the recency effect.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter

from data.schema import Array, Integers

LAGS_HOURS = (1, 2, 3, 6, 12, 24, 48)
MEMORY_HOURS = (3, 6, 12, 24, 48, 72)
# A memory of 72 h has forgotten all but 1 % of what lies further back.
PATH_DAYS = 14


def paths(temperature_c: Array, rows: Integers | list[int], disturbance_c: Array | None = None) -> Array:
    """The temperatures that lead up to each day and through it, shape (rows, (PATH_DAYS + 1) · slots).

    temperature_c: shape (days, slots); rows: which days. disturbance_c: shape (rows, last slots of the path), added: the
    error of a forecast of the hours since the gate closure.
    """
    slots = temperature_c.shape[1]
    wanted = np.asarray(rows, dtype=np.int64)
    before = np.arange(-PATH_DAYS, 1)
    path: Array = temperature_c[wanted[:, None] + before[None, :]].reshape(len(wanted), (PATH_DAYS + 1) * slots)
    if disturbance_c is not None:
        path[:, -disturbance_c.shape[1] :] += disturbance_c
    return path


def weather_columns(path: Array, slots: int) -> dict[str, Array]:
    """Every temperature feature of each path's last day, shape (rows, slots) each [°C]."""
    hour = slots // 24
    size = path.shape[1]
    columns = {"temperature": path[:, size - slots :]}
    for hours in LAGS_HOURS:
        columns[f"temperature_{hours}h_ago"] = path[:, size - slots - hours * hour : size - hours * hour]
    for hours in MEMORY_HOURS:
        columns[f"temperature_memory_{hours}h"] = _memory(path, 0.7 * hours * hour)[:, -slots:]
    for name, end in (("day", size), ("day_before", size - slots)):
        day = path[:, end - slots : end]
        for statistic, value in (("max", day.max(axis=1)), ("min", day.min(axis=1)), ("mean", day.mean(axis=1))):
            columns[f"temperature_{name}_{statistic}"] = np.broadcast_to(value[:, None], day.shape)
    last_24h = sliding_window_view(path[:, -(2 * slots - 1) :], slots, axis=1)
    columns["temperature_24h_max"] = last_24h.max(axis=2)
    columns["temperature_24h_min"] = last_24h.min(axis=2)
    return columns


def _memory(path: Array, half_life: float) -> Array:
    """Exponential smoothing along each path."""
    weight = 1 - 0.5 ** (1 / half_life)
    start = path[:, :1]
    smoothed: Array = lfilter([weight], [1.0, weight - 1.0], path - start, axis=1)
    return smoothed + start
