"""What every forecaster promises, asked of each of them alike (forecasting/forecaster.py)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time

import numpy as np
import pandas as pd
import pytest

from data.schema import DEMAND_MW, TEMPERATURE_C, TIMESTAMP, Utility
from forecasting import baselines, ensemble
from forecasting.baselines import SeasonalNaive
from forecasting.certified import NEEDED_DAYS_A_MODEL, CertifiedForecaster
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.errors import TooLittleHistory
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS, Forecaster
from forecasting.metrics import mape_percent
from forecasting.model_files import Restorable, dump, load
from forecasting.prophet_forecaster import ProphetForecaster
from forecasting.quantile_trees import QuantileTreesForecaster

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]

FORECASTERS: dict[str, Callable[[], Forecaster]] = {
    "seasonal-naive": SeasonalNaive,
    "linear": lambda: EnsembleForecaster("linear", ("linear",), seed=7),
    "kernel": lambda: EnsembleForecaster("kernel", ("kernel",), seed=7),
    "lightgbm": lambda: EnsembleForecaster("lightgbm", ("lightgbm",), seed=7),
    "ensemble": lambda: EnsembleForecaster(seed=7),
    "prophet": lambda: ProphetForecaster(seed=7),
    # As many models as the small worlds have weeks for.
    "certified": lambda: CertifiedForecaster(models=5, seed=7),
    "quantile-trees": lambda: QuantileTreesForecaster(trees=20, seed=7),
}
LEARNED = ("linear", "kernel", "lightgbm", "ensemble", "quantile-trees")
SPRING_FORWARD, FALL_BACK, ORDINARY, HOLIDAY = date(2014, 3, 30), date(2013, 10, 27), date(2014, 5, 14), date(2013, 12, 25)
LEARNED_UNTIL = date(2014, 5, 1)


@dataclass(frozen=True)
class Fitted:
    forecaster: Forecaster
    answered: Forecaster
    utility: Utility
    frame: pd.DataFrame
    history: pd.DataFrame
    history_before: pd.DataFrame

    def known(self, day: date) -> pd.DataFrame:
        return known_until_gate(self.frame, self.utility, day)

    def forecast(self, day: date) -> pd.DataFrame:
        return self.forecaster.predict(self.known(day), day)


@pytest.fixture(scope="module", params=[*((name, 60) for name in FORECASTERS), ("ensemble", 15), ("prophet", 15)], ids=str)
def fitted(request: pytest.FixtureRequest, small_world: SmallWorld) -> Fitted:
    name, step_minutes = request.param
    utility, frame = small_world("Europe/Berlin", step_minutes, days=280, start=date(2013, 8, 15))
    history = frame.loc[: utility.day_index(LEARNED_UNTIL)[0] - utility.step].copy()
    before = history.copy()
    forecaster = FORECASTERS[name]()
    return Fitted(forecaster, forecaster.fit(history, utility), utility, frame, history, before)


def test_fitting_answers_the_forecaster_itself_and_leaves_the_history_alone(fitted: Fitted):
    assert fitted.answered is fitted.forecaster
    pd.testing.assert_frame_equal(fitted.history, fitted.history_before)


def test_predicting_leaves_what_is_known_alone(fitted: Fitted):
    known = fitted.known(ORDINARY)
    before = known.copy()
    fitted.forecaster.predict(known, ORDINARY)
    pd.testing.assert_frame_equal(known, before)


@pytest.mark.parametrize(("day", "hours"), [(ORDINARY, 24), (HOLIDAY, 24), (SPRING_FORWARD, 23), (FALL_BACK, 25)], ids=str)
def test_a_forecast_covers_every_interval_of_its_day_with_ordered_finite_numbers(fitted: Fitted, day: date, hours: int):
    forecast = fitted.forecast(day)
    pd.testing.assert_index_equal(forecast.index, fitted.utility.day_index(day), check_freq=False)
    assert forecast.index.name == TIMESTAMP
    assert len(forecast) == hours * 3600 / fitted.utility.step.total_seconds()
    assert forecast.columns.tolist() == [FORECAST_MW, *QUANTILE_COLUMNS]
    assert np.isfinite(forecast.to_numpy()).all()
    assert (np.diff(forecast[list(QUANTILE_COLUMNS)].to_numpy(), axis=1) >= 0).all()


def test_a_forecast_is_near_the_truth_on_days_it_has_not_learned_from(fitted: Fitted):
    days = pd.date_range(LEARNED_UNTIL, periods=14)
    forecast = pd.concat([fitted.forecast(day.date()) for day in days])
    assert mape_percent(fitted.frame[DEMAND_MW], forecast) < (12 if fitted.forecaster.name == "seasonal-naive" else 8)


def test_demand_from_the_gate_closure_on_changes_nothing(fitted: Fitted):
    known = fitted.known(ORDINARY)
    spoilt = fitted.frame.loc[known.index].copy()
    not_known = known[DEMAND_MW].isna()
    spoilt.loc[not_known, DEMAND_MW] = np.random.default_rng(3).uniform(-1e6, 1e6, not_known.sum())
    expected = fitted.forecaster.predict(known, ORDINARY)
    pd.testing.assert_frame_equal(fitted.forecaster.predict(spoilt, ORDINARY), expected)


@pytest.mark.parametrize("lost", ["demand for three days", "demand now and then", "temperature for a day", "temperature"])
def test_missing_readings_degrade_a_forecast_without_failing_it(fitted: Fitted, lost: str):
    known = fitted.known(ORDINARY)
    closure = fitted.utility.gate_closure_of(ORDINARY)
    if lost == "demand for three days":
        known.loc[closure - pd.Timedelta(days=3) :, DEMAND_MW] = np.nan
    elif lost == "demand now and then":
        known.loc[known.index[np.random.default_rng(1).random(len(known)) < 0.2], DEMAND_MW] = np.nan
    elif lost == "temperature for a day":
        known.loc[closure : closure + pd.Timedelta(days=1), TEMPERATURE_C] = np.nan
    else:
        known[TEMPERATURE_C] = np.nan
    forecast = fitted.forecaster.predict(known, ORDINARY)
    assert np.isfinite(forecast.to_numpy()).all()
    assert mape_percent(fitted.frame[DEMAND_MW], forecast) < 25


def test_temperature_matters_only_to_a_forecaster_that_needs_weather(fitted: Fitted):
    known = fitted.known(ORDINARY)
    forecast = fitted.forecaster.predict(known, ORDINARY)
    hotter = fitted.forecaster.predict(known.assign(**{TEMPERATURE_C: known[TEMPERATURE_C] - 8}), ORDINARY)
    assert (not forecast.equals(hotter)) == fitted.forecaster.needs_weather


def test_what_is_dumped_and_loaded_forecasts_the_same(fitted: Fitted):
    if not isinstance(fitted.forecaster, Restorable):
        pytest.skip("the baseline needs no file")
    restored = load(dump(fitted.forecaster))
    for day in (ORDINARY, SPRING_FORWARD):
        pd.testing.assert_frame_equal(restored.predict(fitted.known(day), day), fitted.forecast(day))
    assert restored.name == fitted.forecaster.name
    assert restored.seed == fitted.forecaster.seed
    assert restored.utility_ == fitted.utility


@pytest.mark.parametrize("name", FORECASTERS)
def test_the_same_seed_and_history_give_the_same_forecast(name: str, small_world: SmallWorld):
    utility, frame = small_world(days=180)
    day = date(2013, 12, 27)
    known = known_until_gate(frame, utility, day)
    first, second = (FORECASTERS[name]().fit(frame, utility).predict(known, day) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_another_seed_gives_other_trees(small_world: SmallWorld):
    utility, frame = small_world(days=120)
    day = date(2013, 10, 20)
    known = known_until_gate(frame, utility, day)
    forecasts = [
        EnsembleForecaster("lightgbm", ("lightgbm",), seed).fit(frame, utility).predict(known, day) for seed in (1, 2)
    ]
    assert not forecasts[0].equals(forecasts[1])


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("seasonal-naive", baselines.NEEDED_DAYS + 36),
        *((name, ensemble.NEEDED_DAYS + 36) for name in LEARNED),
        ("prophet", 120),
        ("certified", 5 * NEEDED_DAYS_A_MODEL),
    ],
)
def test_too_little_history_is_refused_with_how_much_there_is(name: str, days: int, small_world: SmallWorld):
    utility, frame = small_world(days=180)
    FORECASTERS[name]().fit(frame.loc[: utility.day_index(frame_day(frame, utility, days))[0] - utility.step], utility)
    with pytest.raises(TooLittleHistory) as refusal:
        FORECASTERS[name]().fit(frame.iloc[: 24 * (days - 1)], utility)
    assert 0 < refusal.value.found_days < refusal.value.needed_days
    assert str(refusal.value.needed_days) in str(refusal.value)


def frame_day(frame: pd.DataFrame, utility: Utility, number: int) -> date:
    """The local day `number` days after the frame's first."""
    first = utility.local(pd.DatetimeIndex(frame.index[:1]))[0]
    return (first.tz_localize(None).normalize() + pd.Timedelta(days=number)).date()


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_history_of_demand_that_is_all_missing_is_refused(name: str, small_world: SmallWorld):
    utility, frame = small_world(days=180)
    with pytest.raises(TooLittleHistory):
        FORECASTERS[name]().fit(frame.assign(**{DEMAND_MW: np.nan}), utility)


