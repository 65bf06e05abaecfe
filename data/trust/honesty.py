"""How restless an honest source is: the noise of its daily sizes, learned on the baseline.

A day's size of each kind is taken as the sum of

    fast       AR(1) from day to day: weather that a source and its neighbours meet differently
    wander     a slow AR(1) of 60 days: an honest source's relation drifts a little with seasons and years
    white      noise of the estimate, smaller on days with more hours

all three scaled day by day with the weather's unrest (`unrest`): neighbours differ most on days when everything moves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data.schema import Array
from data.trust.consensus import MAD_TO_SIGMA
from data.trust.lies import KINDS, DailySizes

WANDER_DAYS = 60.0
FEWEST_DAYS = 30
# No thermometer is better than a tenth of a degree: copies of one upstream would otherwise saturate every score.
LEAST_VARIANCE = 0.1**2
ROUGH = KINDS.index("rough")
# Wander as a share of the spread of the daily sizes, and its bounds in °C: a lie of 1.5 °C must stay beyond honest wander.
# The other kinds in proportion to the offset's.
WANDER_SHARE = 0.3
WANDER_C = (0.08, 0.25)
UNSEEN_SEASONS = 2.0
WANDER_OF_KIND = np.array([1.0, 1.2, 1.2, 1.2, 0.15, 0.2, 0.3, 0.4])
# No lie below these sizes is accused: multiples of the offset's spread, kept between the bounds [°C], by kind as above.
SMALLEST_SHARE = 1.5
SMALLEST_LIE_C = (0.6, 1.15)
SMALLEST_OF_KIND = np.array([1.0, 1.0, 1.0, 1.0, 0.1, 0.25, 0.4, 0.0])
# Gusty weeks are no lie: noise counts as one from a third more on.
SMALLEST_ROUGH = 0.3
# Days a lie must have lasted. Gusty days come in spells; a step in what a source is held against looks like yesterday again,
# for which level 2 has its own test.
LEAST_AGE_OF_KIND = np.array([1, 1, 1, 1, 1, 1, 4, 10])


@dataclass(frozen=True)
class Noise:
    """Noise of one stream of daily sizes; `fast` is NaN where the baseline says too little.

    centre: the sizes' median; memory: of the fast part, a day; fast, white, wander: variances [size²]; usual_weight: of a
    day, for `white`; smallest: the size below which no lie is accused; least_age: days a lie
    must have lasted, at least 1: one day alone accuses nobody.
    """

    centre: float
    memory: float
    fast: float
    white: float
    usual_weight: float
    wander: float = 0.0
    smallest: float = 0.0
    least_age: int = 1


@dataclass(frozen=True)
class Honesty:
    """What is usual for one source: its noise by kind of lie, and the roughness that a day's weather brings."""

    noise: tuple[Noise, ...]
    rough: Array


def learn_honesty(sizes: DailySizes, unrest: Array, *, sees_a_year: bool) -> Honesty:
    """The noise of a source from its days in the baseline and their unrest, shape (days,).

    More wander is expected where it has not seen a year.
    """
    unseen = 1.0 if sees_a_year else UNSEEN_SEASONS
    rough = _learn_expected_rough(sizes)
    sizes = expected_taken_off(rough, sizes)
    kinds = [
        learn_noise(_calmed(sizes.sizes[:, kind], unrest), sizes.weights[:, kind], LEAST_VARIANCE * share**2)
        for kind, share in enumerate(WANDER_OF_KIND)
    ]
    offset = kinds[0]
    spread = float(np.sqrt(offset.fast + offset.white)) if np.isfinite(offset.fast) else 1.0
    wander = unseen * float(np.clip(max(slow_spread(sizes.sizes[:, 0], offset), WANDER_SHARE * spread), *WANDER_C))
    smallest = unseen * float(np.clip(SMALLEST_SHARE * spread, *SMALLEST_LIE_C))
    return Honesty(
        noise=tuple(
            replace(noise, wander=(wander * of_kind) ** 2, smallest=least, least_age=int(age))
            for noise, of_kind, least, age in zip(kinds, WANDER_OF_KIND, _smallest(smallest), LEAST_AGE_OF_KIND, strict=True)
        ),
        rough=rough,
    )


