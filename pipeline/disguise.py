"""What a caller is answered instead of what the model says: as useful, and worth less to whoever collects it.

    randomised  the members are weighed a little otherwise for each question: what two questions differ by is not the model's
                answer to their difference alone (AML.T0024.002). Never further than `RANDOM_SHARE`, nor outside q10 … q90
    marked      ± `MARK_SHARE`, interval by interval, as the caller's watermark says: a model learned from the answers learns
                the mark too, and is recognised by it (`pipeline.watermark`)
    rounded     to the largest step of 1, 2 or 5 · 10ⁿ MW that is at most `ROUND_SHARE` of the day's lowest forecast: three
                to four significant digits. A day-ahead forecast misses by more than one per cent

Together at most `MOST_SHARE` of the forecast, for every caller whose questions a person could ask. All is drawn from the
seed: the same question has the same answer, and averaging repeats gains nothing. The nine quantiles move together and keep
their order.
"""

from __future__ import annotations

import math

import numpy as np

from data.schema import QUANTILES, Array
from forecasting.member_says import MemberSays

RANDOM_SHARE = 0.0010
MARK_SHARE = 0.0010
ROUND_SHARE = 0.0010
# Half a step of rounding is the most it moves a value.
MOST_SHARE = RANDOM_SHARE + MARK_SHARE + ROUND_SHARE / 2
# What is left for a caller who asks for more than its work can need (`security.query_guard.Level.COARSE` and above).
COARSE_SHARE = 0.01
COARSE_FROM = 2
# How far the random weights may lie from the ensemble's own: half of each is drawn anew.
DRAWN_ANEW = 0.5

_LOWEST, _MEDIAN, _HIGHEST = 0, QUANTILES.index(0.5), len(QUANTILES) - 1
_KEPT = np.array([_LOWEST, _MEDIAN, _HIGHEST])
_LEVELS = np.array(QUANTILES)


def disguised(says: MemberSays, verdict_level: int, seed: bytes, watermark: bytes) -> Array:
    """The quantiles to answer [MW], shape (intervals, 9), in order.

    verdict_level: of the query guard; seed, watermark: 32 bytes each, of the question and of the caller.
    """
    quantiles = says.quantiles_mw
    median = quantiles[:, _MEDIAN]
    size = np.abs(median)
    moved = _randomised(says, size, seed) + MARK_SHARE * size * signs_of(watermark, len(median))
    coarse = verdict_level >= COARSE_FROM
    step = step_mw(float(size.min()), COARSE_SHARE if coarse else ROUND_SHARE)
    if coarse:
        quantiles = _three_only(quantiles)
    shown: Array = quantiles + moved[:, None]
    return np.rint(shown / step) * step if step > 0 else shown


def signs_of(watermark: bytes, intervals: int) -> Array:
    """+1 or −1 for each interval of a local day; shape (intervals,)."""
    bits = np.unpackbits(np.frombuffer(watermark, dtype=np.uint8))
    return 2.0 * np.resize(bits, intervals).astype(np.float64) - 1.0


def step_mw(lowest_mw: float, share: float) -> float:
    """The largest of 1, 2, 5 · 10ⁿ that is at most `share` of `lowest_mw`; 0 where that is nothing."""
    most = share * lowest_mw
    if not most > 0:
        return 0.0
    power = math.floor(math.log10(most))
    unit = 10.0**power
    return next(step for step in (5 * unit, 2 * unit, unit, unit / 2) if step <= most)


def _randomised(says: MemberSays, size: Array, seed: bytes) -> Array:
    """How far the median moves [MW] when the members are weighed as the seed says; shape (intervals,)."""
    members = len(says.weights)
    if members < 2:
        return np.zeros(len(size))
    # 16 bits for each member, again from the start where an ensemble has more than sixteen.
    drawn = np.resize(np.frombuffer(seed, dtype=np.uint16), members) + 1.0
    away = DRAWN_ANEW * (drawn / drawn.sum() - says.weights)
    moved = away @ says.members_mw
    lowest = np.maximum(-RANDOM_SHARE * size, says.quantiles_mw[:, _LOWEST] - says.quantiles_mw[:, _MEDIAN])
    highest = np.minimum(RANDOM_SHARE * size, says.quantiles_mw[:, _HIGHEST] - says.quantiles_mw[:, _MEDIAN])
    return np.asarray(np.minimum(np.maximum(moved, lowest), highest))


def _three_only(quantiles: Array) -> Array:
    """The lowest, the median and the highest, and straight lines between them."""
    low, middle, high = (quantiles[:, number][:, None] for number in _KEPT)
    below = (_LEVELS - _LEVELS[_LOWEST]) / (_LEVELS[_MEDIAN] - _LEVELS[_LOWEST])
    above = (_LEVELS - _LEVELS[_MEDIAN]) / (_LEVELS[_HIGHEST] - _LEVELS[_MEDIAN])
    straight: Array = np.where(below <= 1, low + (middle - low) * below, middle + (high - middle) * above)
    return straight
