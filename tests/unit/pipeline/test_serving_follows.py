"""Several workers on one station: what one of them changes, the others follow, and none answers what it cannot know."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlmodel import select

from data.provenance import ForecastRecord
from forecasting.forecaster import MEDIAN
from forecasting.horizons import widening
from pipeline import serving_state
from pipeline.database import transaction
from pipeline.predict import NO_WEATHER
from pipeline.publish import OpenedModel
from pipeline.serving import Serving
from pipeline.station import Station
from security.errors import UnavailableError
from tests.unit.api.small_station import LAST_DAY, PROVIDERS
from tests.unit.pipeline.republish import AT, acts, in_service_again

NOW = datetime(2023, 6, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen counts for as long as a test takes, also where the machine is slow."""
    monkeypatch.setattr(serving_state, "TRUE_FOR_SECONDS", 3600.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen never counts for the next request: no test waits for a second to pass."""
    monkeypatch.setattr(serving_state, "TRUE_FOR_SECONDS", -1.0)


def followed() -> None:
    for thread in [thread for thread in threading.enumerate() if thread.name == "release watch"]:
        thread.join(timeout=60)


def test_a_day_that_is_ready_is_answered_from_memory_and_entered_once(linear: Station) -> None:
    serving = Serving(linear, lambda: AT)
    assert serving.prepared(LAST_DAY) is None
    made = serving.prepare(LAST_DAY, by="ann")
    assert serving.prepare(LAST_DAY, by="bob") is made
    assert serving.prepared(LAST_DAY) is made
    with transaction(linear.engine) as session:
        (entry,) = session.exec(select(ForecastRecord))
    assert entry.requested_by == "ann"


def test_a_revocation_counts_at_once_in_its_own_worker(linear: Station) -> None:
    serving = Serving(linear, lambda: NOW)
    assert serving.prepare(LAST_DAY).forecast.sources == PROVIDERS
    serving.revoke("boreas", by="olga", reason="drill")
    assert serving.prepared(LAST_DAY) is None
    assert serving.prepare(LAST_DAY).forecast.sources == ("aurora", "cirrus")


@pytest.mark.usefixtures("impatient")
def test_a_revocation_in_another_worker_counts_at_the_next_look(linear: Station) -> None:
    here, there = Serving(linear, lambda: NOW), Serving(linear, lambda: NOW)
    assert here.prepare(LAST_DAY).forecast.sources == PROVIDERS
    there.revoke("boreas", by="olga", reason="drill")
    assert here.prepare(LAST_DAY).forecast.sources == ("aurora", "cirrus")


@pytest.mark.usefixtures("impatient")
def test_a_model_that_another_worker_put_in_service_is_followed(linear: Station, linear_model: OpenedModel) -> None:
    serving = Serving(linear, lambda: AT)
    assert serving.prepare(LAST_DAY).forecast.model_id == linear_model.model_id
    newest = in_service_again(linear, linear_model, "s-2")
    # The old model answers until the new one is verified and loaded.
    assert serving.prepare(LAST_DAY).forecast.model_id in (linear_model.model_id, newest)
    followed()
    assert serving.active_model_id == newest
    assert serving.prepare(LAST_DAY).forecast.model_id == newest


@pytest.mark.usefixtures("impatient")
def test_a_release_that_cannot_be_taken_is_tried_once_and_the_old_model_answers(
    linear: Station, linear_model: OpenedModel
) -> None:
    serving = Serving(linear, lambda: AT)
    path = linear.models / in_service_again(linear, linear_model, "s-2") / "golden.json.sealed"
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(3):
        assert serving.prepare(LAST_DAY).forecast.model_id == linear_model.model_id
        followed()
    assert [entry.actor for entry in acts(linear, "model.refused")] == ["release watch"]


def test_a_store_that_is_away_makes_no_answer_older_than_the_last_look(
    linear: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = Serving(linear, lambda: AT)
    serving.prepare(LAST_DAY)

    def away(*_given: object) -> None:
        raise UnavailableError("the database does not serve")

    monkeypatch.setattr("pipeline.serving.read_serving_state", away)
    assert serving.prepared(LAST_DAY) is not None
    monkeypatch.setattr(serving_state, "TRUE_FOR_SECONDS", -1.0)
    assert serving.prepared(LAST_DAY) is None
    with pytest.raises(UnavailableError):
        serving.prepare(LAST_DAY)
    monkeypatch.undo()
    assert serving.prepare(LAST_DAY).forecast.day == LAST_DAY


def test_a_week_is_forecast_from_one_gate_closure_and_its_first_day_is_the_day_ahead(station: Station) -> None:
    serving = Serving(station, lambda: NOW)
    first = LAST_DAY - timedelta(days=9)
    alone = serving.prepare(first)
    assert serving.prepared_together(first, 3) is None
    week = serving.prepare_together(first, 3)
    assert week[0] is alone
    again = serving.prepared_together(first, 3)
    assert again is not None
    assert [id(one) for one in again] == [id(one) for one in week]
    assert {one.forecast.gate_closure for one in week} == {alone.forecast.gate_closure}
    assert [one.forecast.days_ahead for one in week] == [1, 2, 3]
    # The providers of this station forecast one day: the others are answered without weather.
    assert [one.forecast.weather for one in week] == ["multi-source", NO_WEATHER, NO_WEATHER]
    assert len({one.forecast.forecast_id for one in week}) == 3


def test_nothing_that_was_known_only_later_moves_a_further_day(station: Station) -> None:
    serving = Serving(station, lambda: NOW)
    first = LAST_DAY - timedelta(days=9)
    told = serving.prepare(first + timedelta(days=1), 2)
    moved = Serving(station, lambda: NOW)
    readings = moved.readings
    late = pd.DatetimeIndex(readings.demand.index) > told.forecast.gate_closure - readings.utility.step
    readings.demand.loc[late, "demand_mw"] += 500.0
    again = moved.prepare(first + timedelta(days=1), 2)
    pd.testing.assert_frame_equal(again.forecast.frame, told.forecast.frame, check_exact=True)


def test_a_further_day_is_wider_than_the_same_model_is_a_day_ahead(station: Station) -> None:
    serving = Serving(station, lambda: NOW)
    for provider in PROVIDERS:
        serving.revoke(provider, by="olga", reason="drill")
    first = LAST_DAY - timedelta(days=9)
    ahead, further = serving.prepare_together(first, 2)
    widths = [float((one.forecast.frame["q90"] - one.forecast.frame["q10"]).mean()) for one in (ahead, further)]
    assert widths[1] == pytest.approx(widths[0] * widening(2, weather=False), rel=1e-6)
    for one in (ahead, further):
        np.testing.assert_allclose(
            one.says.weights @ one.says.members_mw + one.says.offset_mw, one.forecast.frame[MEDIAN], rtol=1e-9
        )