@pytest.mark.parametrize("name", ["seasonal-naive", *LEARNED, "certified"])
def test_a_history_without_any_temperature_still_gives_a_forecast(name: str, small_world: SmallWorld):
    utility, frame = small_world(days=120)
    blind = frame.assign(**{TEMPERATURE_C: np.nan})
    day = date(2013, 10, 20)
    forecaster = FORECASTERS[name]().fit(blind, utility)
    assert np.isfinite(forecaster.predict(known_until_gate(blind, utility, day), day).to_numpy()).all()
    if isinstance(forecaster, Restorable):
        known = known_until_gate(blind, utility, day)
        pd.testing.assert_frame_equal(load(dump(forecaster)).predict(known, day), forecaster.predict(known, day))


@pytest.mark.parametrize("name", [*LEARNED, "certified"])
@pytest.mark.parametrize("clock", [time(0), time(12), time(23, 45)])
def test_any_gate_closure_works(name: str, clock: time, small_world: SmallWorld):
    utility, frame = small_world(days=120)
    other = dataclasses.replace(utility, gate_closure=clock)
    day = date(2013, 10, 27)
    forecast = FORECASTERS[name]().fit(frame, other).predict(known_until_gate(frame, other, day), day)
    assert len(forecast) == 25
    assert np.isfinite(forecast.to_numpy()).all()


