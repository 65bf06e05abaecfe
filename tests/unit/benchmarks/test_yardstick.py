"""The yardstick itself: what weather B is, what a forecaster is given to learn from, what of it is timed and scored."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Self

import numpy as np
import pandas as pd
import pytest

from benchmarks import yardstick
from benchmarks.ablations import ABLATIONS, measured
from benchmarks.settings import SETTINGS
from benchmarks.yardstick import KINDS, evaluate, realised, weather_error_c, with_archive, with_weather_error
from data.datasets import EmbeddedDataset
from data.schema import DEMAND_MW, FORECAST_TEMPERATURE_C, TEMPERATURE_C, Utility
from data.training_set import LONGEST_TRAINING
from forecasting import kernel_learning, recent
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS

# An ordinary day, the short and the long day of 2014 in Melbourne.
DAYS = [date(2014, 2, 3), date(2014, 10, 5), date(2014, 4, 6)]


class Oracle:
    """Knows the future; remembers what it was given."""

    name = "oracle"
    needs_weather = True

    def __init__(self, truth_mw: pd.Series, miss_mw: float = 0.0) -> None:
        self.truth_mw = truth_mw
        self.miss_mw = miss_mw
        self.histories: list[pd.DataFrame] = []
        self.known: list[pd.DataFrame] = []

    def fit(self, history: pd.DataFrame, utility: Utility) -> Self:
        self.utility_ = utility
        self.histories.append(history)
        return self

    def predict(self, known: pd.DataFrame, day: date) -> pd.DataFrame:
        self.known.append(known)
        index = self.utility_.day_index(day)
        truth = self.truth_mw.loc[index].to_numpy() + self.miss_mw
        return pd.DataFrame(dict.fromkeys((FORECAST_MW, *QUANTILE_COLUMNS), truth), index=index)


class ExplainingOracle(Oracle):
    """Explains what it predicts."""

    explained = 0

    def predict_explained(self, known: pd.DataFrame, day: date) -> tuple[pd.DataFrame, pd.DataFrame]:
        self.explained += 1
        return self.predict(known, day), pd.DataFrame()


@pytest.fixture(scope="module")
def archive(victoria: EmbeddedDataset) -> pd.DataFrame:
    return with_archive(victoria)


@pytest.mark.parametrize("day", DAYS)
def test_weather_b_is_the_protocols(victoria: EmbeddedDataset, day: date) -> None:
    """Written out a second time, as the protocol says it, in a loop."""
    known = known_until_gate(realised(victoria), victoria.utility, day)
    ahead = known.index[known.index >= victoria.utility.gate_closure_of(day)]
    drawn = np.random.default_rng(20_140_000 + day.timetuple().tm_yday).standard_normal(len(ahead))
    path = [drawn[0]]
    for shock in drawn[1:]:
        path.append(0.97 * path[-1] + np.sqrt(1 - 0.97**2) * shock)
    wanted = known[TEMPERATURE_C].copy()
    for number, (moment, z) in enumerate(zip(ahead, path, strict=True)):
        wanted[moment] += (0.5 + 1.5 * (number / 2) / 39) * z
    altered = with_weather_error(known, victoria, day)
    pd.testing.assert_series_equal(altered[TEMPERATURE_C], wanted)
    pd.testing.assert_series_equal(altered[DEMAND_MW], known[DEMAND_MW])


def test_other_years_are_drawn_with_their_own_seeds(victoria: EmbeddedDataset) -> None:
    first = [weather_error_c(victoria.utility, date(year, 2, 3)).iloc[0] / 0.5 for year in (2012, 2013, 2014)]
    wanted = [np.random.default_rng(year * 10_000 + 34).standard_normal() for year in (2012, 2013, 2014)]
    assert first == pytest.approx(wanted)


def test_the_archive_holds_of_each_interval_what_was_said_at_its_own_days_gate_closure(
    victoria: EmbeddedDataset, archive: pd.DataFrame
) -> None:
    assert archive[FORECAST_TEMPERATURE_C].notna().all()
    for day in DAYS:
        of_day = victoria.utility.day_index(day)
        issued = with_weather_error(realised(victoria), victoria, day).loc[of_day, TEMPERATURE_C]
        pd.testing.assert_series_equal(archive.loc[of_day, FORECAST_TEMPERATURE_C], issued, check_names=False)


@pytest.fixture(scope="module")
def true_year(victoria: EmbeddedDataset) -> tuple[Oracle, dict[str, dict[str, float]]]:
    """An oracle's year in both weathers, and its scores."""
    oracle = Oracle(victoria.demand_mw)
    return oracle, evaluate(lambda: oracle, victoria, 2014)


