"""The watch: rows of readings in, one believed temperature out; whole histories and single readings alike.

The way of a row, in this order; nothing later undoes what was decided earlier:

    1  flags of levels 1 and 2; a source that is impossible, frozen or repeating for hours is quarantined in that row
    2  fusion of those trusted at that moment
    3  when a local day has ended, levels 3 and 4; who is quarantined then is not heard from the next row on, and the last
       months are judged anew without him

The first `baseline_days` whole local days are trusted; at their end everything is learned. `advance` takes any number of
rows and gives the same answers as the same rows one by one: what it works out ahead is dropped when standings change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data.errors import DataError
from data.schema import Array, Flags, Integers
from data.trust.alarms import Alarm, first_alarm
from data.trust.calendar import harmonics_of
from data.trust.consensus import SUSPECT_SHARE, fused_of
from data.trust.court import Court, DayRecord
from data.trust.history import Hours, Rows, hours_of
from data.trust.learning import Learned, learn
from data.trust.panel import Judged
from data.trust.readings import CONTEXT_DAYS, Flag, flags_of, isolated, unknown, usable
from data.trust.rules import TrustRules
from data.trust.standing import HEARD, LED_BY_OPERATOR, TrustEvent, TrustState

CHUNK_DAYS = 120
UNLEARNED_SPREAD_C = 2.0
OUT, HALF, FULL = 0, 1, 2


@dataclass(frozen=True)
class Progress:
    """Answers for consecutive rows: fused temperature and uncertainty [°C], sources, flags (rows, names); events, days."""

    index: pd.DatetimeIndex
    temperature_c: Array
    uncertainty_c: Array
    sources: Integers
    flags: Integers
    events: tuple[TrustEvent, ...]
    days: tuple[DayRecord, ...]


@dataclass(frozen=True)
class _Ahead:
    """Worked out for the rows from `start` on while the same sources are heard: readings freed from usual bias, flags with
    the past's before them, and the whole days that end in these rows.
    """

    start: int
    past: int
    corrected: Array
    flags: Integers
    hours: Hours | None
    judged: Judged | None

    @property
    def stop(self) -> int:
        """The first row it says nothing of."""
        return self.start + len(self.corrected)

    def day(self, number: int) -> tuple[Hours, Judged, int] | None:
        """Hours of local day `number`, what is judged, and the day's position in it; None if it is not among them."""
        if self.hours is None or self.judged is None or number < self.hours.clock.day[0]:
            return None
        first, last = np.searchsorted(self.hours.clock.day, [number, number + 1])
        return self.hours.part(int(first), int(last)), self.judged, number - int(self.hours.clock.day[0])


