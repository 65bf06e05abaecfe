"""Whatever is done to a model's JSON: it is refused as a file, or what is built from it forecasts without a crash.

This is the validator alone, signatures off. A change that it lets through is one of numbers: only the signature and the
golden forecasts know that they are others.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from datetime import date, time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import Utility
from forecasting.arrays import packed
from forecasting.certified import CertifiedForecaster
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.errors import ForecastingError, ModelFileRefused
from forecasting.golden import golden_case, golden_json
from forecasting.model_files import MODEL_JSON, dump, load
from forecasting.model_json import validate_model_json
from forecasting.model_layout import layout_of
from forecasting.prophet_forecaster import ProphetForecaster
from forecasting.prophet_json import PROPHET_JSON, validate_prophet_json

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
World = tuple[Utility, pd.DataFrame]
Files = dict[str, bytes]
DAY = date(2013, 10, 5)

RANDOM_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from([[], {}, 0, 0.0, -1, 1e308, "linear", "ensemble", packed(np.zeros((1, 1))), [2**40, 2**40]]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def world(small_world: SmallWorld) -> World:
    return small_world(days=100)


@pytest.fixture(scope="module")
def models(world: World) -> dict[str, Files]:
    utility, frame = world
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecasting.ensemble.worth_having", lambda missed, _: list(range(len(missed))))
        ensemble = EnsembleForecaster().fit(frame, utility)
    return {"ensemble": dump(ensemble), "certified": dump(CertifiedForecaster(models=3).fit(frame, utility))}


@pytest.fixture(scope="module")
def prophet(small_world: SmallWorld) -> Files:
    utility, frame = small_world(days=125)
    return dump(ProphetForecaster().fit(frame, utility))


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a JSON document is."""
    keys = content.keys() if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    return [path, *(place for key in keys for place in places(content[key], (*path, key)))]


def with_mutation(content: Any, data: st.DataObject) -> Any:
    """One value replaced, removed, repeated, or put where another one was."""
    changed = copy.deepcopy(content)
    every = places(changed)
    at = data.draw(st.sampled_from(every[1:]))
    holder = changed
    for key in at[:-1]:
        holder = holder[key]
    what = data.draw(st.sampled_from(["replace", "remove", "repeat", "swap", "nudge"]))
    value = holder[at[-1]]
    if what == "remove":
        del holder[at[-1]]
    elif what == "repeat" and isinstance(holder, list):
        holder.append(value)
    elif what == "swap":
        other = content
        for key in data.draw(st.sampled_from(every)):
            other = other[key]
        holder[at[-1]] = copy.deepcopy(other)
    elif what == "nudge" and type(value) in (int, float):
        holder[at[-1]] = data.draw(st.sampled_from([value + 1, value - 1, -value, value * 1000, value / 7]))
    else:
        holder[at[-1]] = data.draw(RANDOM_JSON)
    return changed


def refused(read: Callable[[], object]) -> bool:
    """Whether a file was refused, and in one clear line."""
    try:
        read()
    except ModelFileRefused as error:
        line = str(error)
    else:
        return False
    assert line.isprintable()
    return True


def assert_refused_or_forecasts(files: Files, world: World) -> None:
    utility, frame = world
    if refused(lambda: validate_model_json(files[MODEL_JSON])) or refused(lambda: load(files)):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            said = load(files).predict(known_until_gate(frame, utility, DAY), DAY)
        except ForecastingError:
            return
    assert len(said.columns) == 10


@pytest.mark.parametrize("name", ["ensemble", "certified"])
@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_a_mutated_model_is_refused_or_forecasts(
    name: str, models: dict[str, Files], world: World, data: st.DataObject
) -> None:
    content = json.loads(models[name][MODEL_JSON])
    for _ in range(data.draw(st.integers(1, 2))):
        content = with_mutation(content, data)
    assert_refused_or_forecasts({**models[name], MODEL_JSON: json.dumps(content).encode()}, world)


@given(at=st.floats(0, 1), length=st.integers(0, 8), put=st.binary(max_size=8))
@settings(deadline=None, max_examples=150)
def test_mutated_bytes_are_refused_or_forecast(
    models: dict[str, Files], world: World, at: float, length: int, put: bytes
) -> None:
    written = models["ensemble"][MODEL_JSON]
    start = int(at * len(written))
    spoilt = written[:start] + put + written[start + length :]
    assert_refused_or_forecasts({**models["ensemble"], MODEL_JSON: spoilt}, world)


@given(content=RANDOM_JSON)
@settings(deadline=None)
def test_any_json_at_all_is_refused(content: Any) -> None:
    for validate in (validate_model_json, validate_prophet_json, golden_case):
        with pytest.raises(ModelFileRefused):
            validate(json.dumps(content).encode())


@given(content=st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_at_all_are_refused(content: bytes) -> None:
    for validate in (validate_model_json, validate_prophet_json, golden_case):
        with pytest.raises(ModelFileRefused):
            validate(content)


@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_a_mutated_fallback_is_refused_or_read_by_prophet(prophet: Files, world: World, data: st.DataObject) -> None:
    content = json.loads(prophet[PROPHET_JSON])
    inside = data.draw(
        st.sampled_from([None, "history", "holidays", "history_dates", "train_component_cols", "changepoints"])
    )
    if inside is None:
        content = with_mutation(content, data)
    else:
        table = json.loads(content[inside])
        content[inside] = json.dumps(with_mutation(table, data))
    spoilt = json.dumps(content).encode()
    if not refused(lambda: validate_prophet_json(spoilt)):
        assert_refused_or_forecasts({**prophet, PROPHET_JSON: spoilt}, world)


@given(
    zone=st.sampled_from(
        ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo", "UTC"]
    ),
    step=st.sampled_from([5, 10, 15, 30, 60]),
    gate=st.times(),
    delay=st.integers(0, 3 * 24 * 60),
    lead_days=st.integers(0, 13),
)
@settings(deadline=None, max_examples=25)
def test_every_utility_that_passes_has_a_layout(zone: str, step: int, gate: time, delay: int, lead_days: int) -> None:
    utility = Utility(
        zone,
        pd.Timedelta(minutes=step),
        gate.replace(microsecond=0),
        demand_delay=pd.Timedelta(minutes=delay),
        lead_days=lead_days,
    )
    layout = layout_of(utility)
    assert layout.slots == utility.steps_per_day
    assert set(layout.ordinary) < set(layout.columns)
    for kernel in (layout.kernel, layout.departure, layout.rest):
        assert len(kernel.widths) == len(kernel.blocks)
        assert {len(widths) for widths in kernel.widths} == {len(kernel.groups)}


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_mutated_golden_case_is_refused_or_read_whole(models: dict[str, Files], world: World, data: st.DataObject) -> None:
    utility, frame = world
    written = golden_json(load(models["certified"]), known_until_gate(frame, utility, DAY), DAY)
    spoilt = json.dumps(with_mutation(json.loads(written), data)).encode()
    if refused(lambda: golden_case(spoilt)):
        return
    case = golden_case(spoilt)
    assert case.known.index.is_monotonic_increasing
    assert np.isfinite(case.expected).all()
