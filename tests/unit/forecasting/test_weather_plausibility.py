from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from data.datasets import EmbeddedDataset
from data.schema import Array
from forecasting.errors import TooLittleHistory
from forecasting.weather_plausibility import REFUSED_AT, Judgement, Verdict, WeatherPlausibility

AUTUMN, WINTER = date(2014, 4, 16), date(2014, 7, 9)


@pytest.fixture(scope="module")
def learned(victoria: EmbeddedDataset) -> WeatherPlausibility:
    """From 2012 and 2013."""
    end = victoria.utility.day_index(date(2014, 1, 1))[0]
    return WeatherPlausibility.learn(victoria.temperature_c[victoria.temperature_c.index < end], victoria.utility)


def real(victoria: EmbeddedDataset, day: date) -> Array:
    return victoria.temperature_c[victoria.utility.day_index(day)].to_numpy()


def judged(learned: WeatherPlausibility, victoria: EmbeddedDataset, day: date, path_c: Array) -> Judgement:
    return learned.judge(day, path_c, real(victoria, day - timedelta(days=1)))


@pytest.mark.parametrize("day", [date(2014, 1, number) for number in (14, 15, 16, 17)], ids=str)
def test_the_heat_wave_of_2014_is_answered(learned: WeatherPlausibility, victoria: EmbeddedDataset, day: date) -> None:
    assert judged(learned, victoria, day, real(victoria, day)).verdict is not Verdict.IMPOSSIBLE


def test_of_the_days_of_a_year_that_was_not_learned_none_is_refused_and_few_are_unusual(
    learned: WeatherPlausibility, victoria: EmbeddedDataset
) -> None:
    days = [moment.date() for moment in pd.date_range("2014-01-01", "2014-12-31")]
    verdicts = [judged(learned, victoria, day, real(victoria, day)).verdict for day in days]

    assert Verdict.IMPOSSIBLE not in verdicts
    assert verdicts.count(Verdict.UNUSUAL) <= 0.02 * len(days)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (lambda path_c: np.full(48, path_c.mean()), "only 0.0 °C between the day's extremes"),
        (lambda path_c: path_c + np.random.default_rng(1).normal(0, 2, 48), "of unrest from interval to interval"),
        (lambda path_c: path_c + 3 * (-1.0) ** (np.arange(48) // 2), "up and down within hours"),
        (lambda path_c: path_c + 18 * (np.arange(48) > 24), "a step of 1"),
        (lambda path_c: path_c + 18, "warmer than the day before"),
        (lambda path_c: path_c + 14, "where this season has had"),
    ],
    ids=["constant", "noise", "up and down", "step", "warmer than the day before", "warmer than the season"],
)
def test_what_no_day_ever_was_is_refused_with_the_reason_in_numbers(
    learned: WeatherPlausibility, victoria: EmbeddedDataset, path: object, said: str
) -> None:
    judgement = judged(learned, victoria, WINTER, path(real(victoria, WINTER)))  # type: ignore[operator]

    assert judgement.verdict is Verdict.IMPOSSIBLE
    assert judgement.distance > REFUSED_AT
    assert any(said in reason for reason in judgement.reasons)


@pytest.mark.parametrize(
    ("at", "celsius", "said"),
    [(10, np.nan, "not a number"), (10, 61.0, "leaves what air can be"), (10, -40.0, "between the day's extremes")],
)
def test_physics_is_judged_first_and_alone(
    learned: WeatherPlausibility, victoria: EmbeddedDataset, at: int, celsius: float, said: str
) -> None:
    path_c = real(victoria, AUTUMN).copy()
    path_c[at] = celsius

    judgement = judged(learned, victoria, AUTUMN, path_c)

    assert judgement.verdict is Verdict.IMPOSSIBLE
    assert said in judgement.reasons[0]


def test_an_unusual_day_is_answered_with_reasons_and_a_wider_interval(
    learned: WeatherPlausibility, victoria: EmbeddedDataset
) -> None:
    noisy = real(victoria, AUTUMN) + np.random.default_rng(1).normal(0, 1, 48)

    judgement = judged(learned, victoria, AUTUMN, noisy)

    assert judgement.verdict is Verdict.UNUSUAL
    assert judgement.reasons
    assert judgement.widening == pytest.approx(judgement.distance)
    assert judgement.p_value < 0.01


def test_a_usual_day_has_no_reasons_and_its_interval_stays(learned: WeatherPlausibility, victoria: EmbeddedDataset) -> None:
    judgement = judged(learned, victoria, AUTUMN, real(victoria, AUTUMN) + 1)

    assert (judgement.verdict, judgement.reasons, judgement.widening) == (Verdict.USUAL, (), 1.0)


def test_an_analyst_who_moves_the_day_by_a_few_degrees_is_not_refused(
    learned: WeatherPlausibility, victoria: EmbeddedDataset
) -> None:
    days = [moment.date() for moment in pd.date_range("2014-01-02", "2014-12-31", freq="7D")]
    verdicts = [
        judged(learned, victoria, day, real(victoria, day) + shift).verdict for day in days for shift in (-3, -1, 1, 3)
    ]

    assert Verdict.IMPOSSIBLE not in verdicts


def test_what_the_evening_may_be_off_by_is_not_held_against_the_day(
    learned: WeatherPlausibility, victoria: EmbeddedDataset
) -> None:
    path_c, before = real(victoria, AUTUMN), real(victoria, AUTUMN - timedelta(days=1)) - 8

    sure, doubtful = (learned.judge(AUTUMN, path_c, before, doubt_c) for doubt_c in (0.0, 5.0))

    assert sure.distance > doubtful.distance


def test_a_day_is_judged_without_the_day_before_where_that_is_not_known(
    learned: WeatherPlausibility, victoria: EmbeddedDataset
) -> None:
    unknown = np.full(48, np.nan)

    alone, with_gaps = (learned.judge(AUTUMN, real(victoria, AUTUMN), before) for before in (None, unknown))

    assert alone == with_gaps
    assert alone.verdict is Verdict.USUAL


@pytest.mark.parametrize(("day", "intervals"), [(date(2014, 4, 6), 50), (date(2014, 10, 5), 46)], ids=["25 h", "23 h"])
def test_a_day_on_which_the_clocks_move_has_its_own_length(
    learned: WeatherPlausibility, victoria: EmbeddedDataset, day: date, intervals: int
) -> None:
    assert judged(learned, victoria, day, real(victoria, day)).verdict is Verdict.USUAL
    assert len(real(victoria, day)) == intervals
    with pytest.raises(ValueError, match=f"48.* for the {intervals} intervals"):
        learned.judge(day, np.full(48, 15.0))


def test_a_few_weeks_are_enough_to_judge_and_fewer_are_refused(victoria: EmbeddedDataset) -> None:
    short = victoria.temperature_c.iloc[: 48 * 60]

    near = WeatherPlausibility.learn(short, victoria.utility).judge(date(2012, 3, 5), short.iloc[-48:].to_numpy())
    with pytest.raises(TooLittleHistory):
        WeatherPlausibility.learn(victoria.temperature_c.iloc[: 48 * 30], victoria.utility)

    assert near.verdict is not Verdict.IMPOSSIBLE


def test_gaps_in_what_was_measured_cost_their_days_only(victoria: EmbeddedDataset) -> None:
    gappy = victoria.temperature_c.iloc[: 48 * 366].copy()
    gappy.iloc[::970] = np.nan

    judgement = WeatherPlausibility.learn(gappy, victoria.utility).judge(AUTUMN, real(victoria, AUTUMN))

    assert judgement.verdict is Verdict.USUAL
