"""A station may train and serve the certified forecaster: each forecast comes with the interval that it cannot leave."""

from __future__ import annotations

from dataclasses import replace

from api.schemas.forecasts import ForecastAnswer
from data.schema import QUANTILES
from forecasting.certified import CERTIFIED
from pipeline.ingest import Readings
from pipeline.predict import forecast_day
from pipeline.publish import open_model
from pipeline.station import Station
from pipeline.train import train
from tests.unit.pipeline.small_incident import AMID, order

DAY = AMID.date()


def test_a_certified_station_serves_forecasts_with_their_certificate(empty_station: Station, incident: Readings) -> None:
    station = replace(empty_station, forecaster=CERTIFIED)
    trained = train(station, incident, order(AMID))
    assert trained.forecaster == CERTIFIED
    made = forecast_day(incident, open_model(station, trained.model_id), None, {}, DAY)
    assert (made.frame["lower_mw"] <= made.frame["forecast_mw"]).all()
    assert (made.frame["forecast_mw"] <= made.frame["upper_mw"]).all()
    assert (made.frame["lower_mw"] < made.frame["upper_mw"]).all()
    for interval in ForecastAnswer.of(made, QUANTILES).intervals:
        assert interval.certified is not None
        assert interval.certified.lower_mw <= interval.forecast_mw <= interval.certified.upper_mw


def test_other_forecasters_promise_nothing(empty_station: Station, incident: Readings) -> None:
    station = replace(empty_station, forecaster="linear")
    made = forecast_day(incident, open_model(station, train(station, incident, order(AMID)).model_id), None, {}, DAY)
    assert "lower_mw" not in made.frame
    assert all(interval.certified is None for interval in ForecastAnswer.of(made, QUANTILES).intervals)