def _smallest(offset_c: float) -> Array:
    """The smallest accusable size of each kind, from that of an offset [°C]."""
    sizes: Array = offset_c * SMALLEST_OF_KIND
    sizes[ROUGH] = SMALLEST_ROUGH
    return sizes


def expected_taken_off(rough: Array, sizes: DailySizes) -> DailySizes:
    """The same sizes, `rough` less what the day's weather lets expect: neighbours move apart when everything moves."""
    table = sizes.sizes.copy()
    table[:, ROUGH] -= _weather_features(sizes) @ rough
    return replace(sizes, sizes=table)


def _calmed(sizes: Array, unrest: Array) -> Array:
    """The same sizes as if all days had been equally restless."""
    if not np.isfinite(sizes).any():
        return sizes
    centre = np.nanmedian(sizes)
    return np.asarray(centre + (sizes - centre) / np.sqrt(unrest))


def learn_noise(sizes: Array, weights: Array, least_variance: float) -> Noise:
    """Noise of a stream by its moments of lag 0, 1 and 2 days, tails drawn in; without wander."""
    known = np.isfinite(sizes)
    if known.sum() < FEWEST_DAYS:
        return Noise(np.nan, np.nan, np.nan, np.nan, np.nan)
    centre = float(np.nanmedian(sizes))
    reach = 4 * MAD_TO_SIGMA * float(np.nanmedian(np.abs(sizes - centre))) + 1e-6
    drawn = np.clip(sizes - centre, -reach, reach)
    total = float(np.nanvar(drawn)) + least_variance
    one, two = _lagged(drawn, 1, 0.5 * total), _lagged(drawn, 2, 0.25 * total)
    one = float(np.clip(one, 0.1 * total, 0.85 * total))
    memory = float(np.clip(two / one, 0.3, 0.85))
    fast = min(one / memory, 0.95 * total)
    return Noise(centre, memory, fast, max(total - fast, 0.05 * total), float(np.mean(weights[known])))


def _lagged(values: Array, lag: int, otherwise: float) -> float:
    products = values[:-lag] * values[lag:]
    known = np.isfinite(products)
    return float(products[known].mean()) if known.sum() >= FEWEST_DAYS - 5 else otherwise


def slow_spread(sizes: Array, noise: Noise) -> float:
    """Spread of four-week means beyond what the fast and white parts explain [size]."""
    if not np.isfinite(noise.fast):
        return 0.0
    weeks = sizes[: len(sizes) // 28 * 28].reshape(-1, 28)
    weeks = weeks[np.isfinite(weeks).sum(axis=1) >= 14]
    if len(weeks) < 3:
        return 0.0
    explained = (noise.fast * (1 + noise.memory) / (1 - noise.memory) + noise.white) / 28
    return float(np.sqrt(max(0.0, float(np.nanmean(weeks, axis=1).var()) - explained)))


def _weather_features(sizes: DailySizes) -> Array:
    level = (sizes.level - 15.0) / 5
    columns = [np.ones(len(level)), sizes.span / 5, np.abs(sizes.change) / 3, level, level**2]
    return np.column_stack([*columns, np.cos(sizes.season), np.sin(sizes.season)])


def _learn_expected_rough(sizes: DailySizes) -> Array:
    features, target = _weather_features(sizes), sizes.sizes[:, ROUGH]
    good = np.isfinite(target)
    if good.sum() < FEWEST_DAYS:
        return np.zeros(features.shape[1])
    part = features[good]
    ridge = np.diag([1e-6, *[10.0] * (features.shape[1] - 1)])
    return np.asarray(np.linalg.solve(part.T @ part + ridge, part.T @ target[good]))