@pytest.mark.parametrize("lead_days", [0, 2, 7])
@pytest.mark.parametrize("name", ["seasonal-naive", *LEARNED, "certified"])
def test_any_lead_works(name: str, lead_days: int, small_world: SmallWorld):
    utility, frame = small_world(days=120)
    other = dataclasses.replace(utility, lead_days=lead_days)
    day = date(2013, 10, 20)
    forecast = FORECASTERS[name]().fit(frame, other).predict(known_until_gate(frame, other, day), day)
    assert mape_percent(frame[DEMAND_MW], forecast) < 15


@pytest.mark.parametrize("step_minutes", [5, 30])
@pytest.mark.parametrize("name", ["seasonal-naive", *LEARNED, "certified"])
def test_other_steps_work(name: str, step_minutes: int, small_world: SmallWorld):
    utility, frame = small_world("Australia/Melbourne", step_minutes, days=100)
    day = date(2013, 10, 6)
    forecast = FORECASTERS[name]().fit(frame, utility).predict(known_until_gate(frame, utility, day), day)
    assert len(forecast) == 23 * 60 / step_minutes
    assert mape_percent(frame[DEMAND_MW], forecast) < 15


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_utility_that_feeds_back_more_than_it_draws_is_forecast(name: str, small_world: SmallWorld):
    utility, frame = small_world(days=180)
    day = date(2013, 11, 5)
    net = frame.assign(**{DEMAND_MW: frame[DEMAND_MW] - frame.loc[utility.day_index(day), DEMAND_MW].mean()})
    forecaster = FORECASTERS[name]()
    forecast = forecaster.fit(net, utility).predict(known_until_gate(net, utility, day), day)
    truth = net.loc[forecast.index, DEMAND_MW]
    assert (truth < 0).any()
    assert (truth > 0).any()
    assert np.isfinite(forecast.to_numpy()).all()
    assert (forecast[FORECAST_MW] - truth).abs().mean() < truth.std() / 2


def test_prophet_works_without_holidays(small_world: SmallWorld):
    utility, frame = small_world(days=130)
    day = date(2013, 11, 1)
    plain = dataclasses.replace(utility, holidays=frozenset())
    forecast = ProphetForecaster().fit(frame, plain).predict(known_until_gate(frame, plain, day), day)
    assert np.isfinite(forecast.to_numpy()).all()


def test_prophet_keeps_quiet(small_world: SmallWorld, capfd: pytest.CaptureFixture[str]):
    utility, frame = small_world(days=130)
    ProphetForecaster().fit(frame, utility)
    assert capfd.readouterr() == ("", "")
