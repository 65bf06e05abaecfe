"""skforecast with LightGBM, recursive, its own conformal intervals: `python -m benchmarks.peers.skforecast_peer FOLDER`.

Needs the peers' environment (requirements/peers.txt).
"""

from __future__ import annotations

import pandas as pd
from lightgbm import LGBMRegressor
from skforecast.model_selection import TimeSeriesFold, backtesting_forecaster  # type: ignore[import-not-found]
from skforecast.recursive import ForecasterRecursive  # type: ignore[import-not-found]

from benchmarks.peers.protocol import BOOSTING, CALIBRATION_DAYS, LAGS, LEVELS, main

# From the gate closure at 09:00 to midnight.
GAP = 30


class SkforecastPeer:
    """One ForecasterRecursive; its residuals come from a backtest over the last days before the gate closure."""

    package = "skforecast"
    intervals = f"conformal, residuals by bin out of sample from {CALIBRATION_DAYS} days backtested with the same gap"

    def fit(self, demand_mw: pd.Series, exogenous: pd.DataFrame) -> None:
        self.model_ = ForecasterRecursive(LGBMRegressor(**BOOSTING), lags=LAGS)
        days = TimeSeriesFold(
            steps=48,
            gap=GAP,
            initial_train_size=len(demand_mw) - 48 * (CALIBRATION_DAYS + 1),
            refit=False,
            allow_incomplete_fold=False,
            verbose=False,
        )
        _, backtest = backtesting_forecaster(
            self.model_,
            demand_mw,
            days,
            metric="mean_absolute_error",
            exog=exogenous,
            n_jobs=1,
            show_progress=False,
        )
        self.model_.fit(demand_mw, exog=exogenous)
        self.model_.set_out_sample_residuals(demand_mw.loc[backtest.index], backtest["pred"])

    def predict(self, demand_mw: pd.Series, ahead: pd.DataFrame) -> pd.DataFrame:
        columns: dict[str, pd.Series] = {}
        for level in LEVELS:
            if level < 0.5:
                found = self.model_.predict_interval(
                    len(ahead),
                    last_window=demand_mw,
                    exog=ahead,
                    method="conformal",
                    interval=[level, 1 - level],
                    use_in_sample_residuals=False,
                )
                columns[f"q{round(100 * level)}"] = found["lower_bound"]
                columns[f"q{round(100 - 100 * level)}"] = found["upper_bound"]
        return pd.DataFrame(columns | {"forecast_mw": found["pred"], "q50": found["pred"]})


if __name__ == "__main__":
    main(SkforecastPeer())
