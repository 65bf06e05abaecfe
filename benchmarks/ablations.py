"""What each part of the forecaster buys: `python -m benchmarks.ablations [--year 2013] [--only without-kernel]`.

Each row leaves one part out of the ensemble and is otherwise the yardstick (benchmarks/yardstick.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd

from benchmarks.yardstick import WEATHERS, alone, evaluate
from data.datasets import EmbeddedDataset, load_victoria
from data.schema import Array, Utility
from forecasting import day_table, departures, ensemble, kernel_learning, recent, spread
from forecasting.day_table import DayTable
from forecasting.departure_member import DepartureMember
from forecasting.ensemble import CORE, MEMBERS, EnsembleForecaster
from forecasting.weather_correction import WeatherCorrection
from forecasting.weather_error import WeatherError

ALL = tuple(MEMBERS)
HEADER = "| ensemble | weather | MAPE % | pinball MW | cover 80 % |\n|---|---|---|---|---|"


@dataclass(frozen=True)
class Ablation:
    """One part left out.

    members: those that stay; replaced: (where, name, what stands there instead); blanked: what the names of features begin
    with that say nothing; holidays: whether the calendar knows any; weathers: where the part plays a role.
    """

    members: tuple[str, ...] = ALL
    replaced: tuple[tuple[Any, str, Any], ...] = ()
    blanked: tuple[str, ...] = ()
    holidays: bool = True
    weathers: tuple[str, ...] = WEATHERS


def _no_correction(_: WeatherCorrection, days: tuple[date, ...], *given: Any) -> Array:
    """Stands in for WeatherCorrection.of: a forecast temperature is taken at its word."""
    utility: Utility = given[-1]
    return np.zeros((len(days), (utility.lead_days + 1) * utility.steps_per_day))


def _knows_no_morning(*_: Array) -> dict[str, Array]:
    """Stands in for departures._morning."""
    return {}


def _does_not_revert(*_: Any) -> dict[str, Array]:
    """Stands in for DepartureMember._reverting."""
    return {}


def _keeps_all(missed: Array, _: list[int]) -> list[int]:
    """Stands in for recent.worth_having."""
    return list(range(len(missed)))


def _knows_no_error(history: pd.DataFrame, utility: object) -> None:
    """Stands in for WeatherError.learn: no archive of forecasts."""


ABLATIONS = {
    "full": Ablation(),
    **{f"without-{name}": Ablation(members=tuple(other for other in ALL if other != name)) for name in CORE},
    "without-departure-level": Ablation(replaced=((DepartureMember, "_reverting", _does_not_revert),)),
    "with-every-member": Ablation(replaced=((ensemble, "worth_having", _keeps_all),)),
    "lengths-not-learned": Ablation(replaced=((kernel_learning, "STEPS", 0),)),
    "without-recent-correction": Ablation(replaced=((recent, "LARGEST_SHARE", 0.0),)),
    "without-recent-weights": Ablation(replaced=((recent, "TILT", 0.0),)),
    "without-recent-scores": Ablation(replaced=((spread, "TRAINING_WORTH_DAYS", 1e12),)),
    "without-weather-as-served": Ablation(replaced=((WeatherError, "learn", _knows_no_error),), weathers=("B",)),
    "without-weather-correction": Ablation(replaced=((WeatherCorrection, "of", _no_correction),), weathers=("B",)),
    "without-smoothed-temperatures": Ablation(blanked=("temperature_memory_",)),
    "without-morning-demand": Ablation(
        blanked=("morning_", "last_known_"), replaced=((departures, "_morning", _knows_no_morning),)
    ),
    "without-holidays": Ablation(holidays=False),
}


def measured(name: str, year: int) -> dict[str, dict[str, float]]:
    """Scores by weather of the ensemble without that part."""
    ablation = ABLATIONS[name]
    dataset = load_victoria()
    with ExitStack() as stack:
        for where, what, instead in ablation.replaced:
            stack.enter_context(patch.object(where, what, instead))
        stack.enter_context(patch.object(day_table, "build", _blanking(day_table.build, ablation.blanked)))
        return evaluate(
            lambda: EnsembleForecaster(members=ablation.members),
            dataset if ablation.holidays else _without_holidays(dataset),
            year,
            ablation.weathers,
        )


def _blanking(build: Callable[..., DayTable], prefixes: tuple[str, ...]) -> Callable[..., DayTable]:
    """`day_table.build` with the features that begin with one of `prefixes` held at zero."""

    def blanked(*given: Any) -> DayTable:
        table = build(*given)
        run_up = None if table.run_up is None else replace(table.run_up, columns=silenced(table.run_up.columns))
        return replace(table, columns=silenced(table.columns), run_up=run_up)

    def silenced(columns: dict[str, Array]) -> dict[str, Array]:
        return columns | {name: np.zeros_like(values) for name, values in columns.items() if name.startswith(prefixes)}

    return blanked


def _without_holidays(dataset: EmbeddedDataset) -> EmbeddedDataset:
    return replace(dataset, utility=replace(dataset.utility, holidays=frozenset()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--year", type=int, default=2013)
    parser.add_argument("--only", choices=tuple(ABLATIONS))
    given = parser.parse_args()
    print(f"Victoria {given.year}, day ahead, refitted monthly\n\n{HEADER}")
    for name in [given.only] if given.only else ABLATIONS:
        for weather, found in alone(measured, name, given.year).items():
            accuracy = f"{found['mape_percent']:.2f} | {found['pinball_mw']:.1f} | {found['cover_80_percent']:.1f}"
            print(f"| {name} | {weather} | {accuracy} |", flush=True)


if __name__ == "__main__":
    main()
