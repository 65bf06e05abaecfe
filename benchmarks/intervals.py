"""Intervals for rates that were counted: 95 % unless said otherwise."""

from __future__ import annotations

import math

from scipy.stats import chi2, norm

CONFIDENCE = 0.95


def wilson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of a share, between 0 and 1 (Wilson, JASA 22, 1927); 0 to 1 without trials."""
    if trials == 0:
        return 0.0, 1.0
    z = float(norm.ppf((1 + confidence) / 2))
    share = hits / trials
    middle = share + z**2 / (2 * trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def poisson(count: int, exposure: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact interval of a rate, events by unit of `exposure` (Garwood, Biometrika 28, 1936)."""
    tail = (1 - confidence) / 2
    low = float(chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    return low / exposure, float(chi2.ppf(1 - tail, 2 * count + 2)) / 2 / exposure
