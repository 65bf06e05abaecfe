"""The worlds' parts that can be seen without living through three years: where they stand, who sends what, who suspects."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.datasets import EmbeddedDataset
from data.meters import PROMPT
from data.schema import days_between
from pipeline.case_study import worlds
from pipeline.case_study.service_act import _tampered
from pipeline.case_study.worlds import Scene
from pipeline.operate import Operation
from pipeline.predict import DayForecast
from pipeline.publish import OpenedModel, open_model
from pipeline.redteam.weather_poisoning import Poisoning, poison
from pipeline.station import Station
from security.errors import ContentChanged
from tests.unit.pipeline.small_incident import UTILITY

FIRST, ATTACKED, LAST = date(2013, 7, 1), date(2014, 2, 15), date(2014, 3, 31)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path, 1, Poisoning(start=ATTACKED))


def test_each_world_has_a_home_of_its_own_and_the_compromise_begins_at_midnight(scene: Scene) -> None:
    homes = {scene.home(world) for world in ("clean", "defended", "undefended")}
    assert len(homes) == 3
    assert all(scene.out in home.parents for home in homes)
    assert scene.compromise == datetime(2014, 2, 15, tzinfo=UTC)


def test_the_defended_world_begins_as_the_clean_one_and_then_goes_its_own_way(scene: Scene) -> None:
    scene.home("clean").mkdir(parents=True)
    (scene.home("clean") / "note").write_text("the past")
    worlds.fork(scene)
    (scene.home("defended") / "note").write_text("the attack")
    assert (scene.home("clean") / "note").read_text() == "the past"


def test_the_utility_knows_its_demand_half_an_hour_late(victoria: EmbeddedDataset) -> None:
    utility = worlds.utility_of(victoria)
    assert utility.demand_delay == PROMPT == pd.Timedelta(minutes=30)
    assert (utility.timezone, utility.step) == (victoria.utility.timezone, victoria.utility.step)


def test_the_worlds_hear_the_same_until_the_compromise_and_the_same_of_four_providers_after(scene: Scene) -> None:
    honest = worlds.deliveries(scene)
    assert honest == worlds.deliveries(scene)
    lies = [before for (_, before), (_, after) in zip(honest, poison(honest, scene.attack), strict=True) if before != after]
    assert {content.provider for content in lies} == {worlds.TRUSTED_PROVIDER}
    assert min(content.issued_at for content in lies) >= scene.compromise


def lived(shift_percent: float) -> tuple[pd.Series, list[DayForecast]]:
    """Demand, and forecasts of it that err by a per cent a day, and from the attack on by a shift as well."""
    days = days_between(FIRST, LAST)
    random = np.random.default_rng(1)
    index = pd.DatetimeIndex([moment for day in days for moment in UTILITY.day_index(day)])
    forecasts = []
    for day in days:
        percent = random.normal(0, 1) + (shift_percent if day >= ATTACKED else 0.0)
        frame = pd.DataFrame({"forecast_mw": 1000 * (1 + percent / 100)}, index=UTILITY.day_index(day))
        gate = UTILITY.gate_closure_of(day)
        forecasts.append(DayForecast("f", day, gate, "m", "s", "single:aurora", ("aurora",), frame))
    return pd.Series(1000.0, index=index), forecasts


def first_day_without(detector: worlds._Detector, forecasts: list[DayForecast]) -> date | None:
    """The first day that is not forecast any more because the investigation came to its end."""
    for number, made in enumerate(forecasts):
        if detector.investigated(Operation(forecasts[:number]), made.day):
            return made.day
    return None


def test_a_lasting_overestimate_is_suspected_investigated_for_a_week_and_then_acted_on() -> None:
    actual_mw, forecasts = lived(shift_percent=3.0)
    detector = worlds._Detector(actual_mw, UTILITY)
    stopped = first_day_without(detector, forecasts)
    assert detector.suspicion is not None
    assert detector.alarm is not None
    assert detector.alarm.side == "over"
    assert ATTACKED + timedelta(days=2) < detector.suspicion < ATTACKED + timedelta(days=21)
    # Suspected in the morning, from whole days that were over by then.
    assert detector.alarm.day.date() == detector.suspicion - timedelta(days=1)
    assert stopped == detector.suspicion + worlds.INVESTIGATION + timedelta(days=1)


def test_ordinary_days_are_not_suspected() -> None:
    actual_mw, forecasts = lived(shift_percent=0.0)
    detector = worlds._Detector(actual_mw, UTILITY)
    assert first_day_without(detector, forecasts) is None
    assert detector.suspicion is None


def test_a_model_file_is_tampered_with_for_a_while_and_then_put_right(
    station: Station, models: dict[str, OpenedModel]
) -> None:
    model_id = models["main"].model_id
    with _tampered(station), pytest.raises(ContentChanged, match=r"model\.json"):
        open_model(station, model_id)
    assert open_model(station, model_id).model_id == model_id
