"""How much of a pattern one week's departures hold: generalised least squares with the weeks around it as witnesses.

Departures are alike for hours, days and weeks. What a season or a missing driver does reaches into the neighbouring weeks;
what was done to one week ends with it, and is told by its edges (Aitken 1935; Fox 1972 for outliers in time series).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from data.schema import Array

HOURS_A_WEEK = 168
# Share and duration [h] of what makes departures alike, and what each hour has of its own. Chosen on 2012–2013.
Durations = tuple[tuple[float, float], ...]
DURATIONS: Durations = ((0.35, 3.0), (0.25, 24.0), (0.25, 72.0), (0.15, 720.0))
# A temperature's own, around what is usual at that hour of that season.
WEATHER_DURATIONS: Durations = ((1.0, 48.0),)
OWN = 0.005
FEWEST_HOURS = 12
LONGEST_GAP_HOURS = 48
SWELLING_HOURS = 48
TAKEN_OF = 10


def amplitudes(departures: Array, pattern: Array, durations: Durations = DURATIONS) -> tuple[Array, Array]:
    """How often each week holds `pattern`, and the same over its standard error; NaN where fewer than 12 hours show it.

    departures, pattern: by slot, NaN where unknown, shape (weeks, slots of a week). With e the departures of
    three weeks, b the pattern in the middle one and C their correlation: b'C⁻¹e / b'C⁻¹b, and b'C⁻¹e / √(b'C⁻¹b).
    """
    weeks, slots = departures.shape
    an_hour = slots // HOURS_A_WEEK
    filled = bridged(departures.ravel(), LONGEST_GAP_HOURS * an_hour).reshape(departures.shape)
    known = np.isfinite(filled) & np.isfinite(pattern)
    shown = np.where(known, pattern, 0.0)
    nothing = np.zeros((1, slots))
    around = np.concatenate([nothing, np.where(np.isfinite(filled), filled, 0.0), nothing])
    three = np.concatenate([around[:-2], around[1:-1], around[2:]], axis=1)
    precision = _precision(slots, durations)
    middle = slice(slots, 2 * slots)
    agreement = np.einsum("wh,wh->w", shown @ precision[middle], three)
    weight = np.einsum("wh,wh->w", shown @ precision[middle, middle], shown)
    enough = (shown != 0).sum(axis=1) >= FEWEST_HOURS * an_hour
    return (
        np.divide(agreement, weight, out=np.full(weeks, np.nan), where=enough),
        np.divide(agreement, np.sqrt(weight), out=np.full(weeks, np.nan), where=enough),
    )


def stepwise_amplitudes(departures: Array, pattern: Array) -> tuple[Array, Array]:
    """As `amplitudes`, the surest week first, which is freed of the pattern before the next is judged.

    A week that was raised makes its neighbours look low, and hides one beside it that was raised too (Chen & Liu 1993). One
    week in ten is taken.
    """
    freed = departures.copy()
    amplitude, sureness = amplitudes(freed, pattern)
    taken = np.zeros(len(departures), dtype=np.bool_)
    for _ in range(len(departures) // TAKEN_OF):
        surest = int(np.where(taken | ~np.isfinite(sureness), 0.0, np.abs(sureness)).argmax())
        if taken[surest] or not np.isfinite(sureness[surest]):
            break
        taken[surest] = True
        freed[surest] -= amplitude[surest] * pattern[surest]
        again = amplitudes(freed, pattern)
        amplitude, sureness = (np.where(taken, old, new) for old, new in zip((amplitude, sureness), again, strict=True))
    return amplitude, sureness


def swelling(weeks: int, slots: int) -> Array:
    """The pattern of what grows over the first two days of a week and wanes over its last two, shape (weeks, slots)."""
    hours = np.arange(slots) * HOURS_A_WEEK / slots
    return np.tile(np.minimum(1.0, np.minimum(hours, hours[::-1]) / SWELLING_HOURS), (weeks, 1))


def bridged(values: Array, longest: int) -> Array:
    """The same with gaps of up to `longest` values bridged in a straight line; a holiday says nothing of its week."""
    missing = ~np.isfinite(values)
    if missing.all():
        return values.copy()
    rows = np.arange(len(values))
    straight = np.interp(rows, rows[~missing], values[~missing])
    edges = np.flatnonzero(np.diff(np.r_[False, missing, False].astype(np.int8)))
    filled = values.copy()
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if start > 0 and end < len(values) and end - start <= longest:
            filled[start:end] = straight[start:end]
    return filled


# The same for every source and pattern of an audit.
@lru_cache(maxsize=4)
def _precision(slots: int, durations: Durations) -> Array:
    """C⁻¹ of three weeks of so many slots each."""
    hours = np.arange(3 * slots) * HOURS_A_WEEK / slots
    apart = np.abs(np.subtract.outer(hours, hours))
    correlation = OWN * np.eye(len(hours))
    for share, duration in durations:
        correlation = correlation + share * np.exp(-apart / duration)
    return np.asarray(np.linalg.inv(correlation), dtype=np.float64)
