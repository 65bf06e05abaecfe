"""`prophet.json` before Prophet reads it: our own fallback passes, and nothing that makes Prophet do more than predict."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from data.schema import Utility
from forecasting import model_files
from forecasting.errors import ModelFileRefused
from forecasting.model_files import dump
from forecasting.prophet_forecaster import ProphetForecaster
from forecasting.prophet_json import PROPHET_JSON, validate_prophet_json

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
Content = dict[str, Any]
Change = Callable[[Content], object]


@pytest.fixture(scope="module")
def written(small_world: SmallWorld) -> bytes:
    utility, frame = small_world(days=130)
    return dump(ProphetForecaster(seed=3).fit(frame, utility))[PROPHET_JSON]


def changed(content: bytes, change: Change) -> bytes:
    made = json.loads(content)
    change(made)
    return json.dumps(made).encode()


def inside(name: str, change: Change) -> Change:
    """A change of a table, which is JSON within JSON."""

    def of_model(content: Content) -> None:
        table = json.loads(content[name])
        change(table)
        content[name] = json.dumps(table)

    return of_model


def test_the_validator_knows_the_name_that_is_written() -> None:
    assert PROPHET_JSON == model_files.PROPHET_JSON


@pytest.mark.parametrize("days", [130, 450, 900])
@pytest.mark.parametrize("holidays", [True, False])
def test_every_fallback_of_ours_passes(days: int, holidays: bool, small_world: SmallWorld) -> None:
    utility, frame = small_world(days=days)
    utility = utility if holidays else replace(utility, holidays=frozenset())
    validate_prophet_json(dump(ProphetForecaster().fit(frame, utility))[PROPHET_JSON])


def test_a_fallback_passes_whose_history_has_gaps_and_no_demand_at_all_at_times(small_world: SmallWorld) -> None:
    utility, frame = small_world(days=200)
    frame = frame.assign(demand_mw=frame["demand_mw"].mask(frame.index.hour == 3).round())
    validate_prophet_json(dump(ProphetForecaster().fit(frame, utility))[PROPHET_JSON])


REFUSED: list[tuple[str, Change]] = [
    ("country_holidays", lambda c: c.update(country_holidays="AU")),
    ("growth", lambda c: c.update(growth="logistic")),
    ("n_changepoints", lambda c: c.update(n_changepoints=10**9)),
    ("uncertainty_samples", lambda c: c.update(uncertainty_samples=10**9)),
    ("mcmc_samples", lambda c: c.update(mcmc_samples=100)),
    ("changepoints_t", lambda c: c.update(changepoints_t=[0.0] * 1000)),
    ("extra_regressors", lambda c: c.update(extra_regressors=[["a"], {"a": {"predictor_spec": {"growth": "flat"}}}])),
    ("seasonalities", lambda c: c["seasonalities"][1]["weekly"].update(fourier_order=10**9)),
    ("seasonalities", lambda c: c["seasonalities"][1]["weekly"].update(condition_name="a")),
    ("seasonalities", lambda c: c["seasonalities"][0].append("weekly")),
    ("yearly_seasonality", lambda c: c.update(yearly_seasonality=True)),
    ("component_modes", lambda c: c["component_modes"]["additive"].append("trend")),
    ("y_scale", lambda c: c.update(y_scale=0.0)),
    ("y_min", lambda c: c.update(y_min=1.0)),
    ("start", lambda c: c.update(start=0.0)),
    ("t_scale", lambda c: c.update(t_scale=1e-300)),
    ("fit_kwargs", lambda c: c["fit_kwargs"].update(init={"k": 1})),
    ("fit_kwargs.seed", lambda c: c["fit_kwargs"].update(seed="1")),
    ("__prophet_version", lambda c: c.update(__prophet_version="1.5.0; import os")),
    ("__prophet_version", lambda c: c.update(__prophet_version=None)),
    ("stan_backend is unknown", lambda c: c.update(stan_backend="CMDSTANPY")),
    ("growth is missing", lambda c: c.pop("growth")),
    ("params", lambda c: c["params"].update(more=[[1.0]])),
    ("params.beta", lambda c: c["params"]["beta"][0].pop()),
    ("params.beta", lambda c: c["params"].update(beta=[])),
    ("params.trend", lambda c: c["params"]["trend"][0].append(1.0)),
    ("params.k", lambda c: c["params"].update(k=[[None]])),
    ("params.k", lambda c: c["params"].update(k=[[1e300]])),
    ("history", lambda c: c.update(history=None)),
    ("history", lambda c: c.update(history="file:///etc/passwd")),
    ("history", lambda c: c.update(history="https://example.org/history.json")),
    ("history.schema", inside("history", lambda t: t["schema"]["fields"].pop())),
    ("history.schema", inside("history", lambda t: t["schema"]["fields"][1].update(type="any"))),
    ("history.schema", inside("history", lambda t: t["schema"]["fields"][1].update(extDtype="Sparse"))),
    ("history.schema", inside("history", lambda t: t["schema"].update(primaryKey=["ds"]))),
    ("history.schema.pandas_version", inside("history", lambda t: t["schema"].update(pandas_version="0.20.0"))),
    (r"history.data\[3\]", inside("history", lambda t: t["data"][3].pop("y"))),
    (r"history.data\[3\]", inside("history", lambda t: t["data"][3].update(cap=1.0))),
    ("history.y", inside("history", lambda t: t["data"][3].update(y="1"))),
    ("history.y", inside("history", lambda t: t["data"][3].update(y=None))),
    ("history.y", inside("history", lambda t: t["data"][3].update(y=10**400))),
    ("history.ds", inside("history", lambda t: t["data"][3].update(ds="2013-13-01T00:00:00.000"))),
    ("history.ds", inside("history", lambda t: t["data"][3].update(ds="now"))),
    ("history.ds", inside("history", lambda t: t["data"][3].update(ds="0001-01-01T00:00:00.000"))),
    ("history.ds", inside("history", lambda t: t["data"].reverse())),
    ("history.data", inside("history", lambda t: t.update(data=[]))),
    ("history_dates", inside("history_dates", lambda t: t["data"].__setitem__(0, "2013-06-01T00:00:00.000"))),
    ("history_dates.index", inside("history_dates", lambda t: t["index"].__setitem__(0, 5))),
    ("history_dates.name", inside("history_dates", lambda t: t.update(name="y"))),
    ("changepoints.data", inside("changepoints", lambda t: t.update(data=["2013-06-01T00:00:00.000"]))),
    ("holidays.holiday", inside("holidays", lambda t: t["data"][0].update(holiday="carnival"))),
    ("holidays.ds", inside("holidays", lambda t: t["data"][0].update(ds="NaT"))),
    (r"holidays.data\[0\]", inside("holidays", lambda t: t["data"][0].update(upper_window=10**9))),
    ("train_holiday_names", lambda c: c.update(train_holiday_names=None)),
    ("train_component_cols", inside("train_component_cols", lambda t: t["data"][0].update(weekly=0))),
    ("train_component_cols", inside("train_component_cols", lambda t: t["data"].pop())),
]


@pytest.mark.parametrize(("place", "change"), REFUSED)
def test_a_fallback_that_would_do_more_than_predict_is_refused_with_the_place(
    place: str, change: Change, written: bytes
) -> None:
    with pytest.raises(ModelFileRefused, match=place) as refused:
        validate_prophet_json(changed(written, change))
    assert refused.value.part == PROPHET_JSON
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"NaN", b" " * (8 * 2**20 + 1)])
def test_what_is_no_model_at_all_is_refused(content: bytes) -> None:
    with pytest.raises(ModelFileRefused):
        validate_prophet_json(content)
