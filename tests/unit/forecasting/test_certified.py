"""Certified mode: which week teaches which model, and what the certificate says."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from data.schema import DEMAND_MW, TEMPERATURE_C, Utility
from forecasting.certified import CERTIFICATE_COLUMNS, LOWER_MW, UPPER_MW, CertifiedForecaster
from forecasting.certified_blocks import block_of, blocks_of, models_of
from forecasting.certified_departures import RECENT_DAYS, by_hour, carried_over
from forecasting.certified_features import Kind, kind_of
from forecasting.certified_model import CertifiedModel
from forecasting.day_grid import known_until_gate
from forecasting.errors import ForecastingError, ModelFileRefused, UnusableModels
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS
from forecasting.model_files import MODEL_JSON, dump, load

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
World = tuple[Utility, pd.DataFrame]
DAY = date(2013, 10, 25)
MODELS = 5


@pytest.fixture(scope="module")
def world(small_world: SmallWorld) -> World:
    return small_world()


@pytest.fixture(scope="module")
def fitted(world: World) -> CertifiedForecaster:
    utility, frame = world
    return CertifiedForecaster(MODELS).fit(frame, utility)


def local_week(frame: pd.DataFrame, utility: Utility, day: date) -> np.ndarray:
    """Rows of the local week that `day` lies in."""
    return np.array([block_of(moment.date()) == block_of(day) for moment in utility.local(pd.DatetimeIndex(frame.index))])


def changed_models(one: CertifiedForecaster, other: CertifiedForecaster) -> list[int]:
    def numbers(model: CertifiedModel) -> bytes:
        return b"".join(part.tobytes() for part in (model.usual_mw, model.coefficients_mw, model.offsets_mw))

    pairs = zip(one.models_, other.models_, strict=True)
    return [number for number, (a, b) in enumerate(pairs) if numbers(a) != numbers(b)]


def test_a_block_is_a_week_from_monday_to_sunday():
    monday = date(2013, 9, 2)
    assert len({block_of(monday + timedelta(days=ahead)) for ahead in range(7)}) == 1
    assert block_of(monday - timedelta(days=1)) == block_of(monday) - 1
    assert block_of(monday + timedelta(days=7)) == block_of(monday) + 1


def test_blocks_of_days_that_begin_and_end_inside_a_week():
    days = [date(2013, 9, 6) + timedelta(days=ahead) for ahead in range(12)]
    assert blocks_of(days) == [slice(0, 3), slice(3, 10), slice(10, 12)]


@pytest.mark.parametrize(("models", "copies"), [(25, 1), (25, 2), (25, 3), (7, 7), (1, 1)])
def test_every_week_goes_to_so_many_different_models(models: int, copies: int):
    for block in range(2000, 2300):
        dealt = models_of(block, models, copies)
        assert len(set(dealt)) == copies
        assert set(dealt) <= set(range(models))


@pytest.mark.parametrize(("years", "fewest", "longest_gap"), [(2, 3, 27), (3, 5, 17)])
def test_every_model_sees_weeks_from_all_over_the_year(years: int, fewest: int, longest_gap: int):
    first = block_of(date(2012, 1, 2))
    weeks: dict[int, list[int]] = {}
    for block in range(first, first + 52 * years):
        weeks.setdefault(models_of(block, 25, 1)[0], []).append((block - first) % 52)
    assert len(weeks) == 25
    for of_year in weeks.values():
        assert fewest <= len(of_year) <= fewest + 2
        assert np.diff([*sorted(of_year), min(of_year) + 52]).max() <= longest_gap


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("day", [date(2013, 7, 1), date(2013, 9, 11), date(2013, 10, 27), date(2013, 10, 28)], ids=str)
@pytest.mark.parametrize("column", [DEMAND_MW, TEMPERATURE_C])
def test_a_changed_week_changes_the_models_it_was_dealt_to_and_no_other_by_a_single_bit(
    day: date, column: str, copies: int, world: World
):
    utility, frame = world
    clean = CertifiedForecaster(MODELS, copies).fit(frame, utility)
    rows = local_week(frame, utility, day)
    spoilt = frame.copy()
    spoilt.loc[rows, column] = spoilt.loc[rows, column] * -3 + 5
    found = CertifiedForecaster(MODELS, copies).fit(spoilt, utility)
    assert changed_models(clean, found) == sorted(models_of(block_of(day), MODELS, copies))


@pytest.mark.parametrize("day", [date(2013, 7, 1), date(2013, 9, 11), date(2013, 10, 28)], ids=str)
def test_a_week_that_is_left_out_changes_the_model_it_was_dealt_to_and_no_other(
    day: date, world: World, fitted: CertifiedForecaster
):
    utility, frame = world
    found = CertifiedForecaster(MODELS).fit(frame[~local_week(frame, utility, day)], utility)
    assert changed_models(fitted, found) == list(models_of(block_of(day), MODELS, 1))


def test_the_certificate_is_made_of_the_models_ranks(world: World, fitted: CertifiedForecaster):
    utility, frame = world
    known = known_until_gate(frame, utility, DAY)
    said = np.sort(fitted.said(known, DAY)[:, :, QUANTILE_COLUMNS.index("q50")], axis=0)
    for r, (low, high) in {0: (2, 2), 1: (1, 3), 2: (0, 4)}.items():
        answer = fitted.certified(known, DAY, r)
        np.testing.assert_array_equal(answer[[LOWER_MW, FORECAST_MW, UPPER_MW]], said[[low, 2, high]].T)
    pd.testing.assert_frame_equal(answer.drop(columns=list(CERTIFICATE_COLUMNS)), fitted.predict(known, DAY))


def test_more_malicious_weeks_than_the_median_can_bear_promise_nothing(world: World, fitted: CertifiedForecaster):
    utility, frame = world
    answer = fitted.certified(known_until_gate(frame, utility, DAY), DAY, 3)
    assert (answer[LOWER_MW] == -np.inf).all()
    assert (answer[UPPER_MW] == np.inf).all()


def test_each_copy_of_a_week_counts(world: World):
    utility, frame = world
    known = known_until_gate(frame, utility, DAY)
    twice = CertifiedForecaster(MODELS, copies=2).fit(frame, utility)
    said = np.sort(twice.said(known, DAY)[:, :, QUANTILE_COLUMNS.index("q50")], axis=0)
    np.testing.assert_array_equal(twice.certified(known, DAY, 1)[list(CERTIFICATE_COLUMNS)], said[[0, 4]].T)
    assert np.isinf(twice.certified(known, DAY, 2)[UPPER_MW]).all()


@pytest.mark.parametrize(("models", "copies"), [(4, 1), (0, 1), (5, 0), (5, 6), (-3, 1)])
def test_numbers_that_make_no_certificate_are_refused(models: int, copies: int):
    with pytest.raises(UnusableModels) as refusal:
        CertifiedForecaster(models, copies)
    assert (refusal.value.models, refusal.value.copies) == (models, copies)


def test_a_negative_number_of_malicious_weeks_is_refused(world: World, fitted: CertifiedForecaster):
    utility, frame = world
    with pytest.raises(ForecastingError, match="-1 malicious weeks"):
        fitted.certified(known_until_gate(frame, utility, DAY), DAY, -1)


def test_a_model_without_weeks_still_has_a_vote(world: World):
    utility, frame = world
    # 120 days are 18 weeks: some of 7 models may lose all of theirs.
    number = models_of(block_of(date(2013, 9, 11)), 7, 1)[0]
    days = utility.local(pd.DatetimeIndex(frame.index))
    lost = np.array([models_of(block_of(moment.date()), 7, 1)[0] == number for moment in days])
    forecaster = CertifiedForecaster(7).fit(frame.assign(**{DEMAND_MW: frame[DEMAND_MW].mask(lost)}), utility)
    known = known_until_gate(frame, utility, DAY)
    assert len(forecaster.models_) == 7
    assert np.isfinite(forecaster.said(known, DAY)).all()
    truth = frame.loc[utility.day_index(DAY), DEMAND_MW]
    assert (forecaster.predict(known, DAY)[FORECAST_MW] / truth - 1).abs().mean() < 0.05


def test_a_holiday_is_as_free_as_a_sunday(world: World):
    utility, _ = world
    assert kind_of(date(2013, 10, 3), utility) is kind_of(date(2013, 10, 6), utility) is Kind.FREE
    assert kind_of(date(2013, 10, 5), utility) is Kind.SATURDAY
    assert kind_of(date(2013, 10, 7), utility) is Kind.WORKDAY


def test_a_level_that_has_shifted_for_two_weeks_is_carried_over_and_nothing_comes_of_nothing():
    kinds = (0,) * (RECENT_DAYS + 1)
    shifted = np.full((1, RECENT_DAYS + 1, 48), 100.0)
    shifted[:, -1] = np.nan
    assert carried_over(by_hour(shifted), kinds, 48)[0] == pytest.approx(np.full(48, 100.0), rel=0.15)
    unknown = np.full((3, RECENT_DAYS + 1, 24), np.nan)
    np.testing.assert_array_equal(carried_over(unknown, kinds, 48), np.zeros((3, 48)))


def test_hours_are_means_of_what_is_known_of_them():
    values = np.arange(96.0)
    values[[0, 4, 5, 6, 7]] = np.nan
    hours = by_hour(values)
    assert hours[0] == 2.0
    assert np.isnan(hours[1])
    assert hours[23] == 93.5


def test_a_file_that_does_not_fit_together_is_refused(fitted: CertifiedForecaster):
    files = dump(fitted)
    assert set(files) == {MODEL_JSON}
    restored = load(files)
    assert isinstance(restored, CertifiedForecaster)
    assert (restored.models, restored.copies) == (MODELS, 1)
    assert changed_models(fitted, restored) == []
    for change in (
        lambda content: content["models"].pop(),
        lambda content: content["models"][0].pop("usual_mw"),
        lambda content: content["models"][0].update(usual_mw=[1.0]),
        lambda content: content.update(copies=99),
        lambda content: content["models"][0]["offsets_mw"].update(type="O"),
    ):
        content = json.loads(files[MODEL_JSON])
        change(content)
        with pytest.raises(ModelFileRefused):
            load({MODEL_JSON: json.dumps(content).encode()})
