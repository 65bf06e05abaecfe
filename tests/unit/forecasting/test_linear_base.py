"""A line for each time of day: against scikit-learn, and where trees would fail."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from forecasting.linear_base import HINGED, KNOT_LEVELS, PENALTY, LinearBase

ROWS, SLOTS = 600, 3


def table(seed: int = 1, rows: int = ROWS) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    columns = {name: random.uniform(0, 30, rows) for name in HINGED}
    return pd.DataFrame(
        {**columns, "morning_mw": random.normal(0, 2, rows), "slot": np.arange(rows) % SLOTS, "weekday": 1.0}
    )


def design(features: pd.DataFrame, learned: pd.DataFrame) -> np.ndarray:
    plain = features.drop(columns=["slot", "weekday"])
    bends = [
        np.maximum(0, features[name] - learned[name].quantile(level)).to_numpy() for name in HINGED for level in KNOT_LEVELS
    ]
    return np.column_stack([plain.to_numpy(), *bends])


def test_each_slot_is_scikit_learns_ridge_on_standardised_columns():
    features, asked = table(), table(seed=2)
    target = np.random.default_rng(3).normal(0, 1, ROWS) + features["temperature"].to_numpy() * (1 + features["slot"])
    found = LinearBase.fit(features, target.to_numpy(), SLOTS).predict(asked)
    matrix = design(features, features)
    centre, spread = matrix.mean(axis=0), matrix.std(axis=0)
    for slot in range(SLOTS):
        rows, asked_rows = features["slot"] == slot, asked["slot"] == slot
        oracle = Ridge(alpha=PENALTY).fit((matrix[rows] - centre) / spread, target[rows])
        # Ridge centres each slot by itself, ours all slots together: the penalty is on the same coefficients.
        expected = oracle.predict((design(asked, features)[asked_rows] - centre) / spread)
        assert found[asked_rows] == pytest.approx(expected, rel=1e-6)


def test_a_line_answers_hotter_than_it_has_seen():
    features = table()
    bend = features["temperature"].quantile(KNOT_LEVELS[1])
    target = np.maximum(0, features["temperature"].to_numpy() - bend) * 10
    model = LinearBase.fit(features, target, SLOTS)
    cold, hottest = (
        model.predict(features.head(SLOTS).assign(**dict.fromkeys(HINGED, 15.0)).assign(temperature=value))
        for value in (5.0, 40.0)
    )
    assert (hottest > target.max() + 80).all()
    assert hottest == pytest.approx(np.full(SLOTS, 10 * (40 - bend)), rel=0.1)
    assert cold == pytest.approx(np.zeros(SLOTS), abs=5)


def test_a_missing_feature_counts_as_its_mean():
    features = table()
    model = LinearBase.fit(features, features["morning_mw"].to_numpy() * 2, SLOTS)
    asked = features.head(SLOTS)
    unknown = model.predict(asked.assign(morning_mw=np.nan))
    mean = model.predict(asked.assign(morning_mw=features["morning_mw"].mean()))
    assert unknown == pytest.approx(mean)


def test_rows_without_a_target_and_columns_without_a_value_are_left_out():
    features = table().assign(temperature=np.nan, constant=5.0)
    target = features["morning_mw"].to_numpy().copy()
    target[::7] = np.nan
    target[2::SLOTS] = np.nan  # nothing at all for the last slot
    model = LinearBase.fit(features, target, SLOTS)
    assert np.isfinite(model.coefficients).all()
    assert np.isfinite(model.centre).all()
    learned = features["slot"] < 2
    assert np.abs(model.predict(features) - features["morning_mw"])[learned].max() < 0.3
    assert (model.predict(features)[~learned] == 0).all()


def test_a_slot_that_was_never_seen_answers_zero():
    features = table()
    seen = features[features["slot"] != 1]
    model = LinearBase.fit(seen, np.full(len(seen), 4.0), SLOTS)
    found = model.predict(features.head(3))
    assert found.tolist() == pytest.approx([4.0, 0.0, 4.0])


def test_the_features_are_not_changed():
    features = table()
    before = features.copy()
    LinearBase.fit(features, np.ones(ROWS), SLOTS).predict(features)
    pd.testing.assert_frame_equal(features, before)
