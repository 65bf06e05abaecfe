"""`model.json` before anything is built from it: what our models write passes, nothing that a forecast could trip over."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.schema import FORECAST_TEMPERATURE_C, TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, Utility
from forecasting import model_files
from forecasting.arrays import packed
from forecasting.certified import CertifiedForecaster
from forecasting.departure_member import DepartureMember
from forecasting.ensemble import EnsembleForecaster
from forecasting.errors import ModelFileRefused
from forecasting.lightgbm_member import LightGBMMember
from forecasting.linear_member import LinearMember
from forecasting.model_files import Restorable, dump
from forecasting.model_json import FORMAT_VERSION, MODEL_JSON, validate_model_json
from forecasting.model_layout import layout_of
from forecasting.prophet_forecaster import ProphetForecaster
from forecasting.quantile_trees import QuantileTreesForecaster

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
Content = dict[str, Any]
Change = Callable[[Content], object]
MAKERS: dict[str, Callable[[], Any]] = {
    "ensemble": lambda: EnsembleForecaster(seed=3),
    "linear": lambda: EnsembleForecaster("linear", ("linear",)),
    "kernel": lambda: EnsembleForecaster("kernel", ("kernel",)),
    "departure": lambda: EnsembleForecaster("departure", ("departure",)),
    "lightgbm": lambda: EnsembleForecaster("lightgbm", ("lightgbm",)),
    "certified": lambda: CertifiedForecaster(models=5),
    "prophet": ProphetForecaster,
    "quantile-trees": lambda: QuantileTreesForecaster(trees=3),
}


@pytest.fixture(scope="module")
def ensemble(small_world: SmallWorld) -> bytes:
    """All four members, weather as it was forecast."""
    utility, frame = small_world(days=112)
    told = frame[TEMPERATURE_C] + np.random.default_rng(1).normal(0, 1.5, len(frame))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecasting.ensemble.worth_having", lambda missed, _: list(range(len(missed))))
        fitted = EnsembleForecaster(seed=3).fit(frame.assign(**{FORECAST_TEMPERATURE_C: told}), utility)
    return dump(fitted)[MODEL_JSON]


@pytest.fixture(scope="module")
def certified(small_world: SmallWorld) -> bytes:
    utility, frame = small_world(days=130)
    return dump(CertifiedForecaster(models=5).fit(frame, utility))[MODEL_JSON]


def changed(content: bytes, change: Change) -> bytes:
    made = json.loads(content)
    change(made)
    return json.dumps(made).encode()


def moved(value: Content, index: int, number: float) -> None:
    """Another number in a packed array."""
    kind = value["type"]
    values = model_files.array(value).ravel()
    values[index] = number
    with np.errstate(all="ignore"):
        again = packed(values.reshape(value["shape"]), single=kind == "<f4")
    value.update(again)


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_written_of_every_kind_of_model_passes(name: str, small_world: SmallWorld) -> None:
    utility, frame = small_world(days=130)
    fitted: Restorable = MAKERS[name]().fit(frame, utility)
    validate_model_json(dump(fitted)[MODEL_JSON])


@pytest.mark.parametrize(
    "other",
    [
        {"lead_days": 0},
        {"lead_days": 3},
        {"gate_closure": time(0, 0)},
        {"gate_closure": time(23, 59)},
        {"demand_delay": pd.Timedelta(days=1)},
        {"holidays": frozenset()},
        {"timezone": "Asia/Kathmandu"},
    ],
)
def test_models_of_every_kind_of_utility_pass(other: Content, small_world: SmallWorld) -> None:
    utility, frame = small_world(days=112)
    utility = replace(utility, **other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecasting.ensemble.worth_having", lambda missed, _: list(range(len(missed))))
        fitted = EnsembleForecaster().fit(frame.assign(**{TEMPERATURE_UNCERTAINTY_C: 0.4}), utility)
    validate_model_json(dump(fitted)[MODEL_JSON])


def test_a_model_of_half_hours_passes(small_world: SmallWorld) -> None:
    utility, frame = small_world(step_minutes=30, days=100)
    validate_model_json(dump(EnsembleForecaster().fit(frame, utility))[MODEL_JSON])


def test_a_model_of_demand_that_never_moves_passes(small_world: SmallWorld) -> None:
    utility, frame = small_world(days=100)
    validate_model_json(dump(EnsembleForecaster().fit(frame.assign(demand_mw=7.0), utility))[MODEL_JSON])


def test_the_layout_is_that_of_the_members_that_were_fitted(small_world: SmallWorld) -> None:
    utility, frame = small_world(days=112)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecasting.ensemble.worth_having", lambda missed, _: list(range(len(missed))))
        fitted = EnsembleForecaster().fit(frame, utility)
    layout = layout_of(utility)
    linear, _, departure, trees = fitted.members_
    assert isinstance(linear, LinearMember)
    assert isinstance(departure, DepartureMember)
    assert isinstance(trees, LightGBMMember)
    assert linear.columns_ == trees.line_.columns_ == layout.columns
    assert departure.line_.columns_ == layout.ordinary
    for member, known in ((departure.kernel_, layout.departure), (departure.rest_, layout.rest)):
        assert member.groups == known.groups
        assert tuple(model.widths for model in member.models_) == known.widths
    assert trees.booster_.num_feature() == len(layout.columns) + 1


def test_the_validator_knows_the_format_that_is_written() -> None:
    assert (FORMAT_VERSION, MODEL_JSON) == (model_files.FORMAT_VERSION, model_files.MODEL_JSON)


REFUSED: list[tuple[str, Change]] = [
    ("format", lambda c: c.update(format=1)),
    ("format", lambda c: c.update(format=2.0)),
    ("format is missing", lambda c: c.pop("format")),
    ("forecaster", lambda c: c.update(forecaster="seasonal-naive")),
    ("forecaster", lambda c: c.update(forecaster=["ensemble"])),
    ("order", lambda c: c.update(forecaster="linear")),
    ("models is missing|copies is missing", lambda c: c.update(forecaster="certified")),
    ("evil is unknown", lambda c: c.update(evil=1)),
    ("seed", lambda c: c.update(seed=-1)),
    ("seed", lambda c: c.update(seed=2**40)),
    ("seed", lambda c: c.update(seed=True)),
    ("utility.timezone", lambda c: c["utility"].update(timezone="Europe/Atlantis")),
    ("utility.timezone", lambda c: c["utility"].update(timezone="../../../etc/passwd")),
    ("utility.timezone", lambda c: c["utility"].update(timezone="/etc/localtime")),
    ("utility.timezone", lambda c: c["utility"].update(timezone="Europe")),
    ("utility.timezone", lambda c: c["utility"].update(timezone="")),
    ("utility.step_minutes", lambda c: c["utility"].update(step_minutes=0)),
    ("utility.step_minutes", lambda c: c["utility"].update(step_minutes=7)),
    ("utility.step_minutes", lambda c: c["utility"].update(step_minutes=1440)),
    ("usual|coefficients|shape", lambda c: c["utility"].update(step_minutes=30)),
    ("utility.gate_closure", lambda c: c["utility"].update(gate_closure="nine")),
    ("utility.gate_closure", lambda c: c["utility"].update(gate_closure="09:00")),
    ("utility.gate_closure", lambda c: c["utility"].update(gate_closure="09:00:00+01:00")),
    ("utility.holidays", lambda c: c["utility"].update(holidays=["20131225"])),
    ("utility.holidays", lambda c: c["utility"].update(holidays=["2013-12-26", "2013-12-25"])),
    ("utility.holidays", lambda c: c["utility"].update(holidays="2013-12-25")),
    ("utility.demand_delay_minutes", lambda c: c["utility"].update(demand_delay_minutes=-1)),
    ("utility.demand_delay_minutes", lambda c: c["utility"].update(demand_delay_minutes=10**9)),
    ("utility.lead_days", lambda c: c["utility"].update(lead_days=-1)),
    ("utility.lead_days", lambda c: c["utility"].update(lead_days=100)),
    ("order", lambda c: c.update(order=[])),
    ("order", lambda c: c.update(order=["linear"] * 4)),
    ("order", lambda c: c["order"].reverse()),
    ("members: lightgbm is unknown", lambda c: c["order"].pop()),
    ("members: kernel is missing", lambda c: c["members"].pop("kernel")),
    ("columns", lambda c: c["members"]["linear"]["columns"].pop()),
    ("columns", lambda c: c["members"]["linear"]["columns"].reverse()),
    ("columns", lambda c: c["members"]["lightgbm"]["line"].update(columns=["temperature"])),
    ("columns", lambda c: c["members"]["departure"]["line"]["columns"].append("latest_day_mw")),
    ("knots", lambda c: c["members"]["linear"]["knots"].update(holiday=[1.0])),
    ("knots", lambda c: c["members"]["linear"]["knots"].pop("temperature")),
    ("knots", lambda c: c["members"]["linear"]["knots"].update(temperature=[1.0] * 1000)),
    ("centre", lambda c: c["members"]["linear"].update(centre=packed(np.zeros(3)))),
    ("spread", lambda c: moved(c["members"]["linear"]["spread"], 0, 0.0)),
    ("coefficients", lambda c: moved(c["members"]["linear"]["coefficients"], 5, 1e200)),
    ("coefficients", lambda c: c["members"]["linear"].update(coefficients=packed(np.zeros((24, 2))))),
    ("kernel.groups", lambda c: c["members"]["kernel"]["kernel"]["groups"].reverse()),
    ("kernel.length", lambda c: c["members"]["kernel"]["kernel"]["length"].pop()),
    ("kernel.length", lambda c: c["members"]["kernel"]["kernel"]["length"].__setitem__(0, 0.0)),
    ("kernel.line", lambda c: c["members"]["kernel"]["kernel"]["line"].__setitem__(0, -1.0)),
    ("kernel.noise", lambda c: c["members"]["kernel"]["kernel"].update(noise=0.0)),
    ("blocks", lambda c: c["members"]["kernel"]["blocks"].pop()),
    ("hours", lambda c: c["members"]["kernel"]["blocks"][0].update(hours=[0, 24, 8])),
    ("hours", lambda c: c["members"]["kernel"]["blocks"][0].update(hours=[0, 8, 10**9])),
    ("widths", lambda c: c["members"]["kernel"]["blocks"][0]["widths"].__setitem__(0, 10**9)),
    ("days", lambda c: c["members"]["kernel"]["blocks"][0].update(days=packed(np.zeros((1, 1)), single=True))),
    ("days", lambda c: moved(c["members"]["kernel"]["blocks"][0]["days"], 0, 1e30)),
    ("weights", lambda c: c["members"]["kernel"]["blocks"][0].update(weights=packed(np.zeros((2, 8))))),
    ("usual", lambda c: c["members"]["kernel"]["blocks"][0].update(usual=packed(np.zeros(9)))),
    ("departure.seen", lambda c: c["members"]["departure"].update(seen=[1.0, 0.0])),
    ("departure.days", lambda c: c["members"]["departure"]["days"].reverse()),
    ("departure.said", lambda c: c["members"]["departure"]["days"].pop()),
    ("rest is missing", lambda c: c["members"]["departure"].pop("rest")),
    ("line is missing", lambda c: c["members"].update(lightgbm={})),
    ("scale_mw", lambda c: c.update(scale_mw=0.0)),
    ("scale_mw", lambda c: c.update(scale_mw="1")),
    ("usual_mw", lambda c: c.update(usual_mw=1e300)),
    ("weights", lambda c: c.update(weights=[0.5] * 4)),
    ("weights", lambda c: c.update(weights=[-1.0, 1.0, 0.5, 0.5])),
    ("weights", lambda c: c["weights"].pop()),
    ("usual_error", lambda c: c["usual_error"].append(1.0)),
    ("share", lambda c: c.update(share=2.0)),
    ("sharper", lambda c: c.update(sharper=-1.0)),
    ("correction", lambda c: c.update(correction=[])),
    ("correction", lambda c: c["correction"].pop("centre")),
    ("correction.coefficients", lambda c: c["correction"].update(coefficients=packed(np.zeros((27, 24))))),
    ("spread.bounds", lambda c: c["spread"].update(bounds=[3.0, 2.0, 1.0])),
    ("spread.bounds", lambda c: c["spread"].update(bounds=[1.0])),
    ("spread.usual", lambda c: moved(c["spread"]["usual"], 0, 0.0)),
    ("spread.kind", lambda c: c["spread"]["kind"].pop()),
    ("spread.scores", lambda c: c["spread"]["scores"].reverse()),
    ("achieved.days", lambda c: c["achieved"].update(days=[])),
    ("achieved.days", lambda c: c["achieved"].update(days=["yesterday"])),
    ("achieved.said", lambda c: c["achieved"]["days"].pop()),
    ("achieved.drawn", lambda c: c["achieved"].update(drawn=c["achieved"]["said"])),
    ("usual_uncertainty_c", lambda c: c.update(usual_uncertainty_c=-1.0)),
]


@pytest.mark.parametrize(("place", "change"), REFUSED)
def test_a_model_that_a_forecast_could_trip_over_is_refused_with_the_place(
    place: str, change: Change, ensemble: bytes
) -> None:
    with pytest.raises(ModelFileRefused, match=place) as refused:
        validate_model_json(changed(ensemble, change))
    assert refused.value.part == MODEL_JSON
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("models", lambda c: c["models"].pop()),
        ("models", lambda c: c.update(models=[])),
        ("copies", lambda c: c.update(copies=6)),
        ("usual_mw", lambda c: c["models"][0].update(usual_mw=packed(np.zeros(48)))),
        ("coefficients_mw", lambda c: c["models"][4].update(coefficients_mw=packed(np.zeros((24, 2))))),
        ("offsets_mw", lambda c: moved(c["models"][0]["offsets_mw"], 0, 1e9)),
        ("weights is unknown", lambda c: c.update(weights=[1.0])),
    ],
)
def test_a_certified_model_that_is_none_is_refused(place: str, change: Change, certified: bytes) -> None:
    with pytest.raises(ModelFileRefused, match=place):
        validate_model_json(changed(certified, change))


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"{", b"{}", b'"' + b"a" * 100, b"[" * 10**6])
def test_what_is_no_model_at_all_is_refused(content: bytes) -> None:
    with pytest.raises(ModelFileRefused):
        validate_model_json(content)


def test_a_history_longer_than_any_that_is_learned_from_is_refused(ensemble: bytes) -> None:
    def longer(content: Content) -> None:
        block = content["members"]["kernel"]["blocks"][0]
        width = sum(block["widths"])
        block.update(days=packed(np.zeros((2000, width)), single=True), weights=packed(np.zeros((2000, 8))))

    with pytest.raises(ModelFileRefused, match=r"days\.shape"):
        validate_model_json(changed(ensemble, longer))


def test_a_day_that_no_calendar_has_is_refused(ensemble: bytes) -> None:
    last = date(2013, 10, 20).isoformat()
    with pytest.raises(ModelFileRefused, match=r"achieved\.days"):
        validate_model_json(changed(ensemble, lambda c: c["achieved"]["days"].__setitem__(-1, f"0{last[1:]}")))
