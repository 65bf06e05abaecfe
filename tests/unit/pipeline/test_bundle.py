"""What a bundle of format 1 holds, and what of it is refused before and after the model is parsed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from data.schema import QUANTILES
from forecasting.errors import ModelFileRefused
from forecasting.golden import GOLDEN_JSON, answers, golden_case, require_equal
from pipeline.bundle import (
    AROUND,
    BUNDLE_JSON,
    CARD,
    FEATURES_JSON,
    BundleFacts,
    bundle_files,
    feature_contract,
    model_part,
    read_facts,
    restore,
)
from pipeline.publish import OpenedModel
from security.manifest import canonical_json
from tests.unit.api.small_station import LAST_DAY

FACTS = {"snapshot": "s-1", "requested_by": "ann", "seed": 1, "weather": {"policy": "multi-source"}}


@pytest.fixture(scope="module")
def files(linear_model: OpenedModel) -> dict[str, bytes]:
    assert linear_model.golden is not None
    return bundle_files(linear_model.forecaster, "main", linear_model.golden.known, FACTS)


def refused(files: dict[str, bytes], problem: str | None = None) -> str:
    """The part of a bundle that does not restore."""
    with pytest.raises(ModelFileRefused, match=problem) as refusal:
        restore(files)
    assert "\n" not in str(refusal.value)
    return refusal.value.part


def test_a_bundle_is_the_model_and_four_files_around_it_all_of_them_text(files: dict[str, bytes]) -> None:
    assert set(files) - set(model_part(files)) == set(AROUND)
    assert model_part(files)
    for content in files.values():
        assert content.decode("utf-8").isprintable() or b"\n" in content


def test_the_same_model_makes_the_same_bundle_to_the_byte(files: dict[str, bytes], linear_model: OpenedModel) -> None:
    assert linear_model.golden is not None
    assert bundle_files(linear_model.forecaster, "main", linear_model.golden.known, FACTS) == files
    # And so does the model that came out of it.
    assert bundle_files(restore(files), "main", linear_model.golden.known, FACTS) == files


def test_a_bundle_says_its_format_forecaster_and_role(files: dict[str, bytes]) -> None:
    assert json.loads(files[BUNDLE_JSON]) == {"format": 1, "forecaster": "linear", "role": "main"}
    assert read_facts(files) == BundleFacts("main", "linear")


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        ({"format": 2, "forecaster": "linear", "role": "main", "signed_by": "them"}, "format: 2, 1 is expected"),
        ({"format": True, "forecaster": "linear", "role": "main"}, "format: true"),
        ({"format": 1.0, "forecaster": "linear", "role": "main"}, "format: 1.0"),
        ({"format": 1, "forecaster": "linear"}, "role is missing"),
        ({"format": 1, "forecaster": "linear", "role": "main", "run": "me"}, "run is unknown"),
        ({"format": 1, "forecaster": "linear", "role": ["main"]}, "role: a text"),
        ({"format": 1, "forecaster": "linear", "role": "m" * 41}, "role: a text"),
        ([], "an object is expected"),
    ],
)
def test_other_facts_than_those_of_format_1_are_refused(files: dict[str, bytes], own: Any, problem: str) -> None:
    assert refused({**files, BUNDLE_JSON: json.dumps(own).encode()}, problem) == BUNDLE_JSON


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff{}", b"[" * 1000, b" " * 2000, b'{"format":1,"format":1,"forecaster":"linear","role":"main"}'],
)
def test_facts_that_are_no_json_of_ours_are_refused_and_never_crash(files: dict[str, bytes], content: bytes) -> None:
    assert refused({**files, BUNDLE_JSON: content}) == BUNDLE_JSON


@pytest.mark.parametrize("name", AROUND)
def test_each_file_around_the_model_has_to_be_there(files: dict[str, bytes], name: str) -> None:
    assert refused({known: content for known, content in files.items() if known != name}) == BUNDLE_JSON


def test_a_model_of_another_kind_than_the_bundle_says_is_refused(files: dict[str, bytes]) -> None:
    own = {"format": 1, "forecaster": "prophet", "role": "main"}
    assert refused({**files, BUNDLE_JSON: canonical_json(own)}, "holds a linear, and says prophet") == BUNDLE_JSON


def test_the_contract_names_what_is_asked_and_what_is_answered(files: dict[str, bytes]) -> None:
    contract = json.loads(files[FEATURES_JSON])
    assert contract["known_columns"] == ["demand_mw", "temperature_c", "temperature_uncertainty_c"]
    assert contract["quantiles"] == list(QUANTILES)
    assert contract["answered_columns"][0] == "forecast_mw"
    assert contract["utility"]["timezone"] == "UTC"


def test_a_model_that_needs_no_weather_is_not_asked_with_any(models: dict[str, OpenedModel]) -> None:
    assert feature_contract(models["fallback"].forecaster)["known_columns"] == ["demand_mw"]


@pytest.mark.parametrize("change", [("window_days", 1), ("known_columns", ["demand_mw"]), ("quantiles", [0.5])])
def test_a_model_that_would_be_asked_otherwise_than_it_was_trained_is_refused(
    files: dict[str, bytes], change: tuple[str, Any]
) -> None:
    altered = json.loads(files[FEATURES_JSON]) | dict([change])
    assert refused({**files, FEATURES_JSON: canonical_json(altered)}, "asked otherwise") == FEATURES_JSON


def test_the_golden_day_is_the_last_whole_local_day_and_the_answer_is_the_models(
    files: dict[str, bytes], linear_model: OpenedModel
) -> None:
    case = golden_case(files[GOLDEN_JSON])
    assert case.day <= LAST_DAY
    require_equal(case, answers(linear_model.forecaster, case))
    np.testing.assert_array_equal(case.expected, answers(restore(files), case))


def test_a_training_that_ends_within_a_day_is_golden_the_day_before(linear_model: OpenedModel) -> None:
    assert linear_model.golden is not None
    known, utility = linear_model.golden.known, linear_model.forecaster.utility_
    last = known.index[-1].date()
    cut = known.loc[: utility.day_index(last)[5]]
    case = golden_case(bundle_files(linear_model.forecaster, "main", cut, FACTS)[GOLDEN_JSON])
    assert (last - case.day).days == 1


def test_the_card_tells_people_what_they_approve_and_what_it_is_not_for(files: dict[str, bytes]) -> None:
    card = files[CARD].decode()
    for told in (
        "linear, seed 1",
        "**role**: main",
        "**requested by**: ann",
        "**snapshot**: s-1",
        "gate closure",
        "Not for",
    ):
        assert told in card
    # What machines read is not told to people.
    assert "policy" not in card
