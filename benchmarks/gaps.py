"""What missing inputs cost: `python -m benchmarks.gaps`. July 2013, realised weather, one fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pandas as pd

from benchmarks.yardstick import realised
from data.datasets import load_victoria
from data.schema import DEMAND_MW, TEMPERATURE_C, Utility, days_between
from forecasting.day_grid import known_until_gate
from forecasting.ensemble import EnsembleForecaster
from forecasting.metrics import score

FIRST, LAST = date(2013, 7, 1), date(2013, 7, 31)
Gap = Callable[[pd.DataFrame, Utility, date], None]


def _nothing(_known: pd.DataFrame, _utility: Utility, _day: date) -> None:
    return


def _last_hours(known: pd.DataFrame, utility: Utility, day: date) -> None:
    gate = utility.gate_closure_of(day)
    known.loc[gate - pd.Timedelta(hours=3) : gate, DEMAND_MW] = float("nan")


def _latest_day(known: pd.DataFrame, utility: Utility, day: date) -> None:
    known.loc[utility.day_index(day - timedelta(days=2)), DEMAND_MW] = float("nan")


def _no_forecast_weather(known: pd.DataFrame, utility: Utility, day: date) -> None:
    known.loc[utility.day_index(day), TEMPERATURE_C] = float("nan")


def _no_demand(known: pd.DataFrame, _utility: Utility, _day: date) -> None:
    known[DEMAND_MW] = float("nan")


GAPS: dict[str, Gap] = {
    "nothing": _nothing,
    "demand of the last three hours before the gate closure": _last_hours,
    "demand of the whole day before the gate closure's": _latest_day,
    "temperature of the day that is forecast": _no_forecast_weather,
    "all demand": _no_demand,
}


def main() -> None:
    dataset = load_victoria()
    utility, frame = dataset.utility, realised(dataset)
    fitted = EnsembleForecaster().fit(frame[frame.index < utility.gate_closure_of(FIRST)], utility)
    print("| missing | MAPE % | width of the 80 % interval MW | cover 80 % |\n|---|---|---|---|")
    for name, lay in GAPS.items():
        answers = []
        for day in days_between(FIRST, LAST):
            known = known_until_gate(frame, utility, day)
            lay(known, utility, day)
            answers.append(fitted.predict(known, day))
        found = score(dataset.demand_mw, pd.concat(answers))
        print(
            f"| {name} | {found['mape_percent']:.2f} | {found['width_80_mw']:.0f} | {found['cover_80_percent']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
