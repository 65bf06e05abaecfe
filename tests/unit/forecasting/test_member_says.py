"""What the members say adds up to what the forecaster says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest

from data.schema import Utility
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.forecaster import MEDIAN, QUANTILE_COLUMNS
from forecasting.horizons import LONGEST_DAYS_AHEAD, widening
from forecasting.member_says import MemberSays

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
# Where the clocks go back, a day has 25 hours.
LONG_DAY, USUAL_DAY = date(2014, 4, 6), date(2014, 3, 20)


@pytest.fixture(scope="module")
def fitted(small_world: SmallWorld) -> tuple[EnsembleForecaster, pd.DataFrame, Utility]:
    utility, frame = small_world(days=300)
    learned = frame.loc[: utility.day_index(date(2014, 2, 3))[0] - utility.step]
    return EnsembleForecaster(members=("kernel", "departure")).fit(learned, utility), frame, utility


@pytest.mark.parametrize("day", [USUAL_DAY, LONG_DAY], ids=str)
def test_weighed_members_and_offset_are_the_median_and_the_frame_is_that_of_predict(
    fitted: tuple[EnsembleForecaster, pd.DataFrame, Utility], day: date
) -> None:
    forecaster, world, utility = fitted
    known = known_until_gate(world, utility, day)
    frame, says = forecaster.predict_with_members(known, day)
    pd.testing.assert_frame_equal(frame, forecaster.predict(known, day), check_exact=True)
    assert says.members_mw.shape == (len(forecaster.names_), len(utility.day_index(day)))
    assert len(says.weights) > 1
    np.testing.assert_allclose(says.weights @ says.members_mw + says.offset_mw, frame[MEDIAN], rtol=1e-12)
    np.testing.assert_array_equal(says.quantiles_mw, frame[list(QUANTILE_COLUMNS)])


def test_one_voice_alone_is_the_median_with_the_whole_weight() -> None:
    frame = pd.DataFrame(np.arange(18.0).reshape(2, 9), columns=list(QUANTILE_COLUMNS))
    says = MemberSays.alone(frame)
    np.testing.assert_array_equal(says.weights @ says.members_mw + says.offset_mw, frame[MEDIAN])


def test_widening_keeps_the_median_and_stretches_the_deciles_around_it() -> None:
    says = MemberSays.alone(pd.DataFrame(np.arange(9.0)[None, :], columns=list(QUANTILE_COLUMNS))).widened(2.0)
    np.testing.assert_array_equal(says.quantiles_mw[0], [-4, -2, 0, 2, 4, 6, 8, 10, 12])


@pytest.mark.parametrize("weather", [True, False], ids=["weather", "no-weather"])
def test_a_forecast_never_gets_narrower_with_its_lead(weather: bool) -> None:
    by = [widening(ahead, weather=weather) for ahead in range(1, LONGEST_DAYS_AHEAD + 1)]
    assert by[0] == 1.0
    assert by == sorted(by)
    assert by[-1] > 1.0
