"""Day-ahead accuracy on Victoria, monthly refits, gate closure 09:00: `python -m benchmarks.accuracy [--year 2014]`.

Weather A is realised temperature; weather B adds an error that grows with lead time (0.5 to 2.0 °C over 39 h, AR(1) of 0.97
a half hour, drawn anew for each day). Settings were chosen on 2013 only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd

from data.datasets import EmbeddedDataset, load_victoria
from data.schema import DEMAND_MW, TEMPERATURE_C, days_between
from forecasting.baselines import SeasonalNaive
from forecasting.features import known_until_gate
from forecasting.forecaster import Forecaster
from forecasting.lightgbm_forecaster import LightGBMForecaster
from forecasting.metrics import score
from forecasting.prophet_forecaster import ProphetForecaster

MAKERS: dict[str, Callable[[], Forecaster]] = {
    "seasonal naive": SeasonalNaive,
    "Prophet, no weather": ProphetForecaster,
    "LightGBM on a linear base": LightGBMForecaster,
}


def with_weather_error(known: pd.DataFrame, dataset: EmbeddedDataset, day: date) -> pd.DataFrame:
    """Weather B: realised temperature plus a lead-dependent AR(1) error after the gate closure."""
    after = known.index >= dataset.utility.gate_closure_of(day)
    shocks = np.random.default_rng(20_140_000 + day.timetuple().tm_yday).standard_normal(int(after.sum()))
    path = np.empty(len(shocks))
    path[0] = shocks[0]
    for step in range(1, len(shocks)):
        path[step] = 0.97 * path[step - 1] + np.sqrt(1 - 0.97**2) * shocks[step]
    lead_hours = np.arange(len(shocks)) / 2
    altered = known.copy()
    altered.loc[after, TEMPERATURE_C] += (0.5 + 1.5 * lead_hours / 39) * path
    return altered


def evaluate(make: Callable[[], Forecaster], dataset: EmbeddedDataset, year: int) -> dict[str, dict[str, float]]:
    """Scores in A and B, and seconds a refit and milliseconds a day."""
    utility = dataset.utility
    frame = pd.DataFrame({DEMAND_MW: dataset.demand_mw, TEMPERATURE_C: dataset.temperature_c})
    answers: dict[str, list[pd.DataFrame]] = {"A": [], "B": []}
    fit_seconds: list[float] = []
    day_seconds: list[float] = []
    for month in range(1, 13):
        first = date(year, month, 1)
        last = (date(year + month // 12, month % 12 + 1, 1)) - timedelta(days=1)
        gate = utility.gate_closure_of(first)
        began = time.process_time()
        fitted = make().fit(frame[(frame.index < gate) & (frame.index >= gate - pd.Timedelta(days=913))], utility)
        fit_seconds.append(time.process_time() - began)
        for day in days_between(first, last):
            known = known_until_gate(frame, utility, day)
            began = time.process_time()
            answers["A"].append(fitted.predict(known, day))
            day_seconds.append(time.process_time() - began)
            if fitted.needs_weather:
                answers["B"].append(fitted.predict(with_weather_error(known, dataset, day), day))
    cost = {"refit_s": float(np.mean(fit_seconds)), "day_ms": float(np.mean(day_seconds) * 1000)}
    return {regime: score(dataset.demand_mw, pd.concat(made)) | cost for regime, made in answers.items() if made}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--year", type=int, default=2014)
    year = parser.parse_args().year
    dataset = load_victoria()
    print(f"Victoria {year}, day ahead, refitted monthly; CPU seconds\n")
    print("| forecaster | weather | MAPE % | pinball MW | cover 80 % | refit s | day ms |")
    print("|---|---|---|---|---|---|---|")
    for name, make in MAKERS.items():
        for regime, found in evaluate(make, dataset, year).items():
            print(
                f"| {name} | {regime} | {found['mape_percent']:.2f} | {found['pinball_mw']:.1f} "
                f"| {found['cover_80_percent']:.1f} | {found['refit_s']:.2f} | {found['day_ms']:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
