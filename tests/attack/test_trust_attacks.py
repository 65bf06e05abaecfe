"""One of several weather sources lies (AML.T0010.002, AML.T0020): off, the forecast is fed the lie; on, the liar is out.

Off is what a utility does without the watch: it takes one source at its word, or the mean of all. On is the watch with a
year of baseline. Each lie is plausible to the eye and signed with a valid key: only the others and demand can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from data.datasets import load_victoria
from data.rough_stations import PROVIDERS, simulate_stations
from data.schema import MILD_C, Array
from data.trust import court
from data.trust.readings import Flag
from data.trust.watch import WeatherWatch
from tests.unit.trust.trust_town import DAY, RULES, Town, come_to, judged, lied, town

ONSET = 12
LIAR = 1
# What a lie may cost with the watch on: the days until it is found, spread over the weeks that are judged [°C].
HARM_C = 0.15


@dataclass(frozen=True)
class Attack:
    """lie: made of honest readings since the onset [°C]; harm_c: mean error of who believes it; days: until it is found."""

    lie: Callable[[Array], Array]
    harm_c: float
    days: float
    levels: tuple[int, ...] = (3, 4)


def delayed(hours: int) -> Callable[[Array], Array]:
    return lambda said: np.concatenate([np.repeat(said[:1], hours), said[:-hours]])


def ramp(per_day: float) -> Callable[[Array], Array]:
    return lambda said: said + per_day * np.arange(len(said)) / DAY


ATTACKS = {
    "three degrees too warm": Attack(lambda said: said + 3.0, 2.5, 3),
    "three degrees too cold": Attack(lambda said: said - 3.0, 2.5, 3),
    "too warm in mild weather only": Attack(
        lambda said: np.where((said >= MILD_C[0]) & (said <= MILD_C[1]), said + 2.5, said), 0.9, 9
    ),
    "a ramp of a tenth of a degree a day": Attack(ramp(0.1), 1.5, 25),
    "a pull towards mild": Attack(lambda said: said + 0.5 * (np.mean(MILD_C) - said), 1.0, 9),
    "yesterday again": Attack(delayed(24), 0.8, 3, (2, 3, 4)),
    "frozen": Attack(lambda said: np.full(len(said), said[0]), 2.0, 2, (1, 2)),
    "in Fahrenheit": Attack(lambda said: said * 9 / 5 + 32, 30.0, 1, (1,)),
    "three hours late": Attack(delayed(3), 1.0, 5),
    "spikes": Attack(lambda said: said + 8.0 * (np.arange(len(said)) % 20 == 0), 0.3, 10, (2, 3)),
}


@pytest.fixture(scope="session", params=[3, 4])
def place(request: pytest.FixtureRequest) -> Town:
    return town(request.param)


@pytest.fixture(scope="session")
def clean_error_c(place: Town) -> float:
    """What the watch is wrong by when everybody is honest [°C]."""
    _, progress = judged(place, place.readings)
    assert come_to(progress, "quarantined") == []
    return float(np.abs(progress.temperature_c - place.judged_truth_c).mean())


def usual_error(place: Town, said: Array) -> float:
    """Mean absolute error after the onset of one who takes `said` for the truth [°C]."""
    return float(np.abs(said - place.truth_c)[place.start + ONSET * DAY :].mean())


@pytest.mark.parametrize("name", ATTACKS)
def test_a_liar_is_believed_without_the_watch_and_quarantined_with_it(place: Town, clean_error_c: float, name: str):
    attack = ATTACKS[name]
    readings = lied(place, LIAR, attack.lie, ONSET)
    onset = place.index[place.start + ONSET * DAY]

    # Off: the lie is the temperature, in full where one source is believed, by its share where the mean is.
    honest, mean = place.readings, place.readings.mean(axis=1)
    assert usual_error(place, readings[:, LIAR]) > usual_error(place, honest[:, LIAR]) + attack.harm_c
    assert np.abs(readings.mean(axis=1) - mean)[place.start + ONSET * DAY :].mean() > 0.7 * attack.harm_c / len(place.names)

    # On: he is named and nobody else, in time, and what was answered stays near the truth.
    _, progress = judged(place, readings)
    assert come_to(progress, "quarantined") == [place.names[LIAR]]
    event = next(event for event in progress.events if event.to_state == "quarantined")
    assert onset < event.at <= onset + pd.Timedelta(days=attack.days)
    assert event.level in attack.levels
    assert event.onset <= event.at
    error = float(np.abs(progress.temperature_c - place.judged_truth_c).mean())
    assert error < clean_error_c + HARM_C
    assert (progress.flags[place.index[place.start :] >= event.at, LIAR] & Flag.EXCLUDED).all()


@pytest.mark.parametrize("liar", [0, 1])
@pytest.mark.parametrize("lie", [4.0, -4.0])
def test_of_two_sources_the_mean_is_wrong_by_half_the_lie_and_demand_names_the_liar(liar: int, lie: float):
    """Nobody can outvote him; the load that was drawn can (Sobhani, Hong & Martin, IJF 36, 2020)."""
    place = town(2)
    readings = lied(place, liar, lambda said: said + lie, ONSET)
    assert usual_error(place, readings.mean(axis=1)) > abs(lie) / 2 - 0.3
    _, progress = judged(place, readings)
    assert come_to(progress, "quarantined") == [place.names[liar]]
    after = slice((ONSET + 14) * DAY, None)
    assert np.abs(progress.temperature_c - place.judged_truth_c)[after].mean() < 0.8


def test_two_colluding_of_five_are_outvoted():
    place = town(5)
    readings = place.readings.copy()
    readings[place.start + ONSET * DAY :, :2] += 2.5
    assert usual_error(place, readings.mean(axis=1)) > 0.8
    _, progress = judged(place, readings)
    assert sorted(come_to(progress, "quarantined")) == ["a", "b"]
    assert np.abs(progress.temperature_c - place.judged_truth_c).mean() < 0.6


def test_a_patient_liar_below_what_is_accused_gains_little():
    """He may go on for ever: what he moves is a fraction of what he dares to lie."""
    place = town(4)
    dared = 0.5
    honest = judged(place, place.readings)[1].temperature_c
    lying = judged(place, lied(place, LIAR, lambda said: said + dared, ONSET))[1].temperature_c
    assert np.abs(lying - honest).mean() < 0.5 * dared


def test_a_liar_who_falls_silent_and_returns_under_the_same_name_is_not_heard_again(place: Town):
    readings = lied(place, LIAR, lambda said: said + 3.0, ONSET, ONSET + 10)
    readings[place.start + (ONSET + 10) * DAY : place.start + (ONSET + 20) * DAY, LIAR] = np.nan
    watch, progress = judged(place, readings)
    assert watch.standings[LIAR] == "quarantined"
    assert (progress.flags[(ONSET + 12) * DAY :, LIAR] & Flag.EXCLUDED).all()


@pytest.mark.parametrize("garbage", [np.inf, -np.inf, 1e308, -300.0])
def test_garbage_from_one_source_never_reaches_the_answer(place: Town, clean_error_c: float, garbage: float):
    readings = lied(place, LIAR, lambda said: np.where(np.arange(len(said)) % 3 == 0, garbage, said), ONSET)
    _, progress = judged(place, readings)
    assert np.isfinite(progress.temperature_c).all()
    assert float(np.abs(progress.temperature_c - place.judged_truth_c).mean()) < clean_error_c + HARM_C
    assert come_to(progress, "quarantined") == [place.names[LIAR]]


def test_a_source_that_goes_wild_while_everybody_is_still_trusted_spoils_nothing_that_is_learned(place: Town):
    readings = place.readings.copy()
    readings[100 * DAY : 103 * DAY, LIAR] = 500.0
    readings[place.start + ONSET * DAY :, 0] += 3.0
    watch = WeatherWatch(place.names, place.timezone, place.step, RULES)
    progress = watch.advance(place.index, readings, place.demand_mw)
    assert set(come_to(progress, "quarantined")) == {place.names[LIAR], "a"}
    assert np.isfinite(progress.temperature_c).all()
    assert np.abs(progress.temperature_c - place.truth_c)[place.start :].mean() < 0.8


@pytest.mark.parametrize("thought_of", [False, True])
def test_two_of_five_who_tell_the_same_lie_frame_an_honest_one_unless_collusion_is_thought_of(
    thought_of: bool, monkeypatch: pytest.MonkeyPatch
):
    """Stations as rough as a city's providers, from the benchmark's fifth seed."""
    if not thought_of:
        monkeypatch.setattr(court, "FEWEST_SOURCES", 6)
    dataset = load_victoria()
    stations = simulate_stations(dataset.temperature_c, dataset.utility, 5, 5, PROVIDERS)
    start, end = (stations.index.searchsorted(pd.Timestamp(day)) for day in ("2014-04-20T18:00Z", "2014-05-20T00:00Z"))
    told, liars = stations.to_numpy(copy=True), {"station-2", "station-4"}
    told[start:, [list(stations.columns).index(liar) for liar in liars]] += 2.0
    watch = WeatherWatch(list(stations.columns), dataset.utility.timezone, dataset.utility.step)
    progress = watch.advance(pd.DatetimeIndex(stations.index[:end]), told[:end])
    assert (set(come_to(progress, "quarantined")) == liars) == thought_of
