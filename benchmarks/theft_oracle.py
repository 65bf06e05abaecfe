"""The real model, asked for thousands of what-ifs at once: same features, members, weights and corrections.

The service answers one what-if in some milliseconds, and 20,000 of them for each strategy of a thief are too many. All that
does not hang on the asked temperatures is made once a day (`EnsembleForecaster`), the rest for hundreds of paths together.
`largest_difference` shows that the shortcut answers what the model answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import pandas as pd

from benchmarks.yardstick import realised
from data.datasets import EmbeddedDataset, load_victoria
from data.schema import DEMAND_MW, TEMPERATURE_C, Array, Utility, days_between
from forecasting import day_table
from forecasting.day_grid import DayGrid, known_until_gate
from forecasting.day_table import DayTable
from forecasting.ensemble import Asked, EnsembleForecaster
from forecasting.forecaster import MEDIAN, QUANTILE_COLUMNS
from forecasting.member_says import MemberSays
from pipeline.redteam.model_theft import open_features

# The thief begins on this day; the model was learned from what was known the day before.
BEGINS = date(2013, 12, 1)
ARCHIVE_BEGINS = date(2012, 4, 1)
YEAR = tuple(days_between(BEGINS, date(2014, 11, 30)))
# Of the coming year every twelfth day is kept for the test: nobody may ask for it.
HELD_OUT = YEAR[5::12]
AT_ONCE = 256
MEMBERS = ("kernel", "departure")


@dataclass
class Oracle:
    """The model and what the world knows beside it. temperature_c, demand_mw: by day, shape (48,)."""

    frame: pd.DataFrame
    utility: Utility
    forecaster: EnsembleForecaster
    temperature_c: dict[date, Array]
    demand_mw: dict[date, Array]
    _asked: dict[date, Asked] = field(default_factory=dict)

    @classmethod
    def learned(cls, dataset: EmbeddedDataset | None = None, members: tuple[str, ...] = MEMBERS) -> Oracle:
        """On Victoria, from what was known when the thief begins."""
        dataset = dataset or load_victoria()
        frame, utility = realised(dataset), dataset.utility
        gate = utility.gate_closure_of(BEGINS)
        forecaster = EnsembleForecaster("ensemble", members, seed=1).fit(frame[frame.index < gate], utility)
        grid = DayGrid.of(pd.DatetimeIndex(frame.index), utility)
        temperature = grid.fold(frame[TEMPERATURE_C].to_numpy(dtype=np.float64))
        demand = grid.fold(frame[DEMAND_MW].to_numpy(dtype=np.float64))
        by_day = {day: row for row, day in enumerate(grid.days)}
        return cls(
            frame,
            utility,
            forecaster,
            {day: temperature[row] for day, row in by_day.items()},
            {day: demand[row] for day, row in by_day.items()},
        )

    def says(self, days: list[date], paths_c: Array) -> list[MemberSays]:
        """What the model says of each day under its path; paths_c: shape (questions, 48)."""
        order = np.argsort([day.toordinal() for day in days], kind="stable")
        found: list[MemberSays | None] = [None] * len(days)
        for start in range(0, len(order), AT_ONCE):
            rows = order[start : start + AT_ONCE]
            for row, says in zip(rows, self._batch([days[row] for row in rows], paths_c[rows]), strict=True):
                found[row] = says
        return [says for says in found if says is not None]

    def open_features(self, days: Sequence[date], paths_c: Array) -> tuple[tuple[Array, ...], tuple[tuple[int, ...], ...]]:
        """The published features of questions, as `pipeline.redteam.model_theft.open_features`."""
        order = np.argsort([day.toordinal() for day in days], kind="stable")
        parts = []
        for start in range(0, len(order), AT_ONCE):
            rows = order[start : start + AT_ONCE]
            parts.append(open_features(self._table([days[row] for row in rows], paths_c[rows])))
        back = np.argsort(order, kind="stable")
        blocks = zip(*(features for features, _ in parts), strict=True)
        return tuple(np.concatenate(block)[back] for block in blocks), parts[0][1]

    def _table(self, days: list[date], paths_c: Array) -> DayTable:
        given = np.stack([self.temperature_c[day] for day in days])
        near = self.frame.loc[self.utility.day_index(days[0] - timedelta(days=70))[0] : self.utility.day_index(days[-1])[-1]]
        return day_table.build(near, self.utility, days, paths_c - given).in_units_of(self.forecaster.scale_mw_)

    def _batch(self, days: list[date], paths_c: Array) -> list[MemberSays]:
        model = self.forecaster
        table = self._table(days, paths_c)
        said = np.stack([member.predict(member.prepared(table)) for member in model.members_])
        answers = []
        for row, day in enumerate(days):
            asked = self._day(day)
            members_mw = (said[:, row] + asked.correction) * model.scale_mw_ + asked.level_mw
            centre = asked.weights @ members_mw
            quantiles = centre[:, None] + asked.spread[:, None] * asked.levels * model.scale_mw_
            median = quantiles[:, QUANTILE_COLUMNS.index(MEDIAN)]
            answers.append(MemberSays(quantiles, members_mw, asked.weights, median - centre))
        return answers

    def _day(self, day: date) -> Asked:
        if day not in self._asked:
            self._asked[day] = self.forecaster._asked(known_until_gate(self.frame, self.utility, day), day)
        return self._asked[day]

    def largest_difference(self, days: list[date]) -> float:
        """Largest relative difference to what the model itself says of days under the temperature they had."""
        worst = 0.0
        for day, says in zip(days, self.says(days, np.stack([self.temperature_c[day] for day in days])), strict=True):
            known = known_until_gate(self.frame, self.utility, day)
            whole = self.forecaster.predict(known, day)[list(QUANTILE_COLUMNS)].to_numpy()
            worst = max(worst, float(np.abs(says.quantiles_mw / whole - 1).max()))
        return worst
