from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from forecasting.weather_plausibility import Verdict
from pipeline.errors import NoWeatherToChange, WeatherImpossible, WrongLength
from pipeline.prepared_day import PreparedDay
from pipeline.what_if import Considered, WhatIfs, answer, measured_c
from tests.unit.api.small_station import LAST_DAY, Service, build


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedDay:
    home: Path = tmp_path_factory.mktemp("what-if")
    return Service.at(build(home / "built"), home / "home").serving.prepare(LAST_DAY)


@pytest.fixture(scope="module")
def what_ifs() -> WhatIfs:
    return WhatIfs()


@pytest.fixture(scope="module")
def unchanged(prepared: PreparedDay, what_ifs: WhatIfs) -> Considered:
    return what_ifs.consider(prepared, None, 0.0)


def test_nothing_moved_is_the_forecast_itself(prepared: PreparedDay, unchanged: Considered) -> None:
    what_if = answer(unchanged)

    assert what_if.difference_mw == pytest.approx(np.zeros(24), abs=1e-9)
    assert what_if.says.quantiles_mw == pytest.approx(prepared.says.quantiles_mw)


def test_the_difference_is_told_against_the_forecast(prepared: PreparedDay, what_ifs: WhatIfs) -> None:
    what_if = answer(what_ifs.consider(prepared, None, 2.0))

    assert np.abs(what_if.difference_mw).max() > 1
    assert what_if.difference_mw == pytest.approx(what_if.says.quantiles_mw[:, 4] - prepared.says.quantiles_mw[:, 4])


def test_the_same_question_has_the_same_id_and_another_one_another(
    prepared: PreparedDay, what_ifs: WhatIfs, unchanged: Considered
) -> None:
    first = answer(unchanged)
    told = answer(what_ifs.consider(prepared, unchanged.path_c.copy()))
    moved = answer(what_ifs.consider(prepared, None, 0.5))

    assert first.what_if_id.startswith("w-")
    assert first.what_if_id == told.what_if_id
    assert moved.what_if_id != first.what_if_id


def test_impossible_weather_is_refused_with_the_reasons(prepared: PreparedDay, what_ifs: WhatIfs) -> None:
    considered = what_ifs.consider(prepared, np.full(24, 20.0))

    with pytest.raises(WeatherImpossible, match=r"only 0.0 °C between the day's extremes") as refused:
        answer(considered)

    assert considered.strange
    assert refused.value.reasons == considered.judgement.reasons


def test_unusual_weather_is_answered_as_much_wider_as_is_stated(unchanged: Considered) -> None:
    judgement = replace(unchanged.judgement, verdict=Verdict.UNUSUAL, widening=1.4)

    usual, unusual = answer(unchanged).says, answer(replace(unchanged, judgement=judgement)).says

    assert unusual.quantiles_mw[:, 4] == pytest.approx(usual.quantiles_mw[:, 4])
    assert np.ptp(unusual.quantiles_mw, axis=1) == pytest.approx(1.4 * np.ptp(usual.quantiles_mw, axis=1))


def test_another_number_of_intervals_than_the_day_has_is_refused(prepared: PreparedDay, what_ifs: WhatIfs) -> None:
    with pytest.raises(WrongLength, match="23 temperatures for a day of 24 intervals"):
        what_ifs.consider(prepared, np.full(23, 20.0))


def test_a_model_without_weather_has_nothing_to_change(prepared: PreparedDay, what_ifs: WhatIfs) -> None:
    class Blind:
        needs_weather = False

    without = replace(prepared, model=replace(prepared.model, forecaster=Blind()))  # type: ignore[arg-type]

    with pytest.raises(NoWeatherToChange, match="reads none"):
        what_ifs.consider(without, None, 1.0)


def test_plausibility_is_learned_from_what_was_measured_until_now(prepared: PreparedDay) -> None:
    measured = measured_c(prepared.readings, prepared.model)

    assert measured.index[-1] == prepared.readings.demand.index[-1]
    assert measured.notna().all()
    assert measured.index[-1].date() == date(2023, 5, 30)


def test_what_the_weather_taught_is_kept_until_the_model_or_the_readings_change(
    prepared: PreparedDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = []
    monkeypatch.setattr("pipeline.what_if.measured_c", lambda *given: learned.append(given) or measured_c(*given))
    asked = WhatIfs()

    for _ in range(3):
        asked.consider(prepared, None, 1.0)
    asked.consider(replace(prepared, readings=replace(prepared.readings)), None, 1.0)

    assert len(learned) == 2
