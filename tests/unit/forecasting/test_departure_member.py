"""Ordinary demand and how far from it: what weather explains is gone tomorrow, what it does not lasts."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest

from data.schema import DEMAND_MW, TEMPERATURE_C, Array, Flags, Utility
from forecasting import day_table
from forecasting.day_table import DayTable, Driver
from forecasting.departure_member import KEPT_DAYS, DepartureMember
from forecasting.departures import LEVEL, days_read
from forecasting.kernel_member import KernelMember
from forecasting.member import Honest, Lesson

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
TrainedMember = DepartureMember | KernelMember
# Longer than what a forecast of the last day is asked to follow: the members did not learn from it.
UNSEEN_DAYS = 14
# What demand rises by in a small world for a degree below 16 °C.
HEATING_MW = 12.0


@dataclasses.dataclass(frozen=True)
class LastDay:
    """The last day of the lesson's world, and members that have not learned from the two weeks before it."""

    utility: Utility
    frame: pd.DataFrame
    day: date
    scale_mw: float
    departure: DepartureMember
    kernel: KernelMember

    def in_run_up(self, until_days_ago: int) -> Flags:
        """True in the intervals of the ten days that lead up to it."""
        midnight = self.utility.local(pd.DatetimeIndex(self.frame.index)).tz_localize(None).normalize()
        ago = (pd.Timestamp(self.day) - midnight).days.to_numpy()
        run_up: Flags = (ago >= until_days_ago) & (ago <= 10)
        return run_up

    def raised(self, raised_mw: float) -> pd.DataFrame:
        """The same world, demand higher throughout the run-up and the day."""
        raised = np.where(self.in_run_up(until_days_ago=0), raised_mw, 0.0)
        return self.frame.assign(**{DEMAND_MW: self.frame[DEMAND_MW] + raised})

    def moves_mw(self, member: TrainedMember, other: pd.DataFrame) -> float:
        """How much higher the forecast of the last day is in the other world."""
        return float((self._forecast_mw(member, other) - self._forecast_mw(member, self.frame)).mean())

    def _forecast_mw(self, member: TrainedMember, frame: pd.DataFrame) -> Array:
        table = day_table.build(frame, self.utility, [self.day]).in_units_of(self.scale_mw)
        return member.predict(member.prepared(table))[0] * self.scale_mw + table.level_mw[0]


@pytest.fixture(scope="module")
def last_day(small_world: SmallWorld, lesson: Lesson) -> LastDay:
    utility, frame = small_world(days=36 + 84)
    kept = np.arange(len(lesson.target) - UNSEEN_DAYS)
    table, target, fold = lesson.table.at(kept), lesson.target[kept], lesson.fold[kept]
    earlier = dataclasses.replace(lesson, table=table, served=None, target=target, fold=fold)
    departure, kernel = DepartureMember(), KernelMember()
    departure.fit(earlier)
    kernel.fit(earlier)
    return LastDay(utility, frame, lesson.table.days[-1], table.scale_mw, departure, kernel)


@pytest.fixture(scope="module")
def fitted(lesson: Lesson) -> DepartureMember:
    member = DepartureMember()
    member.fit(lesson)
    return member


def departures(member: DepartureMember, table: DayTable) -> dict[str, Array]:
    found = member.prepared(table).columns
    return {name: values for name, values in found.items() if name.startswith("departure_")}


def whole_departure(member: DepartureMember, table: DayTable, name: str = "slot_latest_day") -> Array:
    found = departures(member, table)
    return found[f"departure_{name}"] + found[LEVEL]


def without_level(table: DayTable, *rows: int) -> DayTable:
    level_mw = table.level_mw.copy()
    level_mw[list(rows)] = np.nan
    return dataclasses.replace(table, level_mw=level_mw)


@pytest.mark.parametrize("raised_mw", [-100.0, 100.0])
def test_a_shift_that_weather_and_calendar_do_not_explain_is_followed(last_day: LastDay, raised_mw: float):
    followed = last_day.moves_mw(last_day.departure, last_day.raised(raised_mw)) / raised_mw
    assert 0.7 < followed < 1.1


@pytest.mark.parametrize("raised_mw", [-400.0, 400.0])
def test_a_level_such_as_never_before_is_expected_to_stay(last_day: LastDay, raised_mw: float):
    less, more = (last_day.moves_mw(last_day.departure, last_day.raised(part * raised_mw)) for part in (0.75, 1.0))
    assert (more - less) / (0.25 * raised_mw) == pytest.approx(1, abs=0.1)


