"""Demand in two steps: what weather and calendar alone make of it, then how far from that it is going to be.

ordinary   the mean of a line and a kernel that know nothing of recent demand
departure  demand − ordinary, known for the days before; a kernel forecasts tomorrow's from theirs
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np

from data.schema import Array
from forecasting.day_table import DayTable, Driver
from forecasting.departures import LEVEL, days_read, departure_columns
from forecasting.kernel_features import DEPARTURES, HALVES, ORDINARY, PLAIN
from forecasting.kernel_member import KernelMember
from forecasting.linear_member import LinearMember
from forecasting.member import Explained, Honest, Lesson

# Enough for the run-up of the first days after training, and of those before that a forecast is held against.
KEPT_DAYS = 40


class DepartureMember:
    """Learned: line_ and kernel_, whose mean is ordinary demand; rest_, which forecasts the departure; usual_, mean demand;
    seen_, the lowest and highest of a week's departures; said_, what ordinary demand was said to be on the last training
    days by fits that had not seen them, day → shape (slots,).
    """

    def fit(self, lesson: Lesson) -> Honest:
        """See Member."""
        level = lesson.table.level_mw[:, None] / lesson.table.scale_mw
        self.usual_ = float((lesson.target + level).mean())
        weather_and_calendar = replace(
            lesson,
            table=lesson.table.without_demand(),
            served=None if lesson.served is None else lesson.served.without_demand(),
            target=lesson.target + level,
        )
        self.line_, self.kernel_ = LinearMember(), KernelMember(ORDINARY, HALVES)
        by_line, by_kernel = self.line_.fit(weather_and_calendar), self.kernel_.fit(weather_and_calendar)
        seen, served = (by_line.seen + by_kernel.seen) / 2, (by_line.served + by_kernel.served) / 2
        said = dict(zip(lesson.table.days, seen, strict=True))
        columns = self._departures(lesson.table, said)
        self.seen_ = (float(columns[LEVEL].min()), float(columns[LEVEL].max()))
        columns |= self._reverting(columns)
        self.said_ = {day: said[day] for day in lesson.table.days[-KEPT_DAYS:]}
        self.rest_ = KernelMember(PLAIN + DEPARTURES, HALVES)
        expected = columns[LEVEL] - level
        rest = self.rest_.fit(
            replace(
                lesson,
                table=lesson.table.with_recent_demand(columns),
                served=None if lesson.served is None else lesson.served.with_recent_demand(columns),
                target=lesson.target - seen - expected,
            )
        )
        return Honest(seen + expected + rest.seen, served + expected + rest.served)

    def prepared(self, table: DayTable) -> DayTable:
        """See Member: how far the days before departed from ordinary demand."""
        columns = self._departures(table, self.said_)
        return table.with_recent_demand(columns | self._reverting(columns))

    def predict(self, table: DayTable) -> Array:
        """See Member."""
        expected = table.columns[LEVEL] - self._level(table)
        return self._ordinary(table) + expected + self.rest_.predict(table)

    def explain(self, table: DayTable) -> Explained:
        """See Member: ordinary demand's drivers, those of the departure, and last week's departure as recent demand."""
        expected = table.columns[LEVEL] - (self._level(table) - self.usual_)
        line, kernel, rest = (member.explain(table) for member in (self.line_, self.kernel_, self.rest_))
        drivers = {driver: (line.drivers[driver] + kernel.drivers[driver]) / 2 + rest.drivers[driver] for driver in Driver}
        drivers[Driver.RECENT_DEMAND] = drivers[Driver.RECENT_DEMAND] + expected
        return Explained((line.base + kernel.base) / 2 - self.usual_ + rest.base, drivers)

    def _reverting(self, columns: dict[str, Array]) -> dict[str, Array]:
        """Last week's departure as a feature, for departures fade; not beyond those of training: a new level stays."""
        return {"departure_day_week": np.clip(columns[LEVEL], *self.seen_)}

    def _ordinary(self, table: DayTable) -> Array:
        """Demand by weather and calendar alone [relative, not against the level], shape (days, slots)."""
        ordinary: Array = (self.line_.predict(table) + self.kernel_.predict(table)) / 2
        return ordinary

    def _level(self, table: DayTable) -> Array:
        """The level of each day; the usual one where it is not known, shape (days, 1)."""
        level = table.level_mw[:, None] / table.scale_mw
        return np.where(np.isfinite(level), level, self.usual_)

    def _departures(self, table: DayTable, said: dict[date, Array]) -> dict[str, Array]:
        """See departures.departure_columns; said: ordinary demand of the days whose honest forecast is at hand."""
        run_up = table.run_up
        if run_up is None:
            raise ValueError("a run-up has no departures of its own")
        begin = (table.days[0] - run_up.days[0]).days - days_read(table.lead_days)
        run_up = run_up.at(np.arange(begin, len(run_up.days)))
        ordinary = np.empty_like(run_up.drawn_mw)
        asked = np.array([row for row, day in enumerate(run_up.days) if day not in said], dtype=np.int64)
        if len(asked):
            ordinary[asked] = self._ordinary(run_up.at(asked))
        for row, day in enumerate(run_up.days):
            if day in said:
                ordinary[row] = said[day]
        rows = np.array([(day - run_up.days[0]).days for day in table.days], dtype=np.int64)
        before_gate = run_up.before_gate_mw / table.scale_mw
        return departure_columns(
            run_up.drawn_mw / table.scale_mw - ordinary,
            before_gate - ordinary[:, : before_gate.shape[1]],
            rows,
            table.lead_days,
        )
