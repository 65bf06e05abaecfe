"""Fitted forecasters as data: documented text that comes back the same, and nothing else is taken for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.schema import FORECAST_TEMPERATURE_C, TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, Utility
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.errors import ModelFileRefused
from forecasting.model_files import BOOSTER, FORMAT_VERSION, MODEL_JSON, PROPHET_JSON, dump, load
from forecasting.prophet_forecaster import ProphetForecaster
from tests.unit.forecasting.small_model_text import model_text

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
Change = Callable[[dict[str, Any]], object]
DAY = date(2013, 10, 20)


@pytest.fixture(scope="module")
def ensemble(small_world: SmallWorld) -> EnsembleForecaster:
    utility, frame = small_world(days=112)
    told = frame[TEMPERATURE_C] + np.random.default_rng(1).normal(0, 1.5, len(frame))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecasting.ensemble.worth_having", lambda missed, _: list(range(len(missed))))
        return EnsembleForecaster(seed=3).fit(frame.assign(**{FORECAST_TEMPERATURE_C: told}), utility)


@pytest.fixture(scope="module")
def prophet_files(small_world: SmallWorld) -> dict[str, bytes]:
    utility, frame = small_world(days=130)
    return dump(ProphetForecaster(seed=3).fit(frame, utility))


def changed(files: dict[str, bytes], change: Change) -> dict[str, bytes]:
    content = json.loads(files[MODEL_JSON])
    change(content)
    return {**files, MODEL_JSON: json.dumps(content).encode()}


def test_a_model_is_text_and_json_only(ensemble: EnsembleForecaster, prophet_files: dict[str, bytes]):
    files = dump(ensemble)
    assert set(files) == {MODEL_JSON, BOOSTER}
    assert set(prophet_files) == {MODEL_JSON, PROPHET_JSON}
    for content in (files | prophet_files).values():
        assert content.decode("utf-8")
    assert json.loads(files[MODEL_JSON])["format"] == FORMAT_VERSION
    assert files[BOOSTER].startswith(b"tree\n")
    json.loads(prophet_files[PROPHET_JSON])


def test_the_same_model_is_always_the_same_bytes_also_after_loading(ensemble: EnsembleForecaster):
    files = dump(ensemble)
    assert dump(ensemble) == files
    assert dump(load(files)) == files


def test_a_loaded_model_knows_its_utility_and_forecasts_the_same(ensemble: EnsembleForecaster, small_world: SmallWorld):
    utility, frame = small_world(days=112)
    restored = load(dump(ensemble))
    assert restored.utility_ == utility
    known = known_until_gate(frame, utility, DAY)
    pd.testing.assert_frame_equal(restored.predict(known, DAY), ensemble.predict(known, DAY))


@pytest.mark.parametrize("name", ["linear", "kernel", "departure"])
def test_a_member_alone_comes_back_the_same_and_needs_no_trees(name: str, small_world: SmallWorld):
    utility, frame = small_world(days=112)
    alone = EnsembleForecaster(name, (name,)).fit(frame, utility)
    files = dump(alone)
    assert set(files) == {MODEL_JSON}
    restored = load(files)
    assert restored.name == name
    known = known_until_gate(frame, utility, DAY)
    pd.testing.assert_frame_equal(restored.predict(known, DAY), alone.predict(known, DAY))


def test_how_certain_the_weather_usually_was_comes_back_and_a_file_from_before_that_was_told_knows_nothing_of_it(
    ensemble: EnsembleForecaster, small_world: SmallWorld
):
    utility, frame = small_world(days=112)
    told = EnsembleForecaster("linear", ("linear",)).fit(frame.assign(**{TEMPERATURE_UNCERTAINTY_C: 0.4}), utility)
    restored = load(dump(told))
    assert isinstance(restored, EnsembleForecaster)
    assert restored.usual_uncertainty_c_ == pytest.approx(0.4)
    known = known_until_gate(frame, utility, DAY).assign(**{TEMPERATURE_UNCERTAINTY_C: 2.0})
    pd.testing.assert_frame_equal(restored.predict(known, DAY), told.predict(known, DAY))
    assert b"usual_uncertainty_c" not in dump(ensemble)[MODEL_JSON]
    older = load(changed(dump(told), lambda content: content.pop("usual_uncertainty_c")))
    assert isinstance(older, EnsembleForecaster)
    assert np.isnan(older.usual_uncertainty_c_)


def test_a_loaded_model_explains_the_same(ensemble: EnsembleForecaster, small_world: SmallWorld):
    utility, frame = small_world(days=112)
    restored = load(dump(ensemble))
    assert isinstance(restored, EnsembleForecaster)
    known = known_until_gate(frame, utility, DAY)
    for found, expected in zip(restored.predict_explained(known, DAY), ensemble.predict_explained(known, DAY), strict=True):
        pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(format=1),
        lambda content: content.pop("format"),
        lambda content: content.update(forecaster="seasonal-naive", order=None),
        lambda content: content.update(order=["linear", "unknown"]),
        lambda content: content.pop("scale_mw"),
        lambda content: content.update(scale_mw="large"),
        lambda content: content.update(usual_uncertainty_c="small"),
        lambda content: content.update(usual_uncertainty_c=None),
        lambda content: content.update(weights=[float("nan")] * 4),
        lambda content: content["members"].pop("kernel"),
        lambda content: content["members"]["linear"].update(coefficients=[["a"]]),
        lambda content: content["members"]["linear"].update(knots=[1, 2]),
        lambda content: content["members"]["kernel"]["kernel"].pop("groups"),
        lambda content: content["members"]["kernel"]["kernel"]["length"].pop(),
        lambda content: content["members"]["kernel"]["blocks"][0].update(widths=[1]),
        lambda content: content["members"]["kernel"]["blocks"][0]["days"].update(shape=[1, 1]),
        lambda content: content["members"]["kernel"]["blocks"][0].update(hours=[0, 8]),
        lambda content: content["members"]["departure"].update(said=[]),
        lambda content: content["members"]["departure"].pop("rest"),
        lambda content: content["correction"].pop("centre"),
        lambda content: content["spread"].update(bounds=[1.0]),
        lambda content: content["spread"].update(scores=[float("nan")] * 200),
        lambda content: content["achieved"].update(days=["yesterday"]),
        lambda content: content["utility"].update(gate_closure="nine"),
        lambda content: content.update(utility=None),
        lambda content: content.update(seed="x"),
    ],
)
def test_content_other_than_the_documented_one_is_refused(ensemble: EnsembleForecaster, change: Change):
    with pytest.raises(ModelFileRefused) as refusal:
        load(changed(dump(ensemble), change))
    assert refusal.value.part == MODEL_JSON


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"{"])
def test_a_description_that_is_no_json_object_is_refused(ensemble: EnsembleForecaster, content: bytes):
    with pytest.raises(ModelFileRefused):
        load({**dump(ensemble), MODEL_JSON: content})


def test_a_missing_part_is_refused(ensemble: EnsembleForecaster, prophet_files: dict[str, bytes]):
    for files in (dump(ensemble), prophet_files):
        for name in files:
            with pytest.raises(ModelFileRefused):
                load({other: content for other, content in files.items() if other != name})


def test_a_file_that_does_not_belong_to_a_model_is_refused(ensemble: EnsembleForecaster, prophet_files: dict[str, bytes]):
    for files in (dump(ensemble), prophet_files):
        for name in ("booster-q10.txt", "run.pkl", "model.json.bak", ""):
            with pytest.raises(ModelFileRefused, match="no file of this model") as refused:
                load({**files, name: b""})
            assert refused.value.part == name


def test_trees_that_nobody_should_read_are_refused_with_tree_and_line(ensemble: EnsembleForecaster):
    files = dump(ensemble)
    for spoilt in (files[BOOSTER][:-9000], files[BOOSTER].replace(b"num_cat=0", b"num_cat=2"), b"", b"\xff", b"tree\n"):
        with pytest.raises(ModelFileRefused) as refused:
            load({**files, BOOSTER: spoilt})
        assert refused.value.part.startswith("booster.txt, ")


def test_trees_over_other_features_than_the_line_is_drawn_through_are_refused(ensemble: EnsembleForecaster):
    files = dump(ensemble)
    for spoilt in (
        {**files, BOOSTER: model_text()},
        changed(files, lambda content: content["members"]["lightgbm"]["line"]["columns"].pop()),
    ):
        with pytest.raises(ModelFileRefused, match=r"max_feature_idx|line\.columns"):
            load(spoilt)


def test_a_prophet_with_another_content_is_refused(prophet_files: dict[str, bytes]):
    for content in (b"", b"{}", b"\xff"):
        with pytest.raises(ModelFileRefused):
            load({**prophet_files, PROPHET_JSON: content})
    with pytest.raises(ModelFileRefused):
        load(changed(prophet_files, lambda content: content.update(miss_mw=[None] * 9)))
