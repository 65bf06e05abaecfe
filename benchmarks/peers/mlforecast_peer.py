"""mlforecast with LightGBM, recursive, its own conformal intervals: `python -m benchmarks.peers.mlforecast_peer FOLDER`.

Needs the peers' environment (requirements/peers.txt).
"""

from __future__ import annotations

import pandas as pd
from lightgbm import LGBMRegressor
from mlforecast import MLForecast  # type: ignore[import-not-found]
from mlforecast.utils import PredictionIntervals  # type: ignore[import-not-found]

from benchmarks.peers.protocol import BOOSTING, CALIBRATION_DAYS, LAGS, LEVELS, main

# Windows of two whole days: each begins at the hour of the gate closure, so a step ahead is always the same half hour.
WINDOW_DAYS = 2
SERIES = "victoria"
MODEL = "lightgbm"
HALF_HOURS = "datetime64[30m]"


class MLForecastPeer:
    """One MLForecast, updated with each day's readings between refits; its clock counts half hours (a fifth faster)."""

    package = "mlforecast"
    intervals = (
        f"PredictionIntervals(n_windows={CALIBRATION_DAYS // WINDOW_DAYS}, h={48 * WINDOW_DAYS}, conformal_distribution)"
    )

    def fit(self, demand_mw: pd.Series, exogenous: pd.DataFrame) -> None:
        self.model_ = MLForecast(models={MODEL: LGBMRegressor(**BOOSTING)}, freq=1, lags=LAGS, num_threads=1)
        self.model_.fit(
            _long(exogenous.assign(y=demand_mw)),
            static_features=[],
            prediction_intervals=PredictionIntervals(
                n_windows=CALIBRATION_DAYS // WINDOW_DAYS, h=48 * WINDOW_DAYS, method="conformal_distribution"
            ),
            as_numpy=True,
        )
        self.known_to_ = demand_mw.index[-1]

    def predict(self, demand_mw: pd.Series, ahead: pd.DataFrame) -> pd.DataFrame:
        news = demand_mw[demand_mw.index > self.known_to_]
        if len(news):
            self.model_.update(_long(news.to_frame("y")))
            self.known_to_ = news.index[-1]
        spans = [round(100 * (1 - 2 * level)) for level in LEVELS if level < 0.5]
        found = self.model_.predict(len(ahead), X_df=_long(ahead), level=spans).set_index(ahead.index)
        columns = {"forecast_mw": found[MODEL], "q50": found[MODEL]}
        for span in spans:
            columns[f"q{50 - span // 2}"] = found[f"{MODEL}-lo-{span}"]
            columns[f"q{50 + span // 2}"] = found[f"{MODEL}-hi-{span}"]
        return pd.DataFrame(columns)


def _long(frame: pd.DataFrame) -> pd.DataFrame:
    """The library's long format, its clock in half hours since 1970."""
    half_hours = frame.index.to_numpy().astype(HALF_HOURS).astype("int64")
    return frame.assign(unique_id=SERIES, ds=half_hours).reset_index(drop=True)


if __name__ == "__main__":
    main(MLForecastPeer())
