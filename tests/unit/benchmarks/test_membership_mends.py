"""The mends that the membership benchmark tries do what their names say, and only that."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.membership import (
    HIGH,
    LOW,
    MIDDLE,
    SLOTS,
    Mend,
    level_only,
    mends,
    noisy_forecast,
    noisy_width,
    on_grid,
    rounded,
    width_of,
)
from data.schema import Array

MENDS = mends(np.zeros(SLOTS))


@pytest.fixture(params=[46, 48, 50])
def quantiles(request: pytest.FixtureRequest) -> Array:
    random = np.random.default_rng(request.param)
    around = np.sort(random.standard_normal((request.param, 9)), axis=1)
    return 5000 + 500 * random.random((request.param, 1)) + 100 * (around - around[:, [MIDDLE]])


def mended(mend: Mend, quantiles: Array) -> Array:
    return mend(quantiles.copy(), np.random.default_rng(1))


@pytest.mark.parametrize("mend", [mend for *_, mend in MENDS], ids=[f"{looked_at}, {name}" for name, looked_at, _ in MENDS])
def test_a_mend_keeps_the_shape_and_the_order_of_the_deciles(mend: Mend, quantiles: Array):
    shown = mended(mend, quantiles)

    assert shown.shape == quantiles.shape
    assert (np.diff(shown, axis=1) >= 0).all()


@pytest.mark.parametrize("mend", [mend for _, looked_at, mend in MENDS if looked_at != "forecast"])
def test_a_mend_of_the_width_leaves_the_median(mend: Mend, quantiles: Array):
    assert np.allclose(mended(mend, quantiles)[:, MIDDLE], quantiles[:, MIDDLE])


def test_widths_on_a_grid_are_whole_steps_apart(quantiles: Array):
    steps = np.diff(width_of(mended(on_grid(0.4), quantiles))) / 0.4

    assert np.allclose(steps, np.rint(steps))


def test_noise_by_day_moves_all_widths_alike_and_by_interval_each_otherwise(quantiles: Array):
    alike, otherwise = (
        width_of(mended(noisy_width(0.2, by_interval=each), quantiles)) - width_of(quantiles) for each in (False, True)
    )

    assert np.allclose(alike, alike[0])
    assert len(np.unique(np.round(otherwise, 9))) == len(quantiles)


def test_of_the_widths_only_the_level_is_left(quantiles: Array):
    narrow, wide = quantiles.copy(), quantiles.copy()
    narrow[: len(narrow) // 2] += 0.5 * (narrow[: len(narrow) // 2, [MIDDLE]] - narrow[: len(narrow) // 2])
    relative = [
        (shown[:, HIGH] - shown[:, LOW]) / shown[:, MIDDLE]
        for shown in (mended(level_only(np.zeros(SLOTS), 0.0), one) for one in (narrow, wide))
    ]

    assert all(np.allclose(one, one[0]) for one in relative)
    assert relative[0][0] < relative[1][0]


def test_a_mend_of_the_forecast_moves_all_deciles_of_an_interval(quantiles: Array):
    ratio = mended(noisy_forecast(0.01), quantiles) / quantiles
    step = 0.01 * quantiles[:, MIDDLE].min()
    shown = mended(rounded(0.01), quantiles) / step

    assert np.allclose(ratio, ratio[:, :1])
    assert np.allclose(shown, np.rint(shown))
