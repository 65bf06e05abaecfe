"""How the cost of a refit grows with history: `python -m benchmarks.growth`.

Ten years are Victoria's three laid end to end in whole weeks. Half hours; CPU time of one thread, each fit in its own
process. The ensemble is fitted as it is, with its window of training days, and with the window off; its members with it off.
"""

from __future__ import annotations

import time
from unittest.mock import patch

import numpy as np
import pandas as pd

from benchmarks.yardstick import alone, peak_mb, realised
from data.datasets import load_victoria
from data.schema import TIMESTAMP
from forecasting import ensemble
from forecasting.ensemble import MEMBERS, EnsembleForecaster

YEARS = (1, 3, 10)
SUBJECTS = {"ensemble": tuple(MEMBERS), "ensemble, no window": tuple(MEMBERS)}
SUBJECTS |= {f"{name} alone, no window": (name,) for name in MEMBERS}
NO_WINDOW = pd.Timedelta(days=100 * 365)
# Whole weeks, so that every weekday stays one.
TILE_DAYS = 156 * 7


def long_history(years: int) -> pd.DataFrame:
    """`years` of half hours; columns `demand_mw`, `temperature_c`."""
    dataset = load_victoria()
    per_day = dataset.utility.steps_per_day
    tile = realised(dataset).iloc[: TILE_DAYS * per_day]
    wanted = years * 365 * per_day
    index = pd.date_range(tile.index[0], periods=wanted, freq=dataset.utility.step, name=TIMESTAMP)
    rows = np.arange(wanted) % len(tile)
    return pd.DataFrame(tile.to_numpy()[rows], index=index, columns=tile.columns)


def measured(name: str, years: int) -> tuple[float, float]:
    """CPU seconds of one fit, and peak memory [MB]."""
    history, utility = long_history(years), load_victoria().utility
    window = NO_WINDOW if name.endswith("no window") else ensemble.LONGEST_HISTORY
    with patch.object(ensemble, "LONGEST_HISTORY", window):
        began = time.process_time()
        EnsembleForecaster(members=SUBJECTS[name]).fit(history, utility)
        return time.process_time() - began, peak_mb()


def main() -> None:
    print("| refit | years | CPU s | times 1 year | peak MB |\n|---|---|---|---|---|")
    for name in SUBJECTS:
        first = 0.0
        for years in YEARS:
            seconds, memory_mb = alone(measured, name, years)
            first = first or seconds
            print(f"| {name} | {years} | {seconds:.2f} | {seconds / first:.1f} | {memory_mb:.0f} |", flush=True)


if __name__ == "__main__":
    main()
