"""How settings were chosen, each member alone, realised weather: `python -m benchmarks.settings [--year 2013]`.

The settings in forecasting/ were chosen by this table on 2013; 2014 has no part in it.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

from benchmarks.yardstick import alone, evaluate
from data.datasets import load_victoria
from forecasting import kernel_learning, kernel_member, lightgbm_member, linear_member
from forecasting.ensemble import EnsembleForecaster
from forecasting.kernel_features import Block

THIRDS = (Block(0, 8, 8), Block(8, 16, 8), Block(16, 24, 8))
HALVES = (Block(0, 12, 12), Block(12, 24, 12))
WHOLE_DAY = (Block(0, 24, 24),)


@dataclass(frozen=True)
class Setting:
    """Constants of a member set to something. where: the modules that read the constant by this name."""

    member: str
    where: tuple[ModuleType, ...]
    name: str
    value: Any


def _blocks(layout: tuple[Block, ...]) -> Setting:
    return Setting("kernel", (kernel_learning, kernel_member), "BLOCKS", layout)


SETTINGS = {
    **{f"linear: penalty {value:g}": Setting("linear", (linear_member,), "PENALTY", value) for value in (0.3, 1.0, 3.0)},
    **{
        f"kernel: lengths learned from {days} days": Setting("kernel", (kernel_learning,), "LEARNED_DAYS", days)
        for days in (200, 400)
    },
    **{f"kernel: {steps} steps": Setting("kernel", (kernel_learning,), "STEPS", steps) for steps in (0, 10, 25)},
    "kernel: whole day": _blocks(WHOLE_DAY),
    "kernel: thirds of the day": _blocks(THIRDS),
    "kernel: thirds and halves": _blocks(THIRDS + HALVES),
    **{f"lightgbm: {trees} trees": Setting("lightgbm", (lightgbm_member,), "TREES", trees) for trees in (60, 150)},
}


def measured(name: str, year: int) -> dict[str, float]:
    """Scores in A of the member alone with that setting."""
    setting = SETTINGS[name]
    with ExitStack() as stack:
        for module in setting.where:
            stack.enter_context(patch.object(module, setting.name, setting.value))
        return evaluate(lambda: EnsembleForecaster(members=(setting.member,)), load_victoria(), year, ("A",))["A"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--year", type=int, default=2013)
    year = parser.parse_args().year
    print(f"| member alone, {year}, realised weather | MAPE % | pinball MW | refit s | day ms |\n|---|---|---|---|---|")
    for name in SETTINGS:
        found = alone(measured, name, year)
        cost = f"{found['refit_s']:.2f} | {found['day_ms']:.1f}"
        print(f"| {name} | {found['mape_percent']:.2f} | {found['pinball_mw']:.1f} | {cost} |", flush=True)


if __name__ == "__main__":
    main()
