"""How settings were chosen: `python -m benchmarks.settings [--year 2013]`, each measured on a member alone or on the core.

The settings in forecasting/ were chosen by this table on 2013; 2014 has no part in it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any
from unittest.mock import patch

from benchmarks.yardstick import alone, evaluate
from data.datasets import load_victoria
from forecasting import (
    departure_member,
    ensemble,
    kernel_learning,
    lightgbm_member,
    linear_member,
    recent,
    weather_correction,
)
from forecasting.ensemble import CORE, MEMBERS, EnsembleForecaster
from forecasting.kernel_features import HALVES, PLAIN, THIRDS, Block
from forecasting.kernel_member import KernelMember

WHOLE_DAY = (Block(0, 24, 24),)


@dataclass(frozen=True)
class Setting:
    """A constant set to something. members: that are measured with it; where: the module that reads it by this name."""

    members: tuple[str, ...]
    where: ModuleType
    name: str
    value: Any
    weather: str = "A"


def _kernel_over(blocks: tuple[Block, ...]) -> Setting:
    members = {**MEMBERS, "kernel": partial(KernelMember, PLAIN, blocks)}
    return Setting(("kernel",), ensemble, "MEMBERS", members)


SETTINGS = {
    **{f"linear: penalty {value:g}": Setting(("linear",), linear_member, "PENALTY", value) for value in (0.3, 1.0, 3.0)},
    **{
        f"kernel: lengths learned from {days} days": Setting(("kernel",), kernel_learning, "LEARNED_DAYS", days)
        for days in (200, 400)
    },
    **{f"kernel: {steps} steps": Setting(("kernel",), kernel_learning, "STEPS", steps) for steps in (0, 10, 25)},
    "kernel: whole day": _kernel_over(WHOLE_DAY),
    "kernel: halves of the day": _kernel_over(HALVES),
    "kernel: thirds of the day": _kernel_over(THIRDS),
    "departure: halves of the day": Setting(("departure",), departure_member, "HALVES", HALVES),
    "departure: thirds of the day": Setting(("departure",), departure_member, "HALVES", THIRDS),
    **{f"lightgbm: {trees} trees": Setting(("lightgbm",), lightgbm_member, "TREES", trees) for trees in (60, 150)},
    **{
        f"weather correction: penalty {value:g}": Setting(CORE, weather_correction, "PENALTY", value, "B")
        for value in (10.0, 100.0, 1000.0)
    },
    **{f"recent correction: fading {value:g}": Setting(CORE, recent, "FADING", value) for value in (0.7, 0.5, 0.35)},
    **{f"recent correction: smoothed over {hours} h": Setting(CORE, recent, "SMOOTHED_HOURS", hours) for hours in (4, 1, 0)},
    **{f"weather correction: from {number} replays": Setting(CORE, ensemble, "REPLAYS", number, "B") for number in (1, 4)},
}


def measured(name: str, year: int) -> dict[str, float]:
    """Scores of the members with that setting."""
    setting = SETTINGS[name]
    with patch.object(setting.where, setting.name, setting.value):
        found = evaluate(lambda: EnsembleForecaster(members=setting.members), load_victoria(), year, (setting.weather,))
    return found[setting.weather]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--year", type=int, default=2013)
    year = parser.parse_args().year
    print(f"| setting, {year} | weather | MAPE % | pinball MW | refit s | day ms |\n|---|---|---|---|---|---|")
    for name, setting in SETTINGS.items():
        found = alone(measured, name, year)
        cost = f"{found['refit_s']:.2f} | {found['day_ms']:.1f}"
        print(
            f"| {name} | {setting.weather} | {found['mape_percent']:.2f} | {found['pinball_mw']:.1f} | {cost} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
