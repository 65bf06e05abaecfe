"""Fitted forecasters as data: documented text that comes back the same, and nothing else is taken for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pandas as pd
import pytest

from data.schema import Utility
from forecasting.errors import ModelFileRefused
from forecasting.features import known_until_gate
from forecasting.lightgbm_forecaster import LightGBMForecaster
from forecasting.model_files import HALVES, MODEL_JSON, PROPHET_JSON, SPREAD, dump, load
from forecasting.prophet_forecaster import ProphetForecaster

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
Change = Callable[[dict[str, Any]], object]
DAY = date(2013, 10, 20)


@pytest.fixture(scope="module")
def lightgbm(small_world: SmallWorld) -> LightGBMForecaster:
    utility, frame = small_world(days=112)
    return LightGBMForecaster(seed=3).fit(frame, utility)


@pytest.fixture(scope="module")
def prophet_files(small_world: SmallWorld) -> dict[str, bytes]:
    utility, frame = small_world(days=130)
    return dump(ProphetForecaster(seed=3).fit(frame, utility))


def changed(files: dict[str, bytes], change: Change) -> dict[str, bytes]:
    content = json.loads(files[MODEL_JSON])
    change(content)
    return {**files, MODEL_JSON: json.dumps(content).encode()}


def test_a_model_is_text_and_json_only(lightgbm: LightGBMForecaster, prophet_files: dict[str, bytes]):
    files = dump(lightgbm)
    assert set(files) == {MODEL_JSON, SPREAD, *HALVES}
    assert set(prophet_files) == {MODEL_JSON, PROPHET_JSON}
    for content in (files | prophet_files).values():
        assert content.decode("utf-8")
    assert json.loads(files[MODEL_JSON])["format"] == 1
    assert files[SPREAD].startswith(b"tree\n")
    json.loads(prophet_files[PROPHET_JSON])


def test_the_same_model_is_always_the_same_bytes_also_after_loading(lightgbm: LightGBMForecaster):
    files = dump(lightgbm)
    assert dump(lightgbm) == files
    assert dump(load(files)) == files


def test_a_loaded_model_knows_its_utility_and_forecasts_the_same(lightgbm: LightGBMForecaster, small_world: SmallWorld):
    utility, frame = small_world(days=112)
    restored = load(dump(lightgbm))
    assert restored.utility_ == utility
    known = known_until_gate(frame, utility, DAY)
    pd.testing.assert_frame_equal(restored.predict(known, DAY), lightgbm.predict(known, DAY))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(format=2),
        lambda content: content.pop("format"),
        lambda content: content.update(forecaster="seasonal-naive", linear=None),
        lambda content: content.pop("scale_mw"),
        lambda content: content.update(scale_mw="large"),
        lambda content: content.update(scores=[float("nan")] * 9),
        lambda content: content["linear"].update(coefficients=[["a"]]),
        lambda content: content["linear"].update(knots=[1, 2]),
        lambda content: content["utility"].update(gate_closure="nine"),
        lambda content: content.update(utility=None),
        lambda content: content.update(seed="x"),
    ],
)
def test_content_other_than_the_documented_one_is_refused(lightgbm: LightGBMForecaster, change: Change):
    with pytest.raises(ModelFileRefused) as refusal:
        load(changed(dump(lightgbm), change))
    assert refusal.value.part == MODEL_JSON


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"{"])
def test_a_description_that_is_no_json_object_is_refused(lightgbm: LightGBMForecaster, content: bytes):
    with pytest.raises(ModelFileRefused):
        load({**dump(lightgbm), MODEL_JSON: content})


def test_a_missing_part_is_refused(lightgbm: LightGBMForecaster, prophet_files: dict[str, bytes]):
    for files in (dump(lightgbm), prophet_files):
        for name in files:
            with pytest.raises(ModelFileRefused):
                load({other: content for other, content in files.items() if other != name})


def test_a_prophet_with_another_content_is_refused(prophet_files: dict[str, bytes]):
    for content in (b"", b"{}", b"\xff"):
        with pytest.raises(ModelFileRefused):
            load({**prophet_files, PROPHET_JSON: content})
    with pytest.raises(ModelFileRefused):
        load(changed(prophet_files, lambda content: content.update(miss_mw=[None] * 9)))
