"""What each part of the forecaster buys, on 2013 with realised weather: `python -m benchmarks.settings`.

The settings in forecasting/lightgbm_forecaster.py were chosen by this table; 2014 has no part in it.
"""

from __future__ import annotations

import time
from datetime import date, timedelta

import lightgbm as lgb
import numpy as np
import pandas as pd

from data.datasets import load_victoria
from data.schema import DEMAND_MW, TEMPERATURE_C, Array, Utility, days_between
from forecasting import features as feature_room
from forecasting.features import LEVEL_MW, known_until_gate
from forecasting.lightgbm_forecaster import BOOSTING, TREES, LightGBMForecaster
from forecasting.linear_base import LinearBase


class _Part:
    """One part alone, enough of a forecaster to be timed and scored."""

    def __init__(self, uses: str) -> None:
        self.uses_ = uses

    def fit(self, history: pd.DataFrame, utility: Utility) -> _Part:
        self.utility_ = utility
        table = feature_room.build(history, self.utility_)
        demand = history[DEMAND_MW].reindex(table.index).to_numpy(dtype=np.float64)
        self.scale_ = float(np.std(demand))
        target = (demand - table[LEVEL_MW].to_numpy()) / self.scale_
        inputs = table.drop(columns=LEVEL_MW)
        if self.uses_ == "ridge":
            self.linear_ = LinearBase.fit(inputs, target, self.utility_.steps_per_day)
        else:
            settings = {**BOOSTING, "seed": 1}
            data = lgb.Dataset(inputs.to_numpy(), target, params=settings)
            self.booster_ = lgb.train(settings, data, num_boost_round=2 * TREES)
        return self

    def centre(self, table: pd.DataFrame) -> Array:
        inputs = table.drop(columns=LEVEL_MW)
        relative = (
            self.linear_.predict(inputs) if self.uses_ == "ridge" else np.asarray(self.booster_.predict(inputs.to_numpy()))
        )
        return np.asarray(relative * self.scale_ + table[LEVEL_MW].to_numpy())


def main() -> None:
    dataset = load_victoria()
    utility = dataset.utility
    frame = pd.DataFrame({DEMAND_MW: dataset.demand_mw, TEMPERATURE_C: dataset.temperature_c})
    print("| part | MAPE % on 2013, realised weather | refit s |\n|---|---|---|")
    for name in ("LightGBM alone", "ridge", "LightGBM on the ridge"):
        errors: list[Array] = []
        seconds: list[float] = []
        for month in range(1, 13):
            first = date(2013, month, 1)
            last = date(2013 + month // 12, month % 12 + 1, 1) - timedelta(days=1)
            gate = utility.gate_closure_of(first)
            history = frame[frame.index < gate]
            began = time.process_time()
            whole = LightGBMForecaster().fit(history, utility) if name == "LightGBM on the ridge" else None
            part = _Part(name).fit(history, utility) if whole is None else None
            seconds.append(time.process_time() - began)
            for day in days_between(first, last):
                table = feature_room.build(known_until_gate(frame, utility, day), utility, [day])
                centre = (
                    part.centre(table) if part is not None else whole.predict_features(table)["forecast_mw"].to_numpy()  # type: ignore[union-attr]
                )
                actual = dataset.demand_mw.loc[table.index].to_numpy()
                errors.append(np.abs(centre - actual) / actual)
        print(f"| {name} | {np.concatenate(errors).mean() * 100:.2f} | {np.mean(seconds):.2f} |", flush=True)


if __name__ == "__main__":
    main()
