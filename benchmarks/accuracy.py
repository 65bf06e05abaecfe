"""Every forecaster on the yardstick (benchmarks/yardstick.py): `python -m benchmarks.accuracy [--year 2014] [--only NAME]`.

Without a name, all but the trees by quantile, which take ten minutes. Each runs in a process of its own, on one thread. CPU
seconds and milliseconds; settings were chosen on 2013 only.
"""

from __future__ import annotations

import argparse
from functools import partial

from benchmarks.yardstick import KINDS, Maker, alone, evaluate
from data.datasets import load_victoria
from forecasting.baselines import SeasonalNaive
from forecasting.certified import CertifiedForecaster
from forecasting.ensemble import MEMBERS, EnsembleForecaster
from forecasting.prophet_forecaster import ProphetForecaster
from forecasting.quantile_trees import QUANTILE_TREES, QuantileTreesForecaster

MAKERS: dict[str, Maker] = {
    "seasonal naive": SeasonalNaive,
    "Prophet, no weather": ProphetForecaster,
    **{f"{name} alone": partial(EnsembleForecaster, name, (name,)) for name in MEMBERS},
    "certified": CertifiedForecaster,
    QUANTILE_TREES: QuantileTreesForecaster,
    "ensemble": EnsembleForecaster,
}
HEADER = """\
| forecaster | weather | MAPE % | pinball MW | cover 80 % | refit s | day ms | year CPU s | peak MB |
|---|---|---|---|---|---|---|---|---|"""


def measured(name: str, year: int) -> dict[str, dict[str, float]]:
    """One forecaster's scores by weather."""
    return evaluate(MAKERS[name], load_victoria(), year)


def table_row(name: str, weather: str, found: dict[str, float]) -> str:
    """One Markdown row under `HEADER`."""
    accuracy = f"{found['mape_percent']:.2f} | {found['pinball_mw']:.1f} | {found['cover_80_percent']:.1f}"
    cost = f"{found['refit_s']:.2f} | {found['day_ms']:.1f} | {found['total_s']:.0f} | {found['peak_mb']:.0f}"
    return f"| {name} | {weather} | {accuracy} | {cost} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--year", type=int, default=2014)
    parser.add_argument("--only", choices=tuple(MAKERS))
    given = parser.parse_args()
    year = given.year
    print(f"Victoria {year}, day ahead, refitted monthly; CPU time of one thread\n\n{HEADER}")
    covers = []
    for name in [given.only] if given.only else [name for name in MAKERS if name != QUANTILE_TREES]:
        for weather, found in alone(measured, name, year).items():
            print(table_row(name, weather, found), flush=True)
            covers.append(f"| {name} | {weather} | {' | '.join(f'{found[kind]:.1f}' for kind in KINDS)} |")
    print(f"\nCover of the 80 % interval by kind of day [%]\n\n| forecaster | weather | {' | '.join(KINDS)} |")
    print("\n".join(["|---" * (2 + len(KINDS)) + "|", *covers]))


if __name__ == "__main__":
    main()