class WeatherWatch:
    """Watches sources `names` in an IANA zone, in rows of `step`; standings change through `advance` and `set_standing`."""

    def __init__(self, names: Sequence[str], timezone: str, step: pd.Timedelta, rules: TrustRules | None = None) -> None:
        self.names, self.timezone, self.step = tuple(names), timezone, step
        self.rules = rules or TrustRules()
        self.standings: list[TrustState] = ["trusted"] * len(names)
        self.learned: Learned | None = None
        if pd.Timedelta(hours=1) % step:
            raise DataError(f"a step of {step}", mend="give a step that divides an hour")
        self._per_hour = int(pd.Timedelta(hours=1) / step)
        self._usual = unknown(len(names), self.rules, self._per_hour)
        self._past = _Past.empty(len(names))
        self._today: list[Rows] = []  # usable rows of the local day that has not ended
        self._spiked_today: list[Flags] = []
        self._baseline: list[Rows] = []
        self._first_day: pd.Timestamp | None = None
        self._next: pd.Timestamp | None = None
        self._day_ended = False
        self._court: Court | None = None

    @property
    def heard(self) -> list[int]:
        """Column numbers of the sources that count."""
        return [number for number, state in enumerate(self.standings) if state in HEARD]

    def take(self, at: pd.Timestamp, readings: Mapping[str, float], demand_mw: float = float("nan")) -> Progress:
        """One row: every reading of the interval that starts at `at` (UTC), and its demand where it is known."""
        row = np.array([[readings.get(name, np.nan) for name in self.names]], dtype=np.float64)
        return self.advance(pd.DatetimeIndex([at]), row, np.array([demand_mw]))

    def advance(self, index: pd.DatetimeIndex, readings: Array, demand_mw: Array | None = None) -> Progress:
        """The next rows: starts (UTC, regular, following the last ones), shape (rows, names) [°C], mean demand [MW].

        NaN where nothing was said. Raises DataError for rows that do not follow.
        """
        self._require_next(index)
        rows = self._rows(index, readings, demand_mw)
        local = index.tz_convert(self.timezone).tz_localize(None)
        ends = np.asarray((index + self.step).tz_convert(self.timezone).tz_localize(None).normalize() > local.normalize())
        answer = _Answer(readings.shape)
        events: list[TrustEvent] = []
        days: list[DayRecord] = []
        position = 0
        ahead: _Ahead | None = None
        while position < len(index):
            ahead = ahead or self._look_ahead(rows, local, ends, position)
            stop, alarm = self._segment(ahead, ends, position)
            self._commit(ahead, rows, local, slice(position, stop), answer)
            self._day_ended = bool(ends[stop - 1])
            heard, learned = self.heard, self.learned
            if alarm is not None:
                events.append(self._sound(alarm, index[stop - 1] + self.step))
            if ends[stop - 1] and self._first_day is not None:
                day_events, day_records = self._end_day(ahead if self.heard == heard else None, local[stop - 1].normalize())
                events += day_events
                days += day_records
            position = stop
            if self.heard != heard or self.learned is not learned or position >= ahead.stop:
                ahead = None
        return answer.progress(index, tuple(events), tuple(days))

    def set_standing(self, name: str, state: TrustState, at: pd.Timestamp, reason: str, onset: pd.Timestamp) -> TrustEvent:
        """An operator's act: revoke, put on probation, trust again; from the next row on."""
        if name not in self.names:
            raise DataError(f"no source {name!r}", mend=f"the sources are {', '.join(self.names)}")
        source, heard = self.names.index(name), self.heard
        if state not in LED_BY_OPERATOR[self.standings[source]]:
            problem = f"{name} is {self.standings[source]} and cannot become {state}"
            raise DataError(problem, mend=f"possible is {', '.join(LED_BY_OPERATOR[self.standings[source]])}")
        event = TrustEvent(name, at, self.standings[source], state, 0, reason, onset, 0.0)
        self.standings[source] = state
        if self.heard != heard and self._court is not None:
            if state in HEARD:
                self._court.forgive(source)
            self._court.judge_anew(self.heard)
        return event

    def _rows(self, index: pd.DatetimeIndex, readings: Array, demand_mw: Array | None) -> Rows:
        if readings.shape != (len(index), len(self.names)):
            problem = f"readings of shape {readings.shape} for {len(index)} rows of {len(self.names)} sources"
            raise DataError(problem, mend="give one column a source, one row an interval")
        return Rows(index, readings, np.full(len(index), np.nan) if demand_mw is None else demand_mw)

    def _require_next(self, index: pd.DatetimeIndex) -> None:
        if not len(index) or index.tz is None:
            raise DataError("no rows, or rows without a time zone", mend="give at least one row, in UTC")
        expected = self._next if self._next is not None else index[0]
        regular = len(index) < 2 or bool((np.diff(index) == self.step).all())
        if index[0] != expected or not regular:
            problem = f"rows from {index[0]} where {expected} is next, in steps of {self.step}"
            raise DataError(problem, mend="give every interval once, in order")
        self._next = index[-1] + self.step

    def _look_ahead(self, rows: Rows, local: pd.DatetimeIndex, ends: Flags, start: int) -> _Ahead:
        stop = min(start + CHUNK_DAYS * 24 * self._per_hour, len(rows))
        if self.learned is None:
            # Up to the end of the baseline, which is the end of some day.
            stop = self._baseline_stop(local, ends, start, stop)
        readings, profiles = rows.readings[start:stop], self.learned.profiles if self.learned else None
        corrected = readings - harmonics_of(local[start:stop]) @ profiles if profiles is not None else readings * np.nan
        heard = np.array([state in HEARD for state in self.standings])
        month = np.asarray(local.month, dtype=np.int64)[start:stop]
        past = self._past
        flags = flags_of(
            np.concatenate([past.readings, readings]),
            np.concatenate([past.corrected, corrected]),
            heard,
            np.concatenate([np.full(len(past.flags), month[0]), month]),
            self._usual,
            self.rules,
            self._per_hour,
        )
        flags[: len(past.flags)] = past.flags
        whole = np.flatnonzero(ends[start:stop])
        hours = judged = None
        if self._court is not None and len(whole) > 1:
            known = usable(readings, flags[len(past.flags) :])
            coming = Rows.of([*self._today, Rows(rows.index[start:stop], known, rows.demand_mw[start:stop])], self.step)
            count = len(coming) - (stop - start) + int(whole[-1]) + 1
            if count % self._per_hour == 0:
                hours, judged = self._court.look_ahead(self._hours(coming.part(0, count)), self.heard)
        return _Ahead(start, len(past.flags), corrected, flags, hours, judged)

    def _baseline_stop(self, local: pd.DatetimeIndex, ends: Flags, start: int, stop: int) -> int:
        begins = local[start] == local[start].normalize()
        first = self._first_day or local[start].normalize() + pd.Timedelta(days=0 if begins else 1)
        last = first + pd.Timedelta(days=self.rules.baseline_days - 1)
        done = np.flatnonzero(ends[start:] & np.asarray(local[start:].normalize() >= last))
        return start + int(done[0]) + 1 if len(done) else max(stop, len(local))

    def _segment(self, ahead: _Ahead, ends: Flags, position: int) -> tuple[int, Alarm | None]:
        """Where the next piece ends: with an alarm, a local day, or what is worked out."""
        ended = np.flatnonzero(ends[position : ahead.stop])
        stop = position + int(ended[0]) + 1 if len(ended) else ahead.stop
        first, last = (ahead.past + row - ahead.start for row in (position, stop))
        alarm = first_alarm(ahead.flags, first, last, self.heard, self.rules, self._per_hour)
        return (stop, None) if alarm is None else (alarm.row - ahead.past + ahead.start + 1, alarm)

    def _commit(self, ahead: _Ahead, rows: Rows, local: pd.DatetimeIndex, part: slice, answer: _Answer) -> None:
        inside = slice(part.start - ahead.start, part.stop - ahead.start)
        flags = ahead.flags[ahead.past :][inside]
        readings, corrected = rows.readings[part], ahead.corrected[inside]
        answer.flags[part] = flags
        answer.classes[part] = [CLASSES[state] for state in self.standings]
        learned = self.learned
        values = usable(corrected if learned else readings, flags)
        weight = learned.weight if learned else np.ones(len(self.names))
        spread = learned.spread_c if learned else np.full(len(self.names), UNLEARNED_SPREAD_C)
        answer.fuse(part, values, weight, spread, self._court.doubt_c if self._court else np.zeros(len(self.names)))
        self._past = self._past.followed_by(readings, corrected, flags, (CONTEXT_DAYS * 24 + 1) * self._per_hour)
        # The first whole day begins with the first row after a local midnight, or at one.
        if self._first_day is None and (self._day_ended or local[part.start] == local[part.start].normalize()):
            self._first_day = local[part.start].normalize()
        if self._first_day is not None:
            known = Rows(pd.DatetimeIndex(rows.index[part]), usable(readings, flags), rows.demand_mw[part])
            self._today.append(known)
            self._spiked_today.append((flags & int(Flag.SPIKE)) != 0)
            if learned is None:
                self._baseline.append(rows.part(part.start, part.stop))

    def _sound(self, alarm: Alarm, at: pd.Timestamp) -> TrustEvent:
        onset = at - (alarm.rows_before + 1) * self.step
        state = self.standings[alarm.source]
        self.standings[alarm.source] = "quarantined"
        if self._court is not None:
            self._court.judge_anew(self.heard)
        name = self.names[alarm.source]
        return TrustEvent(name, at, state, "quarantined", alarm.level, alarm.reason, onset, alarm.hours)

    def _end_day(self, ahead: _Ahead | None, midnight: pd.Timestamp) -> tuple[list[TrustEvent], list[DayRecord]]:
        assert self._first_day is not None  # noqa: S101 (asked for after the first midnight only)
        number = (midnight - self._first_day).days
        today, spikes = Rows.of(self._today, self.step), isolated(np.concatenate(self._spiked_today)).sum(axis=0)
        self._today, self._spiked_today = [], []
        if self._court is None:
            return (self._learn() if number == self.rules.baseline_days - 1 else []), []
        found = ahead.day(number) if ahead is not None else None
        if found is None:
            found = (*self._court.look_ahead(self._hours(today), self.heard), 0)
        at = today.index[-1] + self.step
        events, record = self._court.hear_day(*found, spikes, self.standings, at)
        return events, [record]

    def _learn(self) -> list[TrustEvent]:
        events: list[TrustEvent] = []
        assert self._first_day is not None  # noqa: S101 (a baseline has a first day)
        rows = Rows.of(self._baseline, self.step)
        self._baseline = []
        learned = learn(rows, self.heard, self.timezone, self._per_hour, self._first_day, self.rules)
        self.learned, self._usual = learned, learned.usual
        for source in np.flatnonzero(learned.known_days < self.rules.fewest_known_days):
            if self.standings[source] in HEARD:
                reason, at = "said too little in the baseline to be known", rows.index[-1] + self.step
                events.append(TrustEvent(self.names[source], at, self.standings[source], "probation", 0, reason, at, 0.0))
                self.standings[source] = "probation"
        self._court = Court(learned, self.names, self.heard, self.timezone, self.rules)
        last = rows.part(len(rows) - len(self._past.flags), len(rows))
        local = last.index.tz_convert(self.timezone).tz_localize(None)
        self._past = _Past(self._past.readings, last.readings - harmonics_of(local) @ learned.profiles, self._past.flags)
        return events

    def _hours(self, rows: Rows) -> Hours:
        assert self._first_day is not None  # noqa: S101 (there are hours after the first midnight only)
        return hours_of(rows, self._per_hour, self.timezone, self._first_day, yearly=self.rules.sees_a_year)