def test_a_level_such_as_in_training_may_fade(lesson: Lesson, fitted: DepartureMember):
    columns = fitted.prepared(lesson.table.at(np.arange(60, 84))).columns
    np.testing.assert_allclose(columns["departure_day_week"], columns[LEVEL])


@pytest.mark.parametrize("warmer_c", [-5.0, 5.0])
def test_what_weather_made_of_demand_is_gone_with_the_weather(last_day: LastDay, warmer_c: float):
    spell = last_day.in_run_up(until_days_ago=2)
    usual_c = last_day.frame[TEMPERATURE_C]
    temperature_c = usual_c + np.where(spell, warmer_c, 0.0)
    heating_mw = HEATING_MW * (np.maximum(0, 16 - temperature_c) - np.maximum(0, 16 - usual_c))
    other = last_day.frame.assign(**{DEMAND_MW: last_day.frame[DEMAND_MW] + heating_mw, TEMPERATURE_C: temperature_c})
    made_mw = heating_mw[spell].mean()
    by_departure, by_kernel = (last_day.moves_mw(member, other) for member in (last_day.departure, last_day.kernel))
    assert abs(made_mw) > 30
    assert abs(by_departure) < 0.2 * abs(made_mw)
    assert abs(by_departure) < 0.5 * abs(by_kernel)


@pytest.mark.parametrize("unknown", [(), (0, 40, 83)])
def test_an_explanation_adds_up_to_the_forecast(lesson: Lesson, fitted: DepartureMember, unknown: tuple[int, ...]):
    prepared = without_level(fitted.prepared(lesson.table), *unknown)
    explained = fitted.explain(prepared)
    total = explained.base + sum(explained.drivers.values(), np.zeros_like(explained.base))
    assert np.isfinite(total).all()
    np.testing.assert_allclose(total, fitted.predict(prepared), atol=1e-9)


def test_the_level_of_recent_departures_counts_as_recent_demand(lesson: Lesson, fitted: DepartureMember):
    prepared = fitted.prepared(lesson.table)
    risen = prepared.with_recent_demand({LEVEL: prepared.columns[LEVEL] + 0.1})
    explained, other = fitted.explain(prepared), fitted.explain(risen)
    np.testing.assert_array_equal(other.base, explained.base)
    for driver in Driver:
        more = other.drivers[driver] - explained.drivers[driver]
        np.testing.assert_allclose(more, 0.1 if driver is Driver.RECENT_DEMAND else 0.0, atol=1e-12)


def test_a_days_own_whim_is_in_no_honest_forecast(lesson: Lesson):
    whim = np.random.default_rng(1).normal(0, 1, (len(lesson.target), 1)) * np.ones(lesson.table.slots)
    member = DepartureMember()
    honest = member.fit(dataclasses.replace(lesson, target=lesson.target + whim))
    shown = member.predict(member.prepared(lesson.table))
    alike = [np.corrcoef(said.ravel(), whim.ravel())[0, 1] for said in (honest.seen, honest.served, shown)]
    assert alike[0] < 0.2
    assert alike[1] < 0.2
    assert alike[2] > 0.4


def test_weather_as_served_is_forecast_worse_and_where_it_is_unknown_as_the_realised_one(lesson: Lesson):
    honest: dict[bool, Honest] = {
        served: DepartureMember().fit(lesson if served else dataclasses.replace(lesson, served=None))
        for served in (False, True)
    }
    np.testing.assert_array_equal(honest[False].served, honest[False].seen)
    missed = {name: np.square(getattr(honest[True], name) - lesson.target).mean() for name in ("seen", "served")}
    assert missed["served"] > missed["seen"]


def test_training_days_departed_from_what_was_said_of_them_unseen(lesson: Lesson, fitted: DepartureMember):
    table = lesson.table
    assert list(fitted.said_) == list(table.days[-KEPT_DAYS:])
    unseen, morning = whole_departure(fitted, table), whole_departure(fitted, table, "day_last_known")
    for row in (-1, 3 - KEPT_DAYS):
        gate = row - table.lead_days
        drawn, before_gate = table.drawn_mw[gate - 1] / table.scale_mw, table.before_gate_mw[gate] / table.scale_mw
        np.testing.assert_allclose(unseen[row], drawn - fitted.said_[table.days[gate - 1]], atol=1e-12)
        last = len(before_gate) - 1
        np.testing.assert_allclose(morning[row], before_gate[last] - fitted.said_[table.days[gate]][last], atol=1e-12)
    forgetful = copy.copy(fitted)
    forgetful.said_ = {}
    seen = whole_departure(forgetful, table)
    assert np.abs(unseen[-30:]).mean() > 1.2 * np.abs(seen[-30:]).mean()


