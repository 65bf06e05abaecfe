"""Temperatures crafted to move a forecast. The attack wins where what-ifs are not judged, and loses where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.schema import Array
from forecasting.member_says import MemberSays
from forecasting.told_weather import predict_told
from forecasting.weather_plausibility import REFUSED_AT, Judgement, Verdict, WeatherPlausibility
from pipeline.errors import WeatherImpossible
from pipeline.prepared_day import PreparedDay
from pipeline.redteam.crafted_weather import Answered, Refused, nearest_seen, search
from pipeline.what_if import WhatIfs, answer, measured_c
from tests.unit.api.small_station import LAST_DAY, UTILITY, Service, build

QUESTIONS = 80


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedDay:
    home: Path = tmp_path_factory.mktemp("crafted")
    return Service.at(build(home / "built"), home / "home").serving.prepare(LAST_DAY)


@pytest.fixture(scope="module")
def seen_c(prepared: PreparedDay) -> tuple[Array, Array]:
    learned = WeatherPlausibility.learn(measured_c(prepared.readings, prepared.model), UTILITY)
    return learned.climate.seen_c(LAST_DAY)


def told(says: MemberSays) -> Answered:
    return Answered(says.quantiles_mw[:, 4], says.quantiles_mw[:, 0], says.quantiles_mw[:, 8])


def attack(prepared: PreparedDay, seen_c: tuple[Array, Array]) -> float:
    """The furthest move beyond the stated interval [% of the day's mean] that a search finds, asking as the service asks."""
    what_ifs = WhatIfs()
    base = what_ifs.consider(prepared, None, 0.0)

    def ask(path_c: Array) -> Answered | Refused:
        considered = what_ifs.consider(prepared, path_c)
        try:
            return told(answer(considered).says)
        except WeatherImpossible:
            return Refused(considered.judgement.distance)

    def reference(path_c: Array) -> Array:
        near_c = nearest_seen(path_c, *seen_c)
        forecaster = prepared.model.forecaster
        return told(predict_told(forecaster, base.known, LAST_DAY, near_c, UTILITY, doubted=False)[1]).median_mw

    return search(ask, reference, base.path_c, QUESTIONS, seed=3).move_percent


def test_crafted_temperatures_move_the_forecast_beyond_its_interval_only_where_nobody_judges_them(
    prepared: PreparedDay, seen_c: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = attack(prepared, seen_c)

    def believed(_self: object, *_told: object) -> Judgement:
        return Judgement(Verdict.USUAL, (), 0.0, 1.0, 1.0)

    monkeypatch.setattr(WeatherPlausibility, "judge", believed)
    unjudged = attack(prepared, seen_c)

    assert unjudged > 5
    assert judged < 0.2 * unjudged


def test_a_climate_from_elsewhere_is_answered_only_where_nobody_judges_it(
    prepared: PreparedDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    desert_c = 45 + 6 * np.sin(2 * np.pi * (np.arange(24) - 9) / 24)
    what_ifs = WhatIfs()

    with pytest.raises(WeatherImpossible):
        answer(what_ifs.consider(prepared, desert_c))

    monkeypatch.setattr("forecasting.weather_plausibility.REFUSED_AT", 1000 * REFUSED_AT)
    assert abs(answer(what_ifs.consider(prepared, desert_c)).difference_mw).max() > 100