CLASSES: Mapping[TrustState, int] = {"trusted": FULL, "suspect": HALF, "quarantined": OUT, "revoked": OUT, "probation": OUT}


@dataclass(frozen=True)
class _Past:
    """The rows before: readings, the same freed from usual bias, and their flags."""

    readings: Array
    corrected: Array
    flags: Integers

    @classmethod
    def empty(cls, sources: int) -> _Past:
        return cls(np.empty((0, sources)), np.empty((0, sources)), np.empty((0, sources), dtype=np.int64))

    def followed_by(self, readings: Array, corrected: Array, flags: Integers, most: int) -> _Past:
        """These rows and the next ones, the last `most` of them."""
        return _Past(
            np.concatenate([self.readings, readings])[-most:],
            np.concatenate([self.corrected, corrected])[-most:],
            np.concatenate([self.flags, flags])[-most:],
        )


class _Answer:
    """The rows' answers while they are being made."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.flags = np.zeros(shape, dtype=np.int64)
        self.classes = np.zeros(shape, dtype=np.int64)
        self._temperature, self._uncertainty = np.full(shape[0], np.nan), np.full(shape[0], np.nan)
        self._sources = np.zeros(shape[0], dtype=np.int64)

    def fuse(self, part: slice, values: Array, weight: Array, spread_c: Array, doubt_c: Array) -> None:
        """Fuse rows `part` by the standings they were taken under."""
        weights = weight * np.array([0.0, SUSPECT_SHARE, 1.0])[self.classes[part]]
        fused = fused_of(values, weights, spread_c, doubt_c)
        self._temperature[part], self._uncertainty[part], self._sources[part] = fused

    def progress(self, index: pd.DatetimeIndex, events: tuple[TrustEvent, ...], days: tuple[DayRecord, ...]) -> Progress:
        """All of it."""
        marks = np.array([int(Flag.EXCLUDED), int(Flag.SUSPECT), 0])
        flags = self.flags | marks[self.classes]
        return Progress(index, self._temperature, self._uncertainty, self._sources, flags, events, days)
