"""Files in, predictions out, and nothing known before its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.schema import Utility, days_between
from data.weather_fusion import fuse, known_at, learn_profiles
from forecasting.errors import TooLittleHistory
from pipeline.backtest import FORECASTERS, BacktestInput, BacktestResult, run
from pipeline.backtest_weather import temperatures_by_day
from pipeline.errors import PipelineError
from pipeline.ingest import Readings
from tests.unit.api.small_station import LAST_DAY, START

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]

FIRST, LAST = date(2023, 4, 29), date(2023, 5, 2)
HEADER = "origin,timestamp,actual_mw,forecast_mw,q10,q20,q30,q40,q50,q60,q70,q80,q90"


@pytest.fixture(scope="session")
def source(readings: Readings) -> BacktestInput:
    """Three sources with forecasts in them."""
    return BacktestInput(readings.utility, readings.demand, readings.weather)


@pytest.fixture(scope="session")
def alone(source: BacktestInput) -> BacktestResult:
    """The first day by itself."""
    return run(source, FIRST, FIRST)


@pytest.fixture(scope="session")
def predicted(source: BacktestInput) -> pd.DataFrame:
    return run(source, FIRST, LAST).predictions


def with_temperature(source: BacktestInput, rows: pd.Series, celsius: float) -> BacktestInput:
    said = source.weather["temperature_c"].mask(rows, celsius)
    return replace(source, weather=source.weather.assign(temperature_c=said))


def realised(utility: Utility, world: pd.DataFrame, name: str = "mast") -> BacktestInput:
    """Demand, and one source that only measured."""
    known = world.index + utility.step
    demand = pd.DataFrame({"demand_mw": world["demand_mw"], "available_at": known}, index=world.index)
    weather = pd.DataFrame(
        {"provider": name, "issued_at": known, "valid_at": world.index, "temperature_c": world["temperature_c"].to_numpy()}
    )
    return BacktestInput(utility, demand, weather, perfect_foresight=(name,))


def test_the_file_has_exactly_these_columns_in_this_order(predicted: pd.DataFrame, tmp_path: Path) -> None:
    predicted.to_csv(tmp_path / "preds.csv", index=False)
    assert (tmp_path / "preds.csv").read_text().splitlines()[0] == HEADER


def test_every_interval_of_the_period_is_forecast_once_from_its_gate_closure(
    source: BacktestInput, predicted: pd.DataFrame
) -> None:
    utility = source.utility
    wanted = pd.date_range("2023-04-29", periods=4 * 24, freq="h", tz="UTC")
    assert list(predicted["timestamp"]) == list(wanted)
    assert list(predicted["origin"]) == [utility.gate_closure_of(moment.date()) for moment in wanted]
    assert (predicted["timestamp"] - predicted["origin"] >= pd.Timedelta(hours=15)).all()
    np.testing.assert_array_equal(predicted["actual_mw"], source.demand["demand_mw"].loc[wanted])
    quantiles = predicted[HEADER.split(",")[4:]].to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()


def test_the_scores_follow_from_the_predictions(source: BacktestInput) -> None:
    result = run(source, FIRST, LAST)
    error = result.predictions["forecast_mw"] - result.predictions["actual_mw"]
    assert result.scores["mae_mw"] == pytest.approx(error.abs().mean(), abs=1e-4)
    assert result.scores["mape_percent"] == pytest.approx(
        (error.abs() / result.predictions["actual_mw"]).mean() * 100, abs=1e-4
    )
    assert result.scores["mape_percent"] < 3


def test_only_weather_issued_by_the_gate_closure_counts(source: BacktestInput, alone: BacktestResult) -> None:
    gate = source.utility.gate_closure_of(FIRST)
    later = with_temperature(source, source.weather["issued_at"] > gate, 55.0)
    pd.testing.assert_frame_equal(run(later, FIRST, FIRST).predictions, alone.predictions, check_exact=True)
    earlier = with_temperature(source, source.weather["issued_at"] > gate - pd.Timedelta(hours=2), 55.0)
    assert (run(earlier, FIRST, FIRST).predictions["forecast_mw"] != alone.predictions["forecast_mw"]).any()


def test_of_several_issues_the_latest_before_the_gate_closure_counts(source: BacktestInput, alone: BacktestResult) -> None:
    gate = source.utility.gate_closure_of(FIRST)
    ahead = source.weather[source.weather["valid_at"].isin(source.utility.day_index(FIRST))]

    def reissued(issued_at: pd.Timestamp, change_c: float) -> pd.DataFrame:
        extra = ahead.assign(issued_at=issued_at, temperature_c=ahead["temperature_c"] + change_c)
        weather = pd.concat([source.weather, extra]).sort_values(["provider", "valid_at", "issued_at"], ignore_index=True)
        return run(replace(source, weather=weather), FIRST, FIRST).predictions

    for superseded in (gate + pd.Timedelta(seconds=1), gate - pd.Timedelta(days=3)):
        pd.testing.assert_frame_equal(reissued(superseded, 9), alone.predictions, check_exact=True)
    assert (reissued(gate, 9)["forecast_mw"] != alone.predictions["forecast_mw"]).all()


@pytest.mark.parametrize("garbage", [np.nan, 1e6])
def test_demand_after_the_gate_closure_is_scored_and_not_learned(
    source: BacktestInput, alone: BacktestResult, garbage: float
) -> None:
    gate = source.utility.gate_closure_of(FIRST)
    later = source.demand["demand_mw"].mask(source.demand["available_at"] > gate, garbage)
    columns = ["origin", "timestamp", *HEADER.split(",")[3:]]
    changed = run(replace(source, demand=source.demand.assign(demand_mw=later)), FIRST, FIRST).predictions
    pd.testing.assert_frame_equal(changed[columns], alone.predictions[columns], check_exact=True)


def test_a_model_is_fitted_anew_at_the_start_of_a_month(source: BacktestInput, predicted: pd.DataFrame) -> None:
    stages: list[str] = []
    run(source, FIRST, LAST, progress=lambda stage, _: stages.append(stage))
    assert [stage for stage in stages if stage.startswith("fitting")] == ["fitting for 2023-04", "fitting for 2023-05"]
    may = predicted[predicted["timestamp"] >= "2023-05-01"].reset_index(drop=True)
    begun_in_may = run(source, date(2023, 5, 1), LAST).predictions
    pd.testing.assert_frame_equal(begun_in_may, may, check_exact=True)


def test_progress_runs_to_the_end(source: BacktestInput) -> None:
    shares: list[float] = []
    run(source, FIRST, LAST, "seasonal-naive", progress=lambda _, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_source_without_forecasts_is_perfect_foresight_and_the_answer_says_so(small_world: SmallWorld) -> None:
    utility, world = small_world()
    source = realised(utility, world)
    day = date(2013, 10, 1)
    result = run(source, day, day)
    assert result.notes == ["weather mast holds no forecasts: its realised values were taken as perfect foresight"]
    assert result.scores["mape_percent"] < 3
    # Its values of the very day are used ...
    of_the_day = source.weather["valid_at"].isin(utility.day_index(day))
    warmer = run(with_temperature(source, of_the_day, 30.0), day, day).predictions
    assert (warmer["forecast_mw"] != result.predictions["forecast_mw"]).all()
    # ... those after it are not.
    after = source.weather["valid_at"] > utility.day_index(day)[-1]
    pd.testing.assert_frame_equal(
        run(with_temperature(source, after, 30.0), day, day).predictions, result.predictions, check_exact=True
    )


def test_values_of_a_source_with_forecasts_are_never_foreseen(source: BacktestInput) -> None:
    measured = replace(source, weather=source.weather[source.weather["issued_at"] > source.weather["valid_at"]])
    blind = run(measured, FIRST, FIRST)
    foreseen = run(replace(measured, perfect_foresight=("aurora", "boreas", "cirrus")), FIRST, FIRST)
    assert blind.scores["mape_percent"] > 2 * foreseen.scores["mape_percent"]


def test_several_sources_are_fused_and_the_answer_says_so(source: BacktestInput, alone: BacktestResult) -> None:
    assert alone.notes == ["3 weather sources were fused: aurora, boreas, cirrus"]
    lying = with_temperature(source, source.weather["provider"] == "boreas", 40.0)
    change = run(lying, FIRST, FIRST).predictions["forecast_mw"] - alone.predictions["forecast_mw"]
    assert change.abs().max() < 30


@pytest.mark.parametrize("step_minutes", [15, 60])
def test_the_week_in_which_the_clocks_change_is_forecast_whole(small_world: SmallWorld, step_minutes: int) -> None:
    utility, world = small_world(step_minutes=step_minutes)
    result = run(realised(utility, world), date(2013, 10, 24), date(2013, 10, 28))
    a_day = 24 * 60 // step_minutes
    local = utility.local(pd.DatetimeIndex(result.predictions["timestamp"])).date
    counts = pd.Series(local).value_counts().to_dict()
    assert counts.pop(date(2013, 10, 27)) == 25 * 60 // step_minutes
    assert set(counts.values()) == {a_day}
    assert result.predictions.notna().all(axis=None)
    assert pd.DatetimeIndex(result.predictions["timestamp"]).is_unique
    origins = utility.local(pd.DatetimeIndex(result.predictions["origin"]))
    assert {(moment.hour, moment.minute) for moment in origins} == {(9, 0)}
    assert result.scores["mape_percent"] < 4


@pytest.mark.parametrize("name", ["seasonal-naive", "prophet"])
def test_forecasters_that_need_no_weather_do_without(source: BacktestInput, name: str) -> None:
    silent = replace(source, weather=source.weather.iloc[:0])
    day = date(2023, 5, 20)
    result = run(silent, day, day, name)
    assert len(result.predictions) == 24
    assert result.notes == []
    assert result.predictions.notna().all(axis=None)


def test_weather_makes_no_difference_to_one_that_needs_none(source: BacktestInput) -> None:
    silent = replace(source, weather=source.weather.iloc[:0])
    with_weather, without = (run(given, FIRST, LAST, "seasonal-naive").predictions for given in (source, silent))
    pd.testing.assert_frame_equal(with_weather, without, check_exact=True)


def test_one_that_needs_weather_says_so(source: BacktestInput) -> None:
    with pytest.raises(PipelineError, match=r"ensemble needs weather.*--forecaster prophet"):
        run(replace(source, weather=source.weather.iloc[:0]), FIRST, LAST)


def test_an_unknown_forecaster_is_refused_with_the_known_ones(source: BacktestInput) -> None:
    with pytest.raises(PipelineError, match=", ".join(FORECASTERS)):
        run(source, FIRST, LAST, "oracle")


@pytest.mark.parametrize(
    ("start", "end", "problem"),
    [
        (LAST, FIRST, "swap --start and --end"),
        (START.date(), LAST, "demand covers 2023-01-01 to 2023-05-30"),
        (date(2022, 1, 1), LAST, "demand covers"),
        (FIRST, LAST_DAY + timedelta(days=2), "demand covers"),
    ],
)
def test_an_impossible_period_is_refused(source: BacktestInput, start: date, end: date, problem: str) -> None:
    with pytest.raises(PipelineError, match=problem):
        run(source, start, end)


def test_the_day_after_the_last_reading_is_forecast_and_not_scored(source: BacktestInput) -> None:
    tomorrow = LAST_DAY + timedelta(days=1)
    known = source.weather[source.weather["valid_at"] < source.utility.day_index(LAST_DAY)[0]]
    result = run(replace(source, weather=known), tomorrow, tomorrow, "seasonal-naive")
    assert result.predictions["forecast_mw"].notna().all()
    assert result.predictions["actual_mw"].isna().all()
    assert np.isnan(result.scores["mape_percent"])


@pytest.mark.parametrize("first_hour", [0, 15])
def test_too_little_history_is_told_as_such(source: BacktestInput, first_hour: int) -> None:
    late = replace(source, demand=source.demand.iloc[first_hour:])
    with pytest.raises(TooLittleHistory):
        run(late, START.date() + timedelta(days=1), LAST)


def test_weather_that_begins_after_the_first_forecast_is_told_as_such(source: BacktestInput) -> None:
    late = replace(source, weather=source.weather[source.weather["valid_at"] >= "2023-05-10"])
    with pytest.raises(PipelineError, match=r"no weather is known before .* start after 2023-05-10"):
        run(late, FIRST, LAST)


def test_where_every_source_fell_silent_the_forecast_is_made_blind(source: BacktestInput, alone: BacktestResult) -> None:
    gate = source.utility.gate_closure_of(FIRST)
    silent = replace(source, weather=source.weather[source.weather["valid_at"] < gate - pd.Timedelta(days=40)])
    blind = run(silent, FIRST, FIRST)
    assert blind.predictions["forecast_mw"].notna().all()
    assert blind.scores["mape_percent"] > alone.scores["mape_percent"]


def test_the_same_seed_gives_the_same_predictions(source: BacktestInput, alone: BacktestResult) -> None:
    pd.testing.assert_frame_equal(run(source, FIRST, FIRST, seed=1).predictions, alone.predictions, check_exact=True)
    assert not run(source, FIRST, FIRST, seed=4).predictions.equals(alone.predictions)


def test_months_side_by_side_give_the_same_numbers_as_in_turn(source: BacktestInput, predicted: pd.DataFrame) -> None:
    shares: list[float] = []
    result = run(source, FIRST, LAST, progress=lambda _, share: shares.append(share), jobs=8)
    pd.testing.assert_frame_equal(result.predictions, predicted, rtol=1e-9)
    assert result.scores == run(source, FIRST, LAST).scores
    assert shares == [0.0, 0.5, 1.0]


def test_what_a_month_on_its_own_processor_refuses_reaches_the_caller_as_it_was(source: BacktestInput) -> None:
    period = (START.date() + timedelta(days=20), date(2023, 3, 1))
    refused = []
    for jobs in (1, 2):
        with pytest.raises(TooLittleHistory) as caught:
            run(source, *period, "seasonal-naive", jobs=jobs)
        refused.append(caught.value)
    in_turn, side_by_side = refused
    assert vars(side_by_side) == vars(in_turn)
    assert str(side_by_side) == str(in_turn)
    assert active_children() == []


def test_a_month_whose_process_is_killed_is_told_as_such(source: BacktestInput) -> None:
    def kill_the_rest(_: str, share: float) -> None:
        for process in active_children() if share else ():
            process.kill()

    with pytest.raises(PipelineError, match=r"process ended before its time .* fewer --jobs"):
        run(source, date(2023, 3, 30), LAST, progress=kill_the_rest, jobs=2)
    assert active_children() == []


def test_no_jobs_at_all_are_refused(source: BacktestInput) -> None:
    with pytest.raises(PipelineError, match="give --jobs 1 or more"):
        run(source, FIRST, LAST, jobs=0)


def test_demand_that_is_not_positive_is_told_and_leaves_wape(source: BacktestInput) -> None:
    noon = pd.Timestamp(FIRST, tz="UTC") + pd.Timedelta(hours=12)
    surplus = source.demand["demand_mw"].mask(source.demand.index == noon, -20.0)
    result = run(replace(source, demand=source.demand.assign(demand_mw=surplus)), FIRST, FIRST, "seasonal-naive")
    assert np.isnan(result.scores["mape_percent"])
    assert result.scores["wape_percent"] > 0
    assert result.notes[-1] == (
        "demand is zero or negative in 1 of 24 intervals, where MAPE is undefined: wape_percent stands in its place"
    )


def test_skill_is_measured_with_the_week_before_the_period(source: BacktestInput) -> None:
    # Its forecast is the median around the week before, the reference the week before itself.
    assert run(source, FIRST, FIRST, "seasonal-naive").scores["skill_percent"] == pytest.approx(0, abs=2.0)
    assert run(source, FIRST, FIRST).scores["skill_percent"] > 30


def issues(world: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Measurements with gaps, and forecasts issued at all hours, some again and again, some off the grid."""
    random = np.random.default_rng(seed)
    frames = []
    for name in ("a", "b", "c"):
        for hours_ahead in (-1, 5, 17, 33):
            rows = world[random.random(len(world)) < 0.7]
            valid_at = rows.index + pd.Timedelta(minutes=20) * random.integers(0, 2, len(rows))
            issued_at = (
                rows.index - pd.Timedelta(hours=hours_ahead) + pd.Timedelta(minutes=1) * random.integers(0, 99, len(rows))
            )
            said = rows["temperature_c"].to_numpy() + random.normal(0, 1, len(rows))
            frames.append(
                pd.DataFrame({"provider": name, "issued_at": issued_at, "valid_at": valid_at, "temperature_c": said})
            )
    silence = (pd.Timestamp("2013-10-20", tz="UTC"), pd.Timestamp("2013-10-20T09:00", tz="UTC"))
    weather = pd.concat(frames)
    weather = weather[~weather["valid_at"].between(*silence)]
    return weather.sort_values(["provider", "valid_at", "issued_at"], ignore_index=True)


