"""Each gate lets through what is as good as before, stops what is not, and says when it cannot judge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.weather_fusion import Exclusion
from forecasting.forecaster import QUANTILE_COLUMNS
from pipeline import registry
from pipeline.database import transaction
from pipeline.ingest import load_readings
from pipeline.provider_standings import exclusions_at
from pipeline.publish import open_model
from pipeline.recovery import served_again
from pipeline.recovery.gates import (
    FEWEST_MILD_INTERVALS,
    MILD_BIAS_PERCENT,
    Gate,
    backtest_gate,
    gates_from_json,
    gates_to_json,
    judge,
    mild_gate,
)
from pipeline.recovery.golden import answers_of
from pipeline.recovery.journal import RecoveryRecord
from pipeline.recovery.plan import RecoveryPlan
from pipeline.recovery.served_again import Served, last_days, serve_again
from pipeline.station import Station
from pipeline.train import TrainingOrder, train
from pipeline.weather_policy import WeatherPolicy
from tests.unit.pipeline import small_recovery
from tests.unit.pipeline.small_recovery import AMID, AT, BEFORE, LIAR, NOW, UTILITY, opened

INDEX = pd.date_range("2023-05-01", periods=28 * 24, freq="h", tz="UTC", name="timestamp")
TRAINING = pd.DataFrame({"demand_mw": 1000.0, "temperature_c": 18.0}, index=INDEX)


def saying(factor: float) -> pd.DataFrame:
    """A forecast that is off by a factor in every interval."""
    return pd.DataFrame(dict.fromkeys(("forecast_mw", *QUANTILE_COLUMNS), TRAINING["demand_mw"] * factor))


def both(recipe: float, in_service: float) -> Served:
    return Served(saying(recipe), saying(in_service), 28)


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = small_recovery.build(tmp_path_factory.mktemp("gates") / "built")
    station = opened(home)
    small_recovery.run(station)
    station.engine.dispose()
    return home


@pytest.fixture
def done(recovered: Path, tmp_path: Path) -> Iterator[Station]:
    shutil.copytree(recovered, tmp_path / "home")
    station = opened(tmp_path / "home")
    yield station
    station.engine.dispose()


def journalled(station: Station) -> tuple[RecoveryPlan, str, dict[str, dict[str, list[float]]]]:
    """The plan, the candidate and its golden forecasts."""
    with transaction(station.engine) as session:
        (record,) = session.exec(registry.select(RecoveryRecord)).all()
    return RecoveryPlan.from_json(record.plan), record.model_id, json.loads(record.golden)


def golden_verdict(station: Station, golden: dict[str, dict[str, list[float]]]) -> Gate:
    plan, model_id, _ = journalled(station)
    gates, _ = judge(station, load_readings(station), plan, model_id, golden)
    return gates[-1]


@pytest.mark.parametrize(
    ("recipe", "in_service", "verdict"),
    [
        (1.02, 1.03, "passed"),
        (1.03, 1.03, "passed"),
        (1.0329, 1.03, "passed"),
        (1.034, 1.03, "failed"),
    ],
)
def test_a_recipe_may_be_a_tenth_worse_than_what_was_served(recipe: float, in_service: float, verdict: str) -> None:
    gate = backtest_gate(both(recipe, in_service), TRAINING)
    assert gate.verdict == verdict
    assert gate.found == pytest.approx(abs(recipe - 1) * 100)


def test_where_demand_is_never_positive_the_backtest_is_not_judged() -> None:
    gate = backtest_gate(both(1.0, 1.0), TRAINING.assign(demand_mw=-1.0))
    assert (gate.verdict, gate.found) == ("not judged", None)
    assert "MAPE is undefined" in gate.why


@pytest.mark.parametrize(
    ("recipe", "in_service", "verdict"),
    [
        (1.014, 1.0, "passed"),
        (0.986, 1.0, "passed"),
        (1.016, 1.0, "failed"),
        (0.984, 1.0, "failed"),
        (1.025, 1.03, "passed"),
    ],
)
def test_the_bias_in_mild_hours_is_small_or_no_greater_than_it_was(recipe: float, in_service: float, verdict: str) -> None:
    gate = mild_gate(both(recipe, in_service), TRAINING)
    assert gate.verdict == verdict
    assert gate.limit == pytest.approx(max(MILD_BIAS_PERCENT, abs(in_service - 1) * 100))


@pytest.mark.parametrize(
    ("mild", "verdict"), [(FEWEST_MILD_INTERVALS, "failed"), (FEWEST_MILD_INTERVALS - 1, "not judged"), (0, "not judged")]
)
def test_too_few_mild_intervals_are_not_judged(mild: int, verdict: str) -> None:
    cold = TRAINING.assign(temperature_c=np.where(np.arange(len(INDEX)) < mild, 18.0, 5.0))
    gate = mild_gate(both(1.05, 1.0), cold)
    assert gate.verdict == verdict
    assert str(mild) in gate.why


def test_a_sealed_bundle_answers_what_the_model_did(done: Station) -> None:
    _, model_id, golden = journalled(done)
    assert golden_verdict(done, golden).verdict == "passed"
    assert open_model(done, model_id).forecaster.name == "linear"
    # The readings hold no forecast of the day after: two days are all there is to answer.
    assert list(golden) == ["2023-05-29", "2023-05-30"]


def test_another_answer_in_the_ninth_digit_fails(done: Station) -> None:
    _, _, golden = journalled(done)
    day = next(iter(golden))
    golden[day]["q50"][7] *= 1 + 1e-8
    gate = golden_verdict(done, golden)
    assert gate.verdict == "failed"
    assert "answers otherwise" in gate.why
    assert gate.found == pytest.approx(1e-8, rel=0.01)


def test_a_bundle_that_does_not_verify_fails(done: Station) -> None:
    _, model_id, golden = journalled(done)
    path = done.models / model_id / "model.json.sealed"
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    gate = golden_verdict(done, golden)
    assert (gate.verdict, gate.found) == ("failed", None)
    assert "model.json" in gate.why


@pytest.mark.parametrize(
    ("scale", "problem"), [(0.3, "outside"), (3.0, "outside"), (float("nan"), "not finite")], ids=["low", "high", "nan"]
)
def test_forecasts_that_no_demand_has_fail_even_when_the_bundle_repeats_them(
    done: Station, monkeypatch: pytest.MonkeyPatch, scale: float, problem: str
) -> None:
    plan, model_id, golden = journalled(done)
    absurd = {day: {name: [v * scale for v in column] for name, column in answer.items()} for day, answer in golden.items()}
    monkeypatch.setattr("pipeline.recovery.gates.answers_of", lambda *_: absurd)
    gates, _ = judge(done, load_readings(done), plan, model_id, absurd)
    assert gates[-1].verdict == "failed"
    assert problem in gates[-1].why
    json.loads(gates_to_json(gates), parse_constant=pytest.fail)


def test_quantiles_out_of_order_fail(done: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, model_id, golden = journalled(done)
    for answer in golden.values():
        answer["q10"], answer["q90"] = answer["q90"], answer["q10"]
    monkeypatch.setattr("pipeline.recovery.gates.answers_of", lambda *_: golden)
    gates, _ = judge(done, load_readings(done), plan, model_id, golden)
    assert (gates[-1].verdict, gates[-1].why) == ("failed", "quantiles are out of order")


def test_without_a_day_to_forecast_the_golden_gate_is_not_judged(done: Station) -> None:
    assert golden_verdict(done, {}).verdict == "not judged"


def test_the_recipe_has_seen_none_of_the_days_it_is_judged_on(done: Station) -> None:
    readings, (plan, model_id, _) = load_readings(done), journalled(done)
    with transaction(done.engine) as session:
        excluded = exclusions_at(session, AT)
        first = registry.listing(session)[-1].model_id
    served = serve_again(done, readings, plan.order, excluded, first)
    # Another demand in the judged days leads to the same first forecast: nothing of it was learned.
    days = last_days(readings, NOW, served_again.BACKTEST_DAYS)
    gate = UTILITY.gate_closure_of(days[0])
    louder = readings.demand.assign(demand_mw=readings.demand["demand_mw"].mask(readings.demand.index >= gate, 3000.0))
    again = serve_again(done, replace(readings, demand=louder), plan.order, excluded, first)
    assert isinstance(served, Served)
    assert isinstance(again, Served)
    assert served.days == 28
    day_one = UTILITY.day_index(days[0])
    pd.testing.assert_frame_equal(served.recipe.loc[day_one], again.recipe.loc[day_one])
    assert model_id != first


def test_each_day_is_held_against_the_model_that_was_in_service_then(done: Station) -> None:
    readings, (plan, _, _) = load_readings(done), journalled(done)
    with transaction(done.engine) as session:
        by_moment = {pd.Timestamp(entry.as_of): entry.model_id for entry in registry.listing(session)}
    served = serve_again(done, readings, plan.order, {LIAR: Exclusion(BEFORE)}, by_moment[AMID])
    assert isinstance(served, Served)
    for day, moment in ((pd.Timestamp("2023-05-10").date(), BEFORE), (pd.Timestamp("2023-05-28").date(), AMID)):
        wanted = answers_of(readings, open_model(done, by_moment[moment]), {}, [day])[str(day)]
        np.testing.assert_array_equal(served.in_service.loc[UTILITY.day_index(day), "q50"], wanted["q50"])


def test_a_model_lost_since_is_replaced_by_the_one_in_service(done: Station) -> None:
    readings, (plan, _, _) = load_readings(done), journalled(done)
    with transaction(done.engine) as session:
        by_moment = {pd.Timestamp(entry.as_of): entry.model_id for entry in registry.listing(session)}
    shutil.rmtree(done.models / by_moment[BEFORE])
    assert isinstance(serve_again(done, readings, plan.order, {}, by_moment[AMID]), Served)
    shutil.rmtree(done.models / by_moment[AMID])
    told = serve_again(done, readings, plan.order, {}, by_moment[AMID])
    assert isinstance(told, str)
    assert "cannot be opened" in told


def test_too_short_a_history_is_not_judged_and_told(done: Station) -> None:
    readings, (plan, _, _) = load_readings(done), journalled(done)
    with transaction(done.engine) as session:
        against = registry.active_id(session)
    early = TrainingOrder(plan.order.policy, pd.Timestamp("2023-03-01", tz="UTC"), plan.at, "test")
    told = serve_again(done, readings, early, {}, against)
    assert isinstance(told, str)
    assert "history" in told
    assert "no model is in service" in str(serve_again(done, readings, plan.order, {}, ""))


def test_gates_survive_the_journal() -> None:
    gates = (backtest_gate(both(1.02, 1.03), TRAINING), mild_gate(both(1.0, 1.0), TRAINING.assign(temperature_c=0.0)))
    assert gates_from_json(gates_to_json(gates)) == gates


def test_a_recipe_that_is_told_nonsense_of_the_weather_is_stopped_by_the_backtest(done: Station) -> None:
    readings, (plan, model_id, golden) = load_readings(done), journalled(done)
    # What was served listens to one provider; the recipe hears two, whose thermometers went mad.
    train(done, readings, TrainingOrder(WeatherPolicy("boreas"), BEFORE + pd.Timedelta(days=20), AT, by="schedule"))
    told = readings.weather["temperature_c"]
    mad = 10.0 + 15.0 * np.sin(np.arange(len(told)))
    worse = readings.weather.assign(temperature_c=told.where(readings.weather["provider"] == "boreas", mad))
    gates, _ = judge(done, replace(readings, weather=worse), replace(plan, clean_snapshot=""), model_id, golden)
    assert gates[0].verdict == "failed"
