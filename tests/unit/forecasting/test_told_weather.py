from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest

from data.schema import FORECAST_TEMPERATURE_C, TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, Utility
from forecasting.baselines import SeasonalNaive
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.forecaster import FORECAST_MW
from forecasting.told_weather import believed, day_before, day_of, predict_told

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
Asked = tuple[EnsembleForecaster, pd.DataFrame, date, Utility]


@pytest.fixture(scope="module")
def asked(small_world: SmallWorld) -> Asked:
    """An ensemble that knows how wrong forecasts are, and a winter's day, a weekday, with what is known of it."""
    utility, frame = small_world(days=210)
    random = np.random.default_rng(4)
    error = np.repeat(random.normal(0, 2, len(frame) // 24 + 1), 24)[: len(frame)]
    learned = frame.iloc[: 24 * 200].assign(**{FORECAST_TEMPERATURE_C: (frame[TEMPERATURE_C] + error).iloc[: 24 * 200]})
    forecaster = EnsembleForecaster(members=("linear",)).fit(learned, utility)
    day = date(2014, 1, 22)
    return forecaster, known_until_gate(frame, utility, day), day, utility


def test_the_forecast_temperature_told_back_gives_the_forecast(asked: Asked) -> None:
    forecaster, known, day, utility = asked
    told = believed(forecaster, known, day, utility)

    frame, says = predict_told(forecaster, told, day, day_of(told, day, utility), utility, doubted=True)

    pd.testing.assert_frame_equal(frame, forecaster.predict(known, day))
    assert says.weights @ says.members_mw + says.offset_mw == pytest.approx(frame[FORECAST_MW].to_numpy())


def test_a_told_temperature_is_not_corrected(asked: Asked) -> None:
    forecaster, known, day, utility = asked
    told = believed(forecaster, known, day, utility)
    as_forecast = day_of(known, day, utility)

    frame, _ = predict_told(forecaster, told, day, as_forecast, utility, doubted=False)

    assert forecaster.correction_ is not None
    assert not np.allclose(day_of(told, day, utility), as_forecast)
    assert not np.allclose(frame[FORECAST_MW], forecaster.predict(known, day)[FORECAST_MW])


def test_a_told_temperature_is_not_doubted(asked: Asked) -> None:
    forecaster, known, day, utility = asked
    doubtful = known.assign(**{TEMPERATURE_UNCERTAINTY_C: 4.0})
    wary = EnsembleForecaster(members=("linear",))
    wary.__dict__.update(forecaster.__dict__, usual_uncertainty_c_=1.0)
    told = believed(wary, doubtful, day, utility)
    path_c = day_of(told, day, utility)

    sure, _ = predict_told(wary, told, day, path_c, utility, doubted=False)
    unsure, _ = predict_told(wary, told, day, path_c, utility, doubted=True)

    assert (unsure["q90"] - unsure["q10"]).sum() > 1.05 * (sure["q90"] - sure["q10"]).sum()


def test_colder_winter_days_draw_more(asked: Asked) -> None:
    forecaster, known, day, utility = asked
    told = believed(forecaster, known, day, utility)
    path_c = day_of(told, day, utility)

    colder, warmer = (
        predict_told(forecaster, told, day, path_c + shift, utility, doubted=True)[0][FORECAST_MW].sum() for shift in (-3, 3)
    )

    assert colder > warmer


def test_nothing_given_is_changed(asked: Asked) -> None:
    forecaster, known, day, utility = asked
    before, correction = known.copy(), forecaster.correction_
    told = believed(forecaster, known, day, utility)
    kept = told.copy()

    predict_told(forecaster, told, day, np.zeros(24), utility, doubted=False)

    pd.testing.assert_frame_equal(known, before)
    pd.testing.assert_frame_equal(told, kept)
    assert forecaster.correction_ is correction


def test_a_forecaster_with_one_voice_is_asked_alike(asked: Asked, small_world: SmallWorld) -> None:
    _, known, day, utility = asked
    naive = SeasonalNaive().fit(small_world(days=120)[1], utility)

    frame, says = predict_told(naive, believed(naive, known, day, utility), day, np.zeros(24), utility, doubted=False)

    assert says.members_mw.shape == (1, 24)
    assert says.members_mw[0] == pytest.approx(frame[FORECAST_MW].to_numpy())


def test_what_is_known_of_the_day_before_comes_with_its_doubt(asked: Asked) -> None:
    _, known, day, utility = asked

    evening_c, doubt_c = day_before(known.assign(**{TEMPERATURE_UNCERTAINTY_C: 0.7}), day, utility)

    assert evening_c == pytest.approx(known[TEMPERATURE_C].reindex(utility.day_index(date(2014, 1, 21))).to_numpy())
    assert doubt_c == 0.7
    assert np.isnan(day_before(known, day, utility)[1])
