"""A station may train and serve trees by quantile."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import get_args

import pandas as pd
import pytest

from forecasting.quantile_trees import QUANTILE_TREES, QuantileTreesForecaster
from pipeline import train as training
from pipeline.ingest import Readings
from pipeline.predict import forecast_day
from pipeline.publish import open_model
from pipeline.settings import Settings
from pipeline.station import Station
from pipeline.train import new_forecaster, train
from tests.unit.pipeline.small_incident import AMID, order


def test_every_forecaster_that_settings_can_name_is_trained_under_that_name() -> None:
    for name in get_args(Settings.model_fields["forecaster"].annotation):
        forecaster = new_forecaster(name, seed=3)
        assert forecaster.name == name
        assert forecaster.seed == 3


def test_a_station_of_quantile_trees_serves_what_it_trained(
    empty_station: Station, incident: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "QuantileTreesForecaster", partial(QuantileTreesForecaster, 10))
    station = replace(empty_station, forecaster=QUANTILE_TREES)
    trained = train(station, incident, order(AMID))
    assert trained.forecaster == QUANTILE_TREES
    opened = open_model(station, trained.model_id)
    assert isinstance(opened.forecaster, QuantileTreesForecaster)
    made = forecast_day(incident, opened, None, {}, AMID.date(), explained=True)
    again = forecast_day(incident, open_model(station, trained.model_id), None, {}, AMID.date())
    pd.testing.assert_frame_equal(made.frame, again.frame)
    assert made.explanation is None
    assert (made.frame["q10"] < made.frame["q90"]).all()