@pytest.mark.parametrize("foreseen", [(), ("b",)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_month_of_weather_is_each_days_as_it_was_known_at_its_gate_closure(
    small_world: SmallWorld, seed: int, foreseen: tuple[str, ...]
) -> None:
    utility, world = small_world()
    weather = issues(world, seed)
    profiles = learn_profiles(known_at(weather, world.index[1500], world.index[0], world.index[1500], utility.step), utility)
    days = days_between(date(2013, 10, 15), date(2013, 10, 28))
    found = temperatures_by_day(weather, foreseen, profiles, utility, days)
    assert len(found) == len(days)
    for day, temperature_c in zip(days, found, strict=True):
        gate, window = utility.gate_closure_of(day), pd.DatetimeIndex(temperature_c.index)
        assert window[-1] == utility.day_index(day)[-1]
        assert window[0] <= utility.day_index(day - timedelta(days=29))[0]
        in_time = weather[(weather["issued_at"] <= gate) | weather["provider"].isin(foreseen)]
        then = known_at(in_time, in_time["issued_at"].max(), window[0], window[-1], utility.step)
        expected = fuse(then, profiles, utility, list(then.columns))["temperature_c"]
        np.testing.assert_allclose(temperature_c.to_numpy(), expected.to_numpy(), rtol=1e-9)
    assert found[-1].isna().sum() >= 8


@pytest.mark.parametrize(("horizon", "intervals"), [("1h", 1), ("20h", 20), ("3D", 72)])
def test_a_horizon_reaches_so_far_beyond_each_gate_closure_and_no_further(
    source: BacktestInput, horizon: str, intervals: int
) -> None:
    span = pd.Timedelta(horizon)
    predictions = run(source, FIRST, FIRST, "seasonal-naive", horizon=span).predictions
    origin = pd.DatetimeIndex(predictions["origin"])
    stamps = pd.DatetimeIndex(predictions["timestamp"])
    assert len(predictions) == intervals
    assert (stamps >= origin).all()
    assert stamps.max() + source.utility.step == origin[0] + span


@pytest.mark.parametrize("horizon", ["30min", "8D"])
def test_a_horizon_below_an_hour_or_beyond_a_week_is_refused(source: BacktestInput, horizon: str) -> None:
    with pytest.raises(PipelineError, match="1 h to 7 days"):
        run(source, FIRST, FIRST, "seasonal-naive", horizon=pd.Timedelta(horizon))
