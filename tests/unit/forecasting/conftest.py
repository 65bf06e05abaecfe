"""A lesson for the members, as the ensemble would give it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from data.schema import Utility
from forecasting import day_table
from forecasting.member import Lesson

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
FOLD_DAYS = 14


@pytest.fixture(scope="session")
def lesson(small_world: SmallWorld) -> Lesson:
    """Twelve weeks of hours in relative units, served with weather that is off by a degree or so; six folds."""
    utility, frame = small_world(days=36 + 84)
    plain = day_table.build(frame, utility)
    days = list(plain.days)
    drawn_mw = day_table.fold_demand(frame, utility, plain.days)
    scale_mw = float(drawn_mw.std())
    disturbance = np.random.default_rng(5).normal(0, 1, (len(days), 2 * plain.slots))
    served = day_table.build(frame, utility, days, disturbance).in_units_of(scale_mw)
    target = (drawn_mw - plain.level_mw[:, None]) / scale_mw
    fold = np.arange(len(days), dtype=np.int64) // FOLD_DAYS
    return Lesson(plain.in_units_of(scale_mw), served, target, fold, seed=3)
