"""What certified mode's settings were chosen by: `python -m benchmarks.certified_settings [--only NAME]`.

In 2013 a model of 25 learns from two or three weeks, a year later from twice as many. So each setting is measured with 25
models and with 13, whose weeks are as many as those of 25 models will be.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType
from unittest.mock import patch

from benchmarks.yardstick import evaluate
from data.datasets import EmbeddedDataset, load_victoria
from forecasting import certified, certified_blocks, certified_departures, certified_features, certified_model
from forecasting.certified import MODELS, CertifiedForecaster
from forecasting.certified_features import FEATURES, KNOTS_C

HALF_AS_MANY = 13
BENT = 4
VALUES: dict[tuple[ModuleType, str], tuple[float, ...]] = {
    (certified_blocks, "TURN"): (0.0, 0.382, 0.618),
    (certified_features, "YEAR_END"): (0.0, 0.2, 0.4, 0.6),
    (certified_model, "PENALTY"): (0.0013, 0.004, 0.012),
    (certified_model, "CALENDAR_PENALTY"): (0.00004, 0.0004, 0.004),
    (certified_model, "LEANING_HOURS"): (0.1, 0.4, 0.8),
    (certified_model, "SHARED"): (0.5, 2.5, 10.0),
    (certified_model, "OF_THE_MEDIAN"): (0.4, 0.55, 0.7, 1.0),
    (certified_departures, "RECENT_DAYS"): (7, 14, 21),
    (certified_departures, "SLOW"): (0.2, 0.6, 1.8),
    (certified_departures, "SLOW_DAYS"): (20.0, 60.0, 180.0),
    (certified_departures, "SLOW_WHOLE_DAY"): (0.03, 0.1, 0.4),
    (certified_departures, "KIND"): (0.0, 0.075, 0.3),
    (certified_departures, "FAST"): (0.02, 0.08, 0.3),
    (certified_departures, "FAST_HOURS"): (10.0, 30.0, 90.0),
    (certified_departures, "NOISE"): (0.1, 0.3, 0.9),
    (certified_departures, "ALIKE_HOURS"): (0.25, 0.5, 1.0, 2.0),
}
KNOTS: tuple[tuple[float, ...], ...] = ((18.0,), (14.0, 22.0), (12.0, 18.0, 24.0, 30.0), KNOTS_C)


@contextmanager
def setting(*values: tuple[str, object]) -> Iterator[None]:
    """Constants set to something else, wherever they are read by that name."""
    readers = (certified, certified_blocks, certified_features, certified_departures, certified_model)
    certified_departures._weights.cache_clear()
    with ExitStack() as stack:
        for name, value in values:
            for module in readers:
                if hasattr(module, name):
                    stack.enter_context(patch.object(module, name, value))
        yield
    certified_departures._weights.cache_clear()


def measured(dataset: EmbeddedDataset, year: int) -> str:
    """Scores with 25 models and with 13, as cells of a row."""
    cells = []
    for models in (MODELS, HALF_AS_MANY):
        found = evaluate(partial(CertifiedForecaster, models), dataset, year, ("A",))["A"]
        cells += [f"{found['mape_percent']:.2f}", f"{found['pinball_mw']:.1f}", f"{found['cover_80_percent']:.0f}"]
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--year", type=int, default=2013)
    parser.add_argument("--only", choices=[name for _, name in VALUES])
    given = parser.parse_args()
    year = given.year
    dataset = load_victoria()
    print(f"| setting, {year} | MAPE % | pinball MW | cover 80 % | MAPE %, 13 models | pinball MW | cover 80 % |")
    print("|---|---|---|---|---|---|---|")
    for (home, name), values in VALUES.items():
        for value in values if given.only in (None, name) else ():
            used = " *" if getattr(home, name) == value else ""
            with setting((name, value)):
                print(f"| {name} {value:g}{used} | {measured(dataset, year)} |", flush=True)
    for knots in KNOTS if given.only is None else ():
        used = " *" if knots == KNOTS_C else ""
        features = FEATURES + BENT * (len(knots) - len(KNOTS_C))
        with setting(("KNOTS_C", knots), ("FEATURES", features)):
            print(f"| KNOTS_C {knots}{used} | {measured(dataset, year)} |", flush=True)


if __name__ == "__main__":
    main()
