"""Two that tell the same lie can frame an honest source: which set of liars explains best how far apart all are?

The mean departures of the heard sources from one another since the lie began are explained by a common level and one lie,
told by one source or by two alike. The set that leaves least is the likeliest; two are less likely than one beforehand.
With fewer than five sources two liars are no minority, and nothing here can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from data.schema import Array

FEWEST_SOURCES = 5
# What two liars must explain beyond one [nats]: twenty to one against a conspiracy.
AGAINST_TWO = 3.0

LiarSets = Mapping[tuple[int, ...], float]


def liar_sets(departure_c: Array, variance: Array) -> LiarSets:
    """What each set of one or two liars leaves unexplained [nats].

    departure_c: mean of each source since the lie began, usual bias taken off [°C]; variance: of an honest one [°C²]; shapes
    (sources,), all known.
    """
    sources = range(len(departure_c))
    return {
        liars: _left(departure_c, variance, liars) + AGAINST_TWO * (size - 1)
        for size in (1, 2)
        for liars in combinations(sources, size)
    }


def likeliest(sets: LiarSets) -> tuple[int, ...]:
    """The set that leaves least."""
    return min(sets, key=lambda liars: sets[liars])


def margin(sets: LiarSets, source: int) -> float:
    """By how much the best set with this source explains more than the best one without [nats]."""
    with_it = min(left for liars, left in sets.items() if source in liars)
    return min(left for liars, left in sets.items() if source not in liars) - with_it


def _left(departure_c: Array, variance: Array, liars: tuple[int, ...]) -> float:
    """Half the weighted squares around two levels: that of the liars and that of the honest."""
    lying = np.isin(np.arange(len(departure_c)), liars)
    left = 0.0
    for group in (lying, ~lying):
        level = np.average(departure_c[group], weights=1 / variance[group])
        left += float(((departure_c[group] - level) ** 2 / variance[group]).sum()) / 2
    return left
