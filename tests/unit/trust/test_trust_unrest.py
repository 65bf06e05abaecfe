"""How far apart neighbours are on a day of such weather: told by the weather of the others, never by the source itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from data.schema import Array
from data.trust.lies import KINDS, DailySizes
from data.trust.unrest import UNREST_BOUNDS, learn_unrest, unrest_of

DAYS = 365
SPAN = np.random.default_rng(1).uniform(2, 18, DAYS)


def sizes_of(offset: Array, span: Array = SPAN) -> DailySizes:
    days = len(offset)
    season = 2 * np.pi * np.arange(days) / 365.25
    return DailySizes(
        sizes=np.repeat(offset[:, None], len(KINDS), axis=1),
        weights=np.full((days, len(KINDS)), 24.0),
        level=10 - 8 * np.cos(season),
        change=np.zeros(days),
        span=span,
        season=season,
    )


def restless(seed: int) -> DailySizes:
    """A source that differs the more, the further temperatures range on a day."""
    return sizes_of(0.1 * np.exp(SPAN / 8) * np.random.default_rng(seed).standard_normal(DAYS))


def test_days_on_which_everything_moves_are_allowed_more_noise():
    factor = unrest_of(learn_unrest([restless(2), restless(3), restless(4)]), restless(2))
    assert factor[SPAN > 14].mean() > 3 * factor[SPAN < 6].mean()


def test_with_its_weather_taken_into_account_the_noise_is_alike_on_all_days():
    sizes = restless(5)
    plain = sizes.sizes[:, 0]
    score = plain / np.sqrt(unrest_of(learn_unrest([sizes, restless(6), restless(7)]), sizes))
    wild = SPAN > 12
    assert score[wild].std() / score[~wild].std() < 0.7 * plain[wild].std() / plain[~wild].std()


def test_a_liar_is_given_no_patience_for_the_unrest_that_it_brings():
    model = learn_unrest([restless(8), restless(9), restless(10)])
    honest = restless(8)
    lying = replace(honest, sizes=honest.sizes + 8.0)
    np.testing.assert_array_equal(unrest_of(model, lying), unrest_of(model, honest))


def test_one_model_serves_all_so_that_their_evidence_can_be_compared():
    heard = [restless(11), restless(12)]
    model = learn_unrest(heard)
    np.testing.assert_array_equal(unrest_of(model, heard[0]), unrest_of(model, heard[1]))


def test_no_weather_excuses_everything_or_nothing():
    model = learn_unrest([restless(13)])
    for span in (-1e6, 1e6):
        factor = unrest_of(model, sizes_of(np.zeros(DAYS), np.full(DAYS, span)))
        assert ((factor >= UNREST_BOUNDS[0]) & (factor <= UNREST_BOUNDS[1])).all()


def test_where_too_little_is_known_every_day_is_as_good_as_another():
    silent = sizes_of(np.where(np.arange(DAYS) < 5, 1.0, np.nan))
    for heard in ([], [silent], [sizes_of(np.full(DAYS, np.nan))]):
        np.testing.assert_array_equal(unrest_of(learn_unrest(heard), restless(14)), 1.0)
