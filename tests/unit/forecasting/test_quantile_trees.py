"""Trees by quantile: each quantile learned by itself, held against days it had not seen, kept as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest

from data.schema import DEMAND_MW, FORECAST_TEMPERATURE_C, QUANTILES, TEMPERATURE_C, Utility
from forecasting import quantile_trees
from forecasting.day_grid import known_until_gate
from forecasting.errors import ModelFileRefused
from forecasting.forecaster import QUANTILE_COLUMNS
from forecasting.metrics import cover_80_percent
from forecasting.model_files import MODEL_JSON, dump, load
from forecasting.quantile_files import BOOSTERS
from forecasting.quantile_trees import QuantileTreesForecaster
from tests.unit.forecasting.small_model_text import model_text

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
TREES = 25
LEARNED_UNTIL = date(2014, 5, 1)
DAY = date(2014, 5, 14)


@pytest.fixture(scope="module")
def world(small_world: SmallWorld) -> tuple[Utility, pd.DataFrame]:
    """Nights are forecast well, afternoons badly."""
    utility, frame = small_world(days=330)
    hours = utility.local(pd.DatetimeIndex(frame.index)).hour.to_numpy()
    noise = np.random.default_rng(2).normal(0, 1, len(frame)) * np.where((hours >= 12) & (hours < 18), 60, 5)
    return utility, frame.assign(**{DEMAND_MW: frame[DEMAND_MW] + noise})


@pytest.fixture(scope="module")
def fitted(world: tuple[Utility, pd.DataFrame]) -> QuantileTreesForecaster:
    utility, frame = world
    history = frame.loc[: utility.day_index(LEARNED_UNTIL)[0] - utility.step]
    return QuantileTreesForecaster(TREES, seed=3).fit(history, utility)


@pytest.fixture(scope="module")
def files(fitted: QuantileTreesForecaster) -> dict[str, bytes]:
    return dump(fitted)


def test_each_quantile_has_trees_of_its_own(fitted: QuantileTreesForecaster, files: dict[str, bytes]):
    assert len(fitted.boosters_) == len(QUANTILES)
    assert len({files[name] for name in BOOSTERS}) == len(QUANTILES)
    for name, level in zip(BOOSTERS, QUANTILES, strict=True):
        assert b"\nobjective=quantile\n" in files[name]
        assert f"[alpha: {level:g}]".encode() in files[name]


def test_four_of_five_unseen_intervals_lie_between_the_outer_quantiles(
    fitted: QuantileTreesForecaster, world: tuple[Utility, pd.DataFrame]
):
    utility, frame = world
    days = [day.date() for day in pd.date_range(LEARNED_UNTIL, periods=24)]
    forecast = pd.concat([fitted.predict(known_until_gate(frame, utility, day), day) for day in days])
    assert 68 < cover_80_percent(frame[DEMAND_MW], forecast) < 92


def test_hours_that_are_hard_to_forecast_get_wider_intervals(
    fitted: QuantileTreesForecaster, world: tuple[Utility, pd.DataFrame]
):
    utility, frame = world
    forecast = fitted.predict(known_until_gate(frame, utility, DAY), DAY)
    hour = utility.local(pd.DatetimeIndex(forecast.index)).hour
    width = (forecast["q90"] - forecast["q10"]).to_numpy()
    assert width[(hour >= 12) & (hour < 18)].mean() > 2 * width[(hour < 6)].mean()


def test_offsets_make_good_what_trees_know_by_heart(world: tuple[Utility, pd.DataFrame], monkeypatch: pytest.MonkeyPatch):
    utility, frame = world
    by_heart = {**quantile_trees.BOOSTING, "learning_rate": 0.5, "min_data_in_leaf": 5}
    monkeypatch.setattr(quantile_trees, "BOOSTING", by_heart)
    offsets = QuantileTreesForecaster(TREES).fit(frame, utility).offsets_
    assert offsets[0] < -0.01
    assert offsets[-1] > 0.01


def test_weather_as_it_was_forecast_is_learned_from_and_corrected(world: tuple[Utility, pd.DataFrame]):
    utility, frame = world
    told = frame[TEMPERATURE_C] + np.random.default_rng(1).normal(0, 2, len(frame)).cumsum() / 40
    taught = QuantileTreesForecaster(TREES).fit(frame.assign(**{FORECAST_TEMPERATURE_C: told}), utility)
    assert taught.correction_ is not None
    restored = load(dump(taught))
    known = known_until_gate(frame, utility, DAY)
    pd.testing.assert_frame_equal(restored.predict(known, DAY), taught.predict(known, DAY))


def test_more_history_than_a_forecast_reads_changes_nothing(
    fitted: QuantileTreesForecaster, world: tuple[Utility, pd.DataFrame]
):
    utility, frame = world
    known = known_until_gate(frame, utility, DAY)
    longer = frame.loc[: known.index[-1]].copy()
    longer.loc[known.index, DEMAND_MW] = known[DEMAND_MW]
    pd.testing.assert_frame_equal(fitted.predict(longer, DAY), fitted.predict(known, DAY), check_freq=False)


def test_demand_of_a_week_that_is_not_known_is_forecast_around_the_usual_level(
    fitted: QuantileTreesForecaster, world: tuple[Utility, pd.DataFrame]
):
    utility, frame = world
    known = known_until_gate(frame, utility, DAY).assign(**{DEMAND_MW: np.nan})
    forecast = fitted.predict(known, DAY)
    assert abs(forecast["forecast_mw"].mean() / fitted.usual_mw_ - 1) < 0.3


def test_another_seed_gives_other_trees(world: tuple[Utility, pd.DataFrame], fitted: QuantileTreesForecaster):
    utility, frame = world
    history = frame.loc[: utility.day_index(LEARNED_UNTIL)[0] - utility.step]
    other = dump(QuantileTreesForecaster(TREES, seed=4).fit(history, utility))
    assert all(other[name] != content for name, content in dump(fitted).items())


def test_it_is_kept_as_json_and_a_text_a_quantile_and_comes_back_as_the_same_bytes(files: dict[str, bytes]):
    assert set(files) == {MODEL_JSON, *BOOSTERS}
    assert BOOSTERS[0] == f"booster-{QUANTILE_COLUMNS[0]}.txt"
    json.loads(files[MODEL_JSON])
    restored = load(files)
    assert isinstance(restored, QuantileTreesForecaster)
    assert restored.trees == TREES
    assert dump(restored) == files


@pytest.mark.parametrize("name", [MODEL_JSON, *BOOSTERS])
def test_a_missing_file_is_refused(name: str, files: dict[str, bytes]):
    with pytest.raises(ModelFileRefused):
        load({other: content for other, content in files.items() if other != name})


@pytest.mark.parametrize("name", ["booster.txt", "booster-q95.txt", "prophet.json", "run.pkl", "__init__.py"])
def test_a_file_that_does_not_belong_to_it_is_refused(name: str, files: dict[str, bytes]):
    with pytest.raises(ModelFileRefused, match="no file of this model") as refused:
        load({**files, name: files[BOOSTERS[0]]})
    assert refused.value.part == name


def test_trees_over_other_features_or_spoilt_ones_are_refused_with_the_file(files: dict[str, bytes]):
    for spoilt in (
        model_text("quantile"),
        files[BOOSTERS[4]][:-1],
        b"",
        files[BOOSTERS[4]].replace(b"num_cat=0", b"num_cat=1"),
    ):
        with pytest.raises(ModelFileRefused) as refused:
            load({**files, BOOSTERS[4]: spoilt})
        assert refused.value.part.startswith("booster-q50.txt")


@pytest.mark.parametrize(
    "change",
    [
        {"trees": None},
        {"line": {}},
        {"scale_mw": "large"},
        {"usual_mw": None},
        {"offsets": [0.0] * 8},
        {"offsets": [float("nan")] * 9},
        {"offsets": [[0.0] * 9]},
        {"correction": {}},
        {"utility": None},
        {"seed": "x"},
    ],
)
def test_content_other_than_the_documented_one_is_refused(change: dict[str, object], files: dict[str, bytes]):
    content = json.loads(files[MODEL_JSON]) | change
    with pytest.raises(ModelFileRefused) as refused:
        load({**files, MODEL_JSON: json.dumps(content).encode()})
    assert refused.value.part == MODEL_JSON
