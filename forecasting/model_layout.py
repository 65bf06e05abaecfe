"""What a model of a utility is laid out like: which features each member has, in which order, in groups how wide.

Nothing of it is written down twice: a table of an invented day is built as for a forecast, and its columns are read off.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, TEMPERATURE_C, Utility
from forecasting import day_table
from forecasting.day_grid import window_days
from forecasting.day_table import DayTable
from forecasting.departure_member import DepartureMember
from forecasting.kernel_features import DEPARTURES, HALVES, ORDINARY, PLAIN, THIRDS, Block, block_features

A_DAY = date(2013, 6, 12)


@dataclass(frozen=True)
class KernelLayout:
    """groups: of features, in order; blocks: of hours; widths: features of each group, block by block."""

    groups: tuple[str, ...]
    blocks: tuple[Block, ...]
    widths: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(table: DayTable, groups: tuple[str, ...], blocks: tuple[Block, ...]) -> KernelLayout:
        """The layout of a kernel that is fitted on such tables."""
        widths = tuple(
            tuple(values.shape[1] for values in block_features(table, block, groups).values()) for block in blocks
        )
        return KernelLayout(groups, blocks, widths)


@dataclass(frozen=True)
class Layout:
    """slots: times of day; lead_days: of the utility; columns: features of a line, ordinary: those without demand; kernel:
    of the member `kernel`; departure, rest: of the two in the member `departure`.
    """

    slots: int
    lead_days: int
    columns: tuple[str, ...]
    ordinary: tuple[str, ...]
    kernel: KernelLayout
    departure: KernelLayout
    rest: KernelLayout


@lru_cache(maxsize=16)
def layout_of(utility: Utility) -> Layout:
    """How every model of this utility is laid out."""
    first = utility.day_index(A_DAY - timedelta(days=window_days(utility)))[0]
    index = pd.date_range(first, utility.day_index(A_DAY)[-1], freq=utility.step)
    frame = pd.DataFrame(0.0, index=index, columns=[DEMAND_MW, TEMPERATURE_C])
    table = day_table.build(frame, utility, [A_DAY])
    without_demand = table.without_demand()
    return Layout(
        slots=table.slots,
        lead_days=utility.lead_days,
        columns=tuple(table.columns),
        ordinary=tuple(without_demand.columns),
        kernel=KernelLayout.of(table, PLAIN, THIRDS),
        departure=KernelLayout.of(without_demand, ORDINARY, HALVES),
        rest=KernelLayout.of(_with_departures(table), PLAIN + DEPARTURES, HALVES),
    )


def _with_departures(table: DayTable) -> DayTable:
    member = DepartureMember()
    member.seen_ = (0.0, 0.0)
    # Said of every day: no fitted part of the member is asked.
    member.said_ = {day: np.zeros(table.slots) for day in (table.run_up or table).days}
    return member.prepared(table)
