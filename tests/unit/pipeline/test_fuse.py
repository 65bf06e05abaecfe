"""Offline fusion: histories come onto one grid without loss, and the watch judges them from the first row to the last."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from data.datasets import EmbeddedDataset
from data.files import DemandFile, WeatherHistory
from data.trust.readings import Flag
from data.trust.rules import TrustRules
from data.trust.watch import WeatherWatch
from pipeline import fuse
from pipeline.errors import PipelineError
from pipeline.fuse import FuseResult, common_grid, demand_on, fuse_histories, held
from tests.unit.pipeline.small_histories import BASELINE_DAYS, HOUR, LIE, NAMES, START, ZONE, histories, history, index_of

HALF_HOUR = pd.Timedelta(minutes=30)


@pytest.fixture(scope="module")
def honest() -> FuseResult:
    return fuse_histories(histories(), None, ZONE, BASELINE_DAYS)


def lying(name: str, values: pd.Series) -> FuseResult:
    return fuse_histories(histories() | {name: history(values)}, None, ZONE, BASELINE_DAYS)


def flagged(result: FuseResult, name: str, flag: Flag) -> pd.Series:
    column = result.progress.flags[:, result.names.index(name)]
    return pd.Series((column & flag) != 0, result.progress.index)


def demand_file(values: pd.Series, step: pd.Timedelta) -> DemandFile:
    return DemandFile(pd.DataFrame({"demand_mw": values}), step, ())


# The grid


def test_the_grid_reaches_from_the_first_reading_of_any_provider_to_the_end_of_the_last() -> None:
    early = history(pd.Series(1.0, pd.date_range(START, periods=4, freq="h")))
    late = history(pd.Series(2.0, pd.date_range(START + 6 * HOUR, periods=4, freq="30min")), HALF_HOUR)

    index, step = common_grid({"early": early, "late": late}, "UTC")

    assert step == HALF_HOUR
    assert (index[0], index[-1] + step) == (START, START + 8 * HOUR)


def test_a_coarser_value_holds_for_its_own_interval_and_not_beyond() -> None:
    index = pd.date_range(START, periods=6, freq="30min")
    values = pd.Series([1.0, np.nan, 3.0], pd.date_range(START - HOUR, periods=3, freq="h"))

    np.testing.assert_array_equal(held(values, HOUR, index), [np.nan, np.nan, 3, 3, np.nan, np.nan])


@pytest.mark.parametrize(
    ("zone", "minutes"), [("Europe/Berlin", 60), ("Asia/Kolkata", 30), ("Asia/Kathmandu", 15), ("Australia/Lord_Howe", 30)]
)
def test_hourly_histories_of_utc_meet_the_local_midnights_of_every_zone(zone: str, minutes: int) -> None:
    index, step = common_grid({"a": history(pd.Series(1.0, index_of()))}, zone)

    assert step == pd.Timedelta(minutes=minutes)
    local = index.tz_convert(zone)
    assert (local == local.normalize()).sum() == 120


def test_clocks_that_interleave_share_a_finer_grid() -> None:
    on_the_hour = history(pd.Series(1.0, pd.date_range(START, periods=3, freq="h")))
    past_it = history(pd.Series(2.0, pd.date_range(START + pd.Timedelta(minutes=15), periods=3, freq="h")))

    index, step = common_grid({"a": on_the_hour, "b": past_it}, "UTC")

    assert step == pd.Timedelta(minutes=15)
    assert len(index) == 13


def test_stray_times_that_would_span_decades_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "MOST_ROWS", 1000)

    with pytest.raises(PipelineError, match=r"2013-01-01 to 2013-05-01.*stray times"):
        common_grid(histories(), ZONE)


def test_finer_demand_is_averaged_and_coarser_demand_held() -> None:
    index = pd.date_range(START, periods=4, freq="30min")
    fine = pd.Series([1.0, 2.0, 3.0, np.nan, 6.0], pd.date_range(START, periods=5, freq="10min"))
    coarse = pd.Series([10.0, 20.0], pd.date_range(START, periods=2, freq="h"))

    averaged = demand_on(index, HALF_HOUR, demand_file(fine, pd.Timedelta(minutes=10)))
    holding = demand_on(index, HALF_HOUR, demand_file(coarse, HOUR))

    np.testing.assert_array_equal(averaged, [2, 6, np.nan, np.nan])
    np.testing.assert_array_equal(holding, [10, 10, 20, 20])


def test_providers_of_different_steps_are_fused_on_the_shorter(honest: FuseResult) -> None:
    mixed = histories()
    fine = pd.date_range(START, periods=2 * len(mixed["west"].temperature_c), freq="30min")
    mixed["west"] = history(pd.Series(np.repeat(mixed["west"].temperature_c.to_numpy(), 2), fine), HALF_HOUR)

    result = fuse_histories(mixed, None, ZONE, BASELINE_DAYS)

    assert result.step == HALF_HOUR
    assert result.standings == ("trusted",) * 4
    np.testing.assert_allclose(result.progress.temperature_c[::2], honest.progress.temperature_c, atol=0.3)


# The verdict


def test_honest_histories_give_one_temperature_close_to_the_truth_and_no_accusation(honest: FuseResult) -> None:
    middle = np.median(honest.readings, axis=1)

    assert honest.standings == ("trusted",) * 4
    assert np.isfinite(honest.progress.temperature_c).all()
    assert np.abs(honest.progress.temperature_c - middle).mean() < 0.5
    assert (honest.progress.uncertainty_c > 0).all()
    assert honest.notes == ()


def test_a_lying_provider_is_named_and_the_fused_temperature_stays(honest: FuseResult) -> None:
    values = histories()["south"].temperature_c.copy()
    values[values.index >= LIE] += 3.0

    result = lying("south", values)

    assert result.standings == ("trusted", "trusted", "quarantined", "trusted")
    (event,) = [event for event in result.progress.events if event.to_state == "quarantined"]
    assert (event.provider, event.level) == ("south", 3)
    assert LIE < event.at <= LIE + pd.Timedelta(days=7)
    assert abs(event.onset - LIE) <= pd.Timedelta(days=3)
    drift = result.progress.temperature_c - honest.progress.temperature_c
    assert np.sqrt(np.mean(drift**2)) < 0.4


def test_fahrenheit_in_the_middle_of_a_history_is_flagged_and_shut_out_within_a_day() -> None:
    values = histories()["east"].temperature_c.copy()
    values[values.index >= LIE] = values * 9 / 5 + 32

    result = lying("east", values)

    (event,) = [event for event in result.progress.events if event.provider == "east"]
    assert (event.to_state, event.level) == ("quarantined", 1)
    assert event.at - LIE <= pd.Timedelta(days=1)
    assert result.progress.temperature_c.max() < 40


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300, 95.0, -273.15])
def test_values_that_no_thermometer_shows_are_invalid_and_never_used(value: float) -> None:
    values = histories()["east"].temperature_c.copy()
    wrong = values.index[2000::97]
    values[wrong] = value

    result = lying("east", values)

    assert list(flagged(result, "east", Flag.INVALID).pipe(lambda found: found.index[found])) == list(wrong)
    assert result.progress.temperature_c.max() < 40
    assert result.progress.temperature_c.min() > -20


def test_a_provider_that_dies_stops_nothing() -> None:
    values = histories()["west"].temperature_c
    result = fuse_histories(histories() | {"west": history(values[values.index < LIE])}, None, ZONE, BASELINE_DAYS)

    assert flagged(result, "west", Flag.MISSING)[LIE:].all()
    assert np.isfinite(result.progress.temperature_c).all()
    assert result.progress.sources[result.progress.index >= LIE].max() == 3


def test_the_answers_are_those_of_the_watch_reading_by_reading(honest: FuseResult) -> None:
    watch = WeatherWatch(NAMES, ZONE, HOUR, TrustRules(baseline_days=BASELINE_DAYS))
    rows = 62 * 24
    taken = [
        watch.take(at, dict(zip(NAMES, row, strict=True)))
        for at, row in zip(honest.progress.index[:rows], honest.readings[:rows], strict=True)
    ]

    np.testing.assert_allclose([one.temperature_c[0] for one in taken], honest.progress.temperature_c[:rows], atol=1e-9)


def hourly(victoria: EmbeddedDataset, lie_c: float) -> tuple[WeatherHistory, DemandFile]:
    end, lie = pd.Timestamp("2013-12-01", tz="UTC"), pd.Timestamp("2013-06-15", tz="UTC")
    temperature = victoria.temperature_c[victoria.temperature_c.index < end].resample("h").mean()
    temperature[temperature.index >= lie] += lie_c
    return history(temperature), demand_file(victoria.demand_mw[victoria.demand_mw.index < end], HALF_HOUR)


def test_demand_alone_convicts_the_only_provider(victoria: EmbeddedDataset) -> None:
    alone, demand = hourly(victoria, 5.0)

    result = fuse_histories({"alone": alone}, demand, victoria.utility.timezone)

    accusations = [event for event in result.progress.events if event.to_state in ("suspect", "quarantined")]
    assert accusations
    assert {event.level for event in accusations} == {4}
    assert accusations[0].at > pd.Timestamp("2013-06-15", tz="UTC")


def test_demand_clears_the_only_provider_where_it_is_honest(victoria: EmbeddedDataset) -> None:
    alone, demand = hourly(victoria, 0.0)

    result = fuse_histories({"alone": alone}, demand, victoria.utility.timezone)

    assert result.standings == ("trusted",)
    assert result.learned is not None
    assert result.learned.witness is not None


# The baseline


def test_a_history_too_short_for_the_baseline_asked_for_has_half_of_its_days_and_says_so() -> None:
    result = fuse_histories(histories(), None, ZONE)

    assert result.baseline is not None
    assert result.baseline.days == 59
    assert result.baseline.first == pd.Timestamp("2013-01-02", tz=ZONE)
    assert result.baseline.end == pd.Timestamp("2013-03-02", tz=ZONE)
    assert result.notes == ("119 whole days are too few for a baseline of 365: the first 59 are the baseline",)
    assert result.progress.days[0].day == result.baseline.end


def test_a_history_of_a_few_weeks_is_fused_with_nobody_judged_and_says_so() -> None:
    short = {name: history(one.temperature_c[:1000]) for name, one in histories().items()}
    short["south"] = history(short["south"].temperature_c + 5 * (short["south"].temperature_c.index >= START + 480 * HOUR))

    result = fuse_histories(short, None, ZONE)

    assert result.baseline is None
    assert result.learned is None
    assert result.standings == ("trusted",) * 4
    assert np.isfinite(result.progress.temperature_c).all()
    assert result.notes[0].startswith("40 whole days are too few to learn from: nobody is judged by levels 3 and 4")


@pytest.mark.parametrize("rows", [1, 2])
def test_the_shortest_history_there_is_gives_an_answer(rows: int) -> None:
    short = {name: history(one.temperature_c[:rows]) for name, one in histories().items()}

    assert len(fuse_histories(short, None, ZONE).progress.index) == rows


def test_days_of_23_and_25_hours_are_whole_days() -> None:
    around_autumn = pd.date_range("2013-07-01", "2014-05-01", freq="h", tz=ZONE, inclusive="left").tz_convert("UTC")
    random = np.random.default_rng(2)
    series = 10 + 5 * np.sin(np.arange(len(around_autumn)) / 4) + random.normal(0, 2, (3, len(around_autumn)))
    result = fuse_histories(
        {str(n): history(pd.Series(row, around_autumn)) for n, row in enumerate(series)}, None, ZONE, 100
    )

    assert len(result.progress.days) == 304 - 100
    assert {day.day.tz_convert(ZONE).hour for day in result.progress.days} == {0}


def test_demand_known_on_too_few_days_is_no_witness_and_the_note_says_so() -> None:
    demand = demand_file(pd.Series(1000.0, index_of()), HOUR)

    result = fuse_histories(histories(), demand, ZONE, BASELINE_DAYS)

    assert result.notes == ("demand is known on too few days of the baseline to be a witness",)


def test_cells_that_were_no_numbers_are_carried_into_the_result() -> None:
    given = histories()
    given["east"] = replace(given["east"], unreadable=7)

    result = fuse_histories(given, None, ZONE, BASELINE_DAYS)

    assert result.unreadable == {"north": 0, "east": 7, "south": 0, "west": 0}