def test_a_day_departs_the_same_whichever_others_are_asked_with_it(lesson: Lesson, fitted: DepartureMember):
    together = departures(fitted, lesson.table)
    for rows in ([0], [60], [83], [5, 44, 70]):
        for name, values in departures(fitted, lesson.table.at(np.array(rows))).items():
            np.testing.assert_allclose(values, together[name][rows], atol=1e-9, err_msg=name)


@pytest.mark.parametrize("row", [20, 83])
def test_what_is_not_known_at_the_gate_closure_is_not_read(lesson: Lesson, fitted: DepartureMember, row: int):
    table, run_up = lesson.table.at(np.array([row])), lesson.table.run_up
    assert run_up is not None
    gate = row + days_read(table.lead_days) - table.lead_days
    drawn_mw, before_gate_mw = run_up.drawn_mw.copy(), run_up.before_gate_mw.copy()
    drawn_mw[gate:], before_gate_mw[gate + 1 :] = 1e9, np.nan
    later = dataclasses.replace(run_up, drawn_mw=drawn_mw, before_gate_mw=before_gate_mw)
    expected = departures(fitted, table)
    for name, values in departures(fitted, dataclasses.replace(table, run_up=later)).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
    drawn_mw[gate - 1] += 100.0
    risen = departures(fitted, dataclasses.replace(table, run_up=later))
    np.testing.assert_allclose(risen[LEVEL] - expected[LEVEL], 100.0 / 7 / table.scale_mw)


def test_where_the_level_is_unknown_weather_and_calendar_still_tell(
    small_world: SmallWorld, lesson: Lesson, fitted: DepartureMember
):
    utility, frame = small_world(days=36 + 84)
    unknown = day_table.build(frame.assign(**{DEMAND_MW: np.nan}), utility).in_units_of(lesson.table.scale_mw)
    assert np.isnan(unknown.level_mw).all()
    said = fitted.predict(fitted.prepared(unknown)) + fitted.usual_
    drawn = lesson.target + lesson.table.level_mw[:, None] / lesson.table.scale_mw
    assert fitted.usual_ == pytest.approx(drawn.mean())
    assert np.sqrt(np.square(said - drawn).mean()) < 0.5 * drawn.std()


def test_an_unknown_level_counts_as_the_usual_one(lesson: Lesson, fitted: DepartureMember):
    prepared = fitted.prepared(lesson.table)
    usual = dataclasses.replace(prepared, level_mw=np.full(len(prepared.days), fitted.usual_ * prepared.scale_mw))
    unknown = without_level(prepared, *range(len(prepared.days)))
    np.testing.assert_allclose(fitted.predict(unknown), fitted.predict(usual), atol=1e-12)


def test_preparing_a_table_leaves_it_as_it_was(lesson: Lesson, fitted: DepartureMember):
    table, run_up = lesson.table, lesson.table.run_up
    assert run_up is not None
    columns, drivers = {name: values.copy() for name, values in table.columns.items()}, dict(table.drivers)
    drawn_mw, before_gate_mw = run_up.drawn_mw.copy(), run_up.before_gate_mw.copy()
    prepared = fitted.prepared(table)
    assert set(prepared.columns) > set(columns)
    assert table.drivers == drivers
    assert table.columns.keys() == columns.keys()
    for name, values in columns.items():
        np.testing.assert_array_equal(table.columns[name], values, err_msg=name)
        assert prepared.columns[name] is table.columns[name]
    np.testing.assert_array_equal(run_up.drawn_mw, drawn_mw)
    np.testing.assert_array_equal(run_up.before_gate_mw, before_gate_mw)


def test_a_run_up_has_no_departures_of_its_own(lesson: Lesson, fitted: DepartureMember):
    assert lesson.table.run_up is not None
    with pytest.raises(ValueError, match="run-up"):
        fitted.prepared(lesson.table.run_up)