def test_a_forecaster_learns_only_from_what_was_known_and_from_the_archive_in_b_alone(
    true_year: tuple[Oracle, dict[str, dict[str, float]]], victoria: EmbeddedDataset
) -> None:
    histories = true_year[0].histories
    in_a, in_b = histories[:12], histories[12:]
    for month, history in enumerate(in_a, start=1):
        gate = victoria.utility.gate_closure_of(date(2014, month, 1))
        assert history.index[-1] == gate - victoria.utility.step
        assert history.index[0] >= gate - LONGEST_TRAINING
        assert list(history) == [DEMAND_MW, TEMPERATURE_C]
    assert [list(history) for history in in_b] == 12 * [[DEMAND_MW, TEMPERATURE_C, FORECAST_TEMPERATURE_C]]
    assert [history.index[-1] for history in in_b] == [history.index[-1] for history in in_a]


def test_a_day_is_forecast_from_demand_before_its_gate_closure(
    true_year: tuple[Oracle, dict[str, dict[str, float]]], victoria: EmbeddedDataset
) -> None:
    utility = victoria.utility
    assert len(true_year[0].known) == 2 * 365
    for known in true_year[0].known:
        gate = utility.gate_closure_of(known.index[-1].tz_convert(utility.zone).date())
        assert known[DEMAND_MW].last_valid_index() == gate - utility.step


def test_the_truth_scores_nothing_in_either_weather(true_year: tuple[Oracle, dict[str, dict[str, float]]]) -> None:
    found = true_year[1]
    assert {weather: scores["mape_percent"] for weather, scores in found.items()} == {"A": 0, "B": 0}
    assert {kind: found["A"][kind] for kind in KINDS} == dict.fromkeys(KINDS, 100.0)


def test_a_day_is_forecast_with_its_explanation_and_a_constant_miss_is_scored_as_that(victoria: EmbeddedDataset) -> None:
    oracle = ExplainingOracle(victoria.demand_mw, miss_mw=10.0)
    found = evaluate(lambda: oracle, victoria, 2014, ("A",))["A"]
    assert oracle.explained == 365
    assert found["mae_mw"] == pytest.approx(10)
    assert {kind: found[kind] for kind in KINDS} == dict.fromkeys(KINDS, 0.0)


def test_every_day_of_the_year_counts_once_in_a_regime_and_once_as_a_kind(victoria: EmbeddedDataset) -> None:
    days = [day for month in yardstick.months(2014) for day in month]
    assert len(days) == 365
    assert all((later - day).days == 1 for day, later in pairwise(days))
    index = victoria.utility.day_index(days[0]).append([victoria.utility.day_index(day) for day in days[1:]])
    # Right on warm days alone: they cover whole, the other regimes not at all.
    bounds = yardstick.weather_bounds(victoria.temperature_c[: victoria.utility.gate_closure_of(days[0])], victoria.utility)
    means = yardstick.day_means(victoria.temperature_c, victoria.utility)
    local = victoria.utility.local(index).tz_localize(None).normalize()
    warm = ((means > bounds[1]) & (means <= bounds[2])).loc[local].to_numpy()
    centre = victoria.demand_mw.loc[index] + np.where(warm, 0.0, 5.0)
    cover = yardstick.cover_by_kind(pd.DataFrame(dict.fromkeys(QUANTILE_COLUMNS, centre)), victoria, 2014)
    assert [cover[regime] for regime in ("cold", "mild", "warm", "hot")] == [0, 0, 100, 0]


@pytest.mark.parametrize("name", [name for name in ABLATIONS if name != "full"])
def test_an_ablation_changes_the_forecast_and_leaves_nothing_behind(
    name: str, victoria: EmbeddedDataset, archive: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One refit, one day: the full table does it with twelve and 365."""
    day = date(2013, 6, 10)  # the Queen's birthday

    def one_day(make, dataset: EmbeddedDataset, _: int, weathers: tuple[str, ...]) -> dict[str, dict[str, float]]:
        gate = dataset.utility.gate_closure_of(day)
        history = archive.loc[gate - pd.Timedelta(days=100) : gate - dataset.utility.step]
        known = with_weather_error(known_until_gate(realised(dataset), dataset.utility, day), dataset, day)
        answer = make().fit(history, dataset.utility).predict(known, day)
        return {weathers[-1]: {"sum": float(answer.to_numpy().sum())}}

    monkeypatch.setattr("benchmarks.ablations.evaluate", one_day)
    before = (kernel_learning.STEPS, recent.LARGEST_SHARE, recent.TILT)
    assert measured(name, 2013)["B"]["sum"] != one_day(EnsembleForecaster, victoria, 2013, ("B",))["B"]["sum"]
    assert before == (kernel_learning.STEPS, recent.LARGEST_SHARE, recent.TILT)


def test_every_setting_is_one_that_the_members_read() -> None:
    for setting in SETTINGS.values():
        assert hasattr(setting.where, setting.name)
