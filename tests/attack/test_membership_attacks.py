"""Answers for days that a model learned from give away that it did, and there are none over HTTP."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from data.schema import DEMAND_MW, days_between
from pipeline.prepared_day import PreparedDay
from pipeline.redteam.membership import best_threshold
from pipeline.serving import Serving
from tests.unit.api.small_station import FIRST_ASKED, LAST_DAY, UTILITY, Service, build, demand_and_weather

ASKED = days_between(FIRST_ASKED - timedelta(days=40), LAST_DAY)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    home = tmp_path_factory.mktemp("membership")
    return Service.at(build(home / "built"), home / "home")


def answers_to(service: Service) -> dict[date, list[float]]:
    """What a caller is told of each day that is answered [MW]."""
    told = {day: service.ask("GET", f"/v1/forecasts/{day}", role="analyst") for day in ASKED}
    return {
        day: [row["forecast_mw"] for row in answer.json()["intervals"]]
        for day, answer in told.items()
        if answer.status_code == 200
    }


def closeness(answers: dict[date, list[float]]) -> dict[date, float]:
    """How near each answer is to what was drawn; the attacker has the demand."""
    demand = demand_and_weather()[0][DEMAND_MW]
    drawn = {day: demand.loc[UTILITY.day_index(day)].to_numpy() for day in answers}
    return {day: -float(np.log(np.mean(np.abs(np.array(told) / drawn[day] - 1)))) for day, told in answers.items()}


def test_the_answers_for_learned_days_give_them_away_and_are_not_given(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as off:
        off.setattr(Serving, "require_unlearned", lambda *_: None)
        off.setattr(PreparedDay, "require_unlearned", lambda *_: None)
        near = closeness(answers_to(service))
    guarded = answers_to(service)

    days = list(near)
    values = np.array(list(near.values()))
    learned = np.array([day < FIRST_ASKED for day in days])
    known, unknown = slice(0, None, 2), slice(1, None, 2)
    said = values[unknown] > best_threshold(values[known], learned[known])
    assert days == ASKED
    assert said[learned[unknown]].mean() - said[~learned[unknown]].mean() > 0.5
    assert list(guarded) == days_between(FIRST_ASKED, LAST_DAY)
