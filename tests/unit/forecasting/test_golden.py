"""Golden forecasts: the frame comes back to the bit, the same model answers the same, another one does not pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.schema import DEMAND_MW, FORECAST_TEMPERATURE_C, TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, Utility
from forecasting.arrays import packed
from forecasting.baselines import SeasonalNaive
from forecasting.day_grid import known_until_gate
from forecasting.errors import ModelFileRefused
from forecasting.golden import GOLDEN_JSON, OUTPUTS, answers, golden_case, golden_json, require_equal

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
DAY = date(2013, 10, 20)
LONG_DAY = date(2013, 10, 27)


@pytest.fixture(scope="module")
def world(small_world: SmallWorld) -> tuple[Utility, pd.DataFrame]:
    return small_world(days=120)


@pytest.fixture(scope="module")
def fitted(world: tuple[Utility, pd.DataFrame]) -> SeasonalNaive:
    utility, frame = world
    return SeasonalNaive().fit(frame, utility)


@pytest.fixture(scope="module")
def written(world: tuple[Utility, pd.DataFrame], fitted: SeasonalNaive) -> bytes:
    utility, frame = world
    return golden_json(fitted, known_until_gate(frame, utility, DAY), DAY)


def test_the_frame_and_the_forecast_come_back_to_the_bit(
    written: bytes, world: tuple[Utility, pd.DataFrame], fitted: SeasonalNaive
) -> None:
    utility, frame = world
    known = known_until_gate(frame, utility, DAY)
    case = golden_case(written)
    pd.testing.assert_frame_equal(case.known, known, check_exact=True, check_freq=False)
    assert case.day == DAY
    np.testing.assert_array_equal(answers(fitted, case), fitted.predict(known, DAY)[list(OUTPUTS)].to_numpy())
    np.testing.assert_array_equal(answers(fitted, case), case.expected)
    require_equal(case, answers(fitted, case))


def test_the_same_case_is_always_the_same_bytes(
    written: bytes, world: tuple[Utility, pd.DataFrame], fitted: SeasonalNaive
) -> None:
    utility, frame = world
    assert golden_json(fitted, known_until_gate(frame, utility, DAY), DAY) == written
    assert golden_json(fitted, golden_case(written).known, DAY) == written


def test_what_is_told_of_uncertainty_comes_back_and_a_day_of_25_hours_too(
    world: tuple[Utility, pd.DataFrame], fitted: SeasonalNaive
) -> None:
    utility, frame = world
    known = known_until_gate(frame, utility, LONG_DAY).assign(
        **{TEMPERATURE_UNCERTAINTY_C: 0.5, FORECAST_TEMPERATURE_C: np.nan}
    )
    case = golden_case(golden_json(fitted, known, LONG_DAY))
    assert len(case.expected) == 25
    pd.testing.assert_frame_equal(case.known[list(known.columns)], known, check_exact=True, check_freq=False)


def test_another_model_does_not_give_the_golden_forecast(written: bytes, world: tuple[Utility, pd.DataFrame]) -> None:
    utility, frame = world
    other = SeasonalNaive().fit(frame.assign(**{DEMAND_MW: frame[DEMAND_MW] ** 1.01}), utility)
    case = golden_case(written)
    with pytest.raises(ModelFileRefused, match="golden forecast of 2013-10-20 is off by") as refused:
        require_equal(case, answers(other, case))
    assert refused.value.part == GOLDEN_JSON


@pytest.mark.parametrize("factor", [1 + 1e-12, 1.0])
def test_what_another_processor_rounds_differently_passes(written: bytes, factor: float) -> None:
    case = golden_case(written)
    require_equal(case, case.expected * factor)


@pytest.mark.parametrize(
    "answered",
    [
        lambda expected: expected * (1 + 1e-6),
        lambda expected: expected[:-1],
        lambda expected: expected[:, :-1],
        lambda expected: np.full_like(expected, np.nan),
        lambda expected: np.full_like(expected, np.inf),
    ],
)
def test_an_answer_that_is_another_is_refused(written: bytes, answered: Callable[[Any], Any]) -> None:
    case = golden_case(written)
    with pytest.raises(ModelFileRefused):
        require_equal(case, answered(case.expected))


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.drop(frame.index[5]),
        lambda frame: frame.iloc[::5],
        lambda frame: frame.iloc[:1],
        lambda frame: frame.assign(price=1.0),
        lambda frame: pd.concat([frame] * 40).set_axis(
            pd.date_range(frame.index[0], periods=40 * len(frame), freq="h", name=frame.index.name), axis=0
        ),
    ],
)
def test_a_frame_that_could_not_come_back_the_same_is_not_written(
    change: Callable[[pd.DataFrame], pd.DataFrame], world: tuple[Utility, pd.DataFrame], fitted: SeasonalNaive
) -> None:
    utility, frame = world
    with pytest.raises(ValueError, match="golden case"):
        golden_json(fitted, change(known_until_gate(frame, utility, DAY)), DAY)


def test_a_forecast_that_is_not_all_numbers_is_not_written(
    world: tuple[Utility, pd.DataFrame], fitted: SeasonalNaive
) -> None:
    utility, frame = world
    unknown = known_until_gate(frame, utility, DAY).assign(**{DEMAND_MW: np.nan})
    with pytest.raises(ValueError, match="not all numbers"):
        golden_json(fitted, unknown, DAY)


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("version", lambda c: c.update(version=2)),
        ("more is unknown", lambda c: c.update(more=1)),
        ("day", lambda c: c.update(day="20 October")),
        ("start", lambda c: c.update(start="2013-10-20")),
        ("start", lambda c: c.update(start="0013-10-20T00:00Z")),
        ("start", lambda c: c.update(start=0)),
        ("step_minutes", lambda c: c.update(step_minutes=0)),
        ("step_minutes", lambda c: c.update(step_minutes=59)),
        ("rows", lambda c: c.update(rows=10**9)),
        ("rows", lambda c: c.update(rows=1)),
        (r"inputs\.demand_mw", lambda c: c.update(rows=c["rows"] - 1)),
        ("demand_mw is missing", lambda c: c["inputs"].pop(DEMAND_MW)),
        ("price is unknown", lambda c: c["inputs"].update(price=c["inputs"][DEMAND_MW])),
        ("infinite", lambda c: c["inputs"].update({TEMPERATURE_C: packed(np.full(c["rows"], np.inf))})),
        ("intervals", lambda c: c.update(intervals=0)),
        ("expected", lambda c: c.update(intervals=23)),
        ("expected", lambda c: c.update(expected=packed(np.full((24, 10), np.nan)))),
    ],
)
def test_a_case_other_than_the_documented_one_is_refused(
    place: str, change: Callable[[dict[str, Any]], object], written: bytes
) -> None:
    content = json.loads(written)
    change(content)
    with pytest.raises(ModelFileRefused, match=place) as refused:
        golden_case(json.dumps(content).encode())
    assert refused.value.part == GOLDEN_JSON


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"NaN", b" " * (8 * 2**20 + 1)])
def test_what_is_no_case_at_all_is_refused(content: bytes) -> None:
    with pytest.raises(ModelFileRefused):
        golden_case(content)
