"""Forecast answers: whatever the deciles and the levels, quantiles stay in order and every format says the same."""

from __future__ import annotations

import io
import json
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from api.forecast_answers import ShownDay, as_csv, as_json, as_parquet, as_table, column_of, etag_of, forecast_body
from api.forecast_formats import WRITERS
from api.schemas.forecasts import ForecastAnswer
from data.schema import QUANTILES, Array, Utility
from forecasting.any_quantile import HIGHEST, LOWEST, at_levels
from forecasting.explain import EXPLAINED_COLUMNS
from forecasting.forecaster import QUANTILE_COLUMNS, by_interval
from forecasting.member_says import MemberSays
from pipeline.predict import DayForecast
from pipeline.prepared_day import PreparedDay

UTILITY = Utility(timezone="Australia/Melbourne", step=pd.Timedelta(minutes=30))
DAYS = st.sampled_from([date(2014, 4, 6), date(2014, 7, 1), date(2014, 10, 5)])  # 25, 24 and 23 hours
SIZES = st.floats(1e-3, 1e6)
LEVELS = st.lists(st.floats(LOWEST, HIGHEST), min_size=1, max_size=19, unique=True)


def deciles_of(steps: Array, size: float) -> Array:
    """Deciles in order by time of day [MW], shape (48, 9)."""
    return size * (1 + np.cumsum(np.abs(steps), axis=1) / 100)


def prepared_from(by_slot: Array, day: date) -> PreparedDay:
    frame = by_interval(day, by_slot, QUANTILE_COLUMNS, UTILITY)
    frame.insert(0, "forecast_mw", frame["q50"])
    gate = UTILITY.gate_closure_of(day)
    forecast = DayForecast("f-1", day, gate, "m-1", "s-1", "single:=cmd", ("aurora",), frame)
    nothing: object = None
    return PreparedDay(forecast, MemberSays.alone(frame), nothing, nothing, nothing, date.min)  # type: ignore[arg-type]


STEPS = arrays(np.float64, (48, 9), elements=st.floats(0, 10))


@given(STEPS, SIZES, LEVELS)
def test_quantiles_of_any_levels_are_in_order(steps: Array, size: float, levels: list[float]) -> None:
    found = at_levels(deciles_of(steps, size), sorted(levels))
    assert (np.diff(found, axis=1) >= 0).all()


@given(STEPS, SIZES, st.permutations(QUANTILES))
def test_deciles_are_answered_as_they_are_in_the_order_asked_for(steps: Array, size: float, levels: list[float]) -> None:
    deciles = deciles_of(steps, size)
    np.testing.assert_array_equal(at_levels(deciles, levels), deciles[:, [QUANTILES.index(level) for level in levels]])


@given(STEPS, SIZES, st.floats(LOWEST, HIGHEST))
def test_a_level_lies_between_its_neighbouring_deciles(steps: Array, size: float, level: float) -> None:
    deciles = deciles_of(steps, size)
    found = at_levels(deciles, [level])[:, 0]
    for number, decile in enumerate(QUANTILES):
        beyond = found >= deciles[:, number] if level >= decile else found <= deciles[:, number]
        assert beyond.all()


@given(STEPS, SIZES, LEVELS, DAYS)
def test_all_formats_tell_the_same_numbers_of_every_interval(
    steps: Array, size: float, levels: list[float], day: date
) -> None:
    prepared = prepared_from(deciles_of(steps, size), day)
    shown = [ShownDay(prepared, prepared.says.quantiles_mw)]
    columns = ["forecast_mw", *(column_of(level) for level in levels)]
    told = json.loads(as_json(shown, levels))
    in_json = np.array([[row["forecast_mw"], *row["quantiles"].values()] for row in told["intervals"]])
    table = as_table(shown, levels)
    starts = pd.DatetimeIndex([row["timestamp"] for row in told["intervals"]])
    assert list(starts) == list(table["timestamp"]) == list(UTILITY.day_index(day))
    np.testing.assert_array_equal(in_json, table.iloc[:, -len(columns) :])
    csv = pd.read_csv(io.BytesIO(as_csv(shown, levels)))
    np.testing.assert_array_equal(in_json, csv.iloc[:, -len(columns) :])
    parquet = pd.read_parquet(io.BytesIO(as_parquet(shown, levels)))
    np.testing.assert_array_equal(in_json, parquet.iloc[:, -len(columns) :])
    assert list(parquet["timestamp"]) == list(starts)
    ForecastAnswer.model_validate_json(as_json(shown, levels))


@given(STEPS, SIZES, LEVELS, DAYS, st.integers(0, 47), st.floats(0.001, 1))
def test_the_entity_tag_is_the_same_for_the_same_answer_only(
    steps: Array, size: float, levels: list[float], day: date, place: int, share: float
) -> None:
    prepared = prepared_from(deciles_of(steps, size), day)
    body = forecast_body(prepared, levels, prepared.says.quantiles_mw)
    again = prepared_from(deciles_of(steps, size), day)
    assert etag_of(forecast_body(again, levels, again.says.quantiles_mw)) == etag_of(body)
    other = prepared.says.quantiles_mw.copy()
    other[place % len(other)] *= 1 + share
    moved = forecast_body(prepared, levels, other)
    assert (etag_of(moved) == etag_of(body)) == (moved == body)
    assert moved != body


@given(STEPS, SIZES, arrays(np.float64, (48, len(EXPLAINED_COLUMNS)), elements=st.floats(-1e6, 1e6)))
def test_an_explanation_adds_up_to_the_forecast_that_is_shown(steps: Array, size: float, parts: Array) -> None:
    day = date(2014, 7, 1)
    prepared = prepared_from(deciles_of(steps, size), day)
    explanation = by_interval(day, parts * size / 1e6, EXPLAINED_COLUMNS, UTILITY)
    told = json.loads(as_json([ShownDay(prepared, prepared.says.quantiles_mw, explanation)], [0.5]))
    for row in told["intervals"]:
        assert sum(row["explained"].values()) == pytest.approx(row["forecast_mw"], rel=1e-4, abs=1e-6 * size)


@given(LEVELS)
def test_every_level_has_a_column_of_its_own_and_deciles_the_usual_one(levels: list[float]) -> None:
    assert len({column_of(level) for level in levels}) == len(levels)
    assert tuple(column_of(level) for level in QUANTILES) == QUANTILE_COLUMNS


@pytest.mark.parametrize("kind", WRITERS, ids=str)
def test_no_text_of_an_answer_begins_a_formula(kind: str) -> None:
    prepared = prepared_from(np.sort(np.random.default_rng(1).normal(5000, 100, (48, 9)), axis=1), date(2014, 7, 1))
    object.__setattr__(prepared.forecast, "weather", "=HYPERLINK(1)")
    body = WRITERS[kind]([ShownDay(prepared, prepared.says.quantiles_mw)], [0.5])  # type: ignore[index]
    assert b",=HYPERLINK" not in body
